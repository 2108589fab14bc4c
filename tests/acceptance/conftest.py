"""A running Antrian: all programs, all 185 offices, a Friday's window open."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from antrian import rules
from antrian.policy import load_policy
from antrian.stack import Stack
from clients.booking_client import BookingClient
from tests.acceptance.person import Crowd


@pytest.fixture(scope="session")
def opens() -> datetime:
    """When the next window opens, in real time."""
    policy = load_policy()
    window = rules.next_window(policy, datetime.now(UTC))
    if window.contains(datetime.now(UTC)):
        window = rules.next_window(policy, window.closes_at)
    return window.opens_at


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, opens: datetime) -> Iterator[Stack]:
    """Everything on this machine, one minute into the window."""
    with Stack(tmp_path_factory.mktemp("an Antrian"), clock=opens + timedelta(minutes=1)) as running:
        yield running


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[BookingClient]:
    """An SDK client of the running Antrian, in English."""
    async with BookingClient(stack.address, english=True, patience=timedelta(seconds=20)) as made:
        yield made


@pytest.fixture
def crowd(opens: datetime) -> Crowd:
    """People who have not booked yet, and days to book."""
    return Crowd(uuid.uuid4().int, rules.next_window(load_policy(), opens).dates)
