"""`antrian reset` on folders with real stores: everything goes but the secrets, and never while somebody runs."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from click.testing import CliRunner, Result

from antrian.local.child import FolderInUseError
from antrian.local.embedded import EmbeddedStores
from clients.cli.main import main
from tests.integration.test_embedded import a_parent, kept, put
from tests.support.town import copy_stores


def reset(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["reset", "--folder", str(folder), *words])


@contextmanager
def asked_at_a_terminal(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command with a terminal as its input, and that terminal's other end."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "clients.cli", "reset", "--folder", folder],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            yield command, ours
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture(scope="module")
def used(new_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that hold something."""
    folder = tmp_path_factory.mktemp("used")
    copy_stores(new_stores, folder)
    with EmbeddedStores(folder) as stores:
        put(stores.redis_url, stores.database_url, "one")
    return folder


@pytest.fixture
def folder(used: Path, tmp_path: Path) -> Path:
    """One on which an Antrian has run and left something in both stores."""
    folder = tmp_path / ".antrian"
    copy_stores(used, folder)
    (folder / "secrets.json").write_text("{}")
    (folder / "run.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_reset_empties_the_stores_and_keeps_secrets_and_foreign_files(folder: Path) -> None:
    done = reset(folder, "--yes")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"removed from {folder}: redis/, postgres/, log/, run.json\n"
    assert {file.name for file in folder.iterdir()} == {
        "secrets.json",
        "passwords.json",
        "notes.txt",
        "lock",
        "children.lock",
    }
    with EmbeddedStores(folder) as stores:
        with redis.Redis.from_url(stores.redis_url) as consumer:
            assert consumer.dbsize() == 0
        with psycopg.connect(stores.database_url) as book:
            assert book.execute("select to_regclass('kept')").fetchone() == (None,)
        put(stores.redis_url, stores.database_url, "two")
        assert kept(stores) == (b"two", "two")


def test_reset_is_idempotent(folder: Path) -> None:
    assert reset(folder, "--yes").exit_code == 0
    again = reset(folder, "--yes")
    assert (again.exit_code, again.stdout) == (0, "nothing to remove\n")


def test_reset_refuses_while_antrian_runs_and_tells_what_to_do(folder: Path) -> None:
    with a_parent(folder) as (_, redis_url, _, _):
        refused = reset(folder, "--yes")
        assert refused.exit_code == 1
        assert f"another Antrian runs on {folder}; stop it" in refused.stderr
        with redis.Redis.from_url(redis_url) as consumer:
            assert consumer.get("value") == b"one"
    with EmbeddedStores(folder) as stores:
        assert kept(stores) == (b"one", "one")


def test_reset_waits_for_processes_of_a_killed_antrian(folder: Path) -> None:
    with a_parent(folder) as (parent, _, _, _):
        parent.kill()
        parent.wait()
        assert reset(folder, "--yes").exit_code == 0
    assert not (folder / "postgres").exists()


def test_without_a_terminal_reset_requires_the_yes_option(folder: Path) -> None:
    refused = reset(folder)
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert (folder / "redis").is_dir()
    assert (folder / "postgres").is_dir()


@pytest.mark.parametrize(("response", "exit_code"), [("y", 0), ("n", 1), ("", 1)])
def test_reset_asks_for_confirmation_at_a_terminal(folder: Path, response: str, exit_code: int) -> None:
    with asked_at_a_terminal(folder) as (command, terminal):
        os.write(terminal, f"{response}\n".encode())
        _, told = command.communicate(timeout=30)
    assert f"Remove all bookings, stores and logs below {folder}?" in told
    assert command.returncode == exit_code
    assert (folder / "postgres").is_dir() == (response != "y")


def test_the_folder_is_locked_while_reset_asks_for_confirmation(folder: Path) -> None:
    with asked_at_a_terminal(folder) as (command, terminal):
        told = command.stderr
        assert told
        assert "?" in iter(lambda: told.read(1), "")
        with pytest.raises(FolderInUseError):
            EmbeddedStores(folder).start()
        os.write(terminal, b"n\n")
        command.communicate(timeout=30)
    with EmbeddedStores(folder) as stores:
        assert kept(stores) == (b"one", "one")
