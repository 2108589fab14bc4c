"""The Python SDK: typed calls with deadlines, retries under the same request_id, refusals as exceptions."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date, timedelta
from types import TracebackType
from typing import Any, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_PENDING,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    Applicant,
    Booking,
    Location,
    Session,
)

__all__ = ["SESSION_AFTERNOON", "SESSION_MORNING", "Applicant", "Booking", "BookingClient", "Location", "RefusedError"]

DEADLINE = timedelta(seconds=5)
"""How long one attempt of a call may take."""
PATIENCE = timedelta(seconds=60)
"""For how long a call is attempted again while the service is unavailable."""

Whereabouts = Location | str
"""Where the person is: a location, or the ISO 3166-2 code of a province ("ID-JK")."""

_T = TypeVar("_T")
# CANCELLED: the server's clock met the deadline before ours did.
_UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


class RefusedError(Exception):
    """The service refused a call.

    reason is a name of ErrorReason ("WINDOW_CLOSED"), or the gRPC code's where the error is not Antrian's own. message
    is for people, in Indonesian unless the client asked for English; metadata as ErrorReason says; retry_after is when
    asking again makes sense, if ever.
    """

    def __init__(
        self, reason: str, message: str, metadata: dict[str, str], code: grpc.StatusCode, retry_after: timedelta | None
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.code = code
        self.retry_after = retry_after

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
        return cls(info.reason or code.name, words.message or status.message, dict(info.metadata), code, retry_after)

    @classmethod
    def of_error(cls, error: grpc.aio.AioRpcError) -> "RefusedError":
        """The exception that a failed call is."""
        status = rpc_status.from_call(error)
        if status is None:
            return cls(error.code().name, error.details() or "", {}, error.code(), None)
        return cls.of_status(status)


class BookingClient:
    """Calls an Antrian at target ("127.0.0.1:7700"); an async context manager.

    token is the caller's bearer token. Every method raises RefusedError. While the service is unavailable or does not
    answer in time, calls are attempted again with growing pauses: RequestBooking is safe to repeat since its request_id
    stays the same.
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
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        self.channel = (
            grpc.aio.secure_channel(target, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(target, options)
        )
        self.stub = BookingServiceStub(self.channel)
        self._metadata = [("accept-language", "en" if english else "id")]
        if token:
            self._metadata.append(("authorization", f"Bearer {token}"))
        self._deadline = deadline.total_seconds()
        self._patience = patience.total_seconds()

    async def __aenter__(self) -> "BookingClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel."""
        await self.channel.close()

    async def list_offices(self, whereabouts: Whereabouts) -> wire.ListOfficesResponse:
        """The offices that a person there may use, all pages in one answer."""
        request = wire.ListOfficesRequest(page_size=200, **_where(whereabouts))
        answer = await self._call(self.stub.ListOffices, request)
        while answer.next_page_token:
            request.page_token = answer.next_page_token
            page = await self._call(self.stub.ListOffices, request)
            answer.offices.extend(page.offices)
            answer.next_page_token = page.next_page_token
        return answer

    async def get_quota(self, office_id: str) -> wire.GetQuotaResponse:
        """What is left at the office in the current or next window."""
        return await self._call(self.stub.GetQuota, wire.GetQuotaRequest(office_id=office_id))

    async def request_booking(
        self,
        *,
        account: str,
        office_id: str,
        service_date: date,
        session: Session.ValueType,
        applicants: Sequence[Applicant],
        whereabouts: Whereabouts,
        request_id: uuid.UUID | None = None,
    ) -> Booking:
        """Takes a place in the office's line; PENDING when new. Without request_id one is made, and kept for retries."""
        request = wire.RequestBookingRequest(
            request_id=str(request_id or uuid.uuid4()),
            account=account,
            office_id=office_id,
            service_date=service_date.isoformat(),
            session=session,
            applicants=applicants,
            **_where(whereabouts),
        )
        return await self.send(request)

    async def send(self, request: wire.RequestBookingRequest) -> Booking:
        """The same for a request that is a message already."""
        return (await self._call(self.stub.RequestBooking, request)).booking

    async def send_batch(self, requests: Sequence[wire.RequestBookingRequest]) -> list[Booking | RefusedError]:
        """Up to 200 requests in one message: a booking or the refusal for each, in their order.

        Single requests that were refused for now (retry_after is set) are the caller's to send again.
        """
        answer = await self._call(self.stub.BatchRequestBooking, wire.BatchRequestBookingRequest(requests=requests))
        return [
            result.booking if result.HasField("booking") else RefusedError.of_status(result.error)
            for result in answer.results
        ]

    async def get_booking(self, booking_id: str, account: str) -> Booking:
        """The booking as it is now."""
        request = wire.GetBookingRequest(booking_id=booking_id, account=account)
        return (await self._call(self.stub.GetBooking, request)).booking

    async def outcome(self, booking_id: str, account: str, *, within: timedelta = PATIENCE) -> Booking:
        """The booking once it is decided. Raises TimeoutError when it is still PENDING after so long."""
        ends = time.monotonic() + within.total_seconds()
        while (left := ends - time.monotonic()) > 0:
            wait = Duration()
            wait.FromTimedelta(timedelta(seconds=min(left, 20)))
            request = wire.GetBookingRequest(booking_id=booking_id, account=account, wait=wait)
            booking = (await self._call(self.stub.GetBooking, request, extra=min(left, 20))).booking
            if booking.state != BOOKING_STATE_PENDING:
                return booking
        raise TimeoutError(f"booking {booking_id} is still pending")

    async def watch(self, booking_id: str, account: str) -> AsyncIterator[Booking]:
        """The booking now and after each change, until it is decided; a broken stream is taken up again."""
        ends = time.monotonic() + self._patience
        pauses = _pauses()
        while True:
            try:
                stream = self.stub.WatchBooking(
                    wire.WatchBookingRequest(booking_id=booking_id, account=account), metadata=self._metadata
                )
                async for answer in stream:
                    yield answer.booking
                    if answer.booking.state != BOOKING_STATE_PENDING:
                        return
                    ends = time.monotonic() + self._patience
            except grpc.aio.AioRpcError as error:
                if error.code() not in _UNKNOWN or time.monotonic() > ends:
                    raise RefusedError.of_error(error) from None
            await asyncio.sleep(next(pauses))

    async def _call(self, method: Callable[..., Awaitable[_T]], request: Any, *, extra: float = 0) -> _T:
        ends = time.monotonic() + self._patience
        pauses = _pauses()
        while True:
            try:
                return await method(request, timeout=self._deadline + extra, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                refusal = RefusedError.of_error(error)
                pause = max(next(pauses), refusal.retry_after.total_seconds() if refusal.retry_after else 0)
                if refusal.code not in _UNKNOWN or time.monotonic() + pause > ends:
                    raise refusal from None
            await asyncio.sleep(pause)


def _pauses() -> Iterator[float]:
    pause = 0.05
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - jitter
        pause = min(pause * 2, 2.0)


def _where(whereabouts: Whereabouts) -> dict[str, Any]:
    return {"province_code": whereabouts} if isinstance(whereabouts, str) else {"location": whereabouts}
