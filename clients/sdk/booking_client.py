"""The Python SDK for bookings: typed calls with deadlines, retries under the same request_id, refusals as exceptions."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.duration_pb2 import Duration

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_PENDING,
    BOOKING_STATE_UNSPECIFIED,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    Applicant,
    Booking,
    BookingState,
    Location,
    Session,
)
from clients.sdk.calls import COMMAND_EXTRA, PATIENCE, UNKNOWN, Client, RefusedError, pauses

if TYPE_CHECKING:
    from antrian.v1.booking_service_pb2_grpc import BookingServiceAsyncStub

__all__ = ["SESSION_AFTERNOON", "SESSION_MORNING", "Applicant", "Booking", "BookingClient", "Location", "RefusedError"]

_STREAM = 30.0
Whereabouts = Location | str
"""Where the person is: a location, or the ISO 3166-2 code of a province ("ID-JK")."""


class BookingClient(Client):
    """Makes the calls of BookingService; see Client for the parameters.

    All calls are retried, which is safe: a retry of RequestBooking has the same request_id.
    """

    @cached_property
    def stub(self) -> "BookingServiceAsyncStub":
        """The generated stub, for calls that need no retry."""
        return BookingServiceStub(self.channel)

    async def list_offices(self, whereabouts: Whereabouts) -> wire.ListOfficesResponse:
        """Returns the offices that a person there may use, with all pages in one response."""
        request = wire.ListOfficesRequest(page_size=200, **_where(whereabouts))
        pages = [page async for page in self._pages(lambda: self.stub.ListOffices, request)]
        response: wire.ListOfficesResponse = pages[0]
        for page in pages[1:]:
            response.offices.extend(page.offices)
        response.next_page_token = ""
        return response

    async def get_quota(self, office_id: str) -> wire.GetQuotaResponse:
        """Returns the remaining places of the office in the current or next window."""
        return await self._call(lambda: self.stub.GetQuota, wire.GetQuotaRequest(office_id=office_id))

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
        """Requests a booking, which is PENDING when new. By default a new request_id is generated, and kept for retries."""
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
        """Sends a prepared request, like request_booking."""
        return (await self._call(lambda: self.stub.RequestBooking, request)).booking

    async def send_batch(self, requests: Sequence[wire.RequestBookingRequest]) -> list[Booking | RefusedError]:
        """Sends up to 200 requests in one message. Returns a booking or a refusal for each, in the same order.

        A single request that is refused with retry_after is not retried.
        """
        response = await self._call(
            lambda: self.stub.BatchRequestBookings, wire.BatchRequestBookingsRequest(requests=requests)
        )
        return [
            result.booking if result.HasField("booking") else RefusedError.of_status(result.error)
            for result in response.results
        ]

    async def get_booking(self, booking_id: str, account: str) -> Booking:
        """Returns the current state of a booking."""
        request = wire.GetBookingRequest(booking_id=booking_id, account=account)
        return (await self._call(lambda: self.stub.GetBooking, request)).booking

    async def get_bookings(self, names: Sequence[tuple[str, str]]) -> list[Booking | RefusedError]:
        """Returns up to 200 bookings, given by id and account, or the refusal for each, in the same order."""
        requests = [wire.GetBookingRequest(booking_id=booking_id, account=account) for booking_id, account in names]
        response = await self._call(lambda: self.stub.BatchGetBookings, wire.BatchGetBookingsRequest(requests=requests))
        return [
            result.booking if result.HasField("booking") else RefusedError.of_status(result.error)
            for result in response.results
        ]

    async def outcome(self, booking_id: str, account: str, *, within: timedelta = PATIENCE) -> Booking:
        """Waits until the booking is decided and returns it. Raises TimeoutError if it is still PENDING after `within`."""
        ends = time.monotonic() + within.total_seconds()
        while (remaining := ends - time.monotonic()) > 0:
            wait = Duration()
            wait.FromTimedelta(timedelta(seconds=min(remaining, 20)))
            request = wire.GetBookingRequest(booking_id=booking_id, account=account, wait=wait)
            booking = (await self._call(lambda: self.stub.GetBooking, request, extra=min(remaining, 20))).booking
            if booking.state != BOOKING_STATE_PENDING:
                return booking
        raise TimeoutError(f"booking {booking_id} is still pending")

    async def watch(self, booking_id: str, account: str) -> AsyncIterator[Booking]:
        """Yields the booking now and after each change, until it is decided. Reopens a stream that ends before."""
        ends = time.monotonic() + self._patience
        waits = pauses()
        while True:
            try:
                stream = self.stub.WatchBooking(
                    wire.WatchBookingRequest(booking_id=booking_id, account=account),
                    metadata=self._metadata,
                    timeout=_STREAM,  # a half-open stream would stay silent for ever
                )
                async for response in stream:
                    yield response.booking
                    if response.booking.state != BOOKING_STATE_PENDING:
                        return
                    ends = time.monotonic() + self._patience
            except grpc.aio.AioRpcError as error:
                if error.code() not in UNKNOWN or time.monotonic() > ends:
                    raise RefusedError.of_error(error) from None
            if time.monotonic() > ends:
                message = "the service ends every stream without any news"
                raise RefusedError("UNAVAILABLE", message, {}, grpc.StatusCode.UNAVAILABLE, None)
            await asyncio.sleep(next(waits))

    async def list_bookings(
        self,
        account: str,
        *,
        state: BookingState.ValueType = BOOKING_STATE_UNSPECIFIED,
        service_date: date | None = None,
    ) -> list[Booking]:
        """Returns the bookings that this caller made for the account, from all pages, optionally of one state or day.

        Pending bookings come first, then the decided ones, newest first.
        """
        request = wire.ListBookingsRequest(
            account=account, state=state, service_date=service_date.isoformat() if service_date else None, page_size=100
        )
        # By id, because a booking that is decided between two pages is on both.
        found: dict[str, Booking] = {}
        async for page in self._pages(lambda: self.stub.ListBookings, request):
            found |= {booking.booking_id: booking for booking in page.bookings}
        return list(found.values())

    async def cancel_booking(self, booking_id: str, account: str) -> Booking:
        """Cancels a CONFIRMED booking and frees its places. Returns the booking. Safe to repeat.

        A PENDING booking is refused with NOT_DECIDED_YET: wait for its outcome first.
        """
        request = wire.CancelBookingRequest(booking_id=booking_id, account=account)
        return (await self._call(lambda: self.stub.CancelBooking, request, extra=COMMAND_EXTRA)).booking

    async def cancel_person(self, booking_id: str, account: str, queue_number: int) -> Booking:
        """Cancels the place of one person of a CONFIRMED booking. Returns the booking. Safe to repeat.

        The others keep their numbers and the code. Cancelling the last person cancels the booking.
        """
        request = wire.CancelPersonRequest(booking_id=booking_id, account=account, queue_number=queue_number)
        return (await self._call(lambda: self.stub.CancelPerson, request, extra=COMMAND_EXTRA)).booking

    async def correct_name(self, booking_id: str, account: str, queue_number: int, full_name: str) -> Booking:
        """Corrects a few letters of a person's name, once per person. Returns the booking. Safe to repeat."""
        request = wire.CorrectNameRequest(
            booking_id=booking_id, account=account, queue_number=queue_number, full_name=full_name
        )
        return (await self._call(lambda: self.stub.CorrectName, request)).booking


def _where(whereabouts: Whereabouts) -> dict[str, Any]:
    return {"province_code": whereabouts} if isinstance(whereabouts, str) else {"location": whereabouts}
