"""Faults of the network: connections that are silent, cut, slow or fragmented, and lost responses."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from uuid import UUID

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.lane.consumer import LEASE
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import Booking
from clients.sdk.booking_client import RefusedError
from clients.sdk.calls import UNKNOWN
from clients.sdk.history import RecordingClient
from server.__main__ import LIVENESS
from server.caller import LOCAL
from tests.faults.fault import fault
from tests.faults.load import Asked, Load
from tests.faults.proxy import Proxy
from tests.faults.site import SERVERS, WORKERS, Site, Store
from tests.support.waiting import until

_SERVING, _NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
_STORES: tuple[Store, ...] = ("redis", "postgres")
_Cut = Callable[[Proxy], None]
_resets = cycle((True, False))


@fault("server and Redis: black hole", injections=5, quick=1)
async def silence_redis_for_a_server(site: Site, load: Load) -> float:
    """That server is NOT_SERVING until Redis responds again. The other one continues, and callers retry."""
    return await _cut_servers(site, load, SERVERS[:1], "redis", Proxy.black_hole)


@fault("server and Redis: reset", injections=5)
async def refuse_redis_to_a_server(site: Site, load: Load) -> float:
    """The same with errors instead of silence."""
    return await _cut_servers(site, load, SERVERS[:1], "redis", Proxy.refuse)


@fault("all servers and Redis: black hole", injections=5)
async def silence_redis_for_all_servers(site: Site, load: Load) -> float:
    """No request is accepted, accepted ones are decided, then all servers resume."""
    return await _cut_servers(site, load, SERVERS, "redis", Proxy.black_hole)


@fault("all servers and Redis: reset", injections=5)
async def refuse_redis_to_all_servers(site: Site, load: Load) -> float:
    """The same, told by errors."""
    return await _cut_servers(site, load, SERVERS, "redis", Proxy.refuse)


@fault("server and Postgres: black hole", injections=5)
async def silence_postgres_for_a_server(site: Site, load: Load) -> float:
    """That server is NOT_SERVING, because it cannot read outcomes. The other one continues."""
    return await _cut_servers(site, load, SERVERS[:1], "postgres", Proxy.black_hole)


@fault("server and Postgres: reset", injections=5)
async def refuse_postgres_to_a_server(site: Site, load: Load) -> float:
    """The same, told by errors."""
    return await _cut_servers(site, load, SERVERS[:1], "postgres", Proxy.refuse)


@fault("worker and Redis: black hole", injections=5)
async def silence_redis_for_a_worker(site: Site, load: Load) -> float:
    """The other worker takes its lane when the lease expires. Nobody waits for the one that is cut off."""
    return await _cut_workers(site, load, WORKERS[:1], "redis", Proxy.black_hole)


@fault("all workers and Redis: black hole", injections=5)
async def silence_redis_for_all_workers(site: Site, load: Load) -> float:
    """Queues grow, and are drained as soon as a worker reaches Redis on a new connection."""
    return await _cut_workers(site, load, WORKERS, "redis", Proxy.black_hole)


@fault("all workers and Redis: reset", injections=5)
async def refuse_redis_to_all_workers(site: Site, load: Load) -> float:
    """The same, told by errors: worker processes may die of it and are started again."""
    return await _cut_workers(site, load, WORKERS, "redis", Proxy.refuse)


@fault("worker and Postgres: black hole", injections=5, quick=1)
async def silence_postgres_for_a_worker(site: Site, load: Load) -> float:
    """It abandons its turn and takes no other lane, so that the other worker can."""
    return await _cut_workers(site, load, WORKERS[:1], "postgres", Proxy.black_hole)


@fault("all workers and Postgres: black hole", injections=5)
async def silence_postgres_for_all_workers(site: Site, load: Load) -> float:
    """Outboxes stay where they are, and are recorded once when Postgres is there again."""
    return await _cut_workers(site, load, WORKERS, "postgres", Proxy.black_hole)


@fault("all workers and Postgres: reset", injections=5)
async def refuse_postgres_to_all_workers(site: Site, load: Load) -> float:
    """The same, told by errors."""
    return await _cut_workers(site, load, WORKERS, "postgres", Proxy.refuse)


@fault("all workers and Postgres: responses lost", injections=5)
async def lose_answers_of_postgres(site: Site, load: Load) -> float:
    """Turns that were committed without the worker's knowledge are recorded again, which changes nothing."""
    return await _cut_workers(site, load, WORKERS, "postgres", lambda link: link.black_hole(queries=False))


