"""The processes that play a crowd, and what they bring home."""

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection

import uvloop

from clients.calls import PATIENCE
from clients.options import Service
from clients.rush.crowd import Ask, Crowd
from clients.rush.phones import HttpPhones
from clients.rush.player import CrowdClient, Player
from clients.rush.record import Share
from clients.rush.tally import Counts, Tally, TallyWriter

# Longer than an app's: an answer that is late is to be seen as late, not as two requests.
_DEADLINE = timedelta(seconds=20)
_TOLD_EVERY = 0.5
Progress = Callable[[Counts], None]


class RushError(Exception):
    """The load could not be played; nothing can be said about the service."""


@dataclass(frozen=True)
class Job:
    """What one process of the generator does: its share of so many, with people of such patience (seconds)."""

    service: Service
    share: int
    of: int
    patience: float


def play(
    crowd: Crowd, service: Service, start: Callable[[list[int]], float], progress: Progress, processes: int
) -> list[Share]:
    """Plays the crowd against the service, and returns when every request has its end.

    When all processes are ready, start, which is told their pids, says at which time.monotonic() booking opens; what
    should happen before that has to be ahead. progress is called twice a second. Raises RushError when a process died.
    """
    context = multiprocessing.get_context("spawn")  # a process with grpc in it must not fork
    tally = Tally(context, [office.office_id for office in crowd.town.offices], processes)
    shares: list[Share] = []
    with ExitStack() as undo:
        lines: list[Connection] = []
        pids: list[int] = []
        for share in range(processes):
            ours, theirs = context.Pipe()
            job = Job(service, share, processes, crowd.scenario.habits.patience_s)
            process = context.Process(target=_process, args=(crowd, job, tally.writer(share), theirs), daemon=True)
            process.start()
            undo.callback(process.join)
            undo.callback(process.terminate)
            theirs.close()
            lines.append(ours)
            pids.append(process.pid or 0)
        try:
            for line in lines:
                line.recv()
            opening = start(pids)
            for line in lines:
                line.send(opening)
            while lines:
                for line in [line for line in lines if line.poll(_TOLD_EVERY / len(lines))]:
                    shares.append(line.recv())
                    lines.remove(line)
                progress(tally.read())
        except (EOFError, OSError):
            raise RushError("a process of the load generator died; its last words are above") from None
    return shares


def _process(crowd: Crowd, job: Job, tally: TallyWriter, line: Connection) -> None:
    asks = list(crowd.asks(job.share, job.of))
    if job.service.http:  # the gateway gathers them
        asks = [replace(ask, gateway=False) for ask in asks]
    # A collection in the middle would make presses late, and what a rush makes is kept to its end anyway.
    gc.collect()
    gc.freeze()
    gc.disable()
    line.send("ready")
    line.send(uvloop.run(_play(asks, job, line.recv(), tally)))


async def _play(asks: Iterable[Ask], job: Job, opening: float, tally: TallyWriter) -> Share:
    cpu = time.process_time()
    async with _client(job) as client:
        player = Player(client, opening, tally, job.patience)
        records = await player.play(asks)
    return Share(records, player.lags, player.looks, time.process_time() - cpu)


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
