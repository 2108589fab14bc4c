"""Processes beside the one that measures: they end when they are left."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from redis import Redis

from antrian.lane import SETTLED


def listens(redis_url: str, pipe: Connection) -> None:
    """A process that says which turns were settled since it was last asked: the office, its last ticket, when."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heard: list[tuple[str, int, float]] = []
    with (
        suppress(EOFError),
        Redis.from_url(redis_url) as client,
        client.pubsub(ignore_subscribe_messages=True) as turns,
    ):
        turns.subscribe(SETTLED)
        while True:
            if message := turns.get_message(timeout=0.05):
                now, words = time.perf_counter(), message["data"].decode().split()
                heard += [(office_id, int(last), now) for office_id, last in zip(words[::2], words[1::2], strict=True)]
            elif pipe.poll():
                pipe.recv()
                pipe.send(heard)
                heard = []


@contextmanager
def aside(target: Callable[[str, Connection], None], address: str) -> Iterator[Connection]:
    """By which one asks such a process; it ends when this is left, or when we end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=[address, theirs], daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()
