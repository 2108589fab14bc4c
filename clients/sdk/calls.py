"""The base of the clients: a channel, deadlines, retries while the service is unavailable, refusals as exceptions."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from antrian.loopback import CLEARTEXT, is_loopback
from antrian.v1.messages_pb2 import Alternative, SlotFullInfo

DEADLINE = timedelta(seconds=5)
"""The deadline of one attempt of a call."""
PATIENCE = timedelta(seconds=60)
"""How long a call is retried while the service is unavailable."""
COMMAND_EXTRA = 5.0
"""Seconds added to the deadline of calls that wait for a command of the office's lane."""

# CANCELLED is included because the deadline may pass at the server before it passes here.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""Codes on which a call is retried: the service is unavailable for now, or the effect of the call is unknown."""

# A server takes 200 concurrent calls per connection. Without these options, further calls would wait in the channel.
MORE_CONNECTIONS = (
    ("grpc.service_config", '{"connectionScaling": {"maxConnectionsPerSubchannel": 128}}'),
    ("grpc.max_connections_per_subchannel_cap", 128),
)
"""Options of a channel that opens more connections as it has more concurrent calls."""

_CLOSE_AFTER = 60.0  # seconds, longer than any call, since closing a channel cancels its calls
CERTAIN = {"LANE_FULL", "LANE_CLOSED", "STORE_FULL", "SERVER_BUSY", "CALLER_BUSY"}
"""Reasons with a code of UNKNOWN that nevertheless guarantee that the call had no effect."""
# Keepalive: a connection that was quiet for 10 s gets a ping, and is closed without a reply in 5 s.
_QUIET_MS, _NO_ECHO_MS = 10_000, 5_000
_MOST_TIMEOUTS = 2  # consecutive attempts without a response, after which the channel is replaced
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an Antrian: HOST:PORT, the caller's bearer token, and CA certificates (PEM) for TLS.

    http: the HOST:PORT of its gateway, for calls over HTTP.
    """

    target: str
    token: str = ""
    ca: bytes | None = None
    http: str = ""

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """The credentials for a channel. None means no TLS."""
        return grpc.ssl_channel_credentials(self.ca) if self.ca else None


class CleartextError(ValueError):
    """A token would be sent to another machine in cleartext."""


def check_cleartext(target: str) -> None:
    """Raises CleartextError unless the target is on this machine, or ANTRIAN_BEHIND_TLS_PROXY is set."""
    if not is_loopback(target) and os.environ.get("ANTRIAN_BEHIND_TLS_PROXY") != "1":
        raise CleartextError(
            f"{target} is on another machine, and a token needs TLS: give CA certificates; {CLEARTEXT}"
        )


class RefusedError(Exception):
    """The service refused a call.

    reason: a name of ErrorReason ("WINDOW_CLOSED"), or of the gRPC code if the error is not Antrian's own. message: for
    people, in Indonesian unless the client was created with english. metadata: see ErrorReason. retry_after: when a retry
    makes sense, or None. uncertain: the call, or an earlier attempt of it, may have taken effect. status: the complete
    error if it is Antrian's own.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: dict[str, str],
        code: grpc.StatusCode,
        retry_after: timedelta | None,
        status: Status | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.code = code
        self.retry_after = retry_after
        self.status = status
        self.uncertain = reason == "INTERNAL" or (code in UNKNOWN and reason not in CERTAIN)

    @property
    def alternatives(self) -> Sequence[Alternative]:
        """With SLOT_FULL, up to five slots with room for the party."""
        full = SlotFullInfo()
        for detail in self.status.details if self.status else ():
            detail.Unpack(full)
        return full.alternatives

    @classmethod
    def of_status(cls, status: Status) -> "RefusedError":
        """Converts a google.rpc.Status."""
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        info, words, retry = ErrorInfo(), LocalizedMessage(), RetryInfo()
        retry_after = None
        for detail in status.details:
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToTimedelta()
            elif not detail.Unpack(words):
                detail.Unpack(info)
        message = words.message or status.message
        return cls(info.reason or code.name, message, dict(info.metadata), code, retry_after, status)

    @classmethod
    def of_error(cls, error: grpc.aio.AioRpcError) -> "RefusedError":
        """Converts the error of a failed call."""
        status = rpc_status.from_call(error)
        if status is None:
            return cls(error.code().name, error.details() or "", {}, error.code(), None)
        return cls.of_status(status)


