"""How much a server takes on at once, and how fast callers may ask: who is too many is told so before anything is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from antrian.errors import AntrianError, Reason
from server.auth import Caller

_BUSY_RETRY = timedelta(seconds=2)
_BURST = 2.0


class ConcurrencyLimiter:
    """Room for so many at once, of whom each caller may be so many: nobody fills it alone. each: most where not given."""

    def __init__(self, most: int, each: int | None = None) -> None:
        self._most, self._each = most, each or most
        self._inside = 0
        self._held: dict[str, int] = {}  # by those who hold any, so that it stays small

    def enter(self, who: str) -> None:
        """Takes a place, until leave. Raises CALLER_BUSY when the caller holds its share, SERVER_BUSY when there is none."""
        held = self._held.get(who, 0)
        if held >= self._each < self._most:
            raise AntrianError(Reason.CALLER_BUSY, retry_after=_BUSY_RETRY, limit=str(self._each))
        if self._inside >= self._most:
            raise AntrianError(Reason.SERVER_BUSY, retry_after=_BUSY_RETRY, limit=str(self._most))
        self._inside += 1
        self._held[who] = held + 1

    def leave(self, who: str) -> None:
        """Gives a place of the caller's back."""
        self._inside -= 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]

    @contextmanager
    def place(self, who: str) -> Iterator[None]:
        """A place as long as it is held; raises as enter does."""
        self.enter(who)
        try:
            yield
        finally:
            self.leave(who)


class RateLimiter:
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
