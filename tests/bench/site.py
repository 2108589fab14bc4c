"""An Antrian to measure: fresh, its window open, on stores of its own; and the check that it kept its promises."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psutil

from antrian.audit.verify import verify
from antrian.lane.consumer import LaneConsumer
from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from antrian.settings import Settings
from tests.support.window import window_to_come


class BrokenPromiseError(Exception):
    """What was measured is worth nothing: the message says which promises it broke."""


@contextmanager
def site(*, workers: int = 2, gateway: bool = False) -> Iterator[Stack]:
    """A running Antrian a minute after its window opened; `antrian verify` runs on it when it is left."""
    opens = window_to_come().opens_at
    with (
        tempfile.TemporaryDirectory(prefix="antrian-bench") as folder,
        Stack(Path(folder), clock=opens + timedelta(minutes=1), workers=workers, gateway=gateway) as stack,
    ):
        yield stack
        drained(stack)
        check(stack)


def drained(stack: Stack, within: float = 120) -> None:
    """Returns when nobody waits in any line."""
    offices, ends = [office.office_id for office in load_offices()], time.monotonic() + within
    with closing(LaneConsumer(stack.settings.redis_url)) as line:
        while any(waiting for waiting, _ in line.depth(offices).values()):
            if time.monotonic() > ends:
                raise TimeoutError(f"lines were not empty within {within:g} s")
            time.sleep(0.05)


def check(stack: Stack) -> None:
    """`antrian verify`. Raises BrokenPromise."""
    check_stores(stack.settings)


def check_stores(settings: Settings) -> None:
    """`antrian verify` where there are only the stores. Raises BrokenPromise."""
    if broken := [f"{one.promise} {one.what}: {one.violations}" for one in verify(settings) if one.violations]:
        raise BrokenPromiseError("; ".join(broken))


def step_aside(stack: Stack, *names: str) -> None:
    """Gives these programs, and all that they started, what the others leave of the processors."""
    for name in names:
        process = psutil.Process(stack.pids()[name])
        for one in (process, *process.children(recursive=True)):
            one.nice(19)


@contextmanager
def frozen(stack: Stack, name: str) -> Iterator[None]:
    """A program, and all that it started, stands still meanwhile; for longer than 40 s its supervisor would not bear it."""
    program = psutil.Process(stack.pids()[name])
    everyone = [program, *program.children(recursive=True)]
    for one in everyone:
        one.suspend()
    try:
        yield
    finally:
        for one in reversed(everyone):
            one.resume()


@contextmanager
def on_one_core(stack: Stack, *servers: int) -> Iterator[None]:
    """These processes have the first core to themselves, and all else of the stack and this process have the others.

    Where there is one core only, nothing changes.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    processes = [psutil.Process(pid) for name, pid in stack.pids().items() if pid not in servers and name != "antrian"]
    baseline = [one.pid for parent in processes for one in (parent, *parent.children(recursive=True))]
    if others:
        for pid in servers:
            _pin(pid, [first])
        for pid in (*baseline, os.getpid()):
            _pin(pid, others)
    try:
        yield
    finally:
        _pin(os.getpid(), [first, *others])


def _pin(pid: int, cores: Iterable[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used, without that of what it started."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
