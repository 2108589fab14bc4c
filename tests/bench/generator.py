"""`python -m tests.bench.generator`: how much the rush's generator can drive, beside what one server process takes.

The generator plays crowds of growing size against a server that does nothing (sink.py), through BatchRequestBookings; the
greatest rate at which its submissions still leave in time is what it can drive. Beside it the unary RequestBooking calls that
a real server, on stores of its own, answers in a second when two processes keep it busy. Both on this machine, one after
the other, so the ratio says whether the generator or the service is what a rush measures.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from itertools import cycle
from multiprocessing.pool import AsyncResult
from pathlib import Path

import psutil
import uvloop

from antrian.booking import Window
from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from clients.rush.judge.summary import latency
from clients.rush.judge.verdict import LATE_MS
from clients.rush.load.generator import play
from clients.rush.load.survey import make_town
from clients.rush.plan.crowd import Crowd
from clients.rush.plan.scenario import Scenario, load_scenario
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.calls import Target
from tests.support.window import window_to_come

_PROCESSES = 2
_RATES = (2_000, 4_000, 8_000, 12_000, 16_000, 20_000, 24_000, 28_000, 32_000, 40_000)
_IN_FLIGHT = 64
_LEAD = 3.0


def _steady(rate: int, seconds: float) -> Scenario:
    """A constant number of requests per second, all through a gateway."""
    friday = load_scenario("friday", requests=round(rate * seconds))
    none = dict.fromkeys(
        ("impatient", "second_phone", "neighbour", "wrong", "slow", "polling", "watching", "cancel"), 0
    )
    return friday.model_copy(
        update={
            "arrivals": friday.arrivals.model_copy(update={"waiting": 0, "waves": ()}),
            "habits": friday.habits.model_copy(update=none | {"gateway": 1, "staring": 0, "look_later_s": seconds}),
            "bots": friday.bots.model_copy(update={"share": 1, "seconds": seconds}),
        }
    )


def _driven(rate: int, seconds: float, target: str) -> tuple[float, float]:
    """How late its submissions left (ms, p99), and its CPU microseconds a request."""
    window = window_to_come()
    crowd = Crowd(_steady(rate, seconds), make_town(load_offices(), window), 1)
    shares = play(crowd, Target(target), lambda _: time.monotonic() + _LEAD, lambda _: None, _PROCESSES)
    late = latency(max(lag, 0) for share in shares for lag in share.lags)
    assert late
    assert all(record.decided for share in shares for record in share.records)
    return late.p99, sum(share.cpu for share in shares) / crowd.scenario.requests * 1e6


def _unary(target: str, window: Window, process: int, seconds: float) -> int:
    """The unary requests that a busy process gets answered in that time."""

    async def run() -> int:
        crowd = Crowd(load_scenario("friday", requests=60_000), make_town(load_offices(), window), 1)
        asks = cycle(ask.message for ask in crowd.requests(process, 12))
        answered, ends = 0, time.monotonic() + seconds

        async def busy(client: BookingClient) -> None:
            nonlocal answered
            while time.monotonic() < ends:
                try:
                    await client.send(next(asks))
                except RefusedError as refusal:
                    if refusal.uncertain:
                        raise
                answered += 1  # a refusal by the rules is an answer, too

        async with BookingClient(target) as client:
            await asyncio.gather(*(busy(client) for _ in range(_IN_FLIGHT)))
        return answered

    return uvloop.run(run())


def _server_takes(seconds: float) -> float:
    """Unary RequestBooking calls a second that one server process answers."""
    window = window_to_come()
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), clock=window.opens_at + timedelta(minutes=1)) as stack,
        multiprocessing.get_context("spawn").Pool(_PROCESSES) as pool,
    ):
        shares: list[AsyncResult[int]] = [
            pool.apply_async(_unary, (stack.address, window, process, seconds)) for process in range(_PROCESSES)
        ]
        return sum(share.get() for share in shares) / seconds


def _generator_drives(seconds: float) -> tuple[int, float]:
    """The greatest rate at which submissions leave in time, and the generator's CPU microseconds a request there."""
    with subprocess.Popen([sys.executable, "-m", "tests.bench.sink", "7699"], stdout=subprocess.PIPE) as sink:
        try:
            assert sink.stdout
            assert sink.stdout.readline() == b"ready\n"
            best = 0, 0.0
            for rate in _RATES:
                late, cost = _driven(rate, seconds, "127.0.0.1:7699")
                print(
                    f"  {rate:>6,} a second: submissions left {late:.1f} ms late (p99), {cost:.0f} µs of CPU each",
                    file=sys.stderr,
                )
                if late > LATE_MS:
                    break
                best = rate, cost
            return best
        finally:
            sink.kill()


def main() -> None:
    """Measures and prints; --json for programs."""
    parser = argparse.ArgumentParser("python -m tests.bench.generator", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    drives, cost = _generator_drives(given.seconds)
    takes = _server_takes(given.seconds)
    row = {
        "name": "the generator's rate through BatchRequestBookings, beside one server's unary rate",
        "value": drives, "unit": "requests/s", "reference": round(takes), "ratio": round(drives / takes, 1), "target": 3,
        "better": "higher", "generator_cpu_us": round(cost), "load_average": psutil.getloadavg()[0],
        "command": "python -m tests.bench.generator",
    }  # fmt: skip
    if given.json:
        print(json.dumps(row, indent=1))
    else:
        print(
            f"the generator drives {drives:,} requests a second through BatchRequestBookings, {cost:.0f} µs of CPU each"
        )
        print(f"one server process answers {takes:,.0f} unary RequestBooking calls a second")
        print(f"ratio {drives / takes:.1f} (at least 3)")


if __name__ == "__main__":
    main()
