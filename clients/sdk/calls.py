"""What the clients share: a channel, deadlines, retries while the service is away, refusals as exceptions."""

import asyncio
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

from antrian.v1.messages_pb2 import Alternative, SlotFullInfo

DEADLINE = timedelta(seconds=5)
"""How long one attempt of a call may take."""
PATIENCE = timedelta(seconds=60)
"""For how long a call is attempted again while the service is unavailable."""
COMMAND_EXTRA = 5.0
"""Seconds by which the deadline is longer for calls that answer once the office's lane has had its turn."""

# CANCELLED: the server's clock met the deadline before ours did.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""Codes with which a call is attempted again: for now, or nobody knows what became of it."""

# A server takes 200 calls at once on a connection; without these, more would wait in the channel without a word.
MORE_CONNECTIONS = (
    ("grpc.service_config", '{"connectionScaling": {"maxConnectionsPerSubchannel": 128}}'),
    ("grpc.max_connections_per_subchannel_cap", 128),
)
"""Options of a channel that makes more connections as it has more calls under way."""

_LONGEST = 60.0  # seconds after which no call is under way any more: closing a channel would cancel them
CERTAIN = {"LANE_FULL", "LANE_CLOSED", "STORE_FULL", "SERVER_BUSY", "CALLER_BUSY"}
"""Reasons that say for certain that nothing was taken, though their code is one of UNKNOWN."""
# A connection with calls under way that is quiet for so long is asked whether it lives, and given up when it does not say so.
_QUIET_MS, _NO_ECHO_MS = 10_000, 5_000
_SILENT = 2  # calls in a row without any answer, after which another connection is tried
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """Where an Antrian is called: HOST:PORT, the caller's bearer token, and the CA's certificates (PEM) for TLS.

    http is its gateway's HOST:PORT, for calls that go through it.
    """

    target: str
    token: str = ""
    ca: bytes | None = None
    http: str = ""

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """For a channel; None means plain text."""
        return grpc.ssl_channel_credentials(self.ca) if self.ca else None


class RefusedError(Exception):
    """The service refused a call.

    reason is a name of ErrorReason ("WINDOW_CLOSED"), or the gRPC code's where the error is not Antrian's own. message
    is for people, in Indonesian unless the client asked for English; metadata as ErrorReason says; retry_after is when
    asking again makes sense, if ever. uncertain: nobody knows what became of the call, or of an attempt of it before.
    status is the whole error, where it is Antrian's own.
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
        """The exception that a google.rpc.Status is."""
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
        """The exception that a failed call is."""
        status = rpc_status.from_call(error)
        if status is None:
            return cls(error.code().name, error.details() or "", {}, error.code(), None)
        return cls.of_status(status)


class Client:
    """Calls an Antrian at target ("127.0.0.1:7700"); an async context manager.

    token is the caller's bearer token. Every method raises RefusedError. While the service is unavailable or does not
    answer in time, calls are attempted again with growing pauses.
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
        self.target = target
        self._credentials = credentials
        self._leaving: set[asyncio.Task[None]] = set()
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
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(self.channel.close(), *self._leaving, return_exceptions=True)

    def _connect(self) -> grpc.aio.Channel:
        options = [
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # A name may have many servers.
            ("grpc.lb_policy_name", "round_robin"),
            *MORE_CONNECTIONS,
            # Else a new channel would go on with the old one's connection.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", _QUIET_MS),
            ("grpc.http2.ping_timeout_ms", _NO_ECHO_MS),  # without it, keepalive waits for a minute
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self._credentials:
            return grpc.aio.secure_channel(self.target, self._credentials, options)
        return grpc.aio.insecure_channel(self.target, options)

    def _leave(self, channel: grpc.aio.Channel) -> None:
        """Leaves a channel on which nothing is answered: its connection may be half open, which gRPC does not notice."""
        if self.channel is channel:
            self.channel = self._connect()
            self.__dict__.pop("stub", None)  # the subclass's, of the old channel
            task = asyncio.create_task(_close_later(channel))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _call(
        self,
        method: Callable[[], Callable[..., Awaitable[_T]]],
        request: Any,
        *,
        extra: float = 0,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> _T:
        """Calls what method gives, again and again while that may help; metadata goes with this call only."""
        ends, silent, uncertain = time.monotonic() + self._patience, 0, False
        waits = pauses()
        while True:
            channel = self.channel
            try:
                return await method()(request, timeout=self._deadline + extra, metadata=[*self._metadata, *metadata])
            except grpc.aio.AioRpcError as error:
                refusal = RefusedError.of_error(error)
                refusal.uncertain = uncertain = uncertain or refusal.uncertain
                silent = silent + 1 if refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED else 0
                if silent >= _SILENT:
                    self._leave(channel)
                pause = max(next(waits), refusal.retry_after.total_seconds() if refusal.retry_after else 0)
                if refusal.code not in UNKNOWN or time.monotonic() + pause > ends:
                    raise refusal from None
            await asyncio.sleep(pause)

    async def _pages(self, method: Callable[[], Callable[..., Awaitable[Any]]], request: Any) -> AsyncIterator[Any]:
        """All answers of a call that answers in pages. Raises RefusedError when a page is said to come after itself."""
        while True:
            response = await self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            if response.next_page_token == request.page_token:
                words = "a page is said to come after itself"
                raise RefusedError("INTERNAL", words, {}, grpc.StatusCode.INTERNAL, None)
            request.page_token = response.next_page_token


async def _close_later(channel: grpc.aio.Channel) -> None:
    try:
        await asyncio.sleep(_LONGEST)
    finally:
        await channel.close()


def pauses() -> Iterator[float]:
    """How many seconds to wait before each next attempt: more and more, and never the same as other clients."""
    pause = 0.05
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - jitter
        pause = min(pause * 2, 2.0)
