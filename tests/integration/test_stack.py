"""Everything on one machine: started, asked to stop, killed, and started again."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antrian.ledger.recorder import LedgerRecorder
from antrian.local.child import EmbeddedError, UnsupportedStoreError, hold
from antrian.local.embedded import EmbeddedStores
from antrian.local.stack import Stack
from antrian.redis_primary import connect
from antrian.settings import KEY_VARIABLES
from clients.cli.folder import empty
from tests.integration.test_embedded import ended, nothing_runs_on, wait_until
from tests.support.town import copy_stores

_PARENT = """
import sys
from contextlib import suppress
from pathlib import Path
from antrian.local.stack import Stack

with suppress(KeyboardInterrupt), Stack(Path(sys.argv[1]), workers=1) as stack:
    stack.wait()
"""


@contextmanager
def a_parent(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Another process that has a stack on the folder, and its run.json."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, folder], stderr=subprocess.PIPE, text=True, process_group=0
    ) as parent:
        try:
            wait_until((folder / "run.json").exists, within=60)
            yield parent, json.loads((folder / "run.json").read_text())
        finally:
            parent.kill()
            wait_until(lambda: nothing_runs_on(folder))


@pytest.fixture
def place(founded: Path, tmp_path: Path) -> Path:
    """A folder for a stack with fewer offices, which starts sooner."""
    copy_stores(founded, tmp_path)
    return tmp_path


def responses(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def database_of(stack: Stack) -> str:
    return stack.environment["ANTRIAN_DATABASE_URL"]


def test_the_stack_serves_the_shipped_offices_at_the_address_in_run_json(tmp_path: Path) -> None:
    with Stack(tmp_path, workers=1) as stack:
        run = json.loads((tmp_path / "run.json").read_text())
        assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600
        assert responses(run["grpc"])
        assert run["http"] is None
        assert run["redis"] == stack.environment["ANTRIAN_REDIS_URL"]
        assert run["rq_redis"] == stack.environment["ANTRIAN_RQ_REDIS_URL"]
        assert set(run["pids"]) == {"antrian", "server", "workers", "redis", "postgres"}
        environments = {name: Path(f"/proc/{run['pids'][name]}/environ").read_bytes() for name in ("server", "workers")}
        assert not any(key.encode() in environments[name] for key in KEY_VARIABLES for name in environments)
        assert [b"ANTRIAN_SECRETS_DIR=" in environments[name] for name in ("server", "workers")] == [True, False]
        with LedgerRecorder(run["database"]) as ledger:
            assert ledger.count_offices() == 185
        logs = [tmp_path / f"log/{name}.log" for name in ("server", "workers", "redis", "postgres")]
        for log in logs:
            os.truncate(log, 10_000_001)
        stack.tend()
        assert not any(log.stat().st_size for log in logs)
        assert all(log.with_name(f"{log.name}.1").stat().st_size == 10_000_001 for log in logs)
    assert not (tmp_path / "run.json").exists()
    assert nothing_runs_on(tmp_path)


def test_sigterm_stops_everything_cleanly(place: Path) -> None:
    with a_parent(place) as (parent, run):
        parent.terminate()
        assert parent.wait(20) == 0
        assert not (place / "run.json").exists()
        assert all(ended(pid) for pid in run["pids"].values())
        assert not responses(run["grpc"])
    assert "database system is shut down" in (place / "log/postgres.log").read_text()


def test_kill_9_leaves_no_process_and_keeps_the_secrets(place: Path) -> None:
    with a_parent(place) as (parent, run):
        secrets = (place / "secrets.json").read_text()
        parent.kill()
        wait_until(lambda: all(ended(pid) for pid in run["pids"].values()), within=15)
    with Stack(place, workers=1):
        assert json.loads((place / "run.json").read_text())["pids"]["antrian"] == os.getpid()
        assert (place / "secrets.json").read_text() == secrets
        assert stat.S_IMODE((place / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("part", ["redis", "postgres"])
def test_the_stack_exits_and_names_a_store_that_died(place: Path, part: str) -> None:
    with a_parent(place) as (parent, run):
        os.kill(run["pids"][part], signal.SIGKILL)
        assert parent.wait(30) != 0
        assert parent.stderr
        assert f"{part} ended with code -9; its log is {place / f'log/{part}.log'}" in parent.stderr.read()
        assert all(ended(pid) for pid in run["pids"].values())


@pytest.mark.parametrize("part", ["server", "workers"])
def test_a_program_that_dies_is_restarted(place: Path, part: str) -> None:
    with a_parent(place) as (parent, run):
        os.kill(run["pids"][part], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while (pid := json.loads((place / "run.json").read_text())["pids"][part]) == run["pids"][part]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not ended(pid)
        assert parent.poll() is None
        assert json.loads((place / "run.json").read_text())["restarts"] == {"server": 0, "workers": 0} | {part: 1}
        parent.terminate()
        log = place / f"log/{part}.log"
        assert parent.stderr
        assert f"restart 1 of {part}: {part} ended with code -9; its log is {log}" in parent.stderr.read()


def test_two_stacks_at_once_use_different_ports(founded: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        copy_stores(founded, tmp_path / name)
    with Stack(tmp_path / "a", workers=1) as one, Stack(tmp_path / "b", workers=1) as two:
        assert one.address != two.address
        assert responses(one.address)
        assert responses(two.address)


def test_a_requested_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port} is taken"):
            Stack(tmp_path, port=port).start()
    assert nothing_runs_on(tmp_path)


def test_the_service_clock_moves_forward_and_keeps_its_offset(place: Path) -> None:
    wanted = datetime.now(UTC) + timedelta(days=3)
    since = time.monotonic()
    with Stack(place, clock=wanted, workers=1) as stack, psycopg.connect(database_of(stack)) as book:
        [now] = book.execute("select service_now()").fetchone() or [wanted]
        assert wanted <= now <= wanted + timedelta(seconds=time.monotonic() - since + 1)
    with Stack(place, workers=1) as stack, LedgerRecorder(database_of(stack)) as ledger:
        assert ledger.clock_ahead() > timedelta(days=2)


def test_external_stores_are_used_and_left_running(founded: Path, tmp_path: Path) -> None:
    copy_stores(founded, tmp_path / "stores")
    with EmbeddedStores(tmp_path / "stores") as stores:
        with Stack(tmp_path / "stack", workers=1, redis_url=stores.redis_url, database_url=stores.database_url):
            run = json.loads((tmp_path / "stack/run.json").read_text())
            assert (run["redis"], run["database"]) == (stores.redis_url, stores.database_url)
            assert set(run["pids"]) == {"antrian", "server", "workers"}
        for child in stores.children:
            child.check()


def test_a_redis_with_replicas_survives_its_primary_and_stays_replicated(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(place / "redis")
    with Stack(place, workers=1, replicas=2) as stack:
        run = json.loads((place / "run.json").read_text())
        redis = {f"{kind}-{number}" for kind in ("redis", "sentinel") for number in (1, 2, 3)}
        assert set(run["pids"]) == {"antrian", "server", "workers", "postgres"} | redis
        assert run["redis"] == stack.environment["ANTRIAN_REDIS_URL"]
        assert run["rq_redis"] == stack.environment["ANTRIAN_RQ_REDIS_URL"]
        assert run["redis"].startswith("redis+sentinel://")
        assert run["replicas"] == stack.settings.replicas == 1
        replicated = stack._embedded and stack._embedded.replicated
        assert replicated
        with connect(run["redis"]) as client:
            client.set("kept", 1)
        os.kill(run["pids"]["redis-1"], signal.SIGKILL)
        primary = replicated.wait_for_failover("redis-1")
        wait_until(lambda: is_restarted(stack, "redis-1"), within=15)
        assert "restart 1 of redis-1: redis-1 ended with code -9" in capsys.readouterr().err
        replicated.wait_until_whole()
        assert json.loads((place / "run.json").read_text())["pids"]["redis-1"] != run["pids"]["redis-1"]
    with pytest.raises(UnsupportedStoreError, match="was started with 2 replicas of Redis, not 0"):
        Stack(place, replicas=0).start()
    with Stack(place, workers=1) as stack:
        assert stack.replicas == 2
        replicated = stack._embedded and stack._embedded.replicated
        assert replicated
        assert replicated.primary() == primary
        with connect(stack.environment["ANTRIAN_REDIS_URL"]) as client:
            assert client.get("kept") == b"1"
    with hold(place):
        assert {f"{name}/" for name in redis} < set(empty(place))


def is_restarted(stack: Stack, name: str) -> bool:
    stack.tend()
    restarts: dict[str, int] = json.loads((stack.folder / "run.json").read_text())["restarts"]
    return restarts.get(name) == 1


def test_a_single_redis_does_not_become_replicated(place: Path) -> None:
    with pytest.raises(UnsupportedStoreError, match="was started with 0 replicas of Redis, not 2"):
        Stack(place, replicas=2).start()
    assert nothing_runs_on(place)
