"""`python -m tests.bench --only reads`: what who only looks has to bear while others book, and what who watches costs.

WatchBooking: streams stay open on bookings that wait, which costs the server processor time; then all of these are
decided, and each stream hears of its own some time after the message of its turn was published. Twice as many watch, once,
until 99 % no longer hear within a second. GetQuota while RequestBooking is as busy as it gets, beside GetQuota while nobody
books: its latency at a calm pace, its rate as fast as answers come, and how old the state is that it tells.
"""

import asyncio
import signal
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import cycle, islice
from math import isfinite
from multiprocessing.connection import Connection

import grpc
import psutil
import uvloop

from antrian.ledger.recorder import LedgerRecorder
from antrian.offices.catalog import load_offices
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import Booking
from tests.bench.aside import aside, listens
from tests.bench.folk import Townsfolk
from tests.bench.http_load import WARM, Grpc, Load, load
from tests.bench.row import Plan, Row, row
from tests.bench.site import cpu_seconds, drained, site

COMMAND = "python -m tests.bench --only reads"
_SERVICE = "/antrian.v1.BookingService"
_LINES, _CALLS, _BATCH = 4, 16, 100
_PACE, _SECONDS = 300.0, 1.5
_WRITES = 2 * (_SECONDS + WARM) + 1.5  # seconds for which bookings go on: two loads of reads, and some
_WATCHING, _MORE = (100, 1000), (2000, 4000, 8000)
_ALONE = 20  # times that one watches, one after the other
_IDLE, _WITHIN = 2.0, 40.0  # longer, and the workers' supervisor would take them for dead
_BENT = 1000.0  # milliseconds, after which each stream looks of itself
_TICK = 0.01  # seconds, by which the kernel counts processor time
_TIMES = "GetQuota, p50", "GetQuota, p99", "age of GetQuota, p50", "age of GetQuota, p99"
_READS = {**dict.fromkeys(_TIMES, "ms"), "GetQuota": "calls/s"}
Watched = tuple[float, Sequence[float]]
"""The server's cores while streams only wait, and the seconds until each of them heard, least first."""


def _writes(address: str, pipe: Connection) -> None:
    """A process that books: asked for seconds it says when it has begun, then rate and cores; for a number, what it took."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folk, call = iter(Townsfolk()), partial(Grpc, f"{_SERVICE}/RequestBooking", bool, _CALLS)

    def look() -> list[float]:
        pipe.send("begun")
        return [time.process_time()]

    with suppress(EOFError), grpc.insecure_channel(address) as channel:
        while True:
            much = pipe.recv()
            if isinstance(much, float):
                requests = (message.SerializeToString() for message in folk)
                one = load(address, call, _LINES, requests, seconds=much, look=look)
                pipe.send((one.rate, one.spent[0]))
            else:
                pipe.send(list(_taken(BookingServiceStub(channel), islice(folk, much))))


def _taken(stub: BookingServiceStub, folk: Iterator[wire.RequestBookingRequest]) -> Iterator[tuple[str, int, bytes]]:
    """Books for them; of each the office, the ticket, and the request that watches it."""
    while True:
        batch = wire.BatchRequestBookingsRequest()
        for message in islice(folk, _BATCH):
            batch.requests.append(message)
        if not batch.requests:
            return
        for one, result in zip(batch.requests, stub.BatchRequestBookings(batch).results, strict=True):
            booking: Booking = result.booking
            watch = wire.WatchBookingRequest(booking_id=booking.booking_id, account=one.account)
            yield booking.office_id, booking.ticket, watch.SerializeToString()


class _Watch(Grpc):
    """Calls of WatchBooking, each answered when its stream has ended: with 1 when it had a message."""

    def __init__(self) -> None:
        super().__init__(f"{_SERVICE}/WatchBooking", lambda _: 1, max(_MORE))
        self._head = self._head.replace(b"10S", b"99S")

    @property
    def open(self) -> int:
        """Streams that had a message and have not ended."""
        return sum(bool(message) for _, message in self._calls.values())


class Bench:
    """An Antrian, who books, and who listens to what is settled."""

    def __init__(self, undo: ExitStack) -> None:
        self._stack = undo.enter_context(site())
        self._server = self._stack.pids()["server"]
        self._writer = undo.enter_context(aside(_writes, self._stack.address))
        self._listener = undo.enter_context(aside(listens, self._stack.settings.redis_url))
        self._quotas = [wire.GetQuotaRequest(office_id=one.office_id).SerializeToString() for one in load_offices()]
        with LedgerRecorder(self._stack.settings.database_url) as ledger:
            self._ahead = ledger.clock_ahead().total_seconds()

    def look(self, *, busy: bool) -> dict[str, float]:
        """_READS while others book, or while nobody does, and the cores of the loads' processes."""
        drained(self._stack)
        bookings, cores, ages = 0.0, 0.0, list[float]()
        if busy:
            self._writer.send(_WRITES)
            self._writer.recv()

        def dated(message: bytes) -> int:
            as_of = wire.GetQuotaResponse.FromString(message).read_time
            ages.append(time.time() + self._ahead - as_of.seconds - as_of.nanos / 1e9)
            return 1

        calm, fastest = self._read(dated, _PACE), self._read(lambda _: 1)
        if busy:
            if self._writer.poll():
                raise RuntimeError("bookings had ended before the reads had")
            _, (bookings, cores) = self._writer.recv(), self._writer.recv()
        _progress(f"{fastest.rate:,.0f} reads a second; {bookings:,.0f} bookings a second")
        times = [_part(of, part) for of in (calm.latencies, sorted(ages)) for part in (50, 99)]
        return dict(zip((*_READS, "cores"), (*times, fastest.rate, max(cores, fastest.spent[0])), strict=True))

    def _read(self, answered: Callable[[bytes], int], rate: float = 0) -> Load:
        call, look = partial(Grpc, f"{_SERVICE}/GetQuota", answered, _CALLS), lambda: [time.process_time()]
        address, requests = self._stack.address, cycle(self._quotas)
        found = load(address, call, _LINES, requests, rate=rate, seconds=_SECONDS, look=look)
        if not isfinite(found.latencies[-1]):
            raise RuntimeError("GetQuota was refused, or not answered in time")
        return found

    def watch(self, number: int, idle: float = _IDLE) -> Watched:
        """Opens that many streams on bookings that wait, and keeps them open for that long."""
        drained(self._stack)
        workers = psutil.Process(self._stack.pids()["workers"])
        everyone = [*workers.children(recursive=True), workers]
        for one in reversed(everyone):
            one.suspend()

        def let_go() -> None:
            for one in everyone:
                one.resume()

        try:
            self._writer.send(number)
            self._listener.send("forget")
            asked, _ = self._writer.recv(), self._listener.recv()
            cores, heard = uvloop.run(self._watch([request for _, _, request in asked], idle, let_go))
        finally:
            let_go()
        self._listener.send("tell")
        turns: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for office_id, last, moment in self._listener.recv():
            turns[office_id].append((last, moment))
        places = [(at, turns[office_id], ticket) for (office_id, ticket, _), at in zip(asked, heard, strict=True)]
        # Less than 0 where a stream had looked before the message was out.
        return cores, sorted(at - of[bisect_left(of, (ticket, 0.0))][1] for at, of, ticket in places)

    async def _watch(
        self, requests: Sequence[bytes], idle: float, let_go: Callable[[], None]
    ) -> tuple[float, list[float]]:
        """The server's cores while they wait; when each stream ended."""
        loop, (host, _, port) = asyncio.get_running_loop(), self._stack.address.partition(":")
        opened = [await loop.create_connection(_Watch, host, int(port)) for _ in range(_LINES)]
        ended, all_ended = dict[int, float](), asyncio.Event()

        def end(nth: int, told: int) -> None:
            ended[nth] = time.perf_counter() if told else float("inf")
            if len(ended) == len(requests):
                all_ended.set()

        async with asyncio.timeout(_WITHIN):
            for nth, request in enumerate(requests):
                opened[nth % _LINES][1].send(request, partial(end, nth))
                # gRPC drops calls when a thousand have come of which the server's Python has not heard yet.
                if nth % _BATCH == _BATCH - 1 or nth == len(requests) - 1:
                    while sum(watch.open for _, watch in opened) + len(ended) <= nth:  # noqa: ASYNC110
                        await asyncio.sleep(0.005)
            before, began = cpu_seconds(self._server), time.perf_counter()
            await asyncio.sleep(idle)
            cores = (cpu_seconds(self._server) - before) / (time.perf_counter() - began)
            let_go()
            await all_ended.wait()
        for transport, _ in opened:
            transport.close()
        if not isfinite(max(ended.values())):
            raise RuntimeError("WatchBooking was refused")
        return cores, [ended[nth] for nth in range(len(requests))]


