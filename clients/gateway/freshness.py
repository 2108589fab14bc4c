"""Answers that may be a moment old: how long, and under which tag they are known again."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message

from clients.gateway.transcode import write

MAX_AGE: Mapping[str, float] = {"ListOffices": 60.0, "GetQuota": 1.0}
"""Seconds for which an answer may be used again: places change by the second in a rush, offices by the week."""
_MOST = 10_000


@dataclass(frozen=True)
class Fresh:
    """A body that may be used until then (time.monotonic()); the tag is of all but the moment for which it is true."""

    body: bytes
    tag: str
    until: float

    @property
    def headers(self) -> dict[str, str]:
        """What tells a phone that it need not ask again, and for how long."""
        remaining = max(0, int(self.until - time.monotonic() + 0.5))
        return {
            "etag": self.tag,
            "cache-control": f"private, max-age={remaining}",
            "vary": "authorization, accept-language",
        }


class Freshness:
    """Keeps answers for as long as they may be used."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Fresh] = OrderedDict()

    async def get(self, key: Any, max_age: float, ask: Callable[[], Awaitable[Message]]) -> Fresh:
        """The answer under that key: a kept one, or a new one."""
        kept = self._kept.get(key)
        if kept and kept.until > time.monotonic():
            return kept
        asked = time.monotonic()
        message = await ask()
        body = write(message)
        message.ClearField("read_time")
        tag = blake2b(message.SerializeToString(deterministic=True), digest_size=12).hexdigest()
        fresh = self._kept[key] = Fresh(body, f'"{tag}"', asked + max_age)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return fresh
