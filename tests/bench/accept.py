"""`python -m tests.bench --only accept`: what a call costs the server, beside an empty handler behind the same gate.

Antrian and the empty server (empty_server.py) run side by side, one process each; one load after the other keeps one of
them busy with calls that were made beforehand. The servers have a core to themselves; the load, Redis, Postgres and the
workers have the others. Counted is what a server's process gets done for each second of processor time that it uses, which
a busy machine changes little; batches are counted by the clock, too. Workers and Postgres only get what is left of the
processors, and each load begins with empty lines.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from statistics import mean

import grpc

from antrian.offices.catalog import load_offices
from antrian.v1 import booking_service_pb2 as wire
from tests.bench.folk import Townsfolk
from tests.bench.http_load import Grpc, Load, load
from tests.bench.row import Plan, Row, row
from tests.bench.site import cpu_seconds, drained, frozen, on_one_core, site, step_aside

COMMAND = "python -m tests.bench --only accept"
_SERVICE = "/antrian.v1.BookingService"
_LINES, _CALLS = 4, 64
_SLICES, _SECONDS = 4, 0.3  # short loads, one target after the other, so that noise of seconds meets all targets alike
_KNOWN, _BATCH = 2000, 100
_SIZES = 1, 10, 50, 200
_TARGET_SIZE = 50
_MOST = 25_000  # items a second, by batches: beyond, an empty server would wait for the load


@dataclass(frozen=True)
class Target:
    """A server that is measured: its address and its process."""

    address: str
    pid: int


@dataclass(frozen=True)
class Calls:
    """Calls of an rpc, each with its bytes; size: how many bookings a call has; tokens: each call's bearer token."""

    rpc: str
    requests: Callable[[], Iterator[bytes]]
    size: int = 1
    in_flight: int = _CALLS
    tokens: Iterator[str] | None = None

    def load(self, target: Target) -> Load:
        """Keeps a server busy with them; with batches, only as busy as the load's process can."""
        call = partial(
            Grpc, f"{_SERVICE}/{self.rpc}", lambda response: self.size if response else 0, self.in_flight, self.tokens
        )

        def look() -> Sequence[float]:
            return time.process_time(), cpu_seconds(target.pid)

        rate = _MOST if self.size > 1 else 0
        return load(
            target.address, call, _LINES, self.requests(), size=self.size, rate=rate, seconds=_SECONDS, look=look
        )


def sliced(calls: Calls, targets: Sequence[Target]) -> list[Load]:
    """One load of each target, in slices that take turns."""
    return in_turns([(calls, target) for target in targets])


def in_turns(each: Sequence[tuple[Calls, Target]]) -> list[Load]:
    """One load of each, in slices that take turns."""
    slices = [[calls.load(target) for calls, target in each] for _ in range(_SLICES)]
    return [
        Load(
            mean(one.rate for one in of),
            sorted(latency for one in of for latency in one.latencies),
            [mean(spent) for spent in zip(*(one.spent for one in of), strict=True)],
        )
        for of in zip(*slices, strict=True)
    ]


