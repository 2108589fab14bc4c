"""A statement's own connection: an error is one question's, a silence or a loss is everybody's, and then it is made anew."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
import uvloop

from antrian.ledger import statement
from antrian.ledger.statement import Statement
from tests.support.waiting import until

Make = Callable[[str], Statement]


@pytest.fixture
async def make(database_url: str) -> AsyncIterator[Make]:
    """Statements of the test's database, closed in the end."""
    made: list[Statement] = []

    def one(text: str) -> Statement:
        made.append(Statement(database_url, text, "-c statement_timeout=2500"))
        return made[-1]

    yield one
    for asked in made:
        await asked.close()


async def test_concurrent_queries_each_get_their_own_result(make: Make) -> None:
    tenth = make("select 10 / $1::int from generate_series(1, 2)")
    one, none, five = await asyncio.gather(*map(tenth, ("1", "0", "5")), return_exceptions=True)
    assert (one, five) == ([(10,)] * 2, [(2,)] * 2)
    assert isinstance(none, psycopg.errors.DivisionByZero)
    assert await tenth("10") == [(1,)] * 2


async def test_a_response_timeout_fails_all_waiting_queries(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = make("select pg_sleep($1::float8) is null")
    assert await sleeps("0") == [(False,)]
    monkeypatch.setattr(statement, "RESPONSE_TIMEOUT", 0.3)
    responses = await asyncio.gather(*map(sleeps, ("2", "0", "0")), return_exceptions=True)
    assert [str(response) for response in responses] == ["Postgres did not respond within 0.3 s"] * 3
    assert await sleeps("0") == [(False,)], "over a new connection"


async def test_a_lost_connection_is_replaced(make: Make, database_url: str) -> None:
    who = make("select pg_backend_pid(), $1::text")
    [(first, _)] = await who("")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [first])
    async with asyncio.timeout(10):
        await until(lambda: who._pipeline is not None and who._pipeline.lost)
    responses = await asyncio.gather(*[who("") for _ in range(5)])
    [second] = {pid for [(pid, _)] in responses}
    assert second != first, "one new connection for all"


async def test_losing_the_connection_fails_waiting_queries(make: Make, database_url: str) -> None:
    sleeps = make("select pg_sleep($1::float8) is null")
    await sleeps("0")
    asked = asyncio.gather(sleeps("2"), sleeps("0"), return_exceptions=True)
    with psycopg.connect(database_url, autocommit=True) as other:
        await asyncio.sleep(0.1)
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query ~ '_sleep' and pid <> pg_backend_pid()"
        )
    assert all(isinstance(response, psycopg.OperationalError) for response in await asked)
    assert await sleeps("0") == [(False,)]


async def test_a_failed_prepare_is_retried(make: Make, database_url: str) -> None:
    reads = make("select $1::text from not_yet")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await reads("")
    with psycopg.connect(database_url) as other:
        other.execute("create table not_yet ()")
    try:
        assert await reads("") == []
    finally:
        await reads.close()
        with psycopg.connect(database_url) as other:
            other.execute("drop table not_yet")


async def test_a_stale_plan_is_prepared_again(make: Make, database_url: str) -> None:
    reads = make("select a, $1::text from changing")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("create table changing as select 1 as a")
        try:
            assert await reads("") == [(1, "")]
            other.execute("alter table changing alter a type text")
            with pytest.raises(psycopg.OperationalError, match="cached plan must not change"):
                await reads("")
            assert await reads("") == [("1", "")]
        finally:
            await reads.close()
            other.execute("drop table changing")


async def test_an_unreachable_server_fails_all_queries() -> None:
    nowhere = Statement("postgresql://127.0.0.1:1/none", "select $1::text", "")
    responses = await asyncio.gather(*[nowhere("") for _ in range(3)], return_exceptions=True)
    assert all(isinstance(response, psycopg.OperationalError) for response in responses)
    await nowhere.close()


def test_a_socket_closed_by_libpq_does_not_affect_another_with_its_number(database_url: str) -> None:
    """When a connection breaks, libpq closes its socket by itself, and who opens one next gets the same number."""

    async def lose_and_go_on() -> None:
        who = Statement(database_url, "select pg_backend_pid(), $1::text", "")
        [(first, _)] = await who("")
        line = who._pipeline
        assert line
        line._libpq.finish()
        ours, theirs = zip(*(socket.socketpair() for _ in range(4)), strict=True)
        opened = [await asyncio.open_connection(sock=one) for one in ours]
        await until(lambda: line.lost, within=5)
        [(second, _)] = await who("")
        assert second != first
        for (reader, writer), one in zip(opened, theirs, strict=True):
            one.send(b"x")
            async with asyncio.timeout(5):
                assert await reader.read(1) == b"x"
            writer.close()
            one.close()
        await who.close()

    uvloop.run(lose_and_go_on())
