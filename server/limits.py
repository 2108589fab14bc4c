"""Load shedding: concurrency and per-caller rate limits, applied before a call does any work."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from antrian.errors import AntrianError, Reason
from server.caller import Caller

_BUSY_RETRY = timedelta(seconds=2)
_BURST = 2.0


class ConcurrencyLimiter:
    """Limits the calls in flight, in total and per caller, so that no caller can take all places.

    per_caller: the same as limit if not given.
    """

    def __init__(self, limit: int, per_caller: int | None = None) -> None:
        self._limit, self._per_caller = limit, per_caller or limit
        self._total = 0
        self._held: dict[str, int] = {}  # callers that hold no place are removed, so that it stays small

    def enter(self, caller: str) -> None:
        """Takes a place until leave. Raises CALLER_BUSY if the caller holds its share, SERVER_BUSY if no place is free."""
        held = self._held.get(caller, 0)
        if held >= self._per_caller < self._limit:
            raise AntrianError(Reason.CALLER_BUSY, retry_after=_BUSY_RETRY, limit=str(self._per_caller))
        if self._total >= self._limit:
            raise AntrianError(Reason.SERVER_BUSY, retry_after=_BUSY_RETRY, limit=str(self._limit))
        self._total += 1
        self._held[caller] = held + 1

    def leave(self, caller: str) -> None:
        """Returns one of the caller's places."""
        self._total -= 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Holds a place for the duration of the context. Raises as enter does."""
        self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)


class BatchQueue:
    """Lets each caller have a number of batched requests in progress. Its further batches wait, in the order of their arrival.

    limit: that number, None for any. A single call then shares the server with a few batches of each other caller, instead of with all that these have sent.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit or float("inf")
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    @asynccontextmanager
    async def turn(self, caller: str, requests: int) -> AsyncIterator[None]:
        """Waits until the caller's batches before it leave room for that many requests, and holds the room in the context.

        A batch that is larger than the limit has its turn alone.
        """
        waiting = self._waiting.setdefault(caller, deque())
        if waiting or not self._fits(caller, requests):
            ready = asyncio.get_running_loop().create_future()
            waiting.append((requests, ready))
            try:
                await ready
            except asyncio.CancelledError:
                if ready.cancelled():
                    waiting.remove((requests, ready))
                    self._admit(caller)
                else:  # it was admitted in the same moment
                    self._leave(caller, requests)
                raise
        else:
            self._held[caller] = self._held.get(caller, 0) + requests
        try:
            yield
        finally:
            self._leave(caller, requests)

    def _fits(self, caller: str, requests: int) -> bool:
        held = self._held.get(caller, 0)
        return not held or held + requests <= self._limit

    def _leave(self, caller: str, requests: int) -> None:
        self._held[caller] -= requests
        self._admit(caller)

    def _admit(self, caller: str) -> None:
        """Admits the batches that fit now. Forgets callers without any."""
        waiting = self._waiting[caller]
        while waiting and not waiting[0][1].cancelled() and self._fits(caller, waiting[0][0]):
            requests, ready = waiting.popleft()
            self._held[caller] = self._held.get(caller, 0) + requests
            ready.set_result(None)
        if not waiting and not self._held.get(caller):
            self._waiting.pop(caller, None)
            self._held.pop(caller, None)


class RateLimiter:
    """Limits the requests per second of each caller that has a limit: a token bucket that holds two seconds' worth."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: Caller, requests: int) -> None:
        """Takes tokens for this many requests. Raises RATE_LIMITED, with the time until a token is free, if none is.

        A call may overdraw the bucket, so that a batch larger than the bucket is not refused forever.
        """
        if caller.per_second is None:
            return
        now, capacity = time.monotonic(), _BURST * caller.per_second
        tokens, since = self._buckets.get(caller.name, (capacity, now))
        tokens = min(capacity, tokens + (now - since) * caller.per_second)
        if tokens <= 0:
            wait = timedelta(seconds=(1 - tokens) / caller.per_second)
            raise AntrianError(Reason.RATE_LIMITED, retry_after=wait, limit=f"{caller.per_second:g}")
        self._buckets[caller.name] = tokens - requests, now
