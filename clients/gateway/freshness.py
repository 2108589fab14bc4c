"""Caches responses that may be slightly old, with their ETags."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message

from clients.gateway.transcode import write

MAX_AGE: Mapping[str, float] = {"ListOffices": 60.0, "GetQuota": 1.0}
"""How long a response may be reused, in seconds: places change every second in a rush, offices rarely."""
_MOST = 10_000


@dataclass(frozen=True)
class Fresh:
    """A cached body. until: when it expires (time.monotonic()). tag: the ETag, which ignores read_time."""

    body: bytes
    tag: str
    until: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers that let a client cache the response."""
        remaining = max(0, int(self.until - time.monotonic() + 0.5))
        return {
            "etag": self.tag,
            "cache-control": f"private, max-age={remaining}",
            "vary": "authorization, accept-language",
        }


class Freshness:
    """A cache of responses."""

    def __init__(self) -> None:
        self._cached: OrderedDict[Any, Fresh] = OrderedDict()

    async def get(self, key: Any, max_age: float, call: Callable[[], Awaitable[Message]]) -> Fresh:
        """Returns the cached response of the key, or that of a new call."""
        cached = self._cached.get(key)
        if cached and cached.until > time.monotonic():
            return cached
        called = time.monotonic()
        message = await call()
        body = write(message)
        message.ClearField("read_time")
        tag = blake2b(message.SerializeToString(deterministic=True), digest_size=12).hexdigest()
        fresh = self._cached[key] = Fresh(body, f'"{tag}"', called + max_age)
        self._cached.move_to_end(key)
        if len(self._cached) > _MOST:
            self._cached.popitem(last=False)
        return fresh
