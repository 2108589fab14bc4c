"""A lean connection to Redis, for the scripts that servers call thousands of times a second.

redis-py needs nine times the processor time per call (docs/decisions, 2026-11-26); it is used for everything else.
"""

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, MasterDownError, NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from antrian.lane import BARRIER, REPLICATED_WITHIN_MS, NotReplicatedError
from antrian.redis_primary import parse_redis_url, resolve

_TIMEOUT = 3.0
_TRIES = 4

Command = tuple[bytes | str | int | float, ...]
Call = Callable[[Command], Awaitable[Any]]
"""Sends a command and returns its reply."""


class Pipe:
    """Sends commands to Redis over one connection, at once, and receives their replies in order.

    It connects when the first command needs it, and again after the connection was lost. No reply within three seconds
    closes the connection, even if the caller was cancelled. on_message: called with each message of the subscribed
    channels. on_connect: awaited on each new connection before any command is sent on it. All methods raise
    redis.RedisError.
    """

    def __init__(
        self,
        redis_url: str,
        on_message: Callable[[bytes], object] | None = None,
        on_connect: Callable[[Call], Awaitable[None]] | None = None,
    ) -> None:
        self._options, self._on_message, self._on_connect = parse_redis_url(redis_url), on_message, on_connect
        self._socket: _Socket | None = None
        self._closed = False

    async def call(self, *command: bytes | str | int | float, replicas: int = 0) -> Any:
        """Returns the reply, once that many replicas have received what Redis had written by then.

        Raises redis.TimeoutError when there is no reply, NotReplicatedError when too few replicas confirm, and
        redis.ConnectionError when the connection was lost: in all three cases the command may have been executed.
        """
        socket = self._socket
        if socket is None or not socket.is_open:
            socket = await self._open()
        if not replicas:
            return await socket.call(command)
        return await socket.call_replicated(command, replicas)

    async def lost(self, within: float) -> bool:
        """Returns true when the connection is lost, false when it still stands after that many seconds."""
        if self._socket is None:
            return True
        done, _ = await asyncio.wait([self._socket.lost], timeout=within)
        return bool(done)

    def close(self) -> None:
        """Closes the connection for good; calls without a reply and later ones raise redis.ConnectionError."""
        self._closed = True
        if self._socket:
            self._socket.end(RedisConnectionError("closed"))

    async def _open(self) -> "_Socket":
        """Returns a connection; all callers wait for the same one. It is lost if it could not be made."""
        if self._closed:
            raise RedisConnectionError("closed")
        if self._socket is None or self._socket.lost.done():
            self._socket = _Socket(self._options, self._on_message, self._on_connect)
        socket = self._socket
        await asyncio.wait([socket.opening])  # cancelling a caller does not cancel the connection
        return socket


class Script:
    """A script that is safe to repeat: `await script(*arguments)` runs it on a pipe and returns its reply.

    A lost connection repeats it, at most three times. A timeout does not: the callers of the repetition would be gone.
    replicas: how many replicas must have received what the script wrote before its reply counts.
    """

    def __init__(self, pipe: Pipe, text: str, *, replicas: int = 0) -> None:
        self._pipe, self._text, self._replicas = pipe, text, replicas
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, *arguments: bytes | str | int) -> Any:
        """Runs the script. Raises what Pipe.call raises, and redis.ResponseError."""
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
            return await self._pipe.call("EVALSHA", self._sha, 0, *arguments, replicas=self._replicas)
        except NoScriptError:
            await self._pipe.call("SCRIPT", "LOAD", self._text)
            return await self._pipe.call("EVALSHA", self._sha, 0, *arguments, replicas=self._replicas)


class _Socket(asyncio.Protocol):
    """One connection. It is open once `opening` is done, unless it was lost before; the result of `lost` says why."""

    def __init__(
        self,
        options: Mapping[str, Any],
        on_message: Callable[[bytes], object] | None,
        on_connect: Callable[[Call], Awaitable[None]] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception] = self._loop.create_future()
        self.is_open = False
        self._on_message, self._on_connect = on_message, on_connect
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=DefaultParser.parse_error)
        self._calls: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.opening = self._loop.create_task(self._open(options))

    async def _open(self, options: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._connect(await resolve(options))
                if self._on_connect:
                    await self._on_connect(self.call)
            self.is_open = True
        except TimeoutError:
            self.end(RedisTimeoutError(f"Redis did not accept a connection within {_TIMEOUT:g} s"))
        except RedisConnectionError as error:
            self.end(error)
        except (Exception, asyncio.CancelledError) as error:  # all callers wait for this: none may wait for ever
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
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports do not inherit from it

    async def call(self, command: Command) -> Any:
        [reply] = self._send(command)
        return await reply

    async def call_replicated(self, command: Command, replicas: int) -> Any:
        """The same with a WAIT in the same message, so that it costs no round trip of its own."""
        barrier = ("PUBLISH", BARRIER, ""), ("WAIT", replicas, REPLICATED_WITHIN_MS)
        replies: list[Any] = await asyncio.gather(*self._send(command, *barrier), return_exceptions=True)
        for problem in replies:
            if isinstance(problem, BaseException):
                raise problem
        reply, _, confirmed = replies
        if confirmed < replicas:
            shortfall = NotReplicatedError(replicas, confirmed)
            self.end(shortfall)  # the next connection may lead to another primary
            raise shortfall
        return reply

    def _send(self, *commands: Command) -> list[asyncio.Future[Any]]:
        """Sends the commands in one message. Returns a future per reply."""
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # the stub has tuples of one
        if self.lost.done() or self._transport is None:
            raise self.lost.result().with_traceback(None)
        replies: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in commands]
        self._calls.extend((reply, self._loop.time() + _TIMEOUT) for reply in replies)
        if self._timer is None:
            self._timer = self._loop.call_later(_TIMEOUT, self._check_timeout)
        self._transport.write(b"".join(packed))
        return replies

    def _check_timeout(self) -> None:
        """Ends the connection if the oldest call has timed out, else checks again when it would."""
        self._timer = None
        if self._calls:
            _, ends = self._calls[0]
            if ends <= self._loop.time():
                self.end(RedisTimeoutError(f"no reply from Redis within {_TIMEOUT:g} s"))
            else:
                self._timer = self._loop.call_at(ends, self._check_timeout)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._receive(reply)
        except InvalidResponse as error:
            self.end(error)

    def _receive(self, reply: Any) -> None:
        if self._on_message and isinstance(reply, list) and reply[0] == b"message":
            self._on_message(reply[2])
            return
        if isinstance(
            reply, ReadOnlyError | MasterDownError
        ):  # no primary any more: the next connection finds the new one
            self.end(RedisConnectionError(str(reply)))
        if not self._calls:  # the connection is lost, or Redis refuses it, such as one client too many
            self.end(RedisConnectionError(f"unexpected reply from Redis: {reply}"))
            return
        response, _ = self._calls.popleft()
        if response.done():
            return
        if isinstance(reply, Exception):
            response.set_exception(reply)
        else:
            response.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.end(RedisConnectionError(f"the connection to Redis was lost: {error or 'closed by Redis'}"))

    def end(self, why: Exception) -> None:
        """Closes the connection; every call without a reply raises why."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        self.is_open = False
        self.opening.cancel()
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()
        for response, _ in self._calls:
            if not response.done():
                response.set_exception(why)
        self._calls.clear()
