"""Checks that a Redis may hold the lanes: it must not forget what it accepted, and have memory for what may wait."""

import logging
from collections.abc import Mapping
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from antrian.redis_primary import parse_redis_url, resolve

WAITING_BYTES = 1150
"""The bytes of a waiting request in Redis, at most: a party of five needs 1,020 with what its account has asked for, and its
account, device and address prefix 33 each for their limits (all measured)."""

_NEEDED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
_log = logging.getLogger(__name__)


class UnsupportedRedisError(Exception):
    """This Redis could lose accepted requests, or could not hold as many as may wait; the message says what to change."""


async def check_config(redis_url: str, offices: int, lane_bound: int, replicas: int) -> None:
    """Checks that Redis keeps what it accepts, that all lanes at their bound fit its memory, and the same of its replicas.

    Raises:
        UnsupportedRedisError: it does not. Fewer connected replicas than needed are only logged: until they are back,
            requests are answered STORE_UNAVAILABLE.
    """
    options = await resolve(parse_redis_url(redis_url))
    needed = offices * lane_bound * WAITING_BYTES
    async with _client(options) as redis:
        wrong = await _problems(redis, offices, lane_bound, needed)
        connected = await _replicas(redis) if replicas else []
    if len(connected) < replicas:
        _log.error("Redis has %d connected replicas, but ANTRIAN_REPLICAS is %d", len(connected), replicas)
    for host, port in connected:
        async with _client({**options, "host": host, "port": port}) as redis:
            try:
                wrong += [
                    f"replica {host}:{port}: {problem}"
                    for problem in await _problems(redis, offices, lane_bound, needed)
                ]
            except RedisConnectionError as problem:
                _log.warning("the settings of the replica %s:%d could not be checked: %s", host, port, problem)
    if wrong:
        raise UnsupportedRedisError("; ".join(wrong))


def _client(options: Mapping[str, Any]) -> "Redis":
    return Redis.from_pool(ConnectionPool(**{**options, "socket_timeout": 3}))


async def _replicas(redis: "Redis") -> list[tuple[str, int]]:
    """Returns the addresses of the replicas that are in sync with this primary."""
    info = await redis.info("replication")
    replicas = [info[f"slave{n}"] for n in range(info.get("connected_slaves", 0))]
    return [(replica["ip"], replica["port"]) for replica in replicas if replica["state"] == "online"]


async def _problems(redis: "Redis", offices: int, lane_bound: int, needed: int) -> list[str]:
    """Returns what is wrong with the settings of one server."""
    try:
        settings: dict[str, str] = _text(await redis.config_get(*_NEEDED, "maxmemory"))
    except ResponseError as problem:  # hosted ones often do not show them
        _log.warning("Redis does not show its settings, check them yourself: %s", problem)
        return []
    wrong = [
        f"{name} is {settings[name]}, must be {value}" for name, value in _NEEDED.items() if settings[name] != value
    ]
    limit = int(settings["maxmemory"])
    memory = limit or int((await redis.info("memory"))["total_system_memory"])
    if memory < needed:
        which = "maxmemory is" if limit else "its machine has"
        wrong.append(
            f"{which} {memory} bytes, but {offices} offices with {lane_bound} waiting requests each may need {needed}: "
            "more memory, or a lower lane.bound in policy.toml"
        )
    return wrong


def _text(settings: dict[Any, Any]) -> dict[str, str]:
    return {_plain(name): _plain(value) for name, value in settings.items()}


def _plain(text: bytes | str) -> str:
    return text.decode() if isinstance(text, bytes) else text
