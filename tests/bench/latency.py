"""`python -m tests.bench --only latency`: how long people wait, at rates below what one server can take (open loop).

Accepted: from when a RequestBooking was due until its answer was there, beside the empty server (empty_server.py) at the same
rate. Committed: from when Redis took a request until its turn was settled, which is after Postgres has committed it, beside
one bare round: decide.lua once and one insert of the rows, for as many tickets as workers had in one go, in one lane, on
the same stores and alone.
"""

import secrets
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from statistics import median
from uuid import uuid4

import grpc
import psycopg
from redis import Redis

from antrian.lane import script
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.recorder import LedgerRecorder
from antrian.policy import load_policy
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from tests.bench.accept import empty_server
from tests.bench.aside import aside, listens
from tests.bench.folk import Townsfolk
from tests.bench.http_load import Grpc, Load, load
from tests.bench.row import Plan, Row, row
from tests.bench.site import drained, frozen, site
from tests.support.world import serve
from workers.drain import MAX_TICKETS
from workers.lane_setup import LaneSetup

COMMAND = "python -m tests.bench --only latency"
_SERVICE = "/antrian.v1.BookingService"
_LINES, _CALLS = 4, 64
_SECONDS = 2.0
_SHARES = 0.25, 0.4, 0.5, 0.75
_AIMED = 0.4
_RATE, _BATCH = 2000, 10  # bookings a second, and how many come together, as a gateway gathers them
_WINDOW = 0.002  # seconds for which a server gathers requests, on purpose
_BARE = 40
_INSERT = """
with rows as (
    select * from unnest(%(id)b::uuid[], %(ticket)b::bigint[], %(number)b::int[], %(key)b::bytea[], %(encrypted)b::bytea[])
        as r (id, ticket, number, key, encrypted)
),
booked as (
    insert into bare_booking select
        id, %(office)b, ticket, 1, 1, 'CONFIRMED', null, number, 'local', %(office)b, now(), now(), '0123456789abcde'
    from rows
)
insert into bare_applicant select 1, number, id, key, encrypted from rows
"""


class _Bare:
    """The least that a turn could be: its script, and one statement that writes rows like its own into tables like ours."""

    def __init__(self, redis: Redis, ledger: psycopg.Connection, setup: LaneSetup) -> None:
        self._consumer, self._ledger, self._setup = setup.consumer, ledger, setup
        self._decide = redis.register_script(script("decide"))
        self._office = setup.ledger.offices()[0]
        self._numbers = count(1)
        for table in "booking", "applicant":
            ledger.execute(f"create table bare_{table} (like {table} including all)")

    def round(self, tickets: int, book: Callable[[str, int], object]) -> float:
        """Returns the median seconds for that many tickets, which `book` adds to a queue. Nobody else may drain meanwhile."""
        return median(self._once(tickets, book) for _ in range(_BARE))

    def _once(self, tickets: int, book: Callable[[str, int], object]) -> float:
        office = self._office.office_id
        book(office, tickets)
        lease = self._consumer.lease(office)
        assert lease
        numbers = list(islice(self._numbers, tickets))
        values = {
            "id": [uuid4() for _ in numbers], "ticket": numbers, "number": numbers, "office": office,
            "key": [secrets.token_bytes(16) for _ in numbers], "encrypted": [bytes(60) for _ in numbers],
        }  # fmt: skip
        began = time.perf_counter()
        self._decide(args=[0, 0, 0, "", MAX_TICKETS, 0, office, lease.token])
        self._ledger.execute(_INSERT, values, prepare=True)
        took = time.perf_counter() - began
        serve(self._setup, [lease], {office: self._office})
        return took


@dataclass(frozen=True)
class Outcomes:
    """Seconds from accepted to committed, least first; the tickets of one go; a bare round of as many, in seconds."""

    waits: Sequence[float]
    turn: float
    bare: float


