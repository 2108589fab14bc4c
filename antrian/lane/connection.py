"""Connections of a server to Redis."""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection


class _Sound:
    """uvloop says RuntimeError, which nobody takes for a lost connection, where one was closed before it was written to."""

    async def _send_packed_command(self, command: Any) -> None:
        try:
            await super()._send_packed_command(command)  # type: ignore[misc]
        except RuntimeError as error:
            raise OSError(0, str(error)) from error


class _Tcp(_Sound, Connection):
    pass


class _Tls(_Sound, SSLConnection):
    pass


class _Unix(_Sound, UnixDomainSocketConnection):
    pass


_SOUND: dict[type[Any], type[Any]] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def connection_pool(redis_url: str, **options: Any) -> BlockingConnectionPool:
    """A pool of connections. Who finds all of them in use waits for one, instead of failing."""
    pool = BlockingConnectionPool.from_url(redis_url, **options)
    pool.connection_class = _SOUND[pool.connection_class]
    return pool
