"""An office is retired and reopened while people use it, over gRPC and the command line."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest import mock
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from antrian.audit.verify import verify
from antrian.booking import StaffAction
from antrian.ledger.staff import LedgerStaff
from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    SESSION_MORNING,
)
from clients.cli.main import main
from clients.sdk.booking_client import Booking, BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.person import BOGOR, JAKARTA, PUSAT, Crowd

BY = ["--staff", "head-1", "--reason", "The lease has ended"]


@pytest.fixture
async def antrian(stack: Stack) -> AsyncIterator[Callable[..., Awaitable[Result]]]:
    """Runs `antrian office …` for PUSAT. Afterwards reopens the office and verifies all promises."""

    async def run(command: str, *words: str) -> Result:
        with mock.patch.dict(os.environ):
            typed = ["office", command, PUSAT, *BY, "--folder", str(stack.folder), *words]
            return await asyncio.to_thread(CliRunner().invoke, main, typed)

    yield run
    assert (await run("reopen")).exit_code == 0
    assert [check for check in verify(stack.settings) if check.violations] == []


async def reason(call: Awaitable[object]) -> str:
    """The reason of a refusal; empty if accepted."""
    try:
        await call
    except RefusedError as refusal:
        return refusal.reason
    return ""


async def test_a_retired_office_refuses_new_requests_and_serves_its_bookings(
    stack: Stack, client: BookingClient, crowd: Crowd, antrian: Callable[..., Awaitable[Result]]
) -> None:
    booked, in_queue = crowd.request(account="ani"), crowd.request(account="budi")
    booking = await client.outcome((await client.send(booked)).booking_id, "ani")
    with Redis.from_url(stack.environment["ANTRIAN_REDIS_URL"]) as redis:
        redis.hset(f"lane:{{{PUSAT}}}", "lease", time.time_ns() // 1000 + 3_000_000)  # a drainer that has died
        waiting = await client.send(in_queue)
        done = await antrian("retire")
    live = re.fullmatch(r"retired; bookings still to be served: (\d+), and requests in the queue\n", done.stdout)
    assert live, done.output
    assert (await client.get_booking(waiting.booking_id, "budi")).state == BOOKING_STATE_PENDING

    with pytest.raises(RefusedError) as caught:
        await client.send(crowd.request())
    assert (caught.value.reason, caught.value.metadata["field"]) == ("OFFICE_RETIRED", "office_id")
    assert "existing bookings are still served" in caught.value.message
    assert await reason(client.get_quota(PUSAT)) == "OFFICE_RETIRED"
    listed = await client.list_offices(JAKARTA)
    from_bogor = await client.list_offices(BOGOR)
    assert listed.offices
    assert PUSAT not in {office.office_id for office in listed.offices}
    assert PUSAT not in {one.office.office_id for one in from_bogor.elsewhere}

    assert (await client.send(booked)).booking_id == booking.booking_id  # asked again: it is known
    decided = [found async for found in client.watch(waiting.booking_id, "budi")][-1]
    assert decided.state == BOOKING_STATE_CONFIRMED
    async with OfficeClient(stack.address) as office:
        roster = await office.day_roster(PUSAT, crowd.dates[0], staff="rina")
        assert {entry.code for entry in roster} >= {booking.code, decided.code}
        closed = await office.retire_office(PUSAT, staff="head-1", reason="again")
        assert closed.live_bookings == int(live[1]) + 1
    assert (await client.cancel_booking(booking.booking_id, "ani")).state == BOOKING_STATE_CANCELLED

    assert (await antrian("reopen")).stdout == f"accepts bookings; bookings still to be served: {live[1]}\n"
    again = await client.outcome((await client.send(crowd.request(account="citra"))).booking_id, "citra")
    assert again.state == BOOKING_STATE_CONFIRMED
    assert PUSAT in {office.office_id for office in (await client.list_offices(JAKARTA)).offices}


async def test_a_full_slot_of_a_retired_office_suggests_other_offices(
    stack: Stack, client: BookingClient, crowd: Crowd, antrian: Callable[..., Awaitable[Result]]
) -> None:
    day = crowd.dates[1]
    async with OfficeClient(stack.address) as office:
        await office.set_quota(PUSAT, day, SESSION_MORNING, 1, staff="head-1", reason="full")
    requests = [crowd.request(account=account, service_date=day.isoformat()) for account in ("citra", "dewi")]
    first, last = await client.send_batch(requests)
    assert isinstance(first, Booking)
    assert isinstance(last, Booking)
    rejected = await client.outcome(last.booking_id, "dewi")
    assert PUSAT in {choice.office_id for choice in rejected.alternatives}
    await antrian("retire")
    ends = time.monotonic() + 10
    while PUSAT in {choice.office_id for choice in rejected.alternatives}:
        assert time.monotonic() < ends, "a retired office is still an alternative"
        rejected = await client.get_booking(rejected.booking_id, "dewi")
    assert rejected.alternatives
    await client.cancel_booking(first.booking_id, "citra")


async def test_other_servers_learn_of_a_retired_office_within_seconds(
    stack: Stack, client: BookingClient, antrian: Callable[..., Awaitable[Result]]
) -> None:
    ledger = LedgerStaff(stack.environment["ANTRIAN_DATABASE_URL"])
    await ledger.start()
    try:
        await ledger.set_retired(PUSAT, StaffAction(uuid4(), "desk", "rina", "elsewhere"), retired=True)
    finally:
        await ledger.close()
    ends = time.monotonic() + 10
    while await reason(client.get_quota(PUSAT)) != "OFFICE_RETIRED":
        assert time.monotonic() < ends, "the server has not learned of it"


async def test_only_its_own_staff_may_retire_an_office_and_must_give_a_name_and_reason(stack: Stack) -> None:
    async with OfficeClient(stack.address) as office:
        for staff, why, field in (
            ("", "x", "staff"),
            ("head-1", " ", "reason"),
            ("head-1", "3171010101900001", "reason"),
        ):
            with pytest.raises(RefusedError) as caught:
                await office.retire_office(PUSAT, staff=staff, reason=why)
            assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_FIELD", field)
        assert await reason(office.retire_office("kanim-atlantis", staff="head-1", reason="x")) == "OFFICE_NOT_FOUND"
        assert await reason(office.reopen_office("kanim-atlantis", staff="head-1", reason="x")) == "OFFICE_NOT_FOUND"
