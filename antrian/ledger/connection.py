"""Connections to Postgres with response timeouts, and pools that discard lost connections."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool, ConnectionPool

RESPONSE_TIMEOUT = 3.0
"""Seconds that Postgres may take to respond before the connection is closed. Longer than the timeouts of all statements."""

POOL: dict[str, Any] = {"timeout": 3, "reconnect_timeout": 2}
"""Pool options, in seconds: how long a caller waits for a connection, and how long a pool retries to connect by itself."""

CONNECT: dict[str, Any] = {
    "connect_timeout": 2,  # of each host, so that callers of a pool outlast one that is away
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""Connection options: connections without another timeout detect a lost network within seconds, too."""

WRITER_OPTIONS = (
    "-c idle_in_transaction_session_timeout=1200 "
    "-c tcp_user_timeout=5000 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)
"""Server options of connections that write: end the session of a client that stops in the middle of a transaction. A frozen or
disconnected client would otherwise keep the lane's row lock. The timeout is shorter than those of statements."""

Rows = list[tuple[Any, ...]]

_T = TypeVar("_T")
_CANCEL_TIMEOUT = 0.5  # seconds that Postgres has to cancel a statement
_RECONNECT_TIMEOUT = 0.5  # seconds to wait for a new connection, which takes milliseconds if Postgres is up

# SQLSTATEs: connection exceptions, cached plans that no longer match their tables, session states such as read-only (25006,
# after connecting during a failover), missing prepared statements, shutdowns.
_SESSION_STATES = ("08", "0A", "25", "26", "57P")


class ConnectionLostError(psycopg.OperationalError):
    """The connection cannot be used any more: it broke, or every statement fails in its session."""


def connection_lost(error: psycopg.Error) -> ConnectionLostError | None:
    """Returns ConnectionLostError for an error that a new connection may not have, else None."""
    is_lost = (error.sqlstate or "").startswith(_SESSION_STATES)
    return ConnectionLostError(f"{type(error).__name__}: {error}") if is_lost else None


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that closes itself and raises OperationalError when Postgres does not respond within RESPONSE_TIMEOUT.

    An error of its session closes it, too, and is raised as ConnectionLostError.
    """

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Overrides how psycopg waits for responses."""
        try:
            return super().wait(gen, interval, timeout or RESPONSE_TIMEOUT)
        except _WaitTimeout:
            self.pgconn.finish()  # a late response must not be read as the response to a later statement
            raise _timed_out() from None
        except psycopg.Error as error:
            if problem := _close_if_lost(self, error):
                raise problem from error
            raise


class LimitedAsyncConnection(psycopg.AsyncConnection[Any]):
    """LimitedConnection for asyncio."""

    async def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:  # noqa: ASYNC109
        """Overrides how psycopg waits for responses."""
        try:
            return await wait_async(gen, self.pgconn.socket, interval, timeout or RESPONSE_TIMEOUT)
        except _WaitTimeout:
            self.pgconn.finish()
            raise _timed_out() from None
        except asyncio.CancelledError:
            await self._cancel_abandoned(gen)
            raise
        except psycopg.Error as error:
            if problem := _close_if_lost(self, error):
                raise problem from error
            raise

    async def _cancel_abandoned(self, gen: PQGen[Any]) -> None:
        """Cancels the statement of a cancelled caller, and closes the connection if Postgres does not cancel it at once.

        psycopg's own cancellation blocks the caller for ten seconds when Postgres does not respond.
        """
        if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return
        try:
            await self.cancel_safe(timeout=_CANCEL_TIMEOUT)
            await wait_async(gen, self.pgconn.socket, timeout=_CANCEL_TIMEOUT)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException as error:
            self.pgconn.finish()
            if not isinstance(error, Exception):  # the caller was cancelled again
                raise


class Pool(ConnectionPool[LimitedConnection]):
    """A pool that replaces all its connections when one of them is lost, since the others are probably lost as well."""

    def run(self, work: Callable[[LimitedConnection], _T]) -> _T:
        """Returns the result of work, which must be idempotent: it is repeated on a new connection when its own is lost."""
        try:
            with self.connection() as connection:
                return work(connection)
        except ConnectionLostError:
            with self.connection(_RECONNECT_TIMEOUT) as connection:
                return work(connection)

    def putconn(self, conn: LimitedConnection) -> None:
        """Overrides how psycopg returns a connection to the pool."""
        if conn.closed and not self.closed:
            self.drain()
        super().putconn(conn)


class AsyncPool(AsyncConnectionPool[LimitedAsyncConnection]):
    """Pool for asyncio."""

    async def rows(self, statement: str, **values: Any) -> Rows:
        """Returns the rows of a read-only statement, which is repeated on a new connection when its own is lost."""
        try:
            return await self._rows(statement, values)
        except ConnectionLostError:
            return await self._rows(statement, values, _RECONNECT_TIMEOUT)

    async def _rows(self, statement: str, values: Mapping[str, Any], within: float | None = None) -> Rows:
        async with self.connection(within) as connection:
            return await (await connection.execute(statement.encode(), values)).fetchall()

    async def putconn(self, conn: LimitedAsyncConnection) -> None:
        """Overrides how psycopg returns a connection to the pool."""
        if conn.closed and not self.closed:
            await self.drain()
        await super().putconn(conn)


def _close_if_lost(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], error: psycopg.Error
) -> ConnectionLostError | None:
    """Returns ConnectionLostError and closes the connection if the error shows that it is lost, else None."""
    problem = connection_lost(error) or (ConnectionLostError(str(error)) if connection.closed else None)
    if problem:
        connection.pgconn.finish()
    return problem


def _timed_out() -> psycopg.OperationalError:
    return psycopg.OperationalError(f"Postgres did not respond within {RESPONSE_TIMEOUT:g} s")