class Bench:
    """An Antrian, an empty server, and who listens to what is settled."""

    def __init__(self, undo: ExitStack) -> None:
        self.stack = undo.enter_context(site())
        self.empty = undo.enter_context(empty_server()).address
        self._listener = undo.enter_context(aside(listens, self.stack.settings.redis_url))
        self._folk = iter(Townsfolk())
        settings = self.stack.settings
        recorder = undo.enter_context(LedgerRecorder(settings.database_url))
        self._ahead = recorder.clock_ahead().total_seconds()
        redis = undo.enter_context(closing(Redis.from_url(settings.redis_url)))
        ledger = undo.enter_context(psycopg.connect(settings.database_url, autocommit=True))
        self._setup = LaneSetup(undo.enter_context(closing(LaneConsumer(settings.redis_url))), recorder, load_policy())
        self._bare = _Bare(redis, ledger, self._setup)
        self._booking = BookingServiceStub(undo.enter_context(grpc.insecure_channel(self.stack.address)))

    def accepted(self, address: str, rate: float) -> Load:
        """Requests at that rate, or as fast as they are answered."""
        drained(self.stack)
        call = partial(Grpc, f"{_SERVICE}/RequestBooking", lambda response: int(bool(response)), _CALLS)
        requests = (message.SerializeToString() for message in self._folk)
        return load(address, call, _LINES, requests, rate=rate, seconds=_SECONDS, look=lambda: [time.process_time()])

    def committed(self) -> tuple[Outcomes, float]:
        """Requests at _RATE until all are committed, and the load's cores."""
        drained(self.stack)
        self._listener.send("forget")
        self._listener.recv()
        responses: list[bytes] = []

        def taken(response: bytes) -> int:
            responses.append(response)
            return _BATCH

        def batches() -> Iterator[bytes]:
            while True:
                yield wire.BatchRequestBookingsRequest(requests=islice(self._folk, _BATCH)).SerializeToString()

        call, look = partial(Grpc, f"{_SERVICE}/BatchRequestBookings", taken, _CALLS), lambda: [time.process_time()]
        address = self.stack.address
        one = load(address, call, _LINES, batches(), size=_BATCH, rate=_RATE, seconds=_SECONDS, look=look)
        drained(self.stack)
        self._listener.send("tell")
        turns: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for office_id, last, moment in self._listener.recv():
            turns[office_id].append((last, moment))
        real = time.time() - time.perf_counter()
        waits = []
        for response in responses:
            for result in wire.BatchRequestBookingsResponse.FromString(response).results:
                booking, of = result.booking, turns[result.booking.office_id]
                settled = of[bisect_left(of, (booking.ticket, 0.0))][1] + real
                waits.append(settled - (booking.accept_time.ToNanoseconds() / 1e9 - self._ahead))
        turn = len(waits) / len({moment for of in turns.values() for _, moment in of})
        return Outcomes(sorted(waits), turn, self._bare_round(max(1, round(turn)))), one.spent[0]

    def _bare_round(self, tickets: int) -> float:
        with frozen(self.stack, "workers"):
            return self._bare.round(tickets, self._book)

    def _book(self, office_id: str, number: int) -> None:
        requests = list(islice((one for one in self._folk if one.office_id == office_id), number))
        results = self._booking.BatchRequestBookings(wire.BatchRequestBookingsRequest(requests=requests)).results
        assert all(result.HasField("booking") for result in results)


def rows(plan: Plan) -> Iterator[Row]:
    """Accepted beside the empty server, committed beside a bare round."""
    shares = (_AIMED,) if plan.quick else _SHARES
    accepted: dict[float, list[tuple[Load, Load]]] = defaultdict(list)
    committed = []
    with ExitStack() as undo:
        bench = Bench(undo)
        fastest = median(bench.accepted(bench.stack.address, 0).rate for _ in range(3))
        print(f"  one server takes {fastest:,.0f} a second", file=sys.stderr, flush=True)
        for nth in range(plan.rounds):
            print(f"  round {nth + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            for share in shares:
                ours, empty = (bench.accepted(where, share * fastest) for where in (bench.stack.address, bench.empty))
                accepted[share].append((ours, empty))
            committed.append(bench.committed())
    for share, loads in accepted.items():
        yield from _accepted(share, loads, quick=plan.quick)
    yield from _committed(committed)


def _accepted(share: float, loads: Sequence[tuple[Load, Load]], *, quick: bool) -> Iterator[Row]:
    at, cores = f"at {share:.0%} of the load", [max(load.spent[0] for load in both) for both in loads]
    told = partial(
        row, reference="an empty handler at that rate", unit="ms", command=COMMAND, better="lower", generator=cores
    )
    for part in () if quick else (500, 990, 999):
        ours, empty = ([_part(load.latencies, part) for load in of] for of in zip(*loads, strict=True))
        yield told(f"accepted {at}, p{part / 10:g}", ours, baseline=empty, target=None)
    if share == _AIMED:
        ours, empty = ([_part(load.latencies, 990) for load in of] for of in zip(*loads, strict=True))
        beyond = [max(one - 1000 * _WINDOW, 0) for one in ours]
        yield told(f"accepted {at}, p99, beyond the {1000 * _WINDOW:g} ms window", beyond, baseline=empty, target=2.0)


def _committed(rounds: Sequence[tuple[Outcomes, float]]) -> Iterator[Row]:
    outcomes, cores = [of for of, _ in rounds], [busy for _, busy in rounds]
    bare, turn = [1000 * of.bare for of in outcomes], median(of.turn for of in outcomes)
    reference = f"a bare round of {turn:.1f}"
    for part, target in (500, 3.0), (990, 6.0), (999, None):
        waits = [_part(of.waits, part) for of in outcomes]
        name = f"accepted to committed at {_RATE:,}/s, p{part / 10:g}"
        yield row(name, waits, reference, bare, "ms", target, COMMAND, better="lower", generator=cores)


def _part(ascending: Sequence[float], per_mille: int) -> float:
    return 1000 * ascending[len(ascending) * per_mille // 1000]
