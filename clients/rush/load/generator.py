"""Runs the processes that play a crowd, and collects their results."""

import asyncio
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection

import uvloop

from clients.rush.load.crowd_client import CrowdClient
from clients.rush.load.phones import HttpPhones
from clients.rush.load.player import Player
from clients.rush.load.record import Share
from clients.rush.load.tally import Counts, Tally, TallyWriter
from clients.rush.plan.crowd import Crowd, PlannedRequest
from clients.sdk.calls import PATIENCE, Target

# Longer than an app's deadline, so that a late response is measured as late, and not as two requests.
_DEADLINE = timedelta(seconds=20)
_PROGRESS_EVERY = 0.5
Progress = Callable[[Counts], None]


class RushError(Exception):
    """The load could not be played, so there is no result."""


@dataclass(frozen=True)
class Job:
    """The work of one process: share number `share` of `of` shares. patience: after how many seconds people give up."""

    service: Target
    share: int
    of: int
    patience: float


def play(
    crowd: Crowd, service: Target, start: Callable[[list[int]], float], progress: Progress, processes: int
) -> list[Share]:
    """Plays the crowd against the service. Returns when every request has ended.

    start is called with the process ids when all processes are ready, and returns when booking opens, by time.monotonic(). It
    must leave enough time for early submissions. progress is called twice a second. Raises RushError if a process dies
    before the opening.

    After the opening no failure discards results: if a process dies, progress raises, or Ctrl-C is pressed, the other
    processes stop, and the shares contain the reason.
    """
    context = multiprocessing.get_context("spawn")  # a process with grpc in it must not fork
    tally = Tally(context, [office.office_id for office in crowd.town.offices], processes)
    with ExitStack() as undo:
        pipes: list[Connection] = []
        pids: list[int] = []
        for share in range(processes):
            parent_end, child_end = context.Pipe()
            job = Job(service, share, processes, crowd.scenario.habits.patience_s)
            process = context.Process(target=_process, args=(crowd, job, tally.writer(share), child_end), daemon=True)
            process.start()
            undo.callback(process.join)
            undo.callback(process.terminate)
            child_end.close()
            pipes.append(parent_end)
            pids.append(process.pid or 0)
        try:
            for pipe in pipes:
                pipe.recv()
            opening = start(pids)
            for pipe in pipes:
                pipe.send(opening)
        except (EOFError, OSError):
            raise RushError("a process of the load generator died; its error is above") from None
        return _collect(pipes, lambda: progress(tally.read()))


def _collect(pipes: list[Connection], progress: Callable[[], None]) -> list[Share]:
    """Returns the results of the processes. Stops all of them on a failure or a signal."""
    shares: list[Share] = []
    cut = ""
    with _stop_requested() as stop_requested:
        while pipes:
            before = cut
            for pipe in [pipe for pipe in pipes if pipe.poll(_PROGRESS_EVERY / len(pipes))]:
                pipes.remove(pipe)
                try:
                    shares.append(pipe.recv())
                except (EOFError, OSError):
                    cut = "a process of the load generator died, and its results are lost"
                    shares.append(Share([], [], [], 0.0))
            try:
                if not cut:
                    progress()
            except Exception as error:  # no error may discard results
                cut = f"{type(error).__name__}: {error}"
            if stop_requested():
                cut = cut or "Ctrl-C"
            if cut and not before:
                for pipe in pipes:
                    with suppress(OSError):
                        pipe.send(None)
    return [replace(share, cut=cut) for share in shares]


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether SIGINT or SIGTERM arrived. A second signal has its usual effect."""
    requested = False

    def request_stop(number: int, _: object) -> None:
        nonlocal requested
        requested = True
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _process(crowd: Crowd, job: Job, tally: TallyWriter, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    requests = list(crowd.requests(job.share, job.of))
    if job.service.http:  # the gateway batches them
        requests = [replace(planned, gateway=False) for planned in requests]
    # Garbage collection would delay submissions, and the objects of a rush live until its end anyway.
    gc.collect()
    gc.freeze()
    gc.disable()
    pipe.send("ready")
    pipe.send(uvloop.run(_play(requests, job, pipe.recv(), tally, pipe)))


async def _play(
    requests: Iterable[PlannedRequest], job: Job, opening: float, tally: TallyWriter, pipe: Connection
) -> Share:
    """Plays until all requests have ended, or the parent sends a message or closes the pipe."""
    cpu, loop = time.process_time(), asyncio.get_running_loop()
    async with _client(job) as client:
        player = Player(client, opening, tally, job.patience)
        playing = loop.create_task(player.play(requests))

        def stop() -> None:
            loop.remove_reader(pipe.fileno())
            playing.cancel()

        loop.add_reader(pipe.fileno(), stop)
        with suppress(asyncio.CancelledError):
            await playing
        loop.remove_reader(pipe.fileno())
        os.set_blocking(pipe.fileno(), True)  # uvloop made it non-blocking, but Connection.send needs a blocking pipe
    return Share(player.records, player.lags, player.looks, time.process_time() - cpu)


def _client(job: Job) -> CrowdClient | HttpPhones:
    service = job.service
    if service.http:
        return HttpPhones(service.http, token=service.token, deadline=_DEADLINE)
    return CrowdClient(
        service.target,
        token=service.token,
        deadline=_DEADLINE,
        patience=min(PATIENCE, timedelta(seconds=job.patience)),
        credentials=service.credentials,
    )
