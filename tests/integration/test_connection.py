"""A Postgres that is silent holds nobody for ever, and connections that are of no use are not met twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.exceptions import ReadOnlyError

from antrian.booking import CloseDate, State
from antrian.ledger import connection
from antrian.ledger.connection import AsyncPool, ConnectionLostError, LimitedAsyncConnection, LimitedConnection, Pool
from antrian.ledger.fence import LedgerBusyError
from antrian.ledger.recorder import LedgerRecorder
from tests.faults.proxy import Proxy
from tests.support.world import PUSAT, TUESDAY, World

_POOLED = 4


@contextmanager
def read_only(database_url: str) -> Iterator[None]:
    """Postgres is read-only as around a failover: all connections are lost, and sessions that begin now stay read-only."""
    with psycopg.connect(database_url, autocommit=True) as other:
        change = f"alter database {other.info.dbname} %s default_transaction_read_only"
        other.execute("set default_transaction_read_only = off")
        other.execute((change % "set" + " = on").encode())
        try:
            end_all_others(other)
            yield
        finally:
            other.execute((change % "reset").encode())


def end_all_others(other: psycopg.Connection) -> None:
    """Ends every other connection to the database, and returns once they are gone."""
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    other.execute(f"select pg_terminate_backend(pid, 5000) {others}".encode())


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    """A pool that has made all its connections."""
    kwargs = {"autocommit": True}
    with Pool(database_url, min_size=_POOLED, connection_class=LimitedConnection, kwargs=kwargs) as made:
        made.wait()
        yield made


@pytest.fixture
async def async_pool(database_url: str) -> AsyncIterator[AsyncPool]:
    """The same for servers."""
    kwargs = {"autocommit": True}
    async with AsyncPool(
        database_url, min_size=_POOLED, open=False, connection_class=LimitedAsyncConnection, kwargs=kwargs
    ) as made:
        await made.wait()
        yield made


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RESPONSE_TIMEOUT", 0.3)


@pytest.mark.usefixtures("_short")
def test_a_response_timeout_closes_the_connection(database_url: str) -> None:
    with (
        LimitedConnection.connect(database_url) as made,
        pytest.raises(psycopg.OperationalError, match=r"did not respond within 0\.3 s"),
    ):
        made.execute("select pg_sleep(5)")
    assert made.closed


@pytest.mark.usefixtures("_short")
async def test_a_response_timeout_closes_a_servers_async_connection(database_url: str) -> None:
    async with await LimitedAsyncConnection.connect(database_url) as made:
        with pytest.raises(psycopg.OperationalError, match=r"did not respond within 0\.3 s"):
            await made.execute("select pg_sleep(5)")
    assert made.closed


async def test_a_cancelled_query_returns_although_postgres_is_silent(database_url: str) -> None:
    at = conninfo_to_dict(database_url)
    socket = Path(f"{at['host']}/.s.PGSQL.{at['port']}")
    link = Proxy(socket if str(at["host"]).startswith("/") else int(str(at["port"])))
    await link.start()
    made = await LimitedAsyncConnection.connect(
        make_conninfo(database_url, host="127.0.0.1", port=link.port), autocommit=True
    )
    link.black_hole()
    async with asyncio.timeout(5) as deadline:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await made.execute("select 1")
    assert not deadline.expired()
    assert made.closed
    await link.close()


async def test_a_cancelled_query_keeps_its_connection_if_postgres_responds(database_url: str) -> None:
    async with await LimitedAsyncConnection.connect(database_url, autocommit=True) as made:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await made.execute("select pg_sleep(60)")
        assert await (await made.execute("select 1")).fetchall() == [(1,)]


async def test_a_client_frozen_in_a_transaction_does_not_block_its_lane(world: World) -> None:
    await world.ticket(world.request(1))
    with LedgerRecorder(world.settings.database_url) as other, other._pool.connection() as frozen:
        frozen.execute("begin")
        frozen.execute("select from lane where office_id = %s for update", [PUSAT])
        refused = 0
        while world.turn() == 0:  # it waits for half a second, and its lease runs out
            refused += 1
            world.lease_ends()
        assert 1 <= refused <= 4
        with pytest.raises(ConnectionLostError, match="IdleInTransactionSessionTimeout"):
            frozen.execute("commit")


async def test_a_client_cut_off_in_a_pipeline_does_not_block_its_lane(world: World) -> None:
    await world.ticket(world.request(1))
    with ExitStack() as others:
        recorder = others.enter_context(LedgerRecorder(world.settings.database_url))
        cut_off = others.enter_context(recorder._pool.connection())
        if cut_off.info.server_version < 170000:
            pytest.skip("this Postgres has no transaction_timeout")
        pipeline = cut_off.pipeline()
        pipeline.__enter__()
        cut_off.execute("begin")
        cut_off.execute("select from lane where office_id = %s for update", [PUSAT])
        lease = world.take()
        decided = world.decide(lease)
        refused = 0
        for _ in range(10):  # each waits for half a second
            try:
                world.settle(lease, world.record(lease, decided))
                break
            except LedgerBusyError:
                refused += 1
        assert 1 <= refused <= 9
        with pytest.raises(ConnectionLostError):
            pipeline.__exit__(None, None, None)


def test_a_caller_meets_only_one_of_the_connections_that_were_killed_together(pool: Pool, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        end_all_others(other)
    assert pool.run(lambda made: made.execute("select 1").fetchall()) == [(1,)]
    with ExitStack() as borrowed:
        for _ in range(_POOLED):
            borrowed.enter_context(pool.connection()).execute("select 1")


async def test_a_server_meets_only_one_of_the_connections_that_were_killed_together(
    async_pool: AsyncPool, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        end_all_others(other)
    assert await async_pool.rows("select 1") == [(1,)]
    for _ in range(2 * _POOLED):
        async with async_pool.connection() as made:
            await made.execute("select 1")


async def test_turns_and_commands_survive_the_loss_of_their_connections(world: World) -> None:
    entry = CloseDate(uuid4(), "desk", "rina", "banjir", TUESDAY.service_date)
    await world.ticket(world.request(1))
    with psycopg.connect(world.settings.database_url, autocommit=True) as other:
        end_all_others(other)
        assert world.turn() == 1
        await world.producer.send_command(PUSAT, entry)
        end_all_others(other)
        world.turn()
    assert await world.staff.action(entry.action_id)
    assert world.verify() == []


async def test_read_only_sessions_are_replaced_once_postgres_accepts_writes(world: World) -> None:
    request = world.request(1)
    entry = CloseDate(uuid4(), "desk", "rina", "banjir", TUESDAY.service_date)
    await world.ticket(request)
    lease = world.take()
    decided = world.decide(lease)
    with read_only(world.settings.database_url):
        world.recorder.offices()  # over a session that is read-only from now on
        with pytest.raises(psycopg.OperationalError, match="read-only transaction"):
            world.record(lease, decided)
        world.recorder.offices()
    world.settle(lease, world.record(lease, decided))
    assert (await world.recorded(request)).state is State.CONFIRMED
    with read_only(world.settings.database_url):
        world.recorder.offices()
        await world.producer.send_command(PUSAT, entry)
        with pytest.raises(psycopg.OperationalError, match="read-only transaction"):
            world.turn()
        world.recorder.offices()
    world.lease_ends()
    world.turn()
    assert await world.staff.action(entry.action_id)
    assert world.verify() == []


async def test_a_servers_read_only_sessions_are_replaced_once_postgres_accepts_writes(
    async_pool: AsyncPool, database_url: str
) -> None:
    with read_only(database_url):
        await async_pool.rows("select 1")
        async with async_pool.connection() as made:
            with pytest.raises(ConnectionLostError, match="read-only transaction"):
                await made.execute("create table nothing ()")
            assert made.closed

    async def write() -> None:
        async with async_pool.connection() as made:
            await made.execute("create temporary table something ()")

    with suppress(ConnectionLostError):  # of those that the pool has made while sessions still began read-only
        await write()
        return
    await write()


@pytest.mark.parametrize("statement", ["select 1 / 0", "set statement_timeout = 1; select pg_sleep(1)"])
def test_a_query_error_keeps_the_connection(pool: Pool, statement: str) -> None:
    with pool.connection() as made:
        with pytest.raises((psycopg.DataError, psycopg.errors.QueryCanceled)):
            made.execute(statement.encode())
        assert not made.closed


async def test_a_worker_reconnects_when_redis_is_no_longer_the_primary(world: World) -> None:
    await world.ticket(world.request(1))
    before = world.consumer._redis.client_id()
    world.redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(ReadOnlyError):
            world.take()
    finally:
        world.redis.replicaof("NO", "ONE")
    assert world.consumer._redis.client_id() != before
    assert world.turn() == 1
