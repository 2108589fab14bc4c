"""How much a server takes on at once, and how fast callers may ask: who is too many is told so before anything is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from antrian.errors import AntrianError, Reason
from server.auth import Caller

_BUSY_RETRY = timedelta(seconds=2)
_BURST = 2.0


class Room:
    """Room for so many at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place as long as it is held. Raises SERVER_BUSY when there is none."""
        if self._inside >= self._most:
            raise AntrianError(Reason.SERVER_BUSY, retry_after=_BUSY_RETRY, limit=str(self._most))
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


class Pace:
    """How fast each caller may ask this server: a token bucket of two seconds' worth for those that have a limit."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: Caller, requests: int) -> None:
        """Counts so many requests. Raises RATE_LIMITED, with the time until there is room, when too many came before.

        One call may overdraw, so that a batch larger than the limit is not refused for ever.
        """
        if caller.per_second is None:
            return
        now, most = time.monotonic(), _BURST * caller.per_second
        tokens, since = self._buckets.get(caller.name, (most, now))
        tokens = min(most, tokens + (now - since) * caller.per_second)
        if tokens <= 0:
            wait = timedelta(seconds=(1 - tokens) / caller.per_second)
            raise AntrianError(Reason.RATE_LIMITED, retry_after=wait, limit=f"{caller.per_second:g}")
        self._buckets[caller.name] = tokens - requests, now
