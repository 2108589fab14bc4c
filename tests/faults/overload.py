"""Faults of too much at once, and of tickets that cannot be served; what they and tests/faults/callers.py need beside a site."""

import asyncio
import logging
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import grpc
import psutil
import psycopg

from antrian import rules
from antrian.booking import EncryptedApplicant, Person, Session, SetQuota, Slot
from antrian.identity import Keys
from antrian.lane.consumer import LaneConsumer
from antrian.lane.producer import Joined, JoinRequest, LaneProducer
from antrian.policy import load_policy
from antrian.v1.booking_service_pb2 import RequestBookingRequest, WatchBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, SESSION_MORNING
from clients.sdk.booking_client import BookingClient, RefusedError
from server.caller import LOCAL
from tests.acceptance.person import Crowd
from tests.faults.fault import fault
from tests.faults.load import Asked, Load
from tests.faults.site import SERVERS, WORKERS, Site
from tests.support.waiting import until

_BOUND, _FLOOD = 40, 800  # more than three turns
_STREAMS, _WATCHED = 1000, 200
_MOST_KIB = 150  # a stream
Observation = tuple[str, grpc.StatusCode, bool, bool]
_log = logging.getLogger(__name__)


@fault("a poison ticket", injections=5)
async def poison_ticket(site: Site, load: Load) -> float:
    """It is refused alone (INTERNAL) with an alarm, its number retired; its turn, its lane and the others go on."""
    return await _poison(site, load, 1)


@fault("several poison tickets in one turn", injections=5)
async def poison_tickets(site: Site, load: Load) -> float:
    """Each of them is found."""
    return await _poison(site, load, 6)


@fault("a full lane", injections=5)
async def fill_a_lane(site: Site, load: Load) -> float:
    """New requests are refused with a retry delay, known ones get their booking. The lane drains as usual, then has room."""
    office = load.offices[0]
    async with (
        another_server(site, "tests.faults.small_server", str(_BOUND)) as target,
        BookingClient(target, patience=timedelta(0)) as client,
    ):
        late = [load.begin(office) for _ in range(50)]
        with workers_frozen(site):
            inside = [load.begin(office) for _ in range(_BOUND)]
            first = await asyncio.gather(*(load.clients[0].send(asked.request) for asked in inside))
            told = Counter(await asyncio.gather(*(refusal(client.stub.RequestBooking, a.request) for a in late)))
            assert told == {("LANE_FULL", grpc.StatusCode.UNAVAILABLE, True, True): len(late)}, told
            again = await asyncio.gather(*(client.send(asked.request) for asked in inside))
            assert [b.ticket for b in again] == [b.ticket for b in first]
        thawed = time.monotonic()
        async with asyncio.timeout(5):
            await asyncio.gather(*map(load.follow, inside))
        await asyncio.gather(*map(load.follow, late))
        assert (await client.send(late[0].request)).booking_id
    return thawed


