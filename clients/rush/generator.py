"""The processes that play a crowd, and what they bring home."""

import gc
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ctypes import c_longlong
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from clients.booking_client import BookingClient
from clients.rush.crowd import Ask, Crowd
from clients.rush.player import Player
from clients.rush.record import Share

COUNTS = ("sent", "accepted", "refused", "decided")
"""What progress tells."""

# Longer than an app's: an answer that is late is to be seen as late, not as two requests.
_DEADLINE = timedelta(seconds=20)
Progress = Callable[[dict[str, int]], None]


class RushError(Exception):
    """The load could not be played; nothing can be said about the service."""


@dataclass(frozen=True)
class Job:
    """What one process of the generator does: its share of so many."""

    target: str
    token: str
    share: int
    of: int


def play(
    crowd: Crowd, target: str, start: Callable[[], float], progress: Progress, *, token: str = "", processes: int = 2
) -> list[Share]:
    """Plays the crowd against the service at target, and returns when every request has its end.

    When all processes are ready, start says at which time.monotonic() booking opens; it should be ten seconds ahead.
    progress is called twice a second. Raises RushError when a process of the generator died.
    """
    context = multiprocessing.get_context("spawn")  # a process with grpc in it must not fork
    counts = context.Array(c_longlong, len(COUNTS) * processes, lock=False)
    shares: list[Share] = []
    with ExitStack() as undo:
        lines: list[Connection] = []
        for share in range(processes):
            ours, theirs = context.Pipe()
            job = Job(target, token, share, processes)
            process = context.Process(target=_process, args=(crowd, job, counts, theirs), daemon=True)
            process.start()
            undo.callback(process.join)
            undo.callback(process.terminate)
            theirs.close()
            lines.append(ours)
        try:
            for line in lines:
                line.recv()
            opening = start()
            for line in lines:
                line.send(opening)
            while lines:
                for line in [line for line in lines if line.poll(0.5 / len(lines))]:
                    shares.append(line.recv())
                    lines.remove(line)
                progress({name: sum(counts[index :: len(COUNTS)]) for index, name in enumerate(COUNTS)})
        except (EOFError, OSError):
            raise RushError("a process of the load generator died; its last words are above") from None
    return shares


def _process(crowd: Crowd, job: Job, counts: Any, line: Connection) -> None:
    asks = [ask for ask in crowd.asks() if ask.number % job.of == job.share]
    gc.freeze()
    line.send("ready")
    line.send(uvloop.run(_play(asks, job, line.recv(), counts)))


async def _play(asks: Sequence[Ask], job: Job, opening: float, counts: Any) -> Share:
    places = {name: job.share * len(COUNTS) + index for index, name in enumerate(COUNTS)}

    def count(what: str) -> None:
        counts[places[what]] += 1

    cpu = time.process_time()
    async with BookingClient(job.target, token=job.token, deadline=_DEADLINE) as client:
        player = Player(client, opening, count)
        records = await player.play(asks)
    return Share(records, player.lags, player.looks, player.held, time.process_time() - cpu)
