"""Finds the Redis that takes writes: the one of a URL, or the primary that a majority of its sentinels names."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from redis import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.utils import str_if_bytes

_SCHEME = "redis+sentinel://"
_SENTINEL_PORT = 26379
_TIMEOUT = 0.3  # seconds for each of the two round trips: a sentinel or a primary that needs longer is as good as gone


def parse_redis_url(url: str) -> Mapping[str, Any]:
    """Returns the connection options of a Redis URL, for redis-py's asynchronous connections.

    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT,…/SERVICE/DATABASE has two options of its own, `sentinels` (host
    and port of each) and `service`, and no `host` and `port`. USER and PASSWORD are those of the Redis servers and of the
    sentinels.

    Raises:
        ValueError: it is not such a URL. The message may quote it.
    """
    if not url.startswith(_SCHEME):
        return dict(parse_url(url))
    userinfo, _, rest = url.removeprefix(_SCHEME).rpartition("@")
    hosts, _, path = rest.partition("/")
    service, _, database = path.partition("/")
    sentinels = [_address(host) for host in hosts.split(",")]
    if not service:
        raise ValueError("the name of the service is missing")
    options = dict(parse_url(f"redis://{userinfo}{'@' if userinfo else ''}localhost/{database}"))
    del options["host"]
    return {**options, "sentinels": sentinels, "service": service}


def connect(url: str, **options: Any) -> "Redis":
    """Returns a client whose connections lead to the primary of that URL, looked up anew by each new connection.

    options: those of redis.Redis. The client raises redis.ConnectionError while there is no primary.
    """
    if not url.startswith(_SCHEME):
        return Redis.from_url(url, **options)
    pool = ConnectionPool(connection_class=_PrimaryConnection, **{**parse_redis_url(url), **options})
    return Redis.from_pool(pool)


async def resolve(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the options with the primary's `host` and `port` in place of its sentinels.

    Raises:
        redis.ConnectionError: no majority of the sentinels names a server that is a primary.
    """
    if "sentinels" not in options:
        return options
    host, port = await asyncio.to_thread(_find_primary, options)
    return {
        **{name: value for name, value in options.items() if name not in {"sentinels", "service"}},
        "host": host,
        "port": port,
    }


class _PrimaryConnection(Connection):
    """A connection of redis-py that looks the primary up whenever it connects."""

    def __init__(self, *, sentinels: list[tuple[str, int]], service: str, **options: Any) -> None:
        self._lookup = {**options, "sentinels": sentinels, "service": service}
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = _find_primary(self._lookup)
        return super()._connect()  # type: ignore[no-untyped-call]


def _find_primary(options: Mapping[str, Any]) -> tuple[str, int]:
    """Asks all sentinels at once: the first to respond may be one that is cut off together with an old primary."""
    sentinels, service = options["sentinels"], options["service"]
    user = {name: options[name] for name in ("username", "password") if name in options}
    threads = ThreadPoolExecutor(len(sentinels))
    futures = [threads.submit(_named_by, sentinel, service, user) for sentinel in sentinels]
    done, _ = wait(futures, timeout=3 * _TIMEOUT)
    threads.shutdown(wait=False)  # _TIMEOUT does not bound the lookup of a host name, which can take seconds
    named = Counter(future.result() for future in done)
    del named[None]
    [(address, votes)] = named.most_common(1) or [(None, 0)]
    if address is None or votes * 2 <= len(sentinels):
        raise RedisConnectionError(f"no majority of the sentinels names a primary of {service}: {dict(named)}")
    role = _ask(address, "ROLE", **user)
    if str_if_bytes(role[0]) != "master":
        raise RedisConnectionError(f"{address[0]}:{address[1]} is not the primary of {service} yet")
    return address


def _named_by(sentinel: tuple[str, int], service: str, user: Mapping[str, Any]) -> tuple[str, int] | None:
    try:
        named = _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service, **user)
    except RedisError:
        return None
    return (str_if_bytes(named[0]), int(named[1])) if named else None


def _ask(address: tuple[str, int], *command: str, **options: Any) -> Any:
    with Redis(
        *address, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0), **options
    ) as redis:
        return redis.execute_command(*command)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, ":", str(_SENTINEL_PORT))
    if not host or not port.isdecimal():
        raise ValueError(f"{text} is not a sentinel's HOST:PORT")
    return host.strip("[]"), int(port)
