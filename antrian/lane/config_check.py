"""Whether a Redis may hold the lanes: it must not forget what was accepted, and have room for what may wait."""

import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

WAITING_BYTES = 1050
"""What a waiting request takes in Redis at most: a party of five takes 964 bytes with all that belongs to it, and its account
44 for whom it has asked for (both measured)."""

_NEEDED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
_log = logging.getLogger(__name__)


class UnsupportedRedisError(Exception):
    """This Redis would lose accepted requests, or could not take as many as may wait; the message says what to change."""


async def check_config(redis: "Redis", offices: int, lane_bound: int) -> None:
    """Raises UnsupportedRedisError unless its settings keep what is accepted, and all lanes at their bound fit its memory."""
    try:
        settings: dict[str, str] = _text(await redis.config_get(*_NEEDED, "maxmemory"))
    except ResponseError as problem:  # hosted ones often do not let one look
        _log.warning("Redis does not show its settings, see to them yourself: %s", problem)
        return
    wrong = [
        f"{name} is {settings[name]}, must be {value}" for name, value in _NEEDED.items() if settings[name] != value
    ]
    limit = int(settings["maxmemory"])
    memory = limit or int((await redis.info("memory"))["total_system_memory"])
    needed = offices * lane_bound * WAITING_BYTES
    if memory < needed:
        which = "maxmemory is" if limit else "its machine has"
        wrong.append(
            f"{which} {memory} bytes, but {offices} offices with {lane_bound} waiting requests each may need {needed}: "
            "more memory, or a lower lane.bound in policy.toml"
        )
    if wrong:
        raise UnsupportedRedisError("; ".join(wrong))


def _text(settings: dict[Any, Any]) -> dict[str, str]:
    return {_plain(name): _plain(value) for name, value in settings.items()}


def _plain(text: bytes | str) -> str:
    return text.decode() if isinstance(text, bytes) else text
