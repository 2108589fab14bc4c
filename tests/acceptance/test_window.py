"""The window, on the service's clock: Friday 14:00:00 is in, Sunday 16:00:00 is out, and what was accepted stays so."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from antrian.stack import Stack
from antrian.v1.booking_service_pb2 import GetQuotaResponse, RequestBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, Booking
from clients.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd


@pytest.fixture
def before(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian of the test's own, an hour before booking opens."""
    return start_stack(opens - timedelta(hours=1))


async def accepted(client: BookingClient, request: RequestBookingRequest) -> tuple[Booking, set[str]]:
    """Sends until it is accepted; the booking, and why it was not accepted before."""
    refusals = set[str]()
    async with asyncio.timeout(30):
        while True:
            try:
                return await client.send(request), refusals
            except RefusedError as error:
                refusals.add(error.reason)


async def refused(client: BookingClient, crowd: Crowd) -> RefusedError:
    """Sends requests until one is not accepted; why."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.send(crowd.request())
            except RefusedError as error:
                return error


async def quota_when(client: BookingClient, *, open_: bool) -> GetQuotaResponse:
    """The quota once the window is open, or closed, for the server too: it reads the clock every two seconds."""
    async with asyncio.timeout(30):
        while (quota := await client.get_quota(PUSAT)).window.open is not open_:
            pass
    return quota


async def test_from_before_the_opening_until_after_the_close(before: Stack, opens: datetime, crowd: Crowd) -> None:
    closes = opens + timedelta(days=2, hours=2)
    async with BookingClient(before.address, english=True, patience=timedelta(seconds=20)) as client:
        quota = await quota_when(client, open_=False)
        assert quota.window.opens_at.ToDatetime(tzinfo=UTC) == opens
        assert quota.slots[0].left == quota.slots[0].quota
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
        assert refusal.metadata["opens_at"] == (opens + timedelta(days=7)).isoformat()
        assert refusal.retry_after is not None
        assert timedelta(days=4) < refusal.retry_after < timedelta(days=5)
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
        quota = await quota_when(client, open_=False)
        assert quota.window.opens_at.ToDatetime(tzinfo=UTC) == opens + timedelta(days=7)
