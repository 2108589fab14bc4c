"""Calls the service: one call per phone, or one batch for the requests of many phones."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.batching import Batcher
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, Booking
from antrian.words import wants_english
from clients.gateway.errors import HttpError, of_status, unanswered
from clients.gateway.routes import Route
from clients.sdk.calls import COMMAND_EXTRA, Client, RefusedError

if TYPE_CHECKING:
    from antrian.v1.booking_service_pb2_grpc import BookingServiceAsyncStub

_SERVICE = wire.DESCRIPTOR.services_by_name["BookingService"].full_name
_BATCH = 200
_DEADLINE = timedelta(seconds=5)
# A restarted server is back within this time, so that phones do not notice.
_PATIENCE = timedelta(seconds=8)
_HEALTH_WITHIN = 1.0
_WATCHED = 15.0  # seconds after which a stream of the service is reopened
_LONGEST_WAIT = timedelta(seconds=60)
_POLL = (0.05, 0.4)  # the first and the longest pause between reads of a booking that a phone waits for, in seconds
_RIGHT_FOR, _WRONG_FOR = 60.0, 5.0  # seconds for which the service's word on a token is believed
_MOST_TOKENS = 10_000  # the oldest are forgotten
_NOT_ALLOWED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
_MOST_BATCHERS = 1000  # one for each caller and language; the least recently used are dropped


@dataclass(frozen=True)
class Caller:
    """The headers of a request that the service needs: the token ("Bearer …"), Accept-Language, and ids for tracing."""

    authorization: str
    language: str
    request_id: str
    traceparent: str

    @property
    def english(self) -> bool:
        """Whether error messages are in English."""
        return wants_english(self.language)

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The metadata that is the same for all requests of a batch."""
        language = ("accept-language", "en" if self.english else "id")
        return (language, ("authorization", self.authorization)) if self.authorization else (language,)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The complete metadata, for a call of one phone."""
        trace = (("x-request-id", self.request_id), ("traceparent", self.traceparent))
        return (*self.identity, *((name, value) for name, value in trace if value))


class Upstream(Client):
    """A client of the service that raises HttpError. Retries for some seconds while the service does not respond."""

    def __init__(self, target: str, batch_window: timedelta, ca: bytes | None) -> None:
        credentials = grpc.ssl_channel_credentials(ca) if ca else None
        super().__init__(target, deadline=_DEADLINE, patience=_PATIENCE, credentials=credentials)
        self._metadata = []  # each call has the metadata of its caller
        self._batch_window = batch_window
        self._readiness: asyncio.Task[bool] | None = None
        self._tokens: OrderedDict[bytes, tuple[float, RefusedError | None]] = OrderedDict()
        self._requests: OrderedDict[Any, Batcher[wire.RequestBookingRequest, Booking | Status]] = OrderedDict()
        self._reads: OrderedDict[Any, Batcher[wire.GetBookingRequest, Booking | Status]] = OrderedDict()

    @cached_property
    def stub(self) -> "BookingServiceAsyncStub":
        """The generated stub."""
        return BookingServiceStub(self.channel)

    async def ready(self) -> bool:
        """Returns whether the service reports that it is serving. Concurrent calls share one question."""
        if self._readiness is None or self._readiness.done():
            self._readiness = asyncio.create_task(self._ask_ready())
        return await asyncio.shield(self._readiness)

    async def _ask_ready(self) -> bool:
        check = HealthStub(self.channel).Check
        try:
            response = await check(HealthCheckRequest(service=_SERVICE), timeout=_HEALTH_WITHIN)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == HealthCheckResponse.SERVING)

    async def check_token(self, caller: Caller) -> None:
        """Raises HttpError 401, 403 or 429 if the service refuses the caller's token, or the lack of one.

        Asks the service once in a minute about a token, and with a call that has no effect: the service checks the token first.
        """
        key, now = blake2b(repr(caller.identity).encode(), digest_size=16).digest(), time.monotonic()
        ends, refusal = self._tokens.get(key, (0.0, None))
        if now >= ends:
            refusal = await self._ask_token(caller)
            if refusal and refusal.reason == "TOO_MANY_ATTEMPTS":  # this says nothing of the token
                raise _http(refusal, caller)
            self._tokens[key] = now + (_WRONG_FOR if refusal else _RIGHT_FOR), refusal
            self._tokens.move_to_end(key)
            if len(self._tokens) > _MOST_TOKENS:
                self._tokens.popitem(last=False)
        if refusal:
            raise _http(refusal, caller)

    async def _ask_token(self, caller: Caller) -> RefusedError | None:
        try:
            await self.stub.GetQuota(wire.GetQuotaRequest(), metadata=caller.identity, timeout=_HEALTH_WITHIN)
        except grpc.aio.AioRpcError as error:
            refusal = RefusedError.of_error(error)
            if error.code() in _NOT_ALLOWED or refusal.reason == "TOO_MANY_ATTEMPTS":
                return refusal
        return None

    async def call(self, route: Route, message: Message, caller: Caller) -> Message:
        """Makes a call, in a batch if the rpc has one. Returns the response."""
        if isinstance(message, wire.RequestBookingRequest):
            booking = await self._batched(self._requests, self._send_requests, message, caller)
            return wire.RequestBookingResponse(booking=booking)
        if isinstance(message, wire.GetBookingRequest) and timedelta(0) <= message.wait.ToTimedelta() <= _LONGEST_WAIT:
            return wire.GetBookingResponse(booking=await self._read(message, caller))
        extra = COMMAND_EXTRA if route.rpc in {"CancelBooking", "CancelPerson"} else 0.0
        try:
            response: Message = await self._call(
                lambda: getattr(self.stub, route.rpc), message, extra=extra, metadata=caller.metadata
            )
        except RefusedError as refusal:
            raise _http(refusal, caller) from None
        return response

    async def watch(
        self, message: wire.WatchBookingRequest, caller: Caller
    ) -> AsyncGenerator[wire.WatchBookingResponse, None]:
        """Yields the booking now and after each change, for some seconds.

        The caller then watches again, which proves that the service is alive. Raises HttpError, also if the service does not
        return the current state within the deadline.
        """
        # Jitter, because all streams may have begun when the window opened.
        stream = self.stub.WatchBooking(
            message, metadata=caller.metadata, timeout=_WATCHED * random.uniform(0.8, 1.2)  # noqa: S311
        )  # fmt: skip
        answered = False
        try:
            while True:
                async with asyncio.timeout(None if answered else self._deadline):
                    response = await stream.read()
                if not isinstance(response, wire.WatchBookingResponse):  # the stream has ended
                    break
                answered = True
                yield response
        except TimeoutError:
            raise unanswered(grpc.StatusCode.DEADLINE_EXCEEDED, english=caller.english) from None
        except grpc.aio.AioRpcError as error:
            if not (answered and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                raise _http(RefusedError.of_error(error), caller) from None
        finally:
            stream.cancel()
        if not answered:
            raise unanswered(grpc.StatusCode.UNAVAILABLE, english=caller.english)

    async def _read(self, message: wire.GetBookingRequest, caller: Caller) -> Booking:
        """Returns the booking once it is decided, or at the end of its wait. Polls in batches with other phones.

        A call that waits at the service would cost many times as much, because each phone needs its own.
        """
        query = wire.GetBookingRequest(booking_id=message.booking_id, account=message.account)
        ends = time.monotonic() + message.wait.ToTimedelta().total_seconds()
        pause, longest = _POLL
        while True:
            booking = await self._batched(self._reads, self._send_reads, query, caller)
            remaining = ends - time.monotonic()
            if booking.state != BOOKING_STATE_PENDING or remaining <= 0:
                return booking
            await asyncio.sleep(min(pause, remaining))
            pause = min(2 * pause, longest)

    async def _batched(
        self, batchers: OrderedDict[Any, Batcher[Any, Any]], send: Any, message: Message, caller: Caller
    ) -> Booking:
        batcher = batchers.get(caller.identity)
        if batcher is None:

            async def send_batch(messages: Sequence[Any]) -> Sequence[Booking | Status]:
                results: Sequence[Booking | Status] = await send(messages, caller.identity)
                return results

            batcher = batchers[caller.identity] = Batcher(send_batch, self._batch_window, _BATCH, size=_size)
            if len(batchers) > _MOST_BATCHERS:
                batchers.popitem(last=False)
        batchers.move_to_end(caller.identity)
        try:
            response = await batcher(message)
        except RefusedError as refusal:
            raise _http(refusal, caller) from None
        if isinstance(response, Status):
            raise of_status(response)
        booking: Booking = response
        return booking

    async def _send_requests(
        self, requests: Sequence[wire.RequestBookingRequest], identity: Sequence[tuple[str, str]]
    ) -> list[Booking | Status]:
        batch = wire.BatchRequestBookingsRequest(requests=requests)
        response = await self._call(lambda: self.stub.BatchRequestBookings, batch, metadata=identity)
        return [result.booking if result.HasField("booking") else result.error for result in response.results]

    async def _send_reads(
        self, reads: Sequence[wire.GetBookingRequest], identity: Sequence[tuple[str, str]]
    ) -> list[Booking | Status]:
        batch = wire.BatchGetBookingsRequest(requests=reads)
        response = await self._call(lambda: self.stub.BatchGetBookings, batch, metadata=identity)
        return [result.booking if result.HasField("booking") else result.error for result in response.results]


def _size(message: Message) -> int:
    """Returns the size of a message in a batch, in bytes, with its tag and length."""
    return message.ByteSize() + 4


def _http(refusal: RefusedError, caller: Caller) -> HttpError:
    return of_status(refusal.status) if refusal.status else unanswered(refusal.code, english=caller.english)
