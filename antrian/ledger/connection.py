"""Connections to Postgres that give up: a network that swallows what is sent must not hold its caller for ever."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

ANSWERS_WITHIN = 3.0
"""Seconds that Postgres may be silent while it is asked something. Longer than the time limits of all statements."""

POOL: dict[str, Any] = {"timeout": 3, "reconnect_timeout": 2}
"""How pools wait: for a connection (seconds), and how long they try before they wait to be asked again."""

CONNECT: dict[str, Any] = {"connect_timeout": 3}
"""How connections are made."""

IDLE = (
    "-c idle_in_transaction_session_timeout=1200 "
    "-c tcp_user_timeout=5000 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)
"""Ends who stops in the middle of a transaction: frozen or cut off, it would hold the lane's row lock against all others.
Shorter than a statement waits for a lock."""

_T = TypeVar("_T")


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that breaks, with OperationalError, when Postgres is silent for ANSWERS_WITHIN."""

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """What psycopg calls to wait for an answer."""
        try:
            return super().wait(gen, interval, timeout or ANSWERS_WITHIN)
        except _WaitTimeout:
            self.pgconn.finish()  # what it would answer later must not be taken for the answer to something else
            raise _silent() from None


class LimitedAsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for the servers."""

    async def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:  # noqa: ASYNC109
        """What psycopg calls to wait for an answer."""
        try:
            return await super().wait(gen, interval, timeout or ANSWERS_WITHIN)
        except _WaitTimeout:
            self.pgconn.finish()
            raise _silent() from None


def _silent() -> psycopg.OperationalError:
    return psycopg.OperationalError(f"Postgres did not answer within {ANSWERS_WITHIN:g} s")
