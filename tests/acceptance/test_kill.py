"""Killing workers loses no accepted request, and queues are still drained."""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from itertools import cycle, product

import psutil
import pytest

from antrian.audit.verify import verify
from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, SESSION_AFTERNOON, SESSION_MORNING
from clients.sdk.booking_client import BookingClient
from tests.acceptance.person import Crowd
from tests.support.waiting import until


def workers_of(stack: Stack) -> list[psutil.Process]:
    """The worker processes, without their supervisor."""
    supervisor = psutil.Process(json.loads((stack.folder / "run.json").read_text())["pids"]["workers"])
    found = []
    for process in supervisor.children():
        with suppress(psutil.NoSuchProcess):  # the supervisor buried it meanwhile
            if process.status() != psutil.STATUS_ZOMBIE and "multiprocessing.spawn" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.timeout(180)
async def test_every_accepted_request_is_decided_although_workers_are_killed(stack: Stack, crowd: Crowd) -> None:
    async with BookingClient(stack.address, patience=timedelta(seconds=30)) as client:
        accepted: list[tuple[str, str]] = []
        slots = cycle(product(("pusat", "barat", "utara"), crowd.dates, (SESSION_MORNING, SESSION_AFTERNOON)))

        async def book() -> None:
            office, day, session = next(slots)
            request = crowd.request(office_id=f"kanim-jakarta-{office}", service_date=day.isoformat(), session=session)
            booking = await client.send(request)
            accepted.append((booking.booking_id, request.account))

        for _ in range(4):
            await until(lambda: len(workers_of(stack)) == 2)
            enough = len(accepted) + 100
            load = asyncio.gather(*(book() for _ in range(200)))
            await until(lambda: len(accepted) >= enough)  # noqa: B023 - it is called before enough changes
            os.kill(workers_of(stack)[0].pid, signal.SIGKILL)
            await load
        killed = time.monotonic()
        outcomes = await asyncio.gather(
            *(client.outcome(booking_id, account, within=timedelta(seconds=30)) for booking_id, account in accepted)
        )
        assert time.monotonic() - killed < 30
        assert all(booking.state != BOOKING_STATE_PENDING for booking in outcomes)
        assert len({booking.booking_id for booking in outcomes}) == len(accepted)
    assert [check for check in verify(stack.settings) if check.violations] == []
