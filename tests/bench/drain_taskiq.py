"""The taskiq of tests/bench/drain.py: `taskiq worker tests.bench.drain_taskiq:broker`; run as a program it fills the queue."""

import asyncio
import json
import os
import sys

from taskiq_redis import ListQueueBroker

from tests.bench.drain_job import REDIS, book

broker = ListQueueBroker(os.environ.get(REDIS, "unix:///"))
task = broker.register_task(book, "book")


async def fill() -> None:
    """Puts the jobs of standard input in."""
    await broker.startup()
    for job in json.load(sys.stdin):
        await task.kiq(job)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(fill())