class Client:
    """A client of the Antrian at target ("127.0.0.1:7700"), and an async context manager.

    token: the caller's bearer token. english: whether messages are in English instead of Indonesian. Every call raises
    RefusedError. While the service is unavailable or does not respond within the deadline, calls are retried with growing
    pauses for up to `patience`.

    Raises:
        CleartextError: a token would be sent to another machine in cleartext.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str = "",
        english: bool = False,
        deadline: timedelta = DEADLINE,
        patience: timedelta = PATIENCE,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        if token and not credentials:
            check_cleartext(target)
        self.target = target
        self._credentials = credentials
        self._closing: set[asyncio.Task[None]] = set()
        self.channel = self._connect()
        self._metadata = [("accept-language", "en" if english else "id")]
        if token:
            self._metadata.append(("authorization", f"Bearer {token}"))
        self._deadline = deadline.total_seconds()
        self._patience = patience.total_seconds()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(self.channel.close(), *self._closing, return_exceptions=True)

    def _connect(self) -> grpc.aio.Channel:
        options = [
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # A host name may have many servers.
            ("grpc.lb_policy_name", "round_robin"),
            *MORE_CONNECTIONS,
            # Without this a new channel would use the connection of the old one.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", _QUIET_MS),
            ("grpc.http2.ping_timeout_ms", _NO_ECHO_MS),  # the default is a minute
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self._credentials:
            return grpc.aio.secure_channel(self.target, self._credentials, options)
        return grpc.aio.insecure_channel(self.target, options)

    def _replace(self, channel: grpc.aio.Channel) -> None:
        """Replaces a channel without responses: its connection may be half open, which gRPC does not notice."""
        if self.channel is channel:
            self.channel = self._connect()
            self.__dict__.pop("stub", None)  # the cached stub belongs to the old channel
            task = asyncio.create_task(_close_later(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _call(
        self,
        method: Callable[[], Callable[..., Awaitable[_T]]],
        request: Any,
        *,
        extra: float = 0,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> _T:
        """Calls the method, with retries on the codes of UNKNOWN. extra: seconds added to the deadline.

        method returns the stub's method at each attempt, since the channel may have been replaced.
        """
        ends, timeouts, uncertain = time.monotonic() + self._patience, 0, False
        waits = pauses()
        while True:
            channel = self.channel
            try:
                return await method()(request, timeout=self._deadline + extra, metadata=[*self._metadata, *metadata])
            except grpc.aio.AioRpcError as error:
                refusal = RefusedError.of_error(error)
                refusal.uncertain = uncertain = uncertain or refusal.uncertain
                timeouts = timeouts + 1 if refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED else 0
                if timeouts >= _MOST_TIMEOUTS:
                    self._replace(channel)
                pause = max(next(waits), refusal.retry_after.total_seconds() if refusal.retry_after else 0)
                if refusal.code not in UNKNOWN or time.monotonic() + pause > ends:
                    raise refusal from None
            await asyncio.sleep(pause)

    async def _pages(self, method: Callable[[], Callable[..., Awaitable[Any]]], request: Any) -> AsyncIterator[Any]:
        """Yields all pages of a list. Raises RefusedError if a page names itself as the next one."""
        while True:
            response = await self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            if response.next_page_token == request.page_token:
                message = "a page names itself as the next page"
                raise RefusedError("INTERNAL", message, {}, grpc.StatusCode.INTERNAL, None)
            request.page_token = response.next_page_token


async def _close_later(channel: grpc.aio.Channel) -> None:
    try:
        await asyncio.sleep(_CLOSE_AFTER)
    finally:
        await channel.close()


def pauses() -> Iterator[float]:
    """Yields the pauses between attempts, in seconds: exponential backoff with jitter."""
    pause = 0.05
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - jitter
        pause = min(pause * 2, 2.0)
