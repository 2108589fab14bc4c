"""Faults of callers: too fast, too many, disconnecting, never reading, or not speaking gRPC."""

import asyncio
import hashlib
import random
import struct
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc

from antrian.v1.booking_service_pb2 import GetBookingRequest, WatchBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.history import RecordingClient
from server.caller import LOCAL
from tests.acceptance.person import Crowd
from tests.faults.fault import fault
from tests.faults.load import Asked, Load
from tests.faults.overload import another_server, process_of, refusal, workers_frozen
from tests.faults.site import SERVERS, Site
from tests.support.http2 import DATA, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, headers

_AT_ONCE = timedelta(0)
_MOST_GROWTH = 40 * 2**20
_CALLERS = """
[[caller]]
name = "phone"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{phone}"
[[caller]]
name = "slow"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{slow}"
requests_per_second = 5
"""
_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(range(245))
_GARBAGE = (b"", b"\0" * 4096, b"GET / HTTP/1.1\r\nHost: antrian\r\n\r\n", _HELLO, PREFACE + b"\xff" * 4096)


@fault("callers that disconnect within milliseconds", injections=3)
async def leave_at_once(site: Site, load: Load) -> float:
    """Their accepted requests are decided all the same. Repeating a request_id returns the same booking."""
    new = [load.begin(service_date=load.dates[-1].isoformat()) for _ in range(1000)]
    clients = [
        [_client(load, target, milliseconds / 1000) for target in site.targets] for milliseconds in (1, 3, 8, 20)
    ]

    async def leave(asked: Asked) -> None:
        sending = asyncio.create_task(random.choice(random.choice(clients)).send(asked.request))
        if random.random() < 0.3:
            await asyncio.sleep(random.uniform(0, 0.01))
            sending.cancel()
        with suppress(RefusedError, asyncio.CancelledError):
            await sending

    try:
        for start in range(0, len(new), 50):
            await asyncio.gather(*map(leave, new[start : start + 50]))
    finally:
        await asyncio.gather(*(client.close() for pair in clients for client in pair))
    remaining = time.monotonic()
    for start in range(0, len(new), 50):
        await asyncio.gather(*map(load.follow, new[start : start + 50]))
    return remaining


@fault("callers that disconnect before their joins are sent", injections=5)
async def leave_before_the_join(site: Site, load: Load) -> float:
    """No request joins after its caller has disconnected, by a deadline or a cancel."""
    keys = site.settings.make_keys("public_key")
    new, stay = (
        [load.begin(service_date=load.dates[-1].isoformat()) for _ in range(60)],
        [load.begin(service_date=load.dates[-1].isoformat()) for _ in range(6)],
    )
    async with (
        another_server(site, ANTRIAN_BATCH_WINDOW_MS="100") as target,
        _client(load, target, 5) as patient,
        _client(load, target, 0.02) as hasty,
    ):
        await asyncio.gather(patient.channel.channel_ready(), hasty.channel.channel_ready())
        for nth, start in enumerate(range(0, len(new), 10)):
            with suppress(RefusedError):
                await patient.send(stay[nth].request)  # at once, after the silence: who comes next is gathered
            sent = [asyncio.create_task(hasty.send(asked.request)) for asked in new[start : start + 5]]
            cancelled = [asyncio.create_task(patient.send(asked.request)) for asked in new[start + 5 : start + 10]]
            await asyncio.sleep(0.02)
            for task in cancelled:
                task.cancel()
            for end in await asyncio.gather(*sent, *cancelled, return_exceptions=True):
                assert isinstance(end, RefusedError | asyncio.CancelledError), end
            await asyncio.sleep(0.2)  # until what was gathered is sent
    with site.redis() as redis:
        for asked in new:
            booking_id = keys.booking_id(LOCAL.name, UUID(asked.request.request_id))
            assert not redis.hexists(f"requests:{booking_id.hex[:3]}", booking_id.bytes), "joined for who has left"
    remaining = time.monotonic()
    await asyncio.gather(*map(load.follow, [*new, *stay]))
    return remaining


