"""The booking window is half-open by the service's clock, and accepted requests stay accepted."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from antrian import rules
from antrian.booking import Window
from antrian.local.stack import Stack
from antrian.policy import load_policy
from antrian.v1 import messages_pb2
from antrian.v1.booking_service_pb2 import GetQuotaResponse as Quota
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, Booking, Location
from clients.cli.main import main
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd


@pytest.fixture
def before(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian of the test's own, an hour before booking opens."""
    return start_stack(opens - timedelta(hours=1))


async def accepted(client: BookingClient, request: RequestBookingRequest) -> tuple[Booking, set[str]]:
    """Sends requests until one is accepted; returns the booking and the reasons of earlier refusals."""
    refusals = set[str]()
    async with asyncio.timeout(30):
        while True:
            try:
                return await client.send(request), refusals
            except RefusedError as error:
                refusals.add(error.reason)


async def refused(client: BookingClient, crowd: Crowd) -> RefusedError:
    """Sends requests until one is refused for another reason than a full slot; returns the refusal."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.send(crowd.request())
            except RefusedError as error:
                if error.reason != "SLOT_FULL":
                    return error


async def test_requests_are_accepted_only_between_opening_and_closing(
    before: Stack, opens: datetime, crowd: Crowd
) -> None:
    closes = opens + timedelta(days=2, hours=2)
    async with BookingClient(before.address, english=True, patience=timedelta(seconds=20)) as client:
        quota = await client.get_quota(PUSAT)
        assert (quota.window.open, quota.window.open_time.ToDatetime(tzinfo=UTC)) == (False, opens)
        assert quota.slots[0].remaining == quota.slots[0].quota
        request = crowd.request()
        with pytest.raises(RefusedError, match="WINDOW_CLOSED"):
            await client.send(request)

        before.set_clock(opens - timedelta(seconds=2))
        booking, refusals = await accepted(client, request)
        assert refusals == {"WINDOW_CLOSED"}
        assert opens <= booking.accept_time.ToDatetime(tzinfo=UTC) < opens + timedelta(seconds=10)

        before.set_clock(closes - timedelta(seconds=1))
        last = crowd.request()
        pending = await client.send(last)
        assert pending.accept_time.ToDatetime(tzinfo=UTC) < closes
        refusal = await refused(client, crowd)
        assert refusal.reason == "WINDOW_CLOSED"
        opens_again = rules.next_opening(load_policy(), closes).opens_at
        assert refusal.metadata["open_time"] == opens_again.isoformat()
        assert refusal.metadata["office_open_time"] == opens_again.isoformat(), "in Jakarta it is the same clock"
        assert refusal.message.endswith(" at 14:00 WIB.")
        assert refusal.retry_after is not None
        assert timedelta(0) <= opens_again - closes - refusal.retry_after < timedelta(minutes=1)
        for known, first in ((request, booking), (last, pending)):
            again = await client.send(
                crowd.request(
                    request_id=known.request_id,
                    account=known.account,
                    applicants=known.applicants,
                    province_code="ID-PA",
                )
            )
            assert (again.booking_id, again.ticket) == (first.booking_id, first.ticket)
            assert (await client.outcome(first.booking_id, known.account)).state == BOOKING_STATE_CONFIRMED
        quota = await client.get_quota(PUSAT)
        assert not quota.window.open
        assert quota.window.open_time.ToDatetime(tzinfo=UTC) == opens_again


async def test_the_opening_time_is_given_in_the_offices_zone(
    start_stack: StartStack, opens: datetime, crowd: Crowd
) -> None:
    east, zone = "kanim-ternate", ZoneInfo("Asia/Jayapura")
    before = start_stack(opens.astimezone(zone).replace(hour=14, minute=30))
    async with BookingClient(before.address, english=True, patience=timedelta(seconds=20)) as client:
        quota = await client.get_quota(east)
        assert not quota.window.open
        assert quota.window.open_time.ToDatetime(UTC) == opens
        assert quota.window.office_open_time == opens.astimezone(zone).isoformat()
        assert quota.window.office_close_time.endswith("T18:00:00+09:00")
        with pytest.raises(RefusedError) as caught:
            await client.send(crowd.request(office_id=east, location=Location(latitude=0.79, longitude=127.38)))
        assert caught.value.metadata == {
            "open_time": opens.isoformat(),
            "office_open_time": opens.astimezone(zone).isoformat(),
        }
        assert caught.value.message.endswith(" at 14:00 WIB (16:00 WIT at this office).")
    with mock.patch.dict(os.environ):  # a command puts the settings of its folder there
        ran = await asyncio.to_thread(CliRunner().invoke, main, ["quota", east, "--folder", str(before.folder)])
    assert "14:00:00 WIB (16:00 WIT at the office)" in ran.output


async def test_a_response_is_consistent_with_its_read_time(stack: Stack, window: Window) -> None:
    """While the clock jumps out of the window and into the next, every response is true at its read_time."""
    following = rules.next_opening(load_policy(), window.closes_at)
    jumps = [window.opens_at + timedelta(minutes=2), window.closes_at, following.opens_at]

    async def ask(client: BookingClient, seen: list[Quota]) -> None:
        while True:
            quota = await client.get_quota(PUSAT)
            opens, closes, as_of = (
                stamp.ToDatetime(UTC) for stamp in (quota.window.open_time, quota.window.close_time, quota.read_time)
            )
            assert (opens <= as_of < closes) is quota.window.open, quota
            assert as_of < closes, "a window that is over"
            assert {slot.service_date for slot in quota.slots} == set(days_between(quota.window))
            seen.append(quota)

    async with BookingClient(stack.address, patience=timedelta(seconds=20)) as client:
        seen: list[Quota] = []
        asking = asyncio.create_task(ask(client, seen))
        for moment in jumps:
            await asyncio.to_thread(stack.set_clock, moment)
            quota = await client.get_quota(PUSAT)
            assert quota.read_time.ToDatetime(UTC) >= moment
            assert quota.window.open is not (moment == window.closes_at)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    assert len(seen) > len(jumps)


def days_between(offered: messages_pb2.Window) -> Iterator[str]:
    """The service days of a window."""
    first, last = date.fromisoformat(offered.first_date), date.fromisoformat(offered.last_date)
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return (str(day) for day in days if rules.is_service_day(load_policy(), day))
