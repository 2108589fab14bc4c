"""The lean connection to Redis: order, losses, silence, who is let in, and what is heard; on both loops."""

import asyncio
import logging
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from antrian.lane import connection as lane_pipe
from antrian.lane import producer as lane_producer
from antrian.lane.connection import Pipe, Script
from antrian.lane.producer import LaneProducer, is_full
from tests.acceptance.test_tls import write_certificate
from tests.faults.proxy import Proxy
from tests.support.limits import NO_LIMITS
from tests.support.waiting import until
from tests.support.world import PUSAT, World

MakePipe = Callable[..., Pipe]
COUNT = "return redis.call('incr', 'count')"
_DATABASE = 9


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An ordinary client of the test's Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def make(redis_url: str) -> AsyncIterator[MakePipe]:
    """Makes pipes, by default to the test's Redis."""
    made = []

    def one(url: str = redis_url, on_message: Callable[[bytes], object] | None = None) -> Pipe:
        made.append(Pipe(url, on_message))
        return made[-1]

    yield one
    for pipe in made:
        pipe.close()
    await asyncio.sleep(0)  # the loop lets go of the sockets


@pytest.fixture
def pipe(make: MakePipe) -> Pipe:
    """One to the test's Redis."""
    return make()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """A link to the test's Redis that can be broken."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix" and parts.hostname not in {"localhost", "127.0.0.1"}:
        pytest.skip("the Redis is not on this machine")
    made = Proxy(Path(parts.path) if parts.scheme == "unix" else parts.port or 6379)
    await made.start()
    yield made
    made.heal()
    await made.close()


@pytest.fixture
def linked(redis_url: str, proxy: Proxy) -> str:
    """The Redis's URL through that link. It names a database, so that a connection begins with a question."""
    return f"{_elsewhere(redis_url, proxy.port)}?db={_DATABASE}"


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_pipe, "_TIMEOUT", 0.3)


def _elsewhere(redis_url: str, port: int, scheme: str = "redis") -> str:
    """That Redis, under the same user, at another port."""
    user, at, _ = urlsplit(redis_url).netloc.rpartition("@")
    return f"{scheme}://{user}{at}127.0.0.1:{port}"


def _under_way(redis: Redis) -> bool:
    """Whether a client waits for its answer."""
    return any("b" in client["flags"] for client in redis.client_list())


async def test_concurrent_calls_each_get_their_own_response_in_order(pipe: Pipe) -> None:
    responses = await asyncio.gather(*(pipe.call("INCR", "count") for _ in range(5000)))
    assert responses == list(range(1, 5001))
    assert await asyncio.gather(*(pipe.call("ECHO", b"%d\r\n\0" % n) for n in range(500))) == [
        b"%d\r\n\0" % n for n in range(500)
    ]


async def test_calls_made_while_connecting_share_one_connection(redis: Redis, pipe: Pipe) -> None:
    assert len(set(await asyncio.gather(*(pipe.call("CLIENT", "ID") for _ in range(50))))) == 1


async def test_fragmented_responses_are_reassembled(make: MakePipe, linked: str, proxy: Proxy) -> None:
    pipe, text = make(linked), bytes(range(256)) * 40
    proxy.slice_bytes = 7
    one, two = await asyncio.gather(pipe.call("ECHO", text), pipe.call("EVAL", "return {1, {2, '3'}, false}", 0))
    assert (one, two) == (text, [1, [2, b"3"], None])


async def test_a_script_is_sent_again_after_its_connection_is_killed(redis: Redis, pipe: Pipe) -> None:
    count = Script(pipe, COUNT)
    assert await count() == 1
    redis.client_kill_filter(_id=await pipe.call("CLIENT", "ID"))
    assert await count() == 2


async def test_a_script_in_flight_is_sent_again_after_a_loss(redis: Redis, pipe: Pipe) -> None:
    count = Script(pipe, COUNT)
    await count()
    killed = await pipe.call("CLIENT", "ID")
    redis.client_pause(20_000, all=False)
    try:
        asked = [asyncio.create_task(count()) for _ in range(3)]
        await until(lambda: _under_way(redis))
        redis.client_kill_filter(_id=killed)
    finally:
        redis.client_unpause()
    assert sorted(await asyncio.gather(*asked)) == [2, 3, 4]


async def test_other_commands_in_flight_are_not_sent_again_after_a_loss(redis: Redis, pipe: Pipe) -> None:
    killed = await pipe.call("CLIENT", "ID")
    asked = [asyncio.create_task(pipe.call("BLPOP", "none", 0)), asyncio.create_task(pipe.call("INCR", "count"))]
    await until(lambda: _under_way(redis))
    assert not await pipe.lost(within=0)
    redis.client_kill_filter(_id=killed)
    for one in asked:
        with pytest.raises(RedisConnectionError, match="was lost"):
            await one
    assert await pipe.lost(within=5)
    assert await pipe.call("INCR", "count") == 1


