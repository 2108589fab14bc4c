"""Who misses a Thursday, over gRPC: barred through the 30th day, taken on the 31st, both in one weekend's window."""

import asyncio
import time
from datetime import datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

import pytest

from antrian import rules
from antrian.policy import load_policy
from antrian.stack import Stack
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, BOOKING_STATE_NO_SHOW
from clients.booking_client import BookingClient, RefusedError
from tests.acceptance.person import Crowd

JAKARTA = ZoneInfo("Asia/Jakarta")
THURSDAY = 3


@pytest.fixture(scope="module")
def opens(opens: datetime) -> datetime:
    """When the first window opens whose week has a Thursday that offices serve."""
    policy = load_policy()
    window = rules.next_window(policy, opens)
    while THURSDAY not in {day.weekday() for day in window.dates}:
        window = rules.next_window(policy, window.closes_at)
    return window.opens_at


async def test_a_missed_thursday_bars_through_the_thirtieth_day(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    thursday = next(day for day in crowd.dates if day.weekday() == THURSDAY)
    person = crowd.person()
    request = crowd.request(applicants=[person], account="gita", service_date=thursday.isoformat())
    booking = await client.outcome((await client.send(request)).booking_id, "gita")
    assert booking.state == BOOKING_STATE_CONFIRMED

    midnight = datetime.combine(thursday + timedelta(days=1), clock.min, JAKARTA)
    stack.set_clock(midnight - timedelta(days=1))
    with pytest.raises(RefusedError, match="DAY_BEGUN"):
        await client.cancel_booking(booking.booking_id, "gita")
    stack.set_clock(midnight)
    ends = time.monotonic() + 20
    while (await client.get_booking(booking.booking_id, "gita")).state != BOOKING_STATE_NO_SHOW:
        assert time.monotonic() < ends, "the day did not end"
        await asyncio.sleep(0.1)

    stack.set_clock(midnight + timedelta(days=30, seconds=-15))  # Saturday, 23:59:45
    dates = rules.next_window(load_policy(), midnight + timedelta(days=30)).dates
    again = crowd.request(applicants=[person], account="gita", service_date=dates[0].isoformat())
    with pytest.raises(RefusedError) as caught:
        await client.send(again)
    assert caught.value.reason == "BARRED"
    assert caught.value.metadata["last_day"] == (thursday + timedelta(days=30)).isoformat()
    stack.set_clock(midnight + timedelta(days=30))
    booking = await client.outcome((await client.send(again)).booking_id, "gita")
    assert booking.state == BOOKING_STATE_CONFIRMED