@fault("all workers and Redis: responses lost", injections=5)
async def lose_answers_of_redis_to_workers(site: Site, load: Load) -> float:
    """The next lease takes up leases, decisions and settles that happened without the worker's knowledge."""
    return await _cut_workers(site, load, WORKERS, "redis", lambda link: link.black_hole(queries=False))


@fault("all connections reset at once, repeatedly", injections=5)
async def reset_everything(site: Site, load: Load) -> float:
    """Everything reconnects at once. Callers retry calls that were in flight."""
    for _ in range(5):
        for link in site.links.values():
            link.reset()
        await asyncio.sleep(0.3)
    return time.monotonic()


@fault("all workers 200 ms from Postgres", injections=5)
async def slow_postgres(site: Site, load: Load) -> float:
    """Turns are slower and larger. Outcomes keep coming."""
    with _broken(site, WORKERS, "postgres") as links:
        for link in links:
            link.delay = 0.2
        await _outcomes_go_on(load, 50)
    return time.monotonic()


@fault("all workers so far from Postgres that turns outlast leases", injections=3)
async def postgres_slower_than_a_lease(site: Site, load: Load) -> float:
    """Turns take longer than their leases, lanes change hands in the middle; nothing is recorded or sold twice."""
    with _broken(site, WORKERS, "postgres") as links:
        for link in links:
            link.delay = 0.4 * LEASE.total_seconds()
        await asyncio.sleep(4 * LEASE.total_seconds())
    return time.monotonic()


@fault("server 200 ms from Redis", injections=5)
async def slow_redis(site: Site, load: Load) -> float:
    """It responds more slowly and keeps serving."""
    with _broken(site, SERVERS[:1], "redis") as links:
        links[0].delay = 0.2
        await _outcomes_go_on(load, 50)
        await _until_health(site, SERVERS[0], _SERVING)
    return time.monotonic()


@fault("all messages arrive in tiny fragments", injections=5)
async def slice_everything(site: Site, load: Load) -> float:
    """Nobody is affected."""
    with _broken(site, (*SERVERS, *WORKERS), "redis", "postgres", "calls") as links:
        for link in links:
            link.slice_bytes = random.randint(1, 9)
        await _outcomes_go_on(load, 100)
    return time.monotonic()


@fault("Redis accepted, its response lost", injections=6, quick=1)
async def lose_the_answer_to_a_join(site: Site, load: Load) -> float:
    """Repeating the request_id returns the same booking, after an error and after silence."""
    return await _lose_answers(site, load, "redis", reset=next(_resets))


@fault("server responded, its response lost", injections=5)
async def lose_the_answer_to_a_caller(site: Site, load: Load) -> float:
    """Repeating the request_id returns the same booking."""
    return await _lose_answers(site, load, "calls", reset=True)


@fault("half-open connections to the stores", injections=5, within=15)
async def half_open_stores(site: Site, load: Load) -> float:
    """Each program replaces connections without responses after two or three seconds."""
    with _broken(site, (*SERVERS, *WORKERS), *_STORES) as links:
        for link in links:
            link.black_hole()
    return time.monotonic()


@fault("half-open connections to the servers", injections=5, within=15)
async def half_open_calls(site: Site, load: Load) -> float:
    """A client detects the dead connection, and calls on a new one."""
    with _broken(site, SERVERS, "calls") as links:
        for link in links:
            link.black_hole()
    return time.monotonic()


async def _cut_servers(site: Site, load: Load, names: Sequence[str], store: Store, cut: _Cut) -> float:
    """Until each says that it does not serve; the others are made use of meanwhile."""
    with _broken(site, names, store) as links:
        for link in links:
            cut(link)
        await asyncio.gather(*(_until_health(site, name, _NOT_SERVING) for name in names))
        met = [await _books_at(load, n) for n, name in enumerate(SERVERS) if name not in names]
    mended = time.monotonic()
    await asyncio.gather(*(_until_health(site, name, _SERVING) for name in names), *map(load.follow, met))
    return mended


