"""Postgres with a synchronous standby: real processes, killed and promoted."""

import asyncio
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from antrian.booking import CloseDate, State
from antrian.ledger import standby
from antrian.ledger.migrate import migrate
from antrian.ledger.reader import LedgerReader
from antrian.ledger.standby import warn_without_standby
from antrian.local.child import hold
from antrian.local.replicated_postgres import ReplicatedPostgres
from server.office_cache import Catalog
from tests.integration.test_embedded import wait_until
from tests.support.town import copy_stores
from tests.support.waiting import until
from tests.support.world import TUESDAY, World


@pytest.fixture
def replicated(new_stores: Path, tmp_path: Path) -> Iterator[ReplicatedPostgres]:
    copy_stores(new_stores / "postgres", tmp_path / "postgres-1")
    shutil.copystat(new_stores / "postgres", tmp_path / "postgres-1")
    with hold(tmp_path) as lock, ReplicatedPostgres(tmp_path, lock) as started:
        with psycopg.connect(started.url) as connection:
            connection.execute("create table kept (value text)")
        yield started


def put(replicated: ReplicatedPostgres, value: str) -> None:
    with psycopg.connect(replicated.url) as connection:
        connection.execute("insert into kept values (%s)", [value])


def kept(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [value for (value,) in connection.execute("select value from kept order by value")]


def test_a_promoted_standby_has_every_commit_and_can_have_a_standby_again(replicated: ReplicatedPostgres) -> None:
    first, second = replicated.primary, replicated.standby
    put(replicated, "one")
    with psycopg.connect(replicated.url_of(second)) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("insert into kept values ('standby')")
    replicated.promote()
    assert (replicated.primary, replicated.standby) == (second, first)
    assert kept(replicated.url) == ["one"]
    put(replicated, "two")
    replicated.start_standby()
    assert replicated.is_synchronous()
    put(replicated, "three")
    replicated.promote()
    assert kept(replicated.url) == ["one", "three", "two"]


def test_a_commit_waits_for_the_standby(replicated: ReplicatedPostgres) -> None:
    replicated.kill(replicated.standby)
    commit = threading.Thread(target=put, args=(replicated, "one"))
    commit.start()
    with psycopg.connect(replicated.url_of(replicated.primary), autocommit=True) as connection:
        waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
        wait_until(lambda: connection.execute(waiting.encode()).fetchone() == (1,))
    assert commit.is_alive()
    replicated.restart(replicated.standby)
    commit.join(30)
    assert not commit.is_alive()
    assert kept(replicated.url_of(replicated.standby)) == ["one"]


def test_roles_and_data_are_kept_over_a_restart(replicated: ReplicatedPostgres) -> None:
    put(replicated, "one")
    replicated.promote()
    replicated.start_standby()
    primary = replicated.primary
    replicated.stop()
    replicated.start()
    assert replicated.primary == primary
    assert replicated.is_synchronous()
    assert kept(replicated.url) == ["one"]


async def test_servers_and_workers_continue_on_the_promoted_standby(
    replicated: ReplicatedPostgres, redis_url: str
) -> None:
    migrate(replicated.url)
    entry = CloseDate(uuid4(), "desk", "rina", "banjir", TUESDAY.service_date)
    async with World(redis_url, replicated.url) as world:
        before, during = world.request(1), world.request(2)
        await world.ticket(before)
        assert world.turn() == 1
        assert (await world.recorded(before)).state is State.CONFIRMED
        assert await world.staff.action(entry.action_id) is None
        await world.ticket(during)
        lease = world.take()
        decided = world.decide(lease)
        await asyncio.to_thread(replicated.promote)
        world.settle(lease, world.record(lease, decided))
        assert [(await world.recorded(one)).state for one in (before, during)] == [State.CONFIRMED] * 2
        assert set(await world.reader.offices()) == set(world.offices.values())
        await world.ask(entry)
        assert await world.staff.action(entry.action_id)
        assert world.rebuild().lost == 0
        assert world.verify() == []


async def test_a_server_becomes_ready_although_the_first_host_does_not_respond(
    replicated: ReplicatedPostgres, redis_url: str
) -> None:
    migrate(replicated.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = conninfo_to_dict(replicated.url)
        hosts, ports = f"127.0.0.1,{given['host']}", f"{silent.getsockname()[1]},{given['port']}"
        async with World(redis_url, replicated.url) as world:
            reader = LedgerReader(make_conninfo(replicated.url, host=hosts, port=ports), batch_window=timedelta(0))
            await reader.start()
            catalog = Catalog(world.policy, world.producer, reader, world.keys)
            refreshing = asyncio.create_task(catalog.keep_fresh(lambda _: None))
            try:
                await until(lambda: catalog.ready, within=15)
                assert await reader.booking(uuid4()) is None
            finally:
                refreshing.cancel()
                await reader.close()


def test_a_promotion_that_would_lose_commits_is_warned_of(
    replicated: ReplicatedPostgres, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warnings() -> str:
        caplog.clear()
        warn_without_standby(replicated.url)
        return caplog.text

    asynchronous = "commits without waiting for a standby, so promoting one loses confirmed bookings"
    assert warnings() == ""
    with psycopg.connect(replicated.url, autocommit=True) as connection:
        for level in ("off", "local"):
            connection.execute(f"alter database antrian set synchronous_commit = {level}".encode())
            assert asynchronous in warnings()
        connection.execute("alter database antrian reset synchronous_commit")
    assert warnings() == ""
    replicated.promote()
    assert asynchronous in warnings()
    monkeypatch.setattr(standby, "sql", lambda _: "select current_setting('hidden.setting')")
    assert "check its standby yourself" in warnings()
    caplog.clear()
    warn_without_standby(replicated.url_of(replicated.primary))
    assert caplog.text == "", "with one host there is nothing to promote"
