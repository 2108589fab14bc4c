"""The network breaks as its switches say, and the stores start again on their data."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from antrian.local.embedded import EmbeddedStores
from tests.faults.proxy import Proxy
from tests.support.waiting import until


class Line:
    """A connection to an echo through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, text: bytes, within: float = 0.2) -> bytes:
        """What comes back of it in that time."""
        self.writer.write(text)
        try:
            async with asyncio.timeout(within):
                return await self.reader.readexactly(len(text))
        except TimeoutError:
            return b""


Connect = Callable[[], Awaitable[Line]]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """One before an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError), closing(writer):
            while data := await reader.read(65536):
                writer.write(data)

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        made = Proxy(server.sockets[0].getsockname()[1])
        await made.start()
        yield made
        await made.close()


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Makes lines through the proxy."""
    lines = []

    async def made() -> Line:
        lines.append(Line(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return lines[-1]

    yield made
    for line in lines:
        line.writer.close()
        with suppress(ConnectionResetError):
            await line.writer.wait_closed()


async def test_it_passes_on_in_pieces_and_late(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    assert await line.says(b"hello") == b"hello"
    proxy.slice_bytes = 1
    assert await line.says(b"in pieces" * 100, 5) == b"in pieces" * 100
    proxy.delay = 0.1
    since = time.monotonic()
    assert await line.says(b"late", 5) == b"late"
    assert time.monotonic() - since > 0.2


async def test_a_black_hole_keeps_its_connections_and_heals_for_new_ones(proxy: Proxy, connect: Connect) -> None:
    old = await connect()
    assert await old.says(b"hello") == b"hello"
    proxy.black_hole()
    new = await connect()
    assert (await old.says(b"lost"), await new.says(b"lost")) == (b"", b"")
    proxy.heal()
    assert (await old.says(b"lost"), await new.says(b"lost")) == (b"", b"")
    assert await (await connect()).says(b"hello") == b"hello"


async def test_a_black_hole_refuses_nobody_although_nothing_listens_behind_it(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "nobody")
    await proxy.start()
    proxy.black_hole()
    line = Line(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await line.says(b"lost") == b""
    proxy.heal()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await line.says(b"refused", within=5)
    await proxy.close()


async def test_only_replies_can_be_lost(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    proxy.black_hole(queries=False)
    assert await line.says(b"hello") == b""
    await until(lambda: proxy.swallowed == len(b"hello"))  # the echo heard it


async def test_what_was_frozen_comes_later(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    proxy.freeze()
    assert await line.says(b"hello") == b""
    proxy.heal()
    assert await line.reader.readexactly(5) == b"hello"


async def test_it_resets_and_refuses(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    assert await line.says(b"hello") == b"hello"
    proxy.refuse()
    for broken in (line, await connect()):
        with pytest.raises(ConnectionResetError):
            await broken.reader.readexactly(1)
    proxy.heal()
    assert await (await connect()).says(b"hello") == b"hello"


def test_stores_that_were_killed_start_again_on_their_data(tmp_path: Path) -> None:
    with EmbeddedStores(tmp_path) as stores:
        with Redis.from_url(stores.redis_url) as line, psycopg.connect(stores.database_url) as book:
            line.set("value", "kept")
            book.execute("create table kept as select 'kept' as value")
        for child in stores.children:
            child.process.kill()
            child.process.wait()
        stores.start_redis()
        stores.start_postgres()
        ends = time.monotonic() + 10
        while not (stores.redis_answers() and stores.postgres_answers()):
            assert time.monotonic() < ends
            postgres = stores.children[-1]
            if postgres.process.poll() is not None:  # it met processes of the killed one
                stores.start_postgres()
            time.sleep(0.05)
        with Redis.from_url(stores.redis_url) as line, psycopg.connect(stores.database_url) as book:
            assert line.get("value") == b"kept"
            assert book.execute("select value from kept").fetchone() == ("kept",)
