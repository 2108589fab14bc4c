"""antrian callers: makes tokens, keeps only their hashes, and never leaves an invalid file behind."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from antrian.callers_file import Role, read_callers
from clients.cli.main import main


def run(file: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["callers", *words, "--file", str(file)], prog_name="antrian")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "callers.toml"


def add(file: Path, *words: str) -> str:
    """Adds a caller and returns its token."""
    result = run(file, "add", *words)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_token_is_printed_once_and_only_its_hash_is_kept(file: Path) -> None:
    token = add(file, "mobile", "--role", "gateway")
    assert token.startswith("antr_")
    assert len(token) == len("antr_") + 43  # 256 bits in base64
    [entry] = read_callers(file).caller
    assert entry.token_sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert (entry.name, entry.role, entry.names_accounts, entry.not_after) == ("mobile", Role.GATEWAY, False, None)
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert add(file, "mobile", "--role", "gateway") != token


def test_all_options_are_written(file: Path) -> None:
    add(file, "desk", "--role", "staff", "--office", "kanim-bogor", "--office", "kanim-depok", "--rate", "5")
    result = run(
        file, "add", "backend", "--role", "gateway", "--vouches-for", "accounts", "--expires", "2099-06-30T00:00:00Z",
        "--json",
    )  # fmt: skip
    facts = json.loads(result.stdout)
    desk, backend = read_callers(file).caller
    assert (desk.offices, desk.requests_per_second) == (["kanim-bogor", "kanim-depok"], 5)
    assert backend.names_accounts
    assert backend.not_after is not None
    assert backend.not_after.isoformat() == facts["not_after"] == "2099-06-30T00:00:00+00:00"
    assert facts["token_sha256"] == backend.token_sha256 == hashlib.sha256(facts["token"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Mobile App", "--role", "gateway"], "caller 2: name: String should match pattern"),
        (["mobile", "--role", "internal"], "caller 2: role: differs from that of caller 1"),
        (["desk", "--role", "staff", "--vouches-for", "accounts"], "vouches_for is for callers with the role gateway"),
        (["mobile", "--role", "gateway", "--expires", "2027-06-30"], "must be a time with an offset"),
        (["mobile", "--role", "gateway", "--expires", "2020-06-30T00:00:00Z"], "is in the past"),
    ],
)
def test_what_would_make_the_file_invalid_changes_nothing(file: Path, words: list[str], says: str) -> None:
    add(file, "mobile", "--role", "gateway")
    before = file.read_text()
    result = run(file, "add", *words)
    assert result.exit_code == 2
    assert says in result.output
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_comments_and_the_mode_of_the_file_stay(file: Path) -> None:
    first = add(file, "mobile", "--role", "gateway")
    file.write_text(f"# Ask Sari before you change this.\n{file.read_text()}")
    file.chmod(0o644)
    second = add(file, "mobile", "--role", "gateway")
    digits = hashlib.sha256(first.encode()).hexdigest()[:12]
    assert run(file, "remove", "mobile", "--token", digits).exit_code == 0
    assert file.read_text().startswith("# Ask Sari before you change this.\n")
    assert file.stat().st_mode & 0o777 == 0o644
    [entry] = read_callers(file).caller
    assert entry.token_sha256 == hashlib.sha256(second.encode()).hexdigest()


def test_removing_a_caller_removes_all_its_tokens(file: Path) -> None:
    for name in ("mobile", "web", "mobile"):
        add(file, name, "--role", "gateway")
    assert run(file, "remove", "mobile").exit_code == 0
    assert [entry.name for entry in read_callers(file).caller] == ["web"]
    assert "no token of mobile" in run(file, "remove", "mobile").output
    assert "no token of web that begin with zz" in run(file, "remove", "web", "--token", "zz").output
    assert run(file, "remove", "web").exit_code == 2  # a file without callers is invalid


def test_the_list_shows_no_whole_hash(file: Path) -> None:
    token = add(file, "mobile", "--role", "gateway", "--expires", "2099-06-30T00:00:00Z")
    digest = hashlib.sha256(token.encode()).hexdigest()
    shown = run(file, "list")
    assert "mobile" in shown.output
    assert digest[:12] in shown.output
    assert digest not in shown.output
    assert "2099-06-30" in shown.output
    [listed] = json.loads(run(file, "list", "--json").output)["caller"]
    assert listed["token_sha256"] == digest
