"""A running Antrian: all programs, a few offices, an open booking window."""

import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from redis import Redis

from antrian.booking import Window
from antrian.local.stack import Stack
from clients.sdk.booking_client import BookingClient
from tests.acceptance.person import Crowd
from tests.conftest import given_servers, new_database
from tests.support.town import copy_stores, found
from tests.support.window import window_to_come


class StartStack(Protocol):
    """Starts an Antrian with its clock at that moment."""

    def __call__(
        self, clock: datetime, *, metrics: bool = False, gateway: bool = False, all_offices: bool = False
    ) -> Stack:
        """Optionally serves metrics and HTTP, and has all 185 offices."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Moves tests marked `last` to the end of their file, whatever the random order; see pyproject.toml."""
    yield
    files = {path: n for n, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (files[item.path], item.get_closest_marker("last") is not None))


@pytest.fixture(scope="session")
def window() -> Window:
    """The window in which the tests book."""
    return window_to_come()


@pytest.fixture(scope="module")
def opens(window: Window) -> datetime:
    """The time at which the window opens."""
    return window.opens_at


@pytest.fixture(scope="module")
def start_stack(founded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """Starts an Antrian without bookings, its clock at that moment. One at a time, as given servers are emptied first."""
    with ExitStack() as undo:

        def start(clock: datetime, *, metrics: bool = False, gateway: bool = False, all_offices: bool = False) -> Stack:
            redis_url = database_url = None
            folder = tmp_path_factory.mktemp("an Antrian")
            if given := given_servers():
                redis_url = given.redis_url
                _flush(redis_url)
                undo.callback(_flush, redis_url)
                database_url = undo.enter_context(new_database(given.database_url))
                if not all_offices:
                    found(database_url)
            elif not all_offices:
                copy_stores(founded, folder)
            return undo.enter_context(
                Stack(
                    folder,
                    clock=clock,
                    metrics=metrics,
                    gateway=gateway,
                    redis_url=redis_url,
                    database_url=database_url,
                )
            )

        yield start


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """Everything on this machine, one minute into the window."""
    return start_stack(opens + timedelta(minutes=1))


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[BookingClient]:
    """An SDK client of the running Antrian, in English."""
    async with BookingClient(stack.address, english=True, patience=timedelta(seconds=20)) as made:
        yield made


@pytest.fixture
def crowd(window: Window) -> Crowd:
    """People who have not booked yet, and days to book."""
    return Crowd(uuid.uuid4().int, window.dates)


def _flush(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
