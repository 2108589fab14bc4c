"""`python -m tests.bench --only start`: how long `antrian up` takes to serve, and how much memory its processes have.

Time is from exec to serving, on a new folder and on the same one again, beside that of Redis and Postgres alone. Memory is
what a process has of its own with its part of what it shares (PSS): after the start beside its bare part, and after some
thousand bookings beside after the start. Bare parts are a server whose handlers are empty, a Python that has imported what
workers stand on, and the stores without data.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import grpc
import psutil
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.local.embedded import EmbeddedStores
from antrian.local.stack import Stack
from antrian.v1 import booking_service_pb2 as wire
from clients.sdk.booking_client import Booking, BookingClient
from tests.bench.folk import Townsfolk
from tests.bench.row import Plan, Row, row, side_by_side
from tests.bench.site import drained, site

COMMAND = "python -m tests.bench --only start"
_WITHIN = 60.0
_BOOKINGS, _BATCH = 5000, 50
_SITES = 3
"""Rounds of memory at most: it varies little."""
_STORES = """
import pathlib, signal, sys
from contextlib import suppress
from antrian.local.embedded import EmbeddedStores
signal.signal(signal.SIGTERM, signal.default_int_handler)
with suppress(KeyboardInterrupt), EmbeddedStores(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    signal.pause()
"""
_WORKER = "import psycopg_pool, redis, rq, signal; print('ready', flush=True); signal.pause()"
_BARE = {
    "server": "an empty handler behind the same gate",
    "supervisor": "redis, psycopg, rq alone",
    "worker": "redis, psycopg, rq alone",
    "redis": "Redis alone, without data",
    "postgres": "Postgres alone, without data",
}


def rows(plan: Plan) -> Iterator[Row]:
    """Time to serve, and memory; nothing of it has a target."""
    if plan.quick:
        return
    yield from _times(plan.rounds)
    yield from _memory(min(plan.rounds, _SITES))


def _times(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="antrian-bench") as name:
        folder = Path(name)

        def stores(n: int) -> float:
            return _stores_answer(folder / f"stores-{n}")

        def up(n: int) -> float:
            own = folder / f"up-{n}"
            _progress(f"start, {'same' if own.exists() else 'new'} folder, round {n + 1} of {rounds}")
            return _up_serves(own)

        # What is warm comes after what is cold, in the same folder.
        names = "stores, new folder", "up, new folder", "stores, same folder", "up, same folder"
        values = side_by_side(dict(zip(names, (stores, up, stores, up), strict=True)), rounds)
    for where in ("new folder", "same folder"):
        taken, baseline = values[f"up, {where}"], values[f"stores, {where}"]
        reference = f"Redis and Postgres alone, {where}"
        yield row(
            f"antrian up, {where}, until it serves", taken, reference, baseline, "s", None, COMMAND, better="lower"
        )


def _stores_answer(folder: Path) -> float:
    """Seconds until both answer."""
    began = time.perf_counter()
    with _program("-c", _STORES, str(folder)):
        return time.perf_counter() - began


def _up_serves(folder: Path) -> float:
    """Seconds until its health service says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    began = time.perf_counter()
    with _program("-m", "clients.cli", "up", "--folder", str(folder), "--port", str(port), "--json", waits=False) as up:
        while not _serves(port):
            if up.poll() is not None or time.perf_counter() - began > _WITHIN:
                raise RuntimeError(f"antrian up did not serve; its logs were below {folder}")
            time.sleep(0.005)
        took = time.perf_counter() - began
        assert up.stdout
        up.stdout.readline()  # it is stopped only when it has started
        return took


def _serves(port: int) -> bool:
    with socket.socket() as probe:  # a channel would wait longer and longer before it tries again
        if probe.connect_ex(("127.0.0.1", port)):
            return False
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            status = HealthStub(channel).Check(HealthCheckRequest(), timeout=1).status
        except grpc.RpcError:
            return False
        return bool(status == HealthCheckResponse.SERVING)


@contextmanager
def _program(*arguments: str, waits: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """A Python of ours, once it has printed a line if we wait for that; ended when it is left, and when we end."""
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            if waits and not process.stdout.readline():
                raise RuntimeError(f"{' '.join(arguments)} ended before it was ready")
            yield process
        finally:
            process.terminate()
            process.wait()


def _memory(rounds: int) -> Iterator[Row]:
    bare, started, booked = (defaultdict[str, list[float]](list) for _ in range(3))
    for n in range(rounds):
        _progress(f"memory, round {n + 1} of {rounds}")
        with site() as stack:
            _note(bare, _bare_memory())
            _note(started, _stack_memory(stack))
            asyncio.run(_book(stack.address, _BOOKINGS))
            drained(stack)
            _note(booked, _stack_memory(stack))
    told = partial(row, unit="MiB", target=None, command=COMMAND, better="lower")
    for name, reference in _BARE.items():
        yield told(f"memory, {name}, after the start", started[name], reference, bare[name])
    for name in _BARE:
        after = f"memory, {name}, after {_BOOKINGS:,} bookings"
        yield told(after, booked[name], "after the start", started[name])


def _note(all_of: dict[str, list[float]], one: dict[str, float]) -> None:
    for name, value in one.items():
        all_of[name].append(value)


def _bare_memory() -> dict[str, float]:
    """Of the bare parts, while Antrian runs: so each shares its libraries' pages as Antrian's processes do."""
    with ExitStack() as undo:
        server = undo.enter_context(_program("-m", "tests.bench.empty_server"))
        worker = undo.enter_context(_program("-c", _WORKER))
        stores = undo.enter_context(
            EmbeddedStores(Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="antrian-bench"))))
        )
        python = _mib(worker.pid)
        shown = {"server": _mib(server.pid), "supervisor": python, "worker": python}
        return shown | {name: _family(pid) for name, pid in stores.pids.items()}


def _stack_memory(stack: Stack) -> dict[str, float]:
    """Of each of its processes: a worker's is their mean, Postgres's the sum of its own."""
    pids = stack.pids()
    spawned = [child.pid for child in psutil.Process(pids["workers"]).children() if _is_worker(child)]
    return {
        "server": _mib(pids["server"]),
        "supervisor": _mib(pids["workers"]),
        "worker": sum(map(_mib, spawned)) / len(spawned),
        "redis": _family(pids["redis"]),
        "postgres": _family(pids["postgres"]),
    }


def _is_worker(process: psutil.Process) -> bool:
    return not any("resource_tracker" in part for part in process.cmdline())


def _family(pid: int) -> float:
    return sum(_mib(one.pid) for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)))


def _mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 2**20


async def _book(address: str, bookings: int) -> None:
    folk = iter(Townsfolk())
    async with BookingClient(address) as client:
        for _ in range(bookings // _BATCH):
            batch = wire.BatchRequestBookingsRequest()
            for message in islice(folk, _BATCH):
                batch.requests.append(message)
            refused = [one for one in await client.send_batch(batch.requests) if not isinstance(one, Booking)]
            if refused:
                raise refused[0]


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