def rows(plan: Plan) -> Iterator[Row]:
    """Watchers, then reads while others book; nothing of it has a target."""
    if plan.quick:
        return
    with ExitStack() as undo:
        bench = Bench(undo)
        alone, watched = list[Watched](), {number: list[Watched]() for number in _WATCHING}
        for n in range(plan.rounds):
            _progress(f"watchers, round {n + 1} of {plan.rounds}")
            first, *again = [bench.watch(1, idle=0.0 if nth else _IDLE) for nth in range(_ALONE)]
            alone.append((first[0], sorted(delay for _, delays in (first, *again) for delay in delays)))
            for number, rounds in watched.items():
                rounds.append(bench.watch(number))
        for number in _MORE:
            _progress(f"{number:,} watchers")
            watched[number] = [bench.watch(number)]
            if _part(watched[number][0][1], 99) > _BENT:
                break
        calm, busy = list[dict[str, float]](), list[dict[str, float]]()
        for n in range(plan.rounds):
            _progress(f"reads, round {n + 1} of {plan.rounds}")
            calm.append(bench.look(busy=False))
            busy.append(bench.look(busy=True))
    for number, rounds in watched.items():
        yield from _hearing(number, rounds, alone[: len(rounds)])
    for name, unit in _READS.items():
        values, baseline, cores = (
            [one[key] for one in of] for of, key in ((busy, name), (calm, name), (busy, "cores"))
        )
        told = partial(row, f"{name}, while others book", values, "while nobody books", baseline, unit, None, COMMAND)
        yield told(better="lower" if unit == "ms" else "higher", generator=cores)


def _hearing(number: int, many: Sequence[Watched], alone: Sequence[Watched]) -> Iterator[Row]:
    told = partial(row, reference="1 watcher", target=None, command=COMMAND, better="lower")
    for part in (50, 99):
        values, baseline = ([_part(delays, part) for _, delays in of] for of in (many, alone))
        yield told(f"decided to heard, {number:,} watchers, p{part}", values, baseline=baseline, unit="ms")
    # One is less than the clock tells: at most a tick.
    values, baseline = ([1000 * max(cores, _TICK / _IDLE) for cores, _ in of] for of in (many, alone))
    yield told(f"the server, {number:,} idle watchers", values, baseline=baseline, unit="ms of CPU/s")


def _part(ascending: Sequence[float], percent: int) -> float:
    return 1000 * ascending[len(ascending) * percent // 100]


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