@contextmanager
def empty_server(*, bare: bool = False) -> Iterator[Target]:
    """A running empty server."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.bench.empty_server", *["--bare"] * bare]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield Target(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            process.kill()


def batch_calls(folk: Iterator[wire.RequestBookingRequest], size: int) -> Calls:
    """Batches of that size, with about as many bookings in flight as single calls have."""

    def batches() -> Iterator[bytes]:
        while True:
            batch = wire.BatchRequestBookingsRequest()
            for message in islice(folk, size):
                batch.requests.append(message)
            yield batch.SerializeToString()

    return Calls("BatchRequestBookings", batches, size, max(2, _CALLS // size))


class Known:
    """Bookings that were taken, to be read."""

    def __init__(self, address: str, folk: Iterator[wire.RequestBookingRequest]) -> None:
        reads, requests = [], wire.BatchRequestBookingsRequest.SerializeToString
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                f"{_SERVICE}/BatchRequestBookings", requests, wire.BatchRequestBookingsResponse.FromString
            )
            for _ in range(_KNOWN // _BATCH):
                batch = wire.BatchRequestBookingsRequest()
                for message in islice(folk, _BATCH):
                    batch.requests.append(message)
                for asked, result in zip(batch.requests, call(batch).results, strict=True):
                    reads.append(wire.GetBookingRequest(booking_id=result.booking.booking_id, account=asked.account))
        made = [read.SerializeToString() for read in reads]
        self.calls = Calls("GetBooking", lambda: cycle(made))


class Bench:
    """Antrian, empty servers, and the calls."""

    def __init__(self, undo: ExitStack) -> None:
        self.stack = undo.enter_context(site())
        self.ours = Target(self.stack.address, self.stack.pids()["server"])
        self.empty = undo.enter_context(empty_server())
        self.bare = undo.enter_context(empty_server(bare=True))
        step_aside(self.stack, "workers", "postgres")
        undo.enter_context(on_one_core(self.stack, self.ours.pid, self.empty.pid, self.bare.pid))
        self.folk = iter(Townsfolk())
        self.book = Calls("RequestBooking", lambda: (message.SerializeToString() for message in self.folk))
        places = [wire.GetQuotaRequest(office_id=office.office_id).SerializeToString() for office in load_offices()]
        self.quota = Calls("GetQuota", lambda: cycle(places))
        people = [wire.ListOfficesRequest(location=one.location).SerializeToString() for one in islice(self.folk, 500)]
        self.offices = Calls("ListOffices", lambda: cycle(people))
        self.decided = Known(self.stack.address, self.folk).calls

    def loads(self, calls: Calls, targets: Sequence[Target]) -> list[Load]:
        """One load of each target."""
        drained(self.stack)
        return sliced(calls, targets)

    @contextmanager
    def waiting(self) -> Iterator[Calls]:
        """Reads of bookings that wait in their lines."""
        drained(self.stack)
        with frozen(self.stack, "workers"):
            yield Known(self.stack.address, self.folk).calls


def rows(plan: Plan) -> Iterator[Row]:
    """Each rpc beside an empty handler, and batches beside single calls."""
    sizes = (_TARGET_SIZE,) if plan.quick else _SIZES
    loads: dict[str, list[list[Load]]] = defaultdict(list)
    with ExitStack() as undo:
        bench = Bench(undo)
        both = bench.ours, bench.empty
        batches = {size: batch_calls(bench.folk, size) for size in sizes}
        for nth in range(plan.rounds):
            print(f"  round {nth + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            loads["RequestBooking"].append(bench.loads(bench.book, (*both, bench.bare)))
            for size, calls in batches.items():
                loads[f"batch {size}"].append(bench.loads(calls, both))
            loads["GetQuota"].append(bench.loads(bench.quota, both))
            loads["GetBooking, decided"].append(bench.loads(bench.decided, both))
            with bench.waiting() as calls:
                loads["GetBooking, in line"].append(sliced(calls, both))
            if not plan.quick:
                loads["ListOffices"].append(bench.loads(bench.offices, both))
    yield from _rows({name: list(zip(*of, strict=True)) for name, of in loads.items()}, sizes)


def _rows(loads: dict[str, list[Sequence[Load]]], sizes: Sequence[int]) -> Iterator[Row]:
    unit, empty = "calls/s a core", "an empty handler behind the same gate"
    targets = {"RequestBooking": 0.8, "GetQuota": 0.85, "GetBooking, decided": 0.85, "GetBooking, in line": 0.85}
    for name in (*targets, "ListOffices"):
        if name in loads:
            ours, baseline, *_ = loads[name]
            yield _per_core(name, ours, empty, baseline, unit, targets.get(name))
    unary, bare = loads["RequestBooking"][0], loads["RequestBooking"][2]
    yield _per_core("RequestBooking", unary, "an empty handler of grpc.aio", bare, unit, None)
    for size in sizes:
        ours, baseline = loads[f"batch {size}"]
        name, target = f"BatchRequestBookings({size})", 8.0 if size == _TARGET_SIZE else None
        yield _by_clock(name, ours, "RequestBooking", unary, target)
        yield _per_core(name, ours, empty, baseline, "items/s a core", None)


def _per_core(
    name: str, ours: Sequence[Load], reference: str, baseline: Sequence[Load], unit: str, target: float | None
) -> Row:
    one, other = ([load.rate / load.spent[1] for load in loads] for loads in (ours, baseline))
    return row(name, one, reference, other, unit, target, COMMAND, generator=_generator(ours, baseline))


def _by_clock(name: str, ours: Sequence[Load], reference: str, baseline: Sequence[Load], target: float | None) -> Row:
    one, other = ([load.rate for load in loads] for loads in (ours, baseline))
    return row(name, one, reference, other, "items/s", target, COMMAND, generator=_generator(ours, baseline))


def _generator(*loads: Sequence[Load]) -> list[float]:
    """The cores of the load's process, in the busier of the two."""
    return [max(one.spent[0] for one in together) for together in zip(*loads, strict=True)]