@fault("caller over its rate limit", injections=3)
async def ask_too_fast(site: Site, load: Load) -> float:
    """Its calls are refused with a retry delay. Other callers of that server are not slowed."""
    file = site.folder / "callers.toml"
    file.write_text(_CALLERS.format(**{name: hashlib.sha256(name.encode()).hexdigest() for name in ("phone", "slow")}))
    crowd, office = Crowd(random.getrandbits(64), site.dates), site.offices[0].office_id
    async with (
        another_server(site, ANTRIAN_CALLERS_FILE=str(file)) as target,
        BookingClient(target, token="slow", patience=_AT_ONCE) as slow,
        BookingClient(target, token="phone", patience=_AT_ONCE) as phone,
    ):
        began = time.monotonic()
        requests = [crowd.request(office_id=office) for _ in range(60)]
        responses = await asyncio.gather(*(slow.send(r) for r in requests), return_exceptions=True)
        seconds = time.monotonic() - began
        refused = [response for response in responses if isinstance(response, BaseException)]
        for refusal in refused:
            assert isinstance(refusal, RefusedError), refusal
            assert (refusal.reason, refusal.code) == ("RATE_LIMITED", grpc.StatusCode.RESOURCE_EXHAUSTED)
            assert refusal.retry_after
        assert 10 <= len(responses) - len(refused) <= 12 + 5 * seconds
        await asyncio.gather(*(phone.send(crowd.request(office_id=office)) for _ in range(50)))
        await asyncio.sleep(1)
        assert (await slow.send(requests[-1])).booking_id
        return time.monotonic()


@fault("server at its limit of calls and streams", injections=3)
async def fill_a_server(site: Site, load: Load) -> float:
    """New calls are refused at once with a retry delay, and served when there is room again."""
    async with (
        another_server(site, ANTRIAN_MOST_CALLS="20") as target,
        BookingClient(target, patience=_AT_ONCE) as client,
    ):
        asked = load.begin(service_date=load.dates[-1].isoformat())
        with workers_frozen(site):
            booking = await load.clients[0].send(asked.request)
            watch = WatchBookingRequest(booking_id=booking.booking_id, account=asked.request.account)
            streams = [client.stub.WatchBooking(watch) for _ in range(16)]
            for stream in streams:
                await stream.read()
            wait = GetBookingRequest(booking_id=booking.booking_id, account=asked.request.account)
            wait.wait.FromSeconds(5)
            began = time.monotonic()
            told = Counter(await asyncio.gather(*(refusal(client.stub.GetBooking, wait) for _ in range(100))))
            assert told == {("SERVER_BUSY", grpc.StatusCode.UNAVAILABLE, True, True): 100}, told
            assert time.monotonic() - began < 3
            await client.get_quota(asked.request.office_id)  # places for who does not wait are kept
        thawed = time.monotonic()
        for stream in streams:
            await _last_state(stream)
        await client.outcome(booking.booking_id, asked.request.account)
        await load.follow(asked)
        return thawed


@fault("clients that never read their streams", injections=5, quick=1)
async def never_read(site: Site, load: Load) -> float:
    """Their streams block. The server's memory stays bounded, and it serves the others."""
    asked = load.begin(service_date=load.dates[-1].isoformat())
    await load.follow(asked)
    assert asked.outcome
    watch = WatchBookingRequest(booking_id=asked.outcome.booking_id, account=asked.request.account)
    message = watch.SerializeToString()
    call = headers("/antrian.v1.BookingService/WatchBooking")
    process, before = process_of(site), 0
    deaf = []
    try:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.links[SERVERS[0], "calls"].port)
            deaf.append(writer)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))  # SETTINGS: windows of no bytes
            for stream in range(1, 400, 2):
                writer.write(frame(HEADERS, 4, stream, call))
                writer.write(frame(DATA, 1, stream, b"\0" + struct.pack(">I", len(message)) + message))
            await writer.drain()
            await asyncio.sleep(0.5)
            before = before or process.memory_info().rss
        await _serves(site, load)
        growth = process.memory_info().rss - before
        assert growth < _MOST_GROWTH, f"{growth} bytes for 800 more streams"
    finally:
        for writer in deaf:
            writer.close()
    return time.monotonic()


