"""Attacks that hold requests of the gateway: none keeps others, or probes, from being served."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256

import aiohttp
import pytest

from antrian.local.stack import Stack
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import Crowd
from tests.acceptance.test_gateway import body_of
from tests.support.http2 import END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, headers
from tests.support.waiting import until

MOST = 400
"""How many requests the gateway serves at once."""
SLOW, SHARE = MOST // 10, MOST // 40
"""How many bodies may arrive slowly, in all and of one address."""
SLOW_BODIES = 520
ATTACKER, NEIGHBOUR = "127.0.0.2", "127.0.0.3"
CONTINUATION = 9


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """An Antrian whose gateway serves few requests at once, and one caller."""
    callers = tmp_path_factory.mktemp("callers") / "callers.toml"
    token = sha256(b"mobile").hexdigest()
    callers.write_text(
        f'[[caller]]\nname = "mobile"\nrole = "gateway"\nvouches_for = "accounts"\ntoken_sha256 = "{token}"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(callers))
        patch.setenv("ANTRIAN_GATEWAY_MOST_REQUESTS", str(MOST))
        patch.setenv("ANTRIAN_GATEWAY_TRUSTED_PROXIES", NEIGHBOUR)
        return start_stack(opens + timedelta(minutes=1), gateway=True)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with the token of the caller "mobile", in English."""
    given = {"Authorization": "Bearer mobile", "Accept-Language": "en"}
    async with aiohttp.ClientSession(f"http://{stack.http_address}", headers=given) as session:
        yield session


@asynccontextmanager
async def connection(
    stack: Stack, address: str = ATTACKER
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the gateway from that address."""
    host, _, port = stack.http_address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


def slow_body(token: str, forwarded_for: str = "") -> bytes:
    """A request whose body has begun and does not end."""
    lines = ["POST /v1/bookings HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 1000"]
    lines += [f"Authorization: Bearer {token}"] * bool(token) + [f"X-Forwarded-For: {forwarded_for}"] * bool(
        forwarded_for
    )
    return "\r\n".join([*lines, "", '{"account": "']).encode()


async def outcome(reader: asyncio.StreamReader) -> str:
    """The status of a response and its reason."""
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [line.split()[1] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(length))
    return f"{head.split()[1].decode()} {json.loads(body)['error']['reason']}"


async def hold(
    stack: Stack, undo: AsyncExitStack, said: list[bytes], address: str = ATTACKER
) -> list[asyncio.Task[str]]:
    """Sends each of these on a connection of its own; returns what becomes of them."""
    held = []
    for one in said:
        reader, writer = await undo.enter_async_context(connection(stack, address))
        writer.write(one)
        held.append(asyncio.create_task(outcome(reader)))
    return held


async def others_are_served(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    """Checks that probes are answered, and that somebody can book, at the latest when bodies have had their free moment."""
    for path in ("/healthz", "/readyz"):
        async with http.get(path) as response:
            assert response.status == 200
    headers, body = body_of(crowd)
    async with asyncio.timeout(5):
        while True:
            async with http.post("/v1/bookings", json=body, headers=headers) as response:
                if response.status == 200:
                    return
                assert (await response.json())["error"]["reason"] == "SERVER_BUSY"


@pytest.mark.parametrize("token", ["", "stranger"])
async def test_slow_bodies_without_a_right_token_are_refused_and_hold_nothing(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd, token: str
) -> None:
    async with AsyncExitStack() as undo:
        held = await hold(stack, undo, [slow_body(token)] * SLOW_BODIES)
        await others_are_served(http, crowd)
        async with asyncio.timeout(8):  # sooner than a body may take
            outcomes = Counter(await asyncio.gather(*held))
    refused = outcomes["401 UNAUTHENTICATED"] + outcomes["429 TOO_MANY_ATTEMPTS"]
    assert refused + outcomes["503 ADDRESS_BUSY"] + outcomes["503 SERVER_BUSY"] * bool(token) == SLOW_BODIES
    assert refused >= (SHARE if token else SLOW_BODIES)


async def test_slow_bodies_with_a_token_hold_the_share_of_their_address(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    async with AsyncExitStack() as undo:
        held = await hold(stack, undo, [slow_body("mobile")] * 100)
        await until(lambda: sum(task.done() for task in held) >= 100 - SHARE)
        [(reason, count)] = Counter(task.result() for task in held if task.done()).items()
        assert (reason, count) == ("503 ADDRESS_BUSY", 100 - SHARE)
        await others_are_served(http, crowd)
        # A trusted proxy speaks for many addresses, and the last one that it names counts.
        forged = [slow_body("mobile", f"10.0.{n}.1, {ATTACKER}") for n in range(5)]
        apart = [slow_body("mobile", f"{ATTACKER}, 10.0.{n}.1") for n in range(SLOW)]
        assert Counter(await asyncio.gather(*await hold(stack, undo, forged, NEIGHBOUR))) == {"503 ADDRESS_BUSY": 5}
        held = await hold(stack, undo, apart, NEIGHBOUR)
        await until(lambda: sum(task.done() for task in held) >= SHARE)
        assert {task.result() for task in held if task.done()} == {"503 SERVER_BUSY"}
        await others_are_served(http, crowd)


def h2_slow_bodies(streams: int) -> bytes:
    """The streams of one connection, each with the head of a request whose body does not come."""
    head = headers("/v1/bookings", content_type=b"application/json")
    return PREFACE + frame(SETTINGS, 0, 0, b"") + b"".join(
        frame(HEADERS, END_HEADERS, 2 * n + 1, head) for n in range(streams)
    )  # fmt: skip


async def test_slow_bodies_of_h2c_streams_hold_nothing(stack: Stack, http: aiohttp.ClientSession, crowd: Crowd) -> None:
    async with AsyncExitStack() as undo:
        for _ in range(3):
            _, writer = await undo.enter_async_context(connection(stack))
            writer.write(h2_slow_bodies(190))
        for _ in range(5):
            await others_are_served(http, crowd)


async def test_a_large_head_over_h2c_is_refused(stack: Stack, http: aiohttp.ClientSession, crowd: Crowd) -> None:
    """15 MB of headers, in frames of 16 KiB."""
    async with connection(stack) as (reader, writer):
        fields = b"".join(headers_of(n) for n in range(960))
        frames = [fields[n : n + 16_000] for n in range(0, len(fields), 16_000)]
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, headers("/healthz")))
        with pytest.raises(ConnectionError):
            await send_all(reader, writer, frames)
    await others_are_served(http, crowd)


async def send_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: list[bytes]) -> None:
    """Sends the rest of a head, and reads what comes."""
    for one in frames:
        writer.write(frame(CONTINUATION, 0, 1, one))
        await writer.drain()
    writer.write(frame(CONTINUATION, END_HEADERS, 1, b""))
    await asyncio.wait_for(reader.read(), 10)


def headers_of(number: int) -> bytes:
    """One more header of 16 kB, not packed."""
    return headers("/healthz", **{f"x_{number}": b"x" * 16_000}).partition(b"application/grpc")[2]


async def test_a_slow_body_with_a_token_is_read(stack: Stack) -> None:
    async with connection(stack) as (reader, writer):
        begun = slow_body("mobile")
        writer.write(begun)
        head, _, body = begun.partition(b"\r\n\r\n")
        assert b"1000" in head
        await asyncio.sleep(0.6)
        writer.write(b'a"' + b" " * (1000 - len(body) - 3) + b"}")
        assert await asyncio.wait_for(outcome(reader), 5) == "400 INVALID_FIELD"  # there is no Idempotency-Key
