"""The service behind the gateway: calls of one phone each, and those of many in one."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
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
# A server that is started again is back within that, and phones need not know.
_PATIENCE = timedelta(seconds=8)
_HEALTH_WITHIN = 1.0
_WATCHED = 15.0  # seconds that a stream of the service lasts
_LONGEST_WAIT = timedelta(seconds=60)
_LOOK_AGAIN = (0.05, 0.4)  # seconds until a booking is looked at again that somebody waits for, at first and later
_MOST_GATHERED = 1000  # callers whose requests are gathered at once; the longest idle make room


@dataclass(frozen=True)
class Caller:
    """What a phone sends along: its caller's token ("Bearer …"), its Accept-Language, its ids for tracing."""

    authorization: str
    language: str
    request_id: str
    traceparent: str

    @property
    def english(self) -> bool:
        """Whether errors are to be told in English."""
        return wants_english(self.language)

    @property
    def who(self) -> tuple[tuple[str, str], ...]:
        """The metadata that all requests in one message must have in common."""
        language = ("accept-language", "en" if self.english else "id")
        return (language, ("authorization", self.authorization)) if self.authorization else (language,)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """All of its metadata, for a call of its own."""
        trace = (("x-request-id", self.request_id), ("traceparent", self.traceparent))
        return (*self.who, *((name, value) for name, value in trace if value))


class Upstream(Client):
    """Calls the service; while that does not answer, again for some seconds. Raises HttpError."""

    def __init__(self, target: str, batch_window: timedelta, ca: bytes | None) -> None:
        credentials = grpc.ssl_channel_credentials(ca) if ca else None
        super().__init__(target, deadline=_DEADLINE, patience=_PATIENCE, credentials=credentials)
        self._metadata = []  # each call has its caller's
        self._batch_window = batch_window
        self._requests: OrderedDict[Any, Batcher[wire.RequestBookingRequest, Booking | Status]] = OrderedDict()
        self._reads: OrderedDict[Any, Batcher[wire.GetBookingRequest, Booking | Status]] = OrderedDict()

    @cached_property
    def stub(self) -> "BookingServiceAsyncStub":
        """The generated stub."""
        return BookingServiceStub(self.channel)

    async def ready(self) -> bool:
        """Whether the service says that it serves."""
        check = HealthStub(self.channel).Check
        try:
            answer = await check(HealthCheckRequest(service=_SERVICE), timeout=_HEALTH_WITHIN)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)

    async def call(self, route: Route, message: Message, caller: Caller) -> Message:
        """The answer to one request, which goes alone or with those of others."""
        if isinstance(message, wire.RequestBookingRequest):
            booking = await self._batched(self._requests, self._send_requests, message, caller)
            return wire.RequestBookingResponse(booking=booking)
        if isinstance(message, wire.GetBookingRequest) and timedelta(0) <= message.wait.ToTimedelta() <= _LONGEST_WAIT:
            return wire.GetBookingResponse(booking=await self._read(message, caller))
        extra = COMMAND_EXTRA if route.rpc in {"CancelBooking", "CancelPerson"} else 0.0
        try:
            answer: Message = await self._call(
                lambda: getattr(self.stub, route.rpc), message, extra=extra, metadata=caller.metadata
            )
        except RefusedError as refusal:
            raise _http(refusal, caller) from None
        return answer

    async def watch(
        self, message: wire.WatchBookingRequest, caller: Caller
    ) -> AsyncGenerator[wire.WatchBookingResponse, None]:
        """The booking now and after each change, for some seconds: then ask anew, which shows that the service lives.

        Raises HttpError, also when the service does not say at once how the booking is.
        """
        # Jitter: all came when the window opened.
        stream = self.stub.WatchBooking(
            message, metadata=caller.metadata, timeout=_WATCHED * random.uniform(0.8, 1.2)  # noqa: S311
        )  # fmt: skip
        answered = False
        try:
            while True:
                async with asyncio.timeout(None if answered else self._deadline):
                    answer = await stream.read()
                if not isinstance(answer, wire.WatchBookingResponse):  # it has ended
                    break
                answered = True
                yield answer
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
        """The booking, at the end of its wait or once it is decided: asked for again and again, together with others.

        A call that waits at the service is one of its own for each phone: many times the cost.
        """
        query = wire.GetBookingRequest(booking_id=message.booking_id, account=message.account)
        ends = time.monotonic() + message.wait.ToTimedelta().total_seconds()
        pause, longest = _LOOK_AGAIN
        while True:
            booking = await self._batched(self._reads, self._send_reads, query, caller)
            remaining = ends - time.monotonic()
            if booking.state != BOOKING_STATE_PENDING or remaining <= 0:
                return booking
            await asyncio.sleep(min(pause, remaining))
            pause = min(2 * pause, longest)

    async def _batched(
        self, gathers: OrderedDict[Any, Batcher[Any, Any]], send: Any, message: Message, caller: Caller
    ) -> Booking:
        batcher = gathers.get(caller.who)
        if batcher is None:

            async def together(messages: Sequence[Any]) -> Sequence[Booking | Status]:
                answers: Sequence[Booking | Status] = await send(messages, caller.who)
                return answers

            batcher = gathers[caller.who] = Batcher(together, self._batch_window, _BATCH, size=_size)
            if len(gathers) > _MOST_GATHERED:
                gathers.popitem(last=False)
        gathers.move_to_end(caller.who)
        try:
            answer = await batcher(message)
        except RefusedError as refusal:
            raise _http(refusal, caller) from None
        if isinstance(answer, Status):
            raise of_status(answer)
        booking: Booking = answer
        return booking

    async def _send_requests(
        self, requests: Sequence[wire.RequestBookingRequest], who: Sequence[tuple[str, str]]
    ) -> list[Booking | Status]:
        batch = wire.BatchRequestBookingsRequest(requests=requests)
        answer = await self._call(lambda: self.stub.BatchRequestBookings, batch, metadata=who)
        return [result.booking if result.HasField("booking") else result.error for result in answer.results]

    async def _send_reads(
        self, reads: Sequence[wire.GetBookingRequest], who: Sequence[tuple[str, str]]
    ) -> list[Booking | Status]:
        batch = wire.BatchGetBookingsRequest(requests=reads)
        answer = await self._call(lambda: self.stub.BatchGetBookings, batch, metadata=who)
        return [result.booking if result.HasField("booking") else result.error for result in answer.results]


def _size(message: Message) -> int:
    """Its bytes in a batch: its own, its tag and its length."""
    return message.ByteSize() + 4


def _http(refusal: RefusedError, caller: Caller) -> HttpError:
    return of_status(refusal.status) if refusal.status else unanswered(refusal.code, english=caller.english)
