"""A lean connection to Redis, for what servers ask thousands of times a second.

redis-py's client costs a call as much as all else that a server does for ten requests (docs/decisions); it is used for all
that is rare.
"""

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.connection import DefaultParser
from redis.exceptions import AuthenticationError, InvalidResponse, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_PATIENCE = 3.0
_TRIES = 4


class Pipe:
    """Commands to Redis over one connection, made when it is needed: sent at once, answered in their order.

    A command that is not answered within three seconds breaks the connection. heard is called with each message of the
    channels that it subscribes to. Raises redis.RedisError.
    """

    def __init__(self, redis_url: str, heard: Callable[[bytes], object] | None = None) -> None:
        self._url, self._heard = redis_url, heard
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    async def call(self, *command: bytes | str | int | float) -> Any:
        """Its answer. Raises redis.TimeoutError after a silence; redis.ConnectionError when the connection was lost."""
        line = self._line
        if line is None or line.lost.done():
            line = await self._connect()
        return await line.call(command)

    async def lost(self, within: float) -> bool:
        """Returns true when the connection is lost, false when it still stands after so many seconds."""
        if self._line is None:
            return True
        done, _ = await asyncio.wait([self._line.lost], timeout=within)
        return bool(done)

    def close(self) -> None:
        """Closes the connection; what is not answered raises."""
        if self._line:
            self._line.end(RedisConnectionError("closed"))

    async def _connect(self) -> "_Line":
        async with self._connecting:
            if self._line is None or self._line.lost.done():
                try:
                    async with asyncio.timeout(_PATIENCE):
                        self._line = await _connect(self._url, self._heard)
                except TimeoutError:
                    raise RedisTimeoutError("Redis cannot be reached: silence") from None
                except OSError as error:
                    raise RedisConnectionError(f"Redis cannot be reached: {error}") from error
            return self._line


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
        for left in reversed(range(_TRIES)):
            try:
                return await self._run(arguments)
            except RedisConnectionError:
                if not left:
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
    """One connection. lost is done when it is."""

    def __init__(self, heard: Callable[[bytes], object] | None) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=DefaultParser.parse_error)
        self._asked: deque[asyncio.Future[Any]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    async def call(self, command: tuple[bytes | str | int | float, ...]) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._asked.append(answer)
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # the stub has tuples of one
        timer = loop.call_later(_PATIENCE, self.end, RedisTimeoutError(f"Redis was silent for {_PATIENCE:g} s"))
        try:
            return await answer
        finally:
            timer.cancel()

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
        answer = self._asked.popleft()
        if answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.end(RedisConnectionError(f"the connection to Redis was lost: {error or 'closed by Redis'}"))

    def end(self, why: Exception) -> None:
        """Breaks the connection: all that is not answered raises why."""
        if self.lost.done():
            return
        self.lost.set_result(None)
        self._transport.abort()
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(why)
        self._asked.clear()


async def _connect(redis_url: str, heard: Callable[[bytes], object] | None) -> _Line:
    """A connection as redis-py makes it from that URL: TCP, TLS or a unix socket, with its user and database."""
    options: dict[str, Any] = dict(parse_url(redis_url))
    kind, loop = options.pop("connection_class", None), asyncio.get_running_loop()
    line = _Line(heard)
    if kind is UnixDomainSocketConnection:
        await loop.create_unix_connection(lambda: line, options["path"])
    else:
        address = options.get("host", "localhost"), options.get("port", 6379)
        secured = SSLConnection(**options).ssl_context.get() if kind is SSLConnection else None
        await loop.create_connection(lambda: line, *address, ssl=secured)
    try:
        if "password" in options:
            user = [options["username"]] if "username" in options else []
            await line.call(("AUTH", *user, options["password"]))
        if options.get("db"):
            await line.call(("SELECT", options["db"]))
    except RedisError as error:
        line.end(error)
        if isinstance(error, AuthenticationError | RedisConnectionError):
            raise
        raise RedisConnectionError(str(error)) from error
    return line
