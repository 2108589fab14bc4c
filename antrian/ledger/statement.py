"""A lean connection to Postgres, for what servers ask thousands of times a second.

psycopg's pool and cursor cost a question five times what libpq itself does (docs/decisions); they are used for all that is
rare.
"""

import asyncio
import os
from collections import deque

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from antrian.ledger.connection import ANSWERS_WITHIN, CONNECT, LimitedAsyncConnection, Rows, of_the_session

_NAME = b"statement"
_BINARY = 1


class Statement:
    """One statement with one parameter, $1, over one connection, made when it is needed: `await statement(value)`.

    Each question is sent at once and answered in its order. One that is not answered within ANSWERS_WITHIN breaks the
    connection. Raises psycopg.Error.
    """

    def __init__(self, database_url: str, text: str, options: str) -> None:
        self._url, self._text, self._options = database_url, text, options
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None

    async def __call__(self, value: str) -> Rows:
        """Its rows."""
        line = self._line
        if line is None or line.lost:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
            line = await asyncio.shield(self._connecting)
        return await line.ask(value)

    async def close(self) -> None:
        """Closes the connection; what is not answered raises."""
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._line:
            self._line.end(psycopg.OperationalError("closed"))

    async def _connect(self) -> "_Line":
        made = await LimitedAsyncConnection.connect(self._url, autocommit=True, options=self._options, **CONNECT)
        line = _Line(made)
        try:
            await line.prepare(self._text)
        except psycopg.Error as error:
            line.end(error)
            raise
        self._line = line
        return line


class _Line:
    """One connection, in libpq's pipeline mode. lost is True when it is."""

    def __init__(self, connection: LimitedAsyncConnection) -> None:
        self.lost = False
        self._libpq, self._loop = connection.pgconn, asyncio.get_running_loop()
        self._transformer = Transformer(connection)
        self._asked: deque[asyncio.Future[PGresult]] = deque()
        self._result: PGresult | None = None
        # A descriptor of our own: libpq closes its own when the connection breaks, and its number may then be another's.
        self._socket = os.dup(self._libpq.socket)
        self._libpq.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    async def prepare(self, text: str) -> None:
        self._libpq.send_prepare(_NAME, text.encode())
        await self._response()

    async def ask(self, value: str) -> Rows:
        self._libpq.send_query_prepared(_NAME, [value.encode()], result_format=_BINARY)
        rows = self._transformer
        result = await self._response()
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    async def _response(self) -> PGresult:
        response: asyncio.Future[PGresult] = self._loop.create_future()
        self._asked.append(response)
        timer = self._loop.call_later(ANSWERS_WITHIN, self._silent)
        try:
            self._libpq.pipeline_sync()  # what goes wrong before it does not harm what comes after
            if self._libpq.flush():
                self._loop.add_writer(self._socket, self._write)
            return await response
        finally:
            timer.cancel()

    def _write(self) -> None:
        """Sends what the socket did not take at once."""
        try:
            if not self._libpq.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self.end(error)

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            ended = False
            while self._asked and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result:
                    self._take(result)
                elif ended:  # no more to come
                    self.end(psycopg.OperationalError("the connection to Postgres is lost"))
                ended = not result
        except psycopg.Error as error:
            self.end(error)

    def _take(self, result: PGresult) -> None:
        if result.status != ExecStatus.PIPELINE_SYNC:
            self._result = result
            return
        response, told = self._asked.popleft(), self._result
        assert told
        if response.done():
            return
        if told.status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
            response.set_result(told)
            return
        error = error_from_result(told)
        problem = of_the_session(error)
        response.set_exception(problem or error)
        if problem:
            self.end(problem)

    def _silent(self) -> None:
        self.end(psycopg.OperationalError(f"Postgres did not answer within {ANSWERS_WITHIN:g} s"))

    def end(self, why: psycopg.Error) -> None:
        """Breaks the connection: all that is not answered raises why."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._libpq.finish()
        os.close(self._socket)
        for response in self._asked:
            if not response.done():
                response.set_exception(why)
        self._asked.clear()
