"""The commands that make a ledger, on a real Postgres."""

from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from clients.cli import main
from tests.conftest import Stores, new_database


def test_migrate_gives_a_new_ledger_the_shipped_offices_once(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTRIAN_DATABASE_URL", raising=False)
    monkeypatch.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    with new_database(stores.database_url) as url:
        (tmp_path / "antrian_database_url").write_text(f"{url}\n")
        first, second = (CliRunner().invoke(main, ["migrate", "--offices"]) for _ in range(2))
        shipped = str(files("antrian.data").joinpath("offices.csv"))
        imported = CliRunner().invoke(main, ["offices", "import", shipped])
    assert first.exit_code == 0, first.output
    assert "0001_ledger" in first.stdout
    assert "185 offices added" in first.stdout
    assert (second.exit_code, second.stdout) == (0, "nothing to do\n")
    assert imported.exit_code == 0, imported.output
    assert imported.stdout.startswith("0 added, 0 changed, 185 as they were")