@fault("1,000 idle watch streams", injections=3, within=20)
async def watch_in_thousands(site: Site, load: Load) -> float:
    """The server serves others as ever, at little memory a stream; each stream ends with its outcome."""
    process, client = process_of(site), load.clients[0]
    new = [load.begin(service_date=load.dates[-1].isoformat()) for _ in range(_WATCHED)]
    watching = Counter[str]()

    async def watch(booking_id: str, account: str) -> None:
        state = BOOKING_STATE_PENDING
        async for response in client.stub.WatchBooking(WatchBookingRequest(booking_id=booking_id, account=account)):
            state = response.booking.state
            watching[booking_id] += 1
        assert state != BOOKING_STATE_PENDING

    with workers_frozen(site):
        bookings = await asyncio.gather(*(client.send(asked.request) for asked in new))
        before = process.memory_info().rss
        pairs = [(booking.booking_id, asked.request.account) for booking, asked in zip(bookings, new, strict=True)]
        streams = [asyncio.create_task(watch(*pair)) for pair in pairs * (_STREAMS // _WATCHED)]
        await until(lambda: watching.total() >= _STREAMS)
        kib = (process.memory_info().rss - before) / 1024 / _STREAMS
        seconds = []
        for _ in range(50):
            began = time.monotonic()
            await client.get_quota(random.choice(load.offices))
            seconds.append(time.monotonic() - began)
        _log.warning("%d idle streams: %.1f KiB each, others wait %.0f ms", _STREAMS, kib, 1000 * median(seconds))
        assert kib < _MOST_KIB
        assert median(seconds) < 0.5
    thawed = time.monotonic()
    await asyncio.gather(*streams, *map(load.follow, new))
    return thawed


@fault("a flood of requests at one office", injections=5, within=20)
async def flood_an_office(site: Site, load: Load) -> float:
    """Who came to another office after many hundreds at this one waits for a turn of it, not for all of them."""
    busy, quiet = load.offices[:2]
    with workers_frozen(site):
        flood = [load.begin(busy) for _ in range(_FLOOD)]
        for start in range(0, len(flood), 200):
            responses = await load.clients[0].send_batch([asked.request for asked in flood[start : start + 200]])
            refused = [response for response in responses if isinstance(response, RefusedError)]
            assert not refused, refused[0]
        person = load.begin(quiet)
        await load.clients[1].send(person.request)
    thawed = time.monotonic()
    async with asyncio.timeout(3):
        await load.follow(person)
    for start in range(0, len(flood), 50):
        await asyncio.gather(*map(load.follow, flood[start : start + 50]))
    return thawed


async def _poison(site: Site, load: Load, count: int) -> float:
    """Among others of a slot with room for them, in one turn."""
    settings, policy = site.settings, load_policy()
    keys, crowd = settings.make_keys("public_key"), Crowd(random.getrandbits(64), site.dates)
    producer = LaneProducer(
        settings.redis_url,
        lane_bound=policy.lane_bound,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=policy.limits,
        remembered=policy.remembered,
        batch_window=timedelta(0),
    )
    office, slot = random.choice(load.offices), Slot(random.choice(site.dates), Session.MORNING)
    values: dict[str, Any] = {"service_date": slot.service_date.isoformat(), "session": SESSION_MORNING}
    others: list[Asked] = []
    poisons: list[tuple[UUID, int]] = []
    try:
        with workers_frozen(site):
            with closing(LaneConsumer(settings.redis_url)) as line:
                quota = line.audit(office).counters[slot][0]
            await producer.send_command(
                office, SetQuota(uuid4(), "staff", "tester", "room for a test", slot, quota + 40, None)
            )
            for n in range(2 * count + 1):
                if n % 2 == 0:
                    others.append(load.begin(office, **values))
                    await load.clients[0].send(others[-1].request)
                    continue
                request = _as_poison(_join_request(crowd.request(office_id=office, **values), slot, keys), n // 2)
                response = await producer.join(request)
                assert isinstance(response, Joined), response
                poisons.append((request.booking_id, response.ticket))
    finally:
        await producer.close()
    thawed = time.monotonic()
    elsewhere = load.begin(next(name for name in load.offices if name != office))
    async with asyncio.timeout(10):
        await asyncio.gather(*map(load.follow, [*others, elsewhere]))
    assert all(asked.outcome for asked in others)
    async with await psycopg.AsyncConnection.connect(settings.database_url) as book:
        asked_for = [booking_id for booking_id, _ in poisons]
        found = await book.execute(
            "select state, reason, first_number > 0 from booking where booking_id = any(%s)", [asked_for]
        )
        assert Counter(await found.fetchall()) == {("REJECTED", "INTERNAL", True): count}
    logs = "".join((site.folder / f"log/{name}.log").read_text() for name in WORKERS).splitlines()
    for _, ticket in poisons:
        assert any('"ERROR"' in line and f"{office} ticket {ticket} refused" in line for line in logs)
    return thawed


def _join_request(request: RequestBookingRequest, slot: Slot, keys: Keys) -> JoinRequest:
    """The request as a server hands it to the line."""
    booking_id = keys.booking_id(LOCAL.name, UUID(request.request_id))
    people = []
    for applicant in request.applicants:
        key = keys.applicant_key(applicant.nik)
        people.append(
            EncryptedApplicant(key, keys.encrypt(booking_id, key, Person(applicant.nik, applicant.full_name)))
        )
    return JoinRequest(
        booking_id=booking_id,
        fingerprint=keys.fingerprint(
            request.office_id,
            slot,
            [(person.key, named.full_name) for person, named in zip(people, request.applicants, strict=True)],
        ),
        owner=keys.owner(LOCAL.name, request.account),
        caller=LOCAL.name,
        account=request.account,
        office_id=request.office_id,
        slot=slot,
        windows=rules.windows_of(load_policy(), slot.service_date),
        applicants=tuple(people),
        refusal=None,
    )


def _as_poison(request: JoinRequest, kind: int) -> JoinRequest:
    """Text that Postgres does not take, or people who could not be called by their names."""
    if kind % 2 == 0:
        return replace(request, account=f"{request.account}\0")
    return replace(request, applicants=tuple(EncryptedApplicant(person.key, b"") for person in request.applicants))


# -- what stands beside a site


@contextmanager
def workers_frozen(site: Site) -> Iterator[None]:
    """No worker does anything."""
    processes = site.worker_processes()
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def another_server(site: Site, module: str = "server", *arguments: str, **environment: str) -> AsyncIterator[str]:
    """One more server, with this in its environment: where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        target = f"127.0.0.1:{probe.getsockname()[1]}"
    await site.start("another", module, *arguments, keep=False, ANTRIAN_LISTEN=target, **environment)
    try:
        await until((site.folder / "another.ready").exists)
        yield target
    finally:
        await site.stop("another")


def process_of(site: Site, name: str = SERVERS[0]) -> psutil.Process:
    """The process that runs under that name now."""
    return psutil.Process(site.programs[name].child.process.pid)


async def refusal(call: Any, request: Any) -> Observation:
    """Its reason and code, and whether it says when to come back: in its details, and in the trailer."""
    try:
        await call(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        refused = RefusedError.of_error(error)
        pushback = any(name == "grpc-retry-pushback-ms" for name, _ in error.trailing_metadata() or ())
        return refused.reason, refused.code, bool(refused.retry_after), pushback
    return "OK", grpc.StatusCode.OK, False, False