async def _cut_workers(site: Site, load: Load, names: Sequence[str], store: Store, cut: _Cut) -> float:
    """For longer than a lease; if some worker is left, everybody gets an outcome meanwhile."""
    with _broken(site, names, store) as links:
        for link in links:
            cut(link)
        await asyncio.sleep(LEASE.total_seconds() + 3)
        if len(names) < len(WORKERS):
            new = [load.begin(office.office_id) for office in site.offices]
            await asyncio.wait_for(asyncio.gather(*map(load.follow, new)), 10)
    return time.monotonic()


async def _lose_answers(site: Site, load: Load, link: str, *, reset: bool) -> float:
    with site.redis() as redis, _broken(site, SERVERS[:1], link) as [lost]:
        keys = site.settings.make_keys("public_key")

        def ticket_of(request: RequestBookingRequest) -> int:
            booking_id = keys.booking_id(LOCAL.name, UUID(request.request_id))
            known: bytes | None = redis.hget(f"requests:{booking_id.hex[:3]}", booking_id.bytes)
            return int(known.split()[2]) if known else 0

        new, sent, later = list[Asked](), list[asyncio.Task[Booking]](), load.dates[-1].isoformat()
        for _ in range(10):  # when the load has all connections of the server, no join comes as far as Redis
            lost.black_hole(queries=False)
            new = [load.begin(service_date=later) for _ in range(10)]
            sent = [asyncio.create_task(_booked_by(load.clients[0], asked.request)) for asked in new]
            with suppress(AssertionError):
                await until(lambda: any(ticket_of(asked.request) for asked in new), 1)  # noqa: B023
                break
            lost.reset()
            lost.heal()
            await asyncio.gather(*sent)
            await asyncio.gather(*map(load.follow, new))
        joined = {asked: ticket for asked in new if (ticket := ticket_of(asked.request))}
        assert joined
        assert lost.swallowed
        assert not any(task.done() for task in sent)
        if reset:
            lost.reset()
        lost.heal()
        mended = time.monotonic()
        for asked, booking in zip(new, await asyncio.gather(*sent), strict=True):
            assert booking.ticket == joined.get(asked, booking.ticket)
        await asyncio.gather(*map(load.follow, new))
        return mended


async def _booked_by(client: RecordingClient, request: RequestBookingRequest) -> Booking:
    """The booking, asked for again and again at this one server: it gives up a silent store later than the client a call."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await client.send(request)
            except RefusedError as error:
                if error.code not in UNKNOWN:
                    raise
            await asyncio.sleep(0.1)


async def _books_at(load: Load, server: int) -> Asked:
    """Somebody new has an outcome of that server within five seconds; to be followed when all is well."""
    asked = load.begin(service_date=load.dates[-1].isoformat())
    async with asyncio.timeout(5):
        booking = await load.clients[server].send(asked.request)
        await load.clients[server].outcome(booking.booking_id, asked.request.account)
    return asked


async def _outcomes_go_on(load: Load, count: int) -> None:
    """Waits until that many more requests have an outcome, for at least five seconds."""
    decided = len(load.ended)
    await asyncio.sleep(5)
    await until(lambda: len(load.ended) > decided + count)


async def _until_health(site: Site, server: str, status: int, within: float = 15) -> None:
    """Until the server says this of itself; that it lives it has to say all the time."""
    ends = time.monotonic() + within
    async with grpc.aio.insecure_channel(f"127.0.0.1:{site.links[server, 'calls'].port}") as channel:
        health = HealthStub(channel)
        while True:
            alive = await health.Check(HealthCheckRequest(service=LIVENESS), timeout=3)
            assert alive.status == _SERVING
            said = await health.Check(HealthCheckRequest(), timeout=3)
            if said.status == status:
                return
            assert time.monotonic() < ends, f"{server} still says {said.status} after {within:g} s"
            await asyncio.sleep(0.1)


@contextmanager
def _broken(site: Site, names: Sequence[str], *others: str) -> Iterator[list[Proxy]]:
    """The links between these, for who breaks them; in the end they are mended."""
    links = [site.links[name, other] for name in names for other in others if (name, other) in site.links]
    try:
        yield links
    finally:
        for link in links:
            link.heal()