async def test_a_script_missing_from_redis_is_loaded_again(redis: Redis, pipe: Pipe) -> None:
    count = Script(pipe, COUNT)
    await count()
    redis.script_flush()
    assert sorted(await asyncio.gather(*(count() for _ in range(20)))) == list(range(2, 22))


@pytest.mark.usefixtures("_short")
async def test_a_response_timeout_closes_the_connection_and_the_next_call_reconnects(redis: Redis, pipe: Pipe) -> None:
    count = Script(pipe, COUNT)
    await count()
    silent = await pipe.call("CLIENT", "ID")
    redis.client_pause(20_000, all=False)
    try:
        asked = [asyncio.create_task(count()) for _ in range(3)]
        for one in asked:
            with pytest.raises(RedisTimeoutError, match=r"no reply from Redis within 0\.3 s"):
                await one
        assert await pipe.call("CLIENT", "ID") != silent
        await until(lambda: not _under_way(redis))
    finally:
        redis.client_unpause()
    assert await count() == 2, "it was sent again, or done for who has left"


@pytest.mark.usefixtures("_short")
async def test_a_connection_stays_open_while_each_response_is_in_time(pipe: Pipe) -> None:
    assert await asyncio.gather(*(pipe.call("BLPOP", "none", 0.15) for _ in range(1))) == [None]
    first = await pipe.call("CLIENT", "ID")
    for _ in range(4):
        assert await pipe.call("BLPOP", "none", 0.15) is None
    assert await pipe.call("CLIENT", "ID") == first


@pytest.mark.usefixtures("_short")
async def test_a_response_timeout_applies_although_every_caller_was_cancelled(
    make: MakePipe, linked: str, proxy: Proxy
) -> None:
    pipe = make(linked)
    await pipe.call("PING")
    proxy.black_hole()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await pipe.call("PING")
    assert await pipe.lost(within=5)
    proxy.heal()
    assert await pipe.call("PING") == b"PONG"


@pytest.mark.usefixtures("_short")
async def test_a_timeout_while_connecting_fails_all_waiting_calls_and_leaves_no_connection(
    make: MakePipe, linked: str, proxy: Proxy
) -> None:
    pipe = make(linked)
    proxy.black_hole(queries=False)
    async with asyncio.timeout(3):  # one after the other would be longer than that
        responses = await asyncio.gather(*(pipe.call("PING") for _ in range(30)), return_exceptions=True)
    assert {type(response) for response in responses} == {RedisTimeoutError}
    await until(lambda: not proxy.connections, within=5)
    proxy.heal()
    assert await pipe.call("PING") == b"PONG"


async def test_a_connection_lost_while_connecting_is_made_again(
    make: MakePipe, linked: str, proxy: Proxy, redis_url: str
) -> None:
    proxy.refuse()
    pipes = make(linked), make(_elsewhere(redis_url, proxy.port))
    for pipe in pipes * 50:
        with pytest.raises(RedisConnectionError):
            await pipe.call("PING")
    proxy.heal()
    assert [await pipe.call("PING") for pipe in pipes] == [b"PONG"] * 2


