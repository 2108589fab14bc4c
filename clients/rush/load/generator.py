"""The processes that play a crowd, and what they bring home."""

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

from clients.rush.load.phones import HttpPhones
from clients.rush.load.player import CrowdClient, Player
from clients.rush.load.record import Share
from clients.rush.load.tally import Counts, Tally, TallyWriter
from clients.rush.plan.crowd import Ask, Crowd
from clients.sdk.calls import PATIENCE, Target

# Longer than an app's: an answer that is late is to be seen as late, not as two requests.
_DEADLINE = timedelta(seconds=20)
_PROGRESS_EVERY = 0.5
Progress = Callable[[Counts], None]


class RushError(Exception):
    """The load could not be played; nothing can be said about the service."""


@dataclass(frozen=True)
class Job:
    """What one process of the generator does: its share of so many, with people of such patience (seconds)."""

    service: Target
    share: int
    of: int
    patience: float


def play(
    crowd: Crowd, service: Target, start: Callable[[list[int]], float], progress: Progress, processes: int
) -> list[Share]:
    """Plays the crowd against the service, and returns when every request has its end.

    When all processes are ready, start, which is told their pids, says at which time.monotonic() booking opens; what
    should happen before that has to be ahead. progress is called twice a second. Raises RushError when a process died before
    the opening.

    Once it is played, nothing takes away what was seen: when a process dies, progress raises, or Ctrl-C is pressed, the
    others stop, and the shares say why.
    """
    context = multiprocessing.get_context("spawn")  # a process with grpc in it must not fork
    tally = Tally(context, [office.office_id for office in crowd.town.offices], processes)
    with ExitStack() as undo:
        pipes: list[Connection] = []
        pids: list[int] = []
        for share in range(processes):
            ours, theirs = context.Pipe()
            job = Job(service, share, processes, crowd.scenario.habits.patience_s)
            process = context.Process(target=_process, args=(crowd, job, tally.writer(share), theirs), daemon=True)
            process.start()
            undo.callback(process.join)
            undo.callback(process.terminate)
            theirs.close()
            pipes.append(ours)
            pids.append(process.pid or 0)
        try:
            for pipe in pipes:
                pipe.recv()
            opening = start(pids)
            for pipe in pipes:
                pipe.send(opening)
        except (EOFError, OSError):
            raise RushError("a process of the load generator died; its last words are above") from None
        return _collect(pipes, lambda: progress(tally.read()))


def _collect(pipes: list[Connection], progress: Callable[[], None]) -> list[Share]:
    """What the processes bring home, in time or as soon as anything goes wrong."""
    shares: list[Share] = []
    cut = ""
    with _asked_to_stop() as asked:
        while pipes:
            before = cut
            for pipe in [pipe for pipe in pipes if pipe.poll(_PROGRESS_EVERY / len(pipes))]:
                pipes.remove(pipe)
                try:
                    shares.append(pipe.recv())
                except (EOFError, OSError):
                    cut = "a process of the load generator died, and what it saw went with it"
                    shares.append(Share([], [], [], 0.0))
            try:
                if not cut:
                    progress()
            except Exception as error:  # whatever it is, it must not cost what was seen
                cut = f"{type(error).__name__}: {error}"
            if asked():
                cut = cut or "Ctrl-C"
            if cut and not before:
                for pipe in pipes:
                    with suppress(OSError):
                        pipe.send(None)
    return [replace(share, cut=cut) for share in shares]


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed or SIGTERM came; a second time they do what they did before."""
    asked = False

    def ask(number: int, _: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _process(crowd: Crowd, job: Job, tally: TallyWriter, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to all of a terminal; our parent says what to do
    asks = list(crowd.asks(job.share, job.of))
    if job.service.http:  # the gateway gathers them
        asks = [replace(ask, gateway=False) for ask in asks]
    # A collection in the middle would make submissions late, and what a rush makes is kept to its end anyway.
    gc.collect()
    gc.freeze()
    gc.disable()
    pipe.send("ready")
    pipe.send(uvloop.run(_play(asks, job, pipe.recv(), tally, pipe)))


async def _play(asks: Iterable[Ask], job: Job, opening: float, tally: TallyWriter, pipe: Connection) -> Share:
    """Plays until all have their end, or the pipe has a message or lost its other end."""
    cpu, loop = time.process_time(), asyncio.get_running_loop()
    async with _client(job) as client:
        player = Player(client, opening, tally, job.patience)
        playing = loop.create_task(player.play(asks))

        def stop() -> None:
            loop.remove_reader(pipe.fileno())
            playing.cancel()

        loop.add_reader(pipe.fileno(), stop)
        with suppress(asyncio.CancelledError):
            await playing
        loop.remove_reader(pipe.fileno())
        os.set_blocking(pipe.fileno(), True)  # uvloop made it what no Connection can send much on
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
