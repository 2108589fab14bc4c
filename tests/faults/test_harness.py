"""The harness can say no: it is given programs that really are broken."""

import asyncio
import json
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.faults.__main__ import main
from tests.faults.fault import Fault
from tests.faults.load import Load
from tests.faults.site import WORKERS, Site
from tests.faults.stores_replicas import cut_off
from tests.support.cut_network import can_cut
from tests.support.waiting import until


def run(fault: Fault, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, object]]:
    """The exit code and the row of the table."""
    results = folder / "results.json"
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(sys, "argv", ["faults", "--json", str(results)])
    code = main([fault])
    (row,) = json.loads(results.read_text())
    return code, row


async def forget(site: Site, _: Load) -> float:
    """Workers that settle without recording take over."""
    for name in WORKERS:
        await site.stop(name)
    for name in WORKERS:
        await site.start(name, "tests.faults.forgetful_worker")
    return time.monotonic()


async def nothing(_: Site, __: Load) -> float:
    """Nothing is broken."""
    return time.monotonic()


async def no_worker(site: Site, _: Load) -> float:
    """Nobody works any more."""
    for name in WORKERS:
        await site.stop(name)
    return time.monotonic()


async def promote_a_standby_that_lags(site: Site, load: Load) -> float:
    """Commits do not wait for the standby, which follows no more."""
    replicated = site.replicated
    assert replicated
    replicated._set_synchronous("")
    with psycopg.connect(replicated.url_of(replicated.standby), autocommit=True) as standby:
        standby.execute("alter system set primary_conninfo = ''")
        standby.execute("select pg_reload_conf()")
    ended = len(load.ended)
    await until(lambda: len(load.ended) > ended + 50)
    await asyncio.to_thread(replicated.promote)
    return time.monotonic()


def test_it_notices_that_a_standby_lacked_confirmed_bookings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lagging = Fault("asynchronous standby", promote_a_standby_that_lags, injections=1, within=1, standby=True)
    code, row = run(lagging, tmp_path, monkeypatch)
    assert code != 0
    assert isinstance(row["lost"], int)
    assert row["lost"] > 0
    assert not row["held"]


def test_it_counts_what_a_forgetful_worker_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, row = run(Fault("forgetful workers", forget, injections=1, within=1), tmp_path, monkeypatch)
    assert code != 0
    assert isinstance(row["lost"], int)
    assert row["lost"] > 0
    assert not row["held"]


def test_it_says_that_lanes_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, row = run(Fault("no worker", no_worker, injections=1, within=1), tmp_path, monkeypatch)
    assert code != 0
    assert isinstance(row["recovery_worst_s"], float)
    assert row["recovery_worst_s"] > 1
    assert not row["held"]


def test_it_says_that_all_held_when_nothing_was_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, row = run(Fault("nothing", nothing, injections=1, within=5), tmp_path, monkeypatch)
    assert (code, row["held"], row["words"]) == (0, True, [])


@pytest.mark.skipif(not can_cut(), reason="network namespaces need root")
def test_it_says_what_is_lost_with_a_primary_when_nothing_waits_for_its_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(site: Site, _: Load) -> float:
        return await cut_off(site, hasty=("server-2", "worker-2"))

    code, row = run(Fault("cut off", cut, injections=1, within=3, replicas=2), tmp_path, monkeypatch)
    assert code != 0
    assert isinstance(row["words"], list)
    assert any(line.startswith(("P2 ", "P5 ")) for line in row["words"]), row["words"]
