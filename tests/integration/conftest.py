"""The loops on which tests run."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_PLAIN = {"asyncio": asyncio.new_event_loop}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The servers' loop as well, for what stands on the loop itself."""
    return {**_PLAIN, "uvloop": uvloop.new_event_loop} if item.path.name == "test_pipe.py" else _PLAIN
