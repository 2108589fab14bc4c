"""`python -m tests.faults.soak`: rush after rush on one Antrian with kills, and whether its programs stay as they were.

Each rush is a week later for the service. In each, a worker process is killed; when half of the time is over, the server and
the gateway are. `antrian verify` runs at the end. Redis keeps requests for days of real time, so it may grow by what
was booked; it has a bound of its own.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from antrian.audit.verify import verify
from antrian.local.stack import Stack
from clients.rush.load.live import Live
from clients.rush.plan.scenario import load_scenario
from clients.rush.play import Orders, rush_running, site_before_opening

_WARM = 3  # rounds until what a program keeps is there
_FLAT_BYTES, _FLAT_SHARE, _FLAT_FILES = 16 << 20, 0.1, 10
_STARTS_WITHIN = 60.0
_REDIS_A_REQUEST = 1000  # bytes, with its people and what is remembered of it
_POSTGRES_BUFFERS = 128 << 20  # which fill once; and it keeps up to a thousand files open in each process
_console = Console(width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True)
class Reading:
    """A program, with the processes below it, after a round: bytes of memory (PSS), open files; life counts its starts."""

    name: str
    life: int
    round: int
    memory: int
    files: int


def main() -> int:
    """Exits 0 when all rushes passed, the promises hold and nothing grew, else 1."""
    parser = argparse.ArgumentParser("python -m tests.faults.soak", description="Play rush after rush, with kills.")
    parser.add_argument("--minutes", type=float, default=20, help="for how long (default: 20)")
    parser.add_argument("--requests", type=int, default=2000, help="of each rush (default: 2000)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the readings there, for programs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="antrian-soak-") as folder, Stack(Path(folder), gateway=True) as stack:
        readings, results = soak(stack, given.minutes * 60, given.requests)
        broken = [f"{check.promise} {check.what}" for check in verify(stack.settings) if check.violations]
    growth = list(grown(readings, given.requests))
    _console.print(table(readings))
    if given.json:
        given.json.write_text(json.dumps({"verdicts": results, "readings": [asdict(one) for one in readings]}) + "\n")
    bad = [verdict for verdict in results if verdict != "PASS"] + broken + growth
    _console.print(f"{len(results)} rushes of {given.requests} requests; " + ("; ".join(bad) or "nothing grew"))
    return 1 if bad else 0


def soak(stack: Stack, seconds: float, requests: int) -> tuple[list[Reading], list[str]]:
    """The readings after each rush, and its verdict. INVALID, of a machine that others share, does not count."""
    readings: list[Reading] = []
    results: list[str] = []
    lives: dict[str, list[int]] = {}
    plan, ends, halved = load_scenario("tests/rush/short.toml", requests=requests), time.monotonic() + seconds, False
    for number in range(10_000):
        site = site_before_opening(stack, plan)
        killed = iter([1])

        def tend(killed: Iterator[int] = killed) -> None:
            stack.tend()
            workers = psutil.Process(stack.pids()["workers"]).children()
            if workers and random.random() < 0.2 and next(killed, None):
                random.choice(workers).kill()

        orders = Orders(plan, number, 1, "soak")
        result = rush_running(replace(site, settings=None, tend=tend), orders, Live(Console(quiet=True), requests, ""))
        if result.verdict != "INVALID":
            results.append(result.verdict)
        for failure in result.failures:
            _console.print(f"     {failure}", markup=False, highlight=False)
        readings += _look(stack, lives, number)
        _console.print(
            f"{number:4} {result.verdict:8}" + "".join(_told(one) for one in readings if one.round == number)
        )
        remaining = ends - time.monotonic()
        if remaining < 0:
            break
        if remaining < seconds / 2 and not halved:
            halved = True
            _kill_and_await(stack, {"server": stack.address, "gateway": stack.http_address})
    return readings, results


def _kill_and_await(stack: Stack, programs: Mapping[str, str]) -> None:
    """Kills these programs, which listen on those addresses, and returns when others in their place do."""
    killed, ends = stack.pids(), time.monotonic() + _STARTS_WITHIN
    for name in programs:
        psutil.Process(killed[name]).kill()
    for name, address in programs.items():
        host, _, port = address.partition(":")
        while True:
            stack.tend()
            with socket.socket() as probe:
                if stack.pids()[name] != killed[name] and probe.connect_ex((host, int(port))) == 0:
                    break
            if time.monotonic() > ends:
                raise TimeoutError(f"nobody listens on {address} after {_STARTS_WITHIN:g} s")
            time.sleep(0.1)


def _look(stack: Stack, lives: dict[str, list[int]], number: int) -> list[Reading]:
    found = []
    for name, pid in stack.pids().items():
        known = lives.setdefault(name, [])
        if pid not in known:
            known.append(pid)
        memory = files = 0
        below = [] if name == "antrian" else psutil.Process(pid).children(recursive=True)  # which is all others' parent
        for process in (psutil.Process(pid), *below):
            try:
                memory, files = memory + process.memory_full_info().pss, files + process.num_fds()
            except psutil.NoSuchProcess:
                continue
        found.append(Reading(name, len(known), number, memory, files))
    return found


def _told(one: Reading) -> str:
    return f"  {one.name} {one.memory >> 20} MiB {one.files}"


def grown(readings: list[Reading], requests: int) -> Iterator[str]:
    """What grew in the life of a program: the last third of its readings beside the first, once it was warm."""
    for (name, life), of in _lives(readings).items():
        warm = of[_WARM:]
        third = len(warm) // 3
        if not third:
            continue
        first, last = warm[:third], warm[-third:]
        before, after = (median(one.memory for one in part) for part in (first, last))
        allowed = max(_FLAT_BYTES, before * _FLAT_SHARE)
        if name == "redis":
            allowed += (last[-1].round - first[0].round) * requests * _REDIS_A_REQUEST
        if name == "postgres":
            allowed += _POSTGRES_BUFFERS
        if after - before > allowed:
            yield f"{name} (life {life}) grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB"
        opened, now = (median(one.files for one in part) for part in (first, last))
        if now - opened > _FLAT_FILES and name != "postgres":
            yield f"{name} (life {life}) had {opened:.0f} files open, then {now:.0f}"


def _lives(readings: list[Reading]) -> dict[tuple[str, int], list[Reading]]:
    found: dict[tuple[str, int], list[Reading]] = {}
    for one in readings:
        found.setdefault((one.name, one.life), []).append(one)
    return found


def table(readings: list[Reading]) -> Table:
    """A row for each life of a program."""
    made = Table("program", "life")
    for head in ("rushes", "MiB first", "warm", "last", "most", "files first", "warm", "last", "most"):
        made.add_column(head, justify="right")
    for (name, life), of in _lives(readings).items():
        warm = of[min(_WARM, len(of) - 1)]
        memory = [one.memory / 2**20 for one in (of[0], warm, of[-1])] + [max(one.memory for one in of) / 2**20]
        files = [of[0].files, warm.files, of[-1].files, max(one.files for one in of)]
        made.add_row(name, str(life), str(len(of)), *(f"{one:.0f}" for one in memory), *map(str, files))
    return made


if __name__ == "__main__":
    sys.exit(main())
