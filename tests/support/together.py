"""A pytest plugin for `make test`: which tests run in the same process of pytest-xdist, and which run first."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TIMED = ("tests/faults/", "tests/rush/", "tests/acceptance/test_rush.py")
"""Tests that depend on seconds or load the machine. They never run at the same time."""


class Together(LoadFileScheduling):  # type: ignore[misc]
    """Keeps the tests of a file together, because they share expensive fixtures, and all tests of TIMED."""

    def _split_scope(self, nodeid: str) -> str:
        return "timed" if nodeid.startswith(TIMED) else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of TIMED first, because they are half of the time and run one after the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(TIMED))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """How pytest-xdist distributes the tests."""
    return Together(config, log)
