"""Connections to Postgres that give up when it is silent, and pools that keep no connection that is of no use."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool, ConnectionPool

ANSWERS_WITHIN = 3.0
"""Seconds that Postgres may be silent while it is asked something. Longer than the time limits of all statements."""

POOL: dict[str, Any] = {"timeout": 3, "reconnect_timeout": 2}
"""How pools wait: for a connection (seconds), and how long they try before they wait to be asked again."""

CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""How connections are made: those that no other limit ends notice in seconds that the network is gone."""

IDLE = (
    "-c idle_in_transaction_session_timeout=1200 "
    "-c tcp_user_timeout=5000 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)
"""Ends who stops in the middle of a transaction: frozen or cut off, it would hold the lane's row lock against all others.
Shorter than a statement waits for a lock."""

Rows = list[tuple[Any, ...]]

_T = TypeVar("_T")
_STOPS_WITHIN = 0.5  # seconds in which Postgres stops a statement when it is asked to
_ANEW = 0.5  # seconds to wait for a new connection in place of a lost one: when Postgres is there, it takes some milliseconds

# By SQLSTATE: connection exceptions, a cached plan that no longer fits its tables, states of the session such as read-only
# (25006, of who connected before a failover was over), prepared statements that are gone, shutdowns.
_OF_THE_SESSION = ("08", "0A", "25", "26", "57P")


class ConnectionLostError(psycopg.OperationalError):
    """The connection is of no use any more, whatever is asked of it: it broke, or its session fails for ever."""


def of_the_session(error: psycopg.Error) -> ConnectionLostError | None:
    """The error as one of the connection, when a new connection might do what this one cannot."""
    is_lost = (error.sqlstate or "").startswith(_OF_THE_SESSION)
    return ConnectionLostError(f"{type(error).__name__}: {error}") if is_lost else None


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that breaks, with OperationalError, when Postgres is silent for ANSWERS_WITHIN.

    It is closed after an error of its session, which is raised as ConnectionLostError.
    """

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """What psycopg calls to wait for an answer."""
        try:
            return super().wait(gen, interval, timeout or ANSWERS_WITHIN)
        except _WaitTimeout:
            self.pgconn.finish()  # what it would answer later must not be taken for the answer to something else
            raise _silent() from None
        except psycopg.Error as error:
            if problem := _lost(self, error):
                raise problem from error
            raise


class LimitedAsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for the servers."""

    async def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:  # noqa: ASYNC109
        """What psycopg calls to wait for an answer."""
        try:
            return await wait_async(gen, self.pgconn.socket, interval, timeout or ANSWERS_WITHIN)
        except _WaitTimeout:
            self.pgconn.finish()
            raise _silent() from None
        except asyncio.CancelledError:
            await self._cancel_abandoned(gen)
            raise
        except psycopg.Error as error:
            if problem := _lost(self, error):
                raise problem from error
            raise

    async def _cancel_abandoned(self, gen: PQGen[Any]) -> None:
        """Asks Postgres to stop what nobody waits for any more, and closes the connection where it does not at once.

        psycopg's own way takes ten seconds when Postgres is silent, in which its caller cannot say so.
        """
        if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return
        try:
            await self.cancel_safe(timeout=_STOPS_WITHIN)
            await wait_async(gen, self.pgconn.socket, timeout=_STOPS_WITHIN)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException as error:
            self.pgconn.finish()
            if not isinstance(error, Exception):  # it is asked to end once more
                raise


class Pool(ConnectionPool[LimitedConnection]):
    """A pool that is emptied when one of its connections is lost: what ended that one has ended or spoilt others as well."""

    def ask(self, work: Callable[[LimitedConnection], _T]) -> _T:
        """What work answers, which must be safe to repeat: when its connection is lost, it is done again on a new one."""
        try:
            with self.connection() as connection:
                return work(connection)
        except ConnectionLostError:
            with self.connection(_ANEW) as connection:
                return work(connection)

    def putconn(self, conn: LimitedConnection) -> None:
        """What psycopg calls when a connection is given back."""
        if conn.closed and not self.closed:
            self.drain()
        super().putconn(conn)


class AsyncPool(AsyncConnectionPool[LimitedAsyncConnection]):
    """The same for the servers."""

    async def rows(self, statement: str, **values: Any) -> Rows:
        """The rows of a statement that reads; when its connection is lost, they are read on a new one."""
        try:
            return await self._rows(statement, values)
        except ConnectionLostError:
            return await self._rows(statement, values, _ANEW)

    async def _rows(self, statement: str, values: Mapping[str, Any], within: float | None = None) -> Rows:
        async with self.connection(within) as connection:
            return await (await connection.execute(statement.encode(), values)).fetchall()

    async def putconn(self, conn: LimitedAsyncConnection) -> None:
        """What psycopg calls when a connection is given back."""
        if conn.closed and not self.closed:
            await self.drain()
        await super().putconn(conn)


def _lost(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], error: psycopg.Error
) -> ConnectionLostError | None:
    """The error as one of the connection, if it is one; the connection is closed then."""
    problem = of_the_session(error) or (ConnectionLostError(str(error)) if connection.closed else None)
    if problem:
        connection.pgconn.finish()
    return problem


def _silent() -> psycopg.OperationalError:
    return psycopg.OperationalError(f"Postgres did not answer within {ANSWERS_WITHIN:g} s")
