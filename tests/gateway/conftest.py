"""A running Antrian with its gateway, a minute into a Friday's window."""

from datetime import datetime, timedelta

import pytest

from antrian.local.stack import Stack
from tests.acceptance.conftest import StartStack, opens, start_stack, window

__all__ = ["opens", "stack", "start_stack", "window"]


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """Everything; the caller is everybody's own machine, which may do all."""
    return start_stack(opens + timedelta(minutes=1), gateway=True)
