"""Cancels, quota changes, a closed day and a rebuild over gRPC, under load."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis

from antrian.audit.check import Check
from antrian.audit.verify import verify
from antrian.local.stack import Stack
from antrian.settings import Settings
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    SESSION_MORNING,
    STATUS_REASON_DAY_CLOSED,
    Booking,
)
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.person import PUSAT, Crowd
from tests.support.town import redis_admin_url


@pytest.fixture
def settings(stack: Stack) -> Settings:
    """The settings of the running programs."""
    return stack.settings


@pytest.fixture(autouse=True)
def _all_promises_hold_in_the_end(settings: Settings) -> Iterator[None]:
    yield
    assert violations(settings) == []


def violations(settings: Settings) -> list[Check]:
    return [check for check in verify(settings) if check.violations]


async def booked(client: BookingClient, crowd: Crowd, account: str, people: int = 1, day: int = 0) -> Booking:
    request = crowd.request(account=account, applicants=crowd.people(people), service_date=crowd.dates[day].isoformat())
    return await client.outcome((await client.send(request)).booking_id, account)


async def remaining(client: BookingClient, day: int = 0) -> int:
    return (await client.get_quota(PUSAT)).slots[2 * day].remaining


async def rebuild(stack: Stack) -> int:
    """Runs `antrian rebuild`; returns its exit code."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "workers.rebuild", env=os.environ | stack.environment,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await program.wait()


async def test_concurrent_cancels_return_the_places_once(client: BookingClient, crowd: Crowd) -> None:
    booking = await booked(client, crowd, "twice", people=3)
    before = await remaining(client)
    responses = await asyncio.gather(*(client.cancel_booking(booking.booking_id, "twice") for _ in range(8)))
    assert {response.state for response in responses} == {BOOKING_STATE_CANCELLED}
    assert await remaining(client) == before + 3
    assert (await client.list_bookings("twice"))[0].HasField("end_time")


async def test_an_undecided_booking_cannot_be_cancelled(stack: Stack, client: BookingClient, crowd: Crowd) -> None:
    with Redis.from_url(redis_admin_url(stack)) as redis:
        redis.hset(f"lane:{{{PUSAT}}}", "lease", time.time_ns() // 1000 + 3_000_000)  # a drainer that has died
        sent = await client.send(crowd.request(account="early"))
        with pytest.raises(RefusedError) as caught:
            await client.cancel_booking(sent.booking_id, "early")
    assert (caught.value.reason, bool(caught.value.retry_after)) == ("NOT_DECIDED_YET", True)
    await client.outcome(sent.booking_id, "early")


async def test_undecided_bookings_are_listed(client: BookingClient, crowd: Crowd) -> None:
    confirmed = await booked(client, crowd, "lists")
    requests = [crowd.request(account="lists") for _ in range(3)]
    sent = [await client.send(request) for request in requests]
    listed = await client.list_bookings("lists")
    assert {booking.booking_id for booking in listed} == {confirmed.booking_id, *(b.booking_id for b in sent)}


async def test_a_quota_may_change_during_a_rush(stack: Stack, client: BookingClient, crowd: Crowd) -> None:
    async with OfficeClient(stack.address) as office:

        async def turn(places: int) -> None:
            try:
                await office.set_quota(PUSAT, crowd.dates[1], SESSION_MORNING, places, staff="rina", reason="mesin")
            except RefusedError as refusal:
                if refusal.reason != "QUOTA_BELOW_TAKEN":
                    raise

        async def change_the_quota() -> None:
            for places in (40, 90, 60, 80):
                await turn(places)

        async def confirmed_place(n: int) -> bool:
            try:
                return (await booked(client, crowd, f"rush-{n}", day=1)).state == BOOKING_STATE_CONFIRMED
            except RefusedError as refusal:
                if refusal.reason != "SLOT_FULL":
                    raise
                return False

        await turn(70)
        rush = [confirmed_place(n) for n in range(150)]
        places, _ = await asyncio.gather(asyncio.gather(*rush), change_the_quota())
        slot = (await client.get_quota(PUSAT)).slots[2]
        assert slot.quota - slot.remaining == sum(places) <= 90


async def test_closing_a_day_during_a_rush_leaves_no_booking_on_it(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    async def try_to_book(n: int) -> Booking | None:
        try:
            return await booked(client, crowd, f"close-{n}", day=2)
        except RefusedError as refusal:
            if refusal.reason != "DAY_CLOSED":
                raise
            return None

    async with OfficeClient(stack.address) as office:
        early = [await try_to_book(n) for n in range(5)]
        rush = [try_to_book(n) for n in range(5, 100)]
        responses, _ = await asyncio.gather(
            asyncio.gather(*rush), office.close_date(PUSAT, crowd.dates[2], staff="rina", reason="banjir")
        )
        for n, booking in enumerate([*early, *responses]):
            if booking:
                now = await client.get_booking(booking.booking_id, f"close-{n}")
                assert now.status_reason == STATUS_REASON_DAY_CLOSED
        assert (await office.day_roster(PUSAT, crowd.dates[2], staff="rina")) == []
        assert (await client.get_quota(PUSAT)).slots[4].closed
        with pytest.raises(RefusedError, match="DAY_CLOSED"):
            await client.send(crowd.request(service_date=crowd.dates[2].isoformat()))


async def test_cancels_during_a_rebuild_of_an_emptied_redis_keep_all_promises(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    bookings = [await booked(client, crowd, f"rebuilt-{n}", day=3) for n in range(10)]
    before = await remaining(client, day=3)
    with Redis.from_url(redis_admin_url(stack)) as redis:
        redis.flushdb()
    with pytest.raises(RefusedError, match="LANE_CLOSED"):
        async with BookingClient(stack.address, patience=timedelta(0)) as hasty:
            await hasty.send(crowd.request())
    cancels = [client.cancel_booking(b.booking_id, f"rebuilt-{n}") for n, b in enumerate(bookings)]
    code, responses = await asyncio.gather(rebuild(stack), asyncio.gather(*cancels))
    assert code == 0
    assert {response.state for response in responses} == {BOOKING_STATE_CANCELLED}
    assert await remaining(client, day=3) == before + 10


async def test_a_rebuild_during_a_rush_loses_nothing(stack: Stack, client: BookingClient, crowd: Crowd) -> None:
    rush = [booked(client, crowd, f"through-{n}", day=4) for n in range(60)]
    code, bookings = await asyncio.gather(rebuild(stack), asyncio.gather(*rush))
    assert code == 0
    assert all(booking.state for booking in bookings)
