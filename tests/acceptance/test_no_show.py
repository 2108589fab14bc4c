"""A no-show on a Thursday is barred through the 30th day and accepted on the 31st, both in one booking window."""

import asyncio
import time
from datetime import datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

import pytest

from antrian import rules
from antrian.booking import Window
from antrian.local.stack import Stack
from antrian.policy import load_policy
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, BOOKING_STATE_NO_SHOW
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.person import Crowd

JAKARTA = ZoneInfo("Asia/Jakarta")
THURSDAY = 3


@pytest.fixture(scope="module")
def window(window: Window) -> Window:
    """The first window with a Thursday whose bar ends while a later window is open."""
    policy = load_policy()
    while not (ends := bar_ends_at(window)) or not rules.next_window(policy, ends).contains(ends):
        window = rules.next_window(policy, window.closes_at)
    return window


def bar_ends_at(window: Window) -> datetime | None:
    """The midnight at which the bar for its Thursday ends; None if the window has no Thursday."""
    thursday = [day for day in window.dates if day.weekday() == THURSDAY]
    return datetime.combine(thursday[0] + timedelta(days=31), clock.min, JAKARTA) if thursday else None


async def test_a_no_show_is_barred_through_the_thirtieth_day(stack: Stack, client: BookingClient, crowd: Crowd) -> None:
    thursday = next(day for day in crowd.dates if day.weekday() == THURSDAY)
    person = crowd.person()
    request = crowd.request(applicants=[person], account="gita", service_date=thursday.isoformat())
    booking = await client.outcome((await client.send(request)).booking_id, "gita")
    assert booking.state == BOOKING_STATE_CONFIRMED

    midnight = datetime.combine(thursday + timedelta(days=1), clock.min, JAKARTA)
    bar_ends = midnight + timedelta(days=30)
    stack.set_clock(midnight - timedelta(days=1))
    with pytest.raises(RefusedError, match="DAY_BEGUN"):
        await client.cancel_booking(booking.booking_id, "gita")
    stack.set_clock(midnight)
    ends = time.monotonic() + 20
    while (await client.get_booking(booking.booking_id, "gita")).state != BOOKING_STATE_NO_SHOW:
        assert time.monotonic() < ends, "the day did not end"
        await asyncio.sleep(0.1)

    stack.set_clock(bar_ends - timedelta(seconds=30))  # Saturday, 23:59:30
    dates = rules.next_window(load_policy(), bar_ends).dates
    again = crowd.request(applicants=[person], account="gita", service_date=dates[0].isoformat())
    party = crowd.request(applicants=[crowd.person(), person], service_date=dates[0].isoformat())
    with pytest.raises(RefusedError) as caught:
        await client.send(again)
    assert caught.value.reason == "BARRED"
    last_day = thursday + timedelta(days=30)
    assert caught.value.metadata["last_barred_date"] == last_day.isoformat()
    with pytest.raises(RefusedError, match=rf"Applicant 2 \(S\.\) .* after Saturday, {last_day.day} ") as caught:
        await client.send(party)
    assert caught.value.metadata["field"] == "applicants[1]"
    stack.set_clock(bar_ends)
    booking = await client.outcome((await client.send(again)).booking_id, "gita")
    assert booking.state == BOOKING_STATE_CONFIRMED
