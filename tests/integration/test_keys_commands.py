"""`antrian keys`: a key pair is changed while Antrian runs, and no person becomes unreadable on the way."""

import json
import os
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from antrian.booking import Person
from antrian.encryption import Decryptor, Encryptor, pair_id, public_key_of
from antrian.identity import Keys
from antrian.ledger.key_pairs import lock_key_pairs, rewrap
from antrian.ledger.keys import WrongKeysError, claim_keys
from antrian.ledger.reader import LedgerReader
from antrian.local.private_file import write_private
from antrian.local.secret_files import RUN_SECRETS
from antrian.settings import load_settings
from clients.cli.main import main
from tests.support.keys import OTHER_PRIVATE_KEY, PRIVATE_KEY, key_variables, make_keys
from tests.support.world import World, nik

OLD, NEW = make_keys(), make_keys(make_keys().hash_key, OTHER_PRIVATE_KEY, PRIVATE_KEY)
OLD_PAIR, NEW_PAIR = (pair_id(keys.public_key) for keys in (OLD, NEW))


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, words)])


def use(monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    for name, value in key_variables(keys).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def given(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose stores and keys the environment names, and whose ledger knows the keys."""
    monkeypatch.setenv("ANTRIAN_REDIS_URL", world.settings.redis_url)
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", world.settings.database_url)
    monkeypatch.setenv("ANTRIAN_EMBEDDED", "1")
    use(monkeypatch, OLD)
    claim_keys(world.settings.database_url, OLD)
    return world


async def book(world: World, *numbers: int) -> None:
    for number in numbers:
        await world.ticket(world.request(number))
    world.turn()


def readable(world: World, keys: Keys) -> int:
    """Returns how many people of the ledger the keys read."""
    return sum(keys.fit(*row) for row in world.sql("select booking_id, applicant_key, encrypted from applicant"))


async def test_a_key_pair_is_rotated_rewrapped_and_retired(given: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(given, 1, 2)
    use(monkeypatch, NEW)
    rotated = run("rotate")
    assert rotated.exit_code == 0, rotated.output
    assert f"added the key pair {NEW_PAIR.hex()}" in rotated.stdout
    await book(given, 3)  # by a server that was not restarted yet
    claim_keys(given.settings.database_url, OLD)
    given.keys = Keys(NEW.hash_key, NEW.public_key)  # by one that only books, and was
    claim_keys(given.settings.database_url, given.keys)
    await book(given, 4)
    assert readable(given, NEW) == 4

    refused = run("retire", OLD_PAIR.hex())
    assert refused.exit_code == 1
    assert "the data of 3 people in the ledger and 0 in the queues need the key pair" in refused.stderr
    assert "is still in use" in run("rotate").stderr

    rewrapped = run("rewrap")
    assert rewrapped.exit_code == 0, rewrapped.output
    assert f"3 people moved to the key pair {NEW_PAIR.hex()}" in rewrapped.stdout
    only_new = Keys(NEW.hash_key, b"", (OTHER_PRIVATE_KEY,))
    assert (readable(given, only_new), readable(given, OLD)) == (4, 0)
    assert run("rewrap").stdout.endswith(f"0 people moved to the key pair {NEW_PAIR.hex()}\n")

    retired = run("retire", OLD_PAIR.hex())
    assert retired.exit_code == 0, retired.output
    assert run("retire", OLD_PAIR.hex()).exit_code == 0, "it is safe to repeat"
    with pytest.raises(WrongKeysError, match="is retired"):
        claim_keys(given.settings.database_url, OLD)
    old, new = json.loads(run("list", "--json").stdout)
    assert (old["key_pair"], old["people"], old["private_key_given"]) == (OLD_PAIR.hex(), 0, True)
    assert (new["key_pair"], new["people"], new["retired_time"]) == (NEW_PAIR.hex(), 4, None)
    assert old["retired_time"]
    listed = run("list").stdout
    assert OLD_PAIR.hex() in listed
    assert NEW_PAIR.hex() in listed


async def test_a_request_in_a_queue_needs_its_key_pair(given: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(given, 1)
    await given.ticket(given.request(2, [2, 3]))  # not decided yet
    use(monkeypatch, NEW)
    assert run("rotate").exit_code == run("rewrap").exit_code == 0
    refused = run("retire", OLD_PAIR.hex())
    assert refused.exit_code == 1
    assert "the data of 0 people in the ledger and 2 in the queues" in refused.stderr


async def test_a_running_server_learns_that_its_key_pair_is_retired(
    given: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, NEW)
    assert run("rotate").exit_code == 0
    reader = LedgerReader(given.settings.database_url, batch_window=given.settings.batch_window)
    await reader.start()
    try:
        await reader.check_key_pair(OLD)
        assert run("retire", OLD_PAIR.hex()).exit_code == 0
        await reader.check_key_pair(NEW)
        with pytest.raises(WrongKeysError, match=f"key pair {OLD_PAIR.hex()}. was retired"):
            await reader.check_key_pair(OLD)
    finally:
        await reader.close()


async def test_damaged_people_stay_and_do_not_hold_the_key_pair(given: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(given, 1, 2)
    given.sql("update applicant set encrypted = overlay(encrypted placing '\\x0000' from 50) where number = 1")
    [(damaged,)] = given.sql("select encrypted from applicant where number = 1")
    use(monkeypatch, NEW)
    assert run("rotate").exit_code == 0
    rewrapped = run("rewrap")
    assert rewrapped.exit_code == 1
    assert "1 people moved" in rewrapped.stdout
    assert "the data of 1 people are damaged" in rewrapped.stderr
    assert given.sql("select encrypted from applicant where number = 1") == [(damaged,)]
    assert run("retire", OLD_PAIR.hex()).exit_code == 0


async def test_a_name_that_is_corrected_meanwhile_is_kept(given: World) -> None:
    """It was encrypted with another data key since the piece was read, so the row is left for the next run."""
    await book(given, 1, 2)
    request = given.request(1)
    key = request.applicants[0].key
    corrected = make_keys().encrypt(request.booking_id, key, Person(nik(1), "Aminah"))  # by another process

    class Correcting(Decryptor):
        """Corrects the name between the read of a piece and its write."""

        def unwrap(self, header: bytes) -> bytes:
            given.sql("update applicant set encrypted = %s where applicant_key = %s returning number", corrected, key)
            return super().unwrap(header)

    with psycopg.connect(given.settings.database_url, autocommit=True) as ledger:
        done = rewrap(ledger, [OLD_PAIR], Correcting([PRIVATE_KEY]), Encryptor(NEW.public_key), lambda _: None)
        assert done.people == 1
        assert given.sql("select encrypted from applicant where applicant_key = %s", key) == [(corrected,)]
        assert (
            rewrap(ledger, [OLD_PAIR], Decryptor([PRIVATE_KEY]), Encryptor(NEW.public_key), lambda _: None).people == 1
        )
    assert readable(given, NEW) == 2


@pytest.mark.parametrize("command", [("rotate",), ("rewrap",), ("retire", OLD_PAIR.hex())])
def test_only_one_operator_changes_key_pairs(given: World, command: tuple[str, ...]) -> None:
    with psycopg.connect(given.settings.database_url, autocommit=True) as other:
        assert lock_key_pairs(other)
        refused = run(*command)
    assert refused.exit_code == 1
    assert "another `antrian keys` is changing" in refused.stderr


def test_the_newest_and_unknown_pairs_are_not_retired(given: World) -> None:
    assert "is the newest key pair" in run("retire", OLD_PAIR.hex()).stderr
    assert "the ledger has no key pair abc" in run("retire", "abc").stderr


async def test_a_missing_private_key_is_named(given: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(given, 1)
    use(monkeypatch, NEW)
    assert run("rotate").exit_code == 0
    use(monkeypatch, make_keys(NEW.hash_key, OTHER_PRIVATE_KEY))
    for command in (("rewrap",), ("retire", OLD_PAIR.hex())):
        refused = run(*command)
        assert refused.exit_code == 2
        assert f"ANTRIAN_PRIVATE_KEYS: lacks the private key of the key pair {OLD_PAIR.hex()}" in refused.stderr
    assert readable(given, NEW) == 1


def test_keys_in_variables_are_not_replaced(given: World) -> None:
    refused = run("rotate")
    assert refused.exit_code == 2
    assert "add a new private key to ANTRIAN_PRIVATE_KEYS" in refused.stderr
    assert given.sql("select count(*) from key_pair") == [(1,)]


def test_rotate_writes_new_keys_into_the_secrets_folder(
    given: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in key_variables(OLD).items():
        monkeypatch.delenv(name)
        write_private(tmp_path / name.lower(), value)
    (tmp_path / "antrian_public_key").chmod(0o644)
    monkeypatch.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    rotated = run("rotate")
    assert rotated.exit_code == 0, rotated.output
    settings = load_settings()
    assert public_key_of(settings.private_keys[0]) == settings.public_key != OLD.public_key
    assert settings.private_keys[1:] == OLD.private_keys
    assert settings.hash_key == OLD.hash_key
    for name, mode in (("private_keys", 0o600), ("public_key", 0o644)):
        assert (tmp_path / f"antrian_{name}").stat().st_mode & 0o777 == mode
    claim_keys(given.settings.database_url, settings.make_keys("public_key", "private_keys"))


def test_rotate_writes_new_keys_into_secrets_json(
    given: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = key_variables(OLD)
    for name in variables:
        monkeypatch.delenv(name)
    content = {name.removeprefix("ANTRIAN_").lower(): value for name, value in variables.items()}
    write_private(tmp_path / "secrets.json", json.dumps(content))
    (tmp_path / RUN_SECRETS).mkdir()
    for name, value in variables.items():
        write_private(tmp_path / RUN_SECRETS / name.lower(), value)
    facts = {
        "grpc": "127.0.0.1:1", "redis": given.settings.redis_url, "rq_redis": given.settings.redis_url,
        "database": given.settings.database_url, "pids": {"antrian": os.getpid()},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(facts))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    rotated = run("rotate", "--folder", tmp_path)
    assert rotated.exit_code == 0, rotated.output
    written = json.loads((tmp_path / "secrets.json").read_text())
    assert written["hash_key"] == content["hash_key"]
    assert written["public_key"] != content["public_key"]
    assert written["private_keys"].split()[1] == content["private_keys"]
    assert given.sql("select count(*) from key_pair") == [(2,)]
