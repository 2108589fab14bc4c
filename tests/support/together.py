"""A pytest plugin for `make test`: which tests stay together when several processes run them (pytest-xdist)."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TIMED = ("tests/faults/", "tests/rush/", "tests/acceptance/test_rush.py")
"""Tests in which seconds count, and which load the machine: they never run beside one another."""


class Together(LoadFileScheduling):  # type: ignore[misc]
    """Those of a file, since they share what takes long to start; and all of TIMED."""

    def _split_scope(self, nodeid: str) -> str:
        return "timed" if nodeid.startswith(TIMED) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """How pytest-xdist distributes the tests."""
    return Together(config, log)
