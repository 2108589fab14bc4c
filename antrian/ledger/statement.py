"""A lean connection to Postgres for the statement that servers run thousands of times a second.

psycopg's pool and cursor cost five times as much per statement as libpq alone (docs/decisions). All other statements use
them.
"""

import asyncio
import os
from collections import deque

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from antrian.ledger.connection import CONNECT, RESPONSE_TIMEOUT, LimitedAsyncConnection, Rows, connection_lost

_NAME = b"statement"
_BINARY = 1


class Statement:
    """One prepared statement with one parameter, $1, on one connection: `await statement(value)` returns its rows.

    Connects on first use, and again after the connection was lost. Concurrent calls are pipelined, and responses come in
    their order. A call without a response within RESPONSE_TIMEOUT closes the connection. Raises psycopg.Error.
    """

    def __init__(self, database_url: str, text: str, options: str) -> None:
        self._url, self._text, self._options = database_url, text, options
        self._pipeline: _Pipeline | None = None
        self._connecting: asyncio.Task[_Pipeline] | None = None

    async def __call__(self, value: str) -> Rows:
        """Runs the statement and returns its rows."""
        pipeline = self._pipeline
        if pipeline is None or pipeline.lost:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
            pipeline = await asyncio.shield(self._connecting)
        return await pipeline.run(value)

    async def close(self) -> None:
        """Closes the connection. Calls without a response raise psycopg.OperationalError."""
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._pipeline:
            self._pipeline.end(psycopg.OperationalError("closed"))

    async def _connect(self) -> "_Pipeline":
        connection = await LimitedAsyncConnection.connect(self._url, autocommit=True, options=self._options, **CONNECT)
        pipeline = _Pipeline(connection)
        try:
            await pipeline.prepare(self._text)
        except psycopg.Error as error:
            pipeline.end(error)
            raise
        self._pipeline = pipeline
        return pipeline


class _Pipeline:
    """A connection in libpq's pipeline mode. lost: whether it was closed."""

    def __init__(self, connection: LimitedAsyncConnection) -> None:
        self.lost = False
        self._libpq, self._loop = connection.pgconn, asyncio.get_running_loop()
        self._transformer = Transformer(connection)
        self._responses: deque[asyncio.Future[PGresult]] = deque()
        self._result: PGresult | None = None
        # A duplicate: libpq closes its own descriptor when the connection breaks, and the number may then be reused.
        self._socket = os.dup(self._libpq.socket)
        self._libpq.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    async def prepare(self, text: str) -> None:
        self._libpq.send_prepare(_NAME, text.encode())
        await self._response()

    async def run(self, value: str) -> Rows:
        self._libpq.send_query_prepared(_NAME, [value.encode()], result_format=_BINARY)
        rows = self._transformer
        result = await self._response()
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    async def _response(self) -> PGresult:
        response: asyncio.Future[PGresult] = self._loop.create_future()
        self._responses.append(response)
        timer = self._loop.call_later(RESPONSE_TIMEOUT, self._time_out)
        try:
            self._libpq.pipeline_sync()  # an error before it does not affect the calls after it
            if self._libpq.flush():
                self._loop.add_writer(self._socket, self._write)
            return await response
        finally:
            timer.cancel()

    def _write(self) -> None:
        """Sends what the socket did not accept at once."""
        try:
            if not self._libpq.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self.end(error)

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            ended = False
            while self._responses and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result:
                    self._take(result)
                elif ended:  # two null results in a row: the connection is closed
                    self.end(psycopg.OperationalError("the connection to Postgres is lost"))
                ended = not result
        except psycopg.Error as error:
            self.end(error)

    def _take(self, result: PGresult) -> None:
        if result.status != ExecStatus.PIPELINE_SYNC:
            self._result = result
            return
        response, last = self._responses.popleft(), self._result
        assert last
        if response.done():
            return
        if last.status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
            response.set_result(last)
            return
        error = error_from_result(last)
        problem = connection_lost(error)
        response.set_exception(problem or error)
        if problem:
            self.end(problem)

    def _time_out(self) -> None:
        self.end(psycopg.OperationalError(f"Postgres did not respond within {RESPONSE_TIMEOUT:g} s"))

    def end(self, why: psycopg.Error) -> None:
        """Closes the connection. Calls without a response raise why."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._libpq.finish()
        os.close(self._socket)
        for response in self._responses:
            if not response.done():
                response.set_exception(why)
        self._responses.clear()