@fault("40,000 calls reset at once, over two connections", injections=3, quick=1)
async def reset_rapidly(site: Site, load: Load) -> float:
    """A client without a token can neither block others nor make the server's memory grow."""
    file = site.folder / "callers.toml"
    file.write_text(_CALLERS.format(**{name: hashlib.sha256(name.encode()).hexdigest() for name in ("phone", "slow")}))
    call = headers("/antrian.v1.BookingService/GetQuota")

    async def attack(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, 1, 0, b""))
            for stream in range(1, 40_000, 2):
                writer.write(frame(HEADERS, 4, stream, call) + frame(DATA, 1, stream, bytes(5)))
                writer.write(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))  # RST_STREAM: CANCEL
                if stream % 100 == 1:
                    await writer.drain()
            await asyncio.sleep(1)
        except ConnectionError:
            pass  # the server may end such a connection
        finally:
            writer.close()

    async with (
        another_server(site, ANTRIAN_CALLERS_FILE=str(file)) as target,
        BookingClient(target, token="phone", patience=timedelta(seconds=5)) as phone,
    ):
        await phone.get_quota(load.offices[0])
        process = process_of(site, "another")
        before, port = process.memory_info().rss, int(target.rpartition(":")[2])
        attacks = [asyncio.create_task(attack(port)) for _ in range(2)]
        while not all(task.done() for task in attacks):
            await phone.get_quota(load.offices[0])
            await asyncio.sleep(0.01)
        await asyncio.gather(*attacks)
        growth = process.memory_info().rss - before
        assert growth < _MOST_GROWTH, f"grown by {growth} bytes"
    return time.monotonic()


@fault("garbage, TLS, silence and slow headers on the port", injections=3)
async def speak_another_language(site: Site, load: Load) -> float:
    """The server closes or tolerates such connections. It survives, its memory stays bounded, and it serves the others."""
    process, port = process_of(site), site.links[SERVERS[0], "calls"].port
    before, connections = process.memory_info().rss, []
    slow = PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, headers("/antrian.v1.BookingService/GetQuota"))
    try:
        for words in [*_GARBAGE, *(random.randbytes(2000) for _ in range(5))] * 20:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.append(writer)
            writer.write(words)
        slowly = []
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.append(writer)
            slowly.append(writer)
        for n in range(len(slow)):
            for writer in slowly:
                writer.write(slow[n : n + 1])
            await asyncio.sleep(0.02)
        await _serves(site, load)
        assert process.memory_info().rss - before < _MOST_GROWTH
    finally:
        for writer in connections:
            writer.close()
    return time.monotonic()


@fault("messages that are too large or malformed", injections=3)
async def send_nonsense(site: Site, load: Load) -> float:
    """Each is refused with an explanation. Nobody else is affected."""
    process = process_of(site)
    async with grpc.aio.insecure_channel(site.targets[0]) as channel:

        async def told(method: str, data: bytes) -> str:
            call: Any = channel.unary_unary(f"/antrian.v1.BookingService/{method}")
            try:
                await call(data, timeout=5)
            except grpc.aio.AioRpcError as error:
                return RefusedError.of_error(error).reason
            return "OK"

        expected = {
            ("RequestBooking", bytes(300 * 1024)): "TOO_LARGE",
            ("RequestBooking", bytes(3 * 2**20)): "RESOURCE_EXHAUSTED",
            ("RequestBooking", b"\xff" * 100): "INVALID_MESSAGE",
            ("BatchRequestBookings", b"\x0a\x00" * 201): "TOO_LARGE",
            ("NoSuchRpc", b""): "UNIMPLEMENTED",
        }
        for _ in range(20):
            got = await asyncio.gather(*(told(*what) for what in expected))
            assert got == list(expected.values())
    await _serves(site, load)
    assert process_of(site).pid == process.pid
    return time.monotonic()


def _client(load: Load, target: str, deadline: float) -> RecordingClient:
    """A client that does not retry, and writes to the load's history."""
    options = {"deadline": timedelta(seconds=deadline), "patience": _AT_ONCE, "english": True}
    return RecordingClient(target, history=load.clients[0]._history, **options)


async def _serves(site: Site, load: Load) -> None:
    """The first server has not restarted, and outcomes arrive in normal time."""
    began = time.monotonic()
    for asked in [load.begin(service_date=load.dates[-1].isoformat()) for _ in range(3)]:
        booking = await load.clients[0].send(asked.request)
        await load.clients[0].outcome(booking.booking_id, asked.request.account)
        await load.follow(asked)
    assert time.monotonic() - began < 10


async def _last_state(stream: Any) -> None:
    state = BOOKING_STATE_PENDING
    while response := await stream.read():
        state = response.booking.state
    assert state != BOOKING_STATE_PENDING
