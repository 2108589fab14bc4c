"""Waits on a condition, with a deadline."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 30) -> None:
    """Waits until the condition is true. Fails after that many seconds."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, f"not true within {within:g} s"
        await asyncio.sleep(0.02)
