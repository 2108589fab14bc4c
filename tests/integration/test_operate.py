"""The commands that make a ledger, and programs that are given the wrong keys for one, on a real Postgres."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from antrian.ledger.keys import claim_keys
from clients.cli.main import main
from tests.conftest import Stores, new_database
from tests.support.keys import key_variables, make_keys
from tests.support.world import World


def test_migrate_imports_the_shipped_offices_into_a_new_ledger_once(
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
    assert imported.stdout == "imported: 0 new, 0 changed, 185 unchanged, 0 not in file\n"


@pytest.mark.parametrize("module", ["server", "workers.rebuild", "clients.cli.main"])
def test_a_program_with_the_wrong_key_does_not_start(world: World, module: str) -> None:
    claim_keys(world.settings.database_url, world.keys)
    before = world.dump()
    environment = {
        "ANTRIAN_REDIS_URL": world.settings.redis_url,
        "ANTRIAN_DATABASE_URL": world.settings.database_url,
        **key_variables(make_keys(b"x" * 32)),
        "ANTRIAN_EMBEDDED": "1",
        "ANTRIAN_LISTEN": "127.0.0.1:0",
    }
    command = [sys.executable, "-m", module, *(["verify"] if module == "clients.cli.main" else [])]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2, done.stderr
    assert "the hash key (ANTRIAN_HASH_KEY) is not the one that made the data in this ledger" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.dump() == before