async def test_a_connection_lost_right_after_connecting_fails_its_calls(make: MakePipe) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SELECT")
        writer.write(b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        pipe = make(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/{_DATABASE}")
        for _ in range(20):
            responses = await asyncio.gather(*(pipe.call("PING") for _ in range(10)), return_exceptions=True)
            assert {type(response) for response in responses} == {RedisConnectionError}


async def test_connecting_to_a_closed_port_fails_at_once(make: MakePipe, tmp_path: Path) -> None:
    with pytest.raises(RedisConnectionError, match="cannot be reached"):
        await make("redis://127.0.0.1:1").call("PING")
    with pytest.raises(RedisConnectionError, match="cannot be reached"):
        await make(f"unix://{tmp_path}/none.sock").call("PING")


async def test_a_caller_that_is_cancelled_does_not_disturb_others(make: MakePipe, linked: str, proxy: Proxy) -> None:
    pipe = make(linked)
    for begun in (False, True):  # while the connection is made, and on one that stands
        proxy.freeze()
        asked = [asyncio.create_task(pipe.call("ECHO", str(n))) for n in range(9)]
        await until(lambda: proxy.connections)
        await asyncio.sleep(0)
        for one in asked[::3]:
            one.cancel()
        assert not any(one.done() for one in asked[1::3]), begun
        proxy.heal()
        responses = await asyncio.gather(*asked, return_exceptions=True)
        for n, response in enumerate(responses):
            assert isinstance(response, asyncio.CancelledError) if n % 3 == 0 else response == b"%d" % n


async def test_a_command_that_cannot_be_sent_does_not_disturb_others(pipe: Pipe) -> None:
    with pytest.raises(UnicodeEncodeError):
        await pipe.call("ECHO", "\ud800")
    assert await pipe.call("ECHO", "well") == b"well"


async def test_a_closed_pipe_fails_its_calls_and_does_not_reconnect(
    redis: Redis, make: MakePipe, linked: str, proxy: Proxy
) -> None:
    pipe = make()
    count, asked = Script(pipe, COUNT), asyncio.create_task(pipe.call("BLPOP", "none", 0))
    await until(lambda: _under_way(redis))
    scripted = asyncio.create_task(count())
    await asyncio.sleep(0)
    pipe.close()
    for one in (asked, scripted, asyncio.create_task(pipe.call("PING"))):
        with pytest.raises(RedisConnectionError, match="closed"):
            await one
    assert await pipe.lost(within=5)
    assert redis.get("count") is None

    connecting = make(linked)
    proxy.freeze()
    asked = asyncio.create_task(connecting.call("PING"))
    await until(lambda: proxy.connections)
    connecting.close()
    with pytest.raises(RedisConnectionError, match="closed"):
        await asked
    proxy.heal()
    await until(lambda: not proxy.connections, within=5)


@pytest.fixture
def user(redis: Redis) -> Iterator[tuple[str, str]]:
    """A user of the test's Redis and its password."""
    name, password = f"test-{uuid.uuid4().hex}", "p@ss:/wörd%20?#"
    redis.acl_setuser(name, enabled=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"])
    yield name, password
    redis.acl_deluser(name)


def _as(redis_url: str, user: str, password: str) -> str:
    parts = urlsplit(redis_url)
    at = f"{quote(user)}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=at).geturl()


async def test_the_connection_logs_in_as_the_user_of_the_url(
    make: MakePipe, redis_url: str, user: tuple[str, str]
) -> None:
    pipe = make(_as(redis_url, *user))
    assert await pipe.call("ACL", "WHOAMI") == user[0].encode()


async def test_a_wrong_password_is_refused(make: MakePipe, redis_url: str, user: tuple[str, str]) -> None:
    with pytest.raises(AuthenticationError):
        await make(_as(redis_url, user[0], "wrong")).call("PING")


async def test_a_missing_permission_is_reported(redis: Redis, make: MakePipe, redis_url: str) -> None:
    name = f"test-{uuid.uuid4().hex}"
    redis.acl_setuser(name, enabled=True, nopass=True, keys=["*"], commands=["+ping", "+select"])
    try:
        pipe = make(_as(redis_url, name, ""))
        assert await pipe.call("PING") == b"PONG"
        with pytest.raises(ResponseError, match="no permissions"):
            await pipe.call("INCR", "count")
    finally:
        redis.acl_deluser(name)


async def test_the_connection_uses_the_database_of_the_url(make: MakePipe, redis_url: str) -> None:
    pipe = make(f"{redis_url}?db={_DATABASE}")
    assert f" db={_DATABASE} ".encode() in await pipe.call("CLIENT", "INFO")
    with pytest.raises(RedisConnectionError, match="out of range"):
        await make(f"{redis_url}?db=123456").call("PING")


@asynccontextmanager
async def _secured(proxy: Proxy, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A port with TLS before the link: the wheel's Redis speaks none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    tasks = set[asyncio.Task[Any]]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", proxy.port)
        pumps = [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))]
        tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        writer.transport.abort()
        back.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_tls_requires_a_trusted_certificate(make: MakePipe, redis_url: str, proxy: Proxy, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    async with _secured(proxy, certificate, key) as port:
        secured = _elsewhere(redis_url, port, "rediss")
        pipe = make(f"{secured}?ssl_ca_certs={certificate}&db={_DATABASE}")
        text = b"x" * 1_000_000
        assert await asyncio.gather(*(pipe.call("ECHO", text) for _ in range(5))) == [text] * 5
        proxy.reset()
        assert await pipe.lost(within=5)
        assert await pipe.call("PING") == b"PONG"
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await make(secured).call("PING")
        pipe.close()


@pytest.mark.parametrize(
    ("said", "kind", "full"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError, True),
        ("MISCONF Errors writing to the AOF file: No space left on device", ResponseError, True),
        ("LOADING Redis is loading the dataset in memory", BusyLoadingError, False),
        ("BUSY Redis is busy running a script.", ResponseError, False),
        ("WRONGTYPE Operation against a key", ResponseError, False),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
async def test_errors_are_the_same_as_redis_pys(pipe: Pipe, said: str, kind: type[RedisError], full: bool) -> None:
    before = await pipe.call("CLIENT", "ID")
    with pytest.raises(RedisError) as raised:
        await pipe.call("EVAL", f'return redis.error_reply("{said}")', 0)
    assert type(raised.value) is kind
    assert is_full(raised.value) == full
    assert await pipe.call("CLIENT", "ID") == before


async def test_an_error_nested_in_a_response_does_not_fail_the_call(pipe: Pipe) -> None:
    one, error, three = await pipe.call("EVAL", "return {1, redis.error_reply('MINE two'), 3}", 0)
    assert (one, str(error), type(error), three) == (1, "MINE two", ResponseError, 3)
    assert await pipe.call("PING") == b"PONG"


async def test_a_script_reconnects_when_redis_has_become_a_replica(redis: Redis, pipe: Pipe) -> None:
    refuses_once = """
        if redis.call('incr', 'count') == 1 then
            return redis.error_reply("READONLY You can't write against a read only replica.")
        end
        return 'written'"""
    before = await pipe.call("CLIENT", "ID")
    assert await Script(pipe, refuses_once)() == b"written"
    assert await pipe.call("CLIENT", "ID") != before


@pytest.mark.parametrize("said", [b"-ERR max number of clients reached\r\n", b"-DENIED protected\r\n", b"nonsense\r\n"])
async def test_an_unsolicited_response_closes_the_connection(
    make: MakePipe, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()).startswith(b"*")
        writer.write(b"+OK\r\n" + said)
        await reader.read()
        writer.close()
        remaining.set()

    remaining = asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        pipe = make(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await pipe.call("PING") == b"OK"
        assert await pipe.lost(within=5)
        await remaining.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_published_messages_arrive_between_responses(redis: Redis, make: MakePipe) -> None:
    heard = list[bytes]()
    pipe = make(on_message=heard.append)
    await pipe.call("SUBSCRIBE", "news")
    assert redis.publish("news", "one") == 1
    assert await pipe.call("PING") == [b"pong", b""]
    redis.publish("news", "two")
    await until(lambda: heard == [b"one", b"two"], within=5)


async def test_the_subscription_is_restored_after_its_connection_is_killed(world: World) -> None:
    await until(lambda: world.redis.pubsub_numsub("settled")[0][1])
    for n in range(1, 4):
        [killed] = [one["id"] for one in world.redis.client_list(_type="pubsub")]
        world.redis.client_kill_filter(_id=killed)
        await until(lambda: world.redis.pubsub_numsub("settled")[0][1], within=2)
        ticket = await world.ticket(world.request(n))
        told = world.producer.settled(PUSAT, ticket)
        world.turn()
        async with asyncio.timeout(2):
            await told


@pytest.mark.usefixtures("_short")
async def test_the_subscription_is_restored_after_a_response_timeout(
    world: World, proxy: Proxy, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_producer, "_HEARTBEAT", 0.2)
    producer = LaneProducer(
        _elsewhere(redis_url, proxy.port),
        lane_bound=10,
        account_people=5,
        tried_people=15,
        limits=NO_LIMITS,
        remembered=timedelta(days=1),
        batch_window=timedelta(milliseconds=1),
    )
    await producer.start()
    try:
        await until(lambda: world.redis.pubsub_numsub("settled")[0][1] == 2)
        proxy.black_hole(queries=False)
        lost = producer.settled(PUSAT, await world.ticket(world.request(1)))
        world.turn()
        await until(lambda: world.redis.pubsub_numsub("settled")[0][1] == 1, within=5)
        assert not lost.done()
        proxy.heal()
        await until(lambda: world.redis.pubsub_numsub("settled")[0][1] == 2, within=5)
        told = producer.settled(PUSAT, await world.ticket(world.request(2)))
        world.turn()
        async with asyncio.timeout(2):
            await told
    finally:
        await producer.close()


async def test_resubscribing_backs_off_when_redis_keeps_ending_the_subscription() -> None:
    asked = 0

    async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read(100)
        writer.write(b"*3\r\n$9\r\nsubscribe\r\n$7\r\nsettled\r\n:1\r\n")
        writer.close()

    async with await asyncio.start_server(response, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        producer = LaneProducer(
            f"redis://127.0.0.1:{port}", lane_bound=10, account_people=5, tried_people=15, limits=NO_LIMITS, remembered=timedelta(days=7),
            batch_window=timedelta(milliseconds=1),
        )  # fmt: skip
        await producer.start()
        await asyncio.sleep(0.5)
        await producer.close()
    assert 1 <= asked <= 10
