"""A lean connection to Redis, for what servers ask thousands of times a second.

redis-py's client takes nine times the processor time a call (docs/decisions, 2026-11-26); it is used for what is rare.
"""

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, MasterDownError, NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

_PATIENCE = 3.0
_TRIES = 4


class Pipe:
    """Commands to Redis over one connection, made when it is needed: sent at once, answered in their order.

    A command that is not answered within three seconds breaks the connection, also when its caller has left. heard is
    called with each message of the channels that it subscribes to, one a call. Raises redis.RedisError.
    """

    def __init__(self, redis_url: str, heard: Callable[[bytes], object] | None = None) -> None:
        self._options, self._heard = dict(parse_url(redis_url)), heard
        self._line: _Line | None = None
        self._closed = False

    async def call(self, *command: bytes | str | int | float) -> Any:
        """Its answer. Raises redis.TimeoutError after a silence; redis.ConnectionError when the connection was lost."""
        line = self._line
        if line is None or not line.is_open:
            line = await self._open()
        return await line.call(command)

    async def lost(self, within: float) -> bool:
        """Returns true when the connection is lost, false when it still stands after so many seconds."""
        if self._line is None:
            return True
        done, _ = await asyncio.wait([self._line.lost], timeout=within)
        return bool(done)

    def close(self) -> None:
        """Closes the connection for good; what is not answered raises, as does what is asked later."""
        self._closed = True
        if self._line:
            self._line.end(RedisConnectionError("closed"))

    async def _open(self) -> "_Line":
        """A connection; all who ask while it is made wait for the same one. It is lost if it could not be made."""
        if self._closed:
            raise RedisConnectionError("closed")
        if self._line is None or self._line.lost.done():
            self._line = _Line(self._options, self._heard)
        line = self._line
        await asyncio.wait([line.opening])  # who is cancelled does not cancel it
        return line


class Script:
    """A script that may be repeated: `await script(*arguments)` runs it on a pipe.

    It is sent again when the connection was lost, at most three times; not after a silence: what is sent again then would
    be done for callers who have left.
    """

    def __init__(self, pipe: Pipe, text: str) -> None:
        self._pipe, self._text = pipe, text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, *arguments: bytes | str | int) -> Any:
        """Its answer."""
        pause = 0.01
        for remaining in reversed(range(_TRIES)):
            try:
                return await self._run(arguments)
            except RedisConnectionError:
                if not remaining:
                    raise
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause *= 4
        raise AssertionError

    async def _run(self, arguments: tuple[bytes | str | int, ...]) -> Any:
        try:
            return await self._pipe.call("EVALSHA", self._sha, 0, *arguments)
        except NoScriptError:
            await self._pipe.call("SCRIPT", "LOAD", self._text)
            return await self._pipe.call("EVALSHA", self._sha, 0, *arguments)


class _Line(asyncio.Protocol):
    """One connection. It is open once opening is done, unless it was lost meanwhile; lost says why."""

    def __init__(self, options: Mapping[str, Any], heard: Callable[[bytes], object] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception] = self._loop.create_future()
        self.is_open = False
        self._heard = heard
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=DefaultParser.parse_error)
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.opening = self._loop.create_task(self._open(options))

    async def _open(self, options: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._connect(options)
            self.is_open = True
        except TimeoutError:
            self.end(RedisTimeoutError("Redis cannot be reached: silence"))
        except RedisConnectionError as error:
            self.end(error)
        except (Exception, asyncio.CancelledError) as error:  # whatever it is, who waits must hear of it
            self.end(RedisConnectionError(f"Redis cannot be reached: {error}"))

    async def _connect(self, options: Mapping[str, Any]) -> None:
        """Connects as redis-py does: by TCP, TLS or a unix socket, with its user and database."""
        kind = options.get("connection_class")
        if kind is UnixDomainSocketConnection:
            await self._loop.create_unix_connection(lambda: self, options["path"])
        else:
            address = options.get("host", "localhost"), options.get("port", 6379)
            secure = {name: value for name, value in options.items() if name.startswith("ssl_")}
            context = SSLConnection(**secure).ssl_context.get() if kind is SSLConnection else None
            await self._loop.create_connection(lambda: self, *address, ssl=context)
        user = [options["username"]] if "username" in options else []
        if user or "password" in options:
            await self.call(("AUTH", *user, options.get("password", "")))
        if options.get("db"):
            await self.call(("SELECT", options["db"]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    async def call(self, command: tuple[bytes | str | int | float, ...]) -> Any:
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # the stub has tuples of one
        if self.lost.done() or self._transport is None:
            raise self.lost.result().with_traceback(None)
        response: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((response, self._loop.time() + _PATIENCE))
        if self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._look)
        self._transport.write(packed)
        return await response

    def _look(self) -> None:
        """Ends a line whose oldest question was not answered in time, else looks again when that time comes."""
        self._timer = None
        if self._asked:
            _, ends = self._asked[0]
            if ends <= self._loop.time():
                self.end(RedisTimeoutError(f"Redis was silent for {_PATIENCE:g} s"))
            else:
                self._timer = self._loop.call_at(ends, self._look)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except InvalidResponse as error:
            self.end(error)

    def _take(self, reply: Any) -> None:
        if self._heard and isinstance(reply, list) and reply[0] == b"message":
            self._heard(reply[2])
            return
        if isinstance(reply, ReadOnlyError | MasterDownError):  # it is no primary any more: look for the one that is
            self.end(RedisConnectionError(str(reply)))
        if not self._asked:  # lost, or told without a question, such as one client too many
            self.end(RedisConnectionError(f"Redis said: {reply}"))
            return
        response, _ = self._asked.popleft()
        if response.done():
            return
        if isinstance(reply, Exception):
            response.set_exception(reply)
        else:
            response.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.end(RedisConnectionError(f"the connection to Redis was lost: {error or 'closed by Redis'}"))

    def end(self, why: Exception) -> None:
        """Breaks the connection: all that is not answered raises why."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        self.is_open = False
        self.opening.cancel()
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()
        for response, _ in self._asked:
            if not response.done():
                response.set_exception(why)
        self._asked.clear()
