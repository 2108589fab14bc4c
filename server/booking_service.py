"""antrian.v1.BookingService."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sized
from datetime import UTC, date, timedelta
from typing import Any, cast
from uuid import UUID

from antrian import rules
from antrian.booking import Cancel, RequestLimits
from antrian.errors import AntrianError, Reason, invalid
from antrian.lane.producer import HeldUnverified, Joined, JoinRequest, JoinResult, Known, LaneProducer, Refused
from antrian.ledger.staff import check_numbers
from antrian.text import check_account
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1 import messages_pb2
from antrian.words import initial_of
from server import convert
from server.booking_list import list_bookings
from server.booking_reader import Bookings
from server.caller import CALLER
from server.commands import LaneCommands
from server.limits import BatchQueue
from server.middleware import FULL_RETRY, Context, explain, wants_english
from server.names import Names
from server.office_cache import Catalog
from server.office_list import list_offices
from server.quota_reader import QuotaReader
from server.reclaim import Reclaim
from server.validation import Admission, check_uuid

_PATH = "/antrian.v1.BookingService"
LARGEST_BATCH = 200
"""The most requests that a batch may have."""
_AT_ONCE = 20  # requests of a batch that are checked without a pause
_LONGEST_WAIT = timedelta(seconds=60)
_RETRY = timedelta(seconds=1)
# GetBooking polls only in case the announcement of the outcome is lost. WatchBooking also reports the position in the queue.
_WAIT_POLL = timedelta(seconds=5)
_WATCH_POLL = timedelta(seconds=1)
# A full lane drains thousands of requests per second, so that it has room after this time.
_LANE_FULL_RETRY = timedelta(seconds=10)


class BookingService:
    """Offices, quotas, requests and bookings. Raises AntrianError, which the middleware makes a status."""

    def __init__(
        self,
        catalog: Catalog,
        producer: LaneProducer,
        admission: Admission,
        bookings: Bookings,
        commands: LaneCommands,
        names: Names,
        batches: BatchQueue,
    ) -> None:
        self._catalog = catalog
        self._producer = producer
        self._admission = admission
        self._bookings = bookings
        self._commands = commands
        self._names = names
        self._quotas = QuotaReader(catalog, producer)
        self._reclaim = Reclaim(producer, bookings, commands)
        self._batches = batches

    async def ListOffices(  # noqa: N802 - the rpc's name
        self, request: wire.ListOfficesRequest, context: Context
    ) -> wire.ListOfficesResponse:
        """Returns the offices that a person may use."""
        return list_offices(request, self._catalog)

    async def GetQuota(self, request: wire.GetQuotaRequest, context: Context) -> bytes:  # noqa: N802
        """Returns the places that remain at an office in the current or next window."""
        return await self._quotas.read(request.office_id)

    async def RequestBooking(  # noqa: N802
        self, request: wire.RequestBookingRequest, context: Context
    ) -> wire.RequestBookingResponse:
        """Joins the queue of an office."""
        response = wire.RequestBookingResponse()
        join = self._admission.admit(request, CALLER.get())
        deadline = _deadline(context)
        result = await self._producer.join(join, deadline)
        await self._fill(response.booking, request, join, result, deadline)
        return response

    async def BatchRequestBookings(  # noqa: N802
        self, request: wire.BatchRequestBookingsRequest, context: Context
    ) -> wire.BatchRequestBookingsResponse:
        """Joins the queues of offices with many requests. Each has a result of its own, and an error affects no other."""
        _check_batch(request.requests)
        async with self._batches.turn(CALLER.get().name, len(request.requests)):
            return await self._request_all(request, context)

    async def _request_all(
        self, request: wire.BatchRequestBookingsRequest, context: Context
    ) -> wire.BatchRequestBookingsResponse:
        response = wire.BatchRequestBookingsResponse()
        english, caller, deadline = wants_english(context), CALLER.get(), _deadline(context)

        def refuse(result: wire.BatchRequestBookingsResult, error: Exception) -> None:
            result.error.CopyFrom(explain(error, f"{_PATH}/BatchRequestBookings", english=english)[1])

        async def fill(
            result: wire.BatchRequestBookingsResult, item: wire.RequestBookingRequest, join: JoinRequest, joined: Any
        ) -> None:
            try:
                await self._fill(result.booking, item, join, joined, deadline)
            except Exception as error:
                refuse(result, error)

        admitted = []
        for number, item in enumerate(request.requests, 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # other calls have their turn
            result = response.results.add()
            try:
                caller.take_account(item)
                join = self._admission.admit(item, caller)
            except Exception as error:
                refuse(result, error)
            else:
                admitted.append((result, item, join, self._producer.join(join, deadline)))
        joins = await asyncio.gather(*(joining for *_, joining in admitted), return_exceptions=True)
        others = []
        for (result, item, join, _), joined in zip(admitted, joins, strict=True):
            if isinstance(joined, Joined):  # the common case: a task for each would dominate the cost
                convert.fill_joined(result.booking, item, join.booking_id, joined)
            else:
                others.append(fill(result, item, join, joined))
        await asyncio.gather(*others)
        return response

    async def GetBooking(self, request: wire.GetBookingRequest, context: Context) -> wire.GetBookingResponse:  # noqa: N802
        """Returns a booking, at once or when it is decided."""
        booking_id, account = _check_key(request.booking_id, request.account)
        response = wire.GetBookingResponse()
        if not request.HasField("wait"):
            await self._bookings.find(booking_id, CALLER.get().name, account, response.booking)
            return response
        wait = timedelta(seconds=min(max(request.wait.seconds, -1), 61), microseconds=request.wait.nanos // 1000)
        if not timedelta(0) <= wait <= _LONGEST_WAIT:
            raise invalid("wait", "harus 0 sampai 60 detik", "must be 0 to 60 s")
        async for booking in self._bookings.watch(booking_id, CALLER.get().name, account, poll=_WAIT_POLL, wait=wait):
            response = wire.GetBookingResponse(booking=booking)
        return response

    async def BatchGetBookings(  # noqa: N802
        self, request: wire.BatchGetBookingsRequest, context: Context
    ) -> wire.BatchGetBookingsResponse:
        """Returns many bookings as they are now. Each has a result of its own, and an error affects no other."""
        _check_batch(request.requests)
        async with self._batches.turn(CALLER.get().name, len(request.requests)):
            return await self._read_all(request, context)

    async def _read_all(self, request: wire.BatchGetBookingsRequest, context: Context) -> wire.BatchGetBookingsResponse:
        response = wire.BatchGetBookingsResponse()
        english, caller = wants_english(context), CALLER.get()

        def refuse(result: wire.BatchGetBookingsResult, error: Exception) -> None:
            result.error.CopyFrom(explain(error, f"{_PATH}/BatchGetBookings", english=english)[1])

        async def finish(result: wire.BatchGetBookingsResult, alternatives: Awaitable[None]) -> None:
            try:
                await alternatives
            except Exception as error:
                refuse(result, error)

        valid = []
        for item in request.requests:
            result = response.results.add()
            try:
                caller.take_account(item)
                booking_id, account = _check_key(item.booking_id, item.account)
                _check_no_wait(item)
            except Exception as error:
                refuse(result, error)
            else:
                valid.append((result, booking_id, account))
        others = []
        bookings = await self._bookings.find_all([booking_id for _, booking_id, _ in valid])
        for (result, _, account), found in zip(valid, bookings, strict=True):
            try:
                if alternatives := self._bookings.fill(result.booking, found, caller.name, account):
                    others.append(finish(result, alternatives))
            except Exception as error:
                refuse(result, error)
        await asyncio.gather(*others)
        return response

    async def WatchBooking(  # noqa: N802
        self, request: wire.WatchBookingRequest, context: Context
    ) -> AsyncIterator[wire.WatchBookingResponse]:
        """Yields a booking now and after each change, until it is decided."""
        booking_id, account = _check_key(request.booking_id, request.account)
        async for booking in self._bookings.watch(booking_id, CALLER.get().name, account, poll=_WATCH_POLL):
            yield wire.WatchBookingResponse(booking=booking)

    async def ListBookings(  # noqa: N802
        self, request: wire.ListBookingsRequest, context: Context
    ) -> wire.ListBookingsResponse:
        """Returns one page of an account's bookings."""
        return await list_bookings(request, CALLER.get().name, self._bookings)

    async def CancelBooking(  # noqa: N802
        self, request: wire.CancelBookingRequest, context: Context
    ) -> wire.CancelBookingResponse:
        """Cancels a booking."""
        return wire.CancelBookingResponse(booking=await self._cancel(request.booking_id, request.account))

    async def CancelPerson(  # noqa: N802
        self, request: wire.CancelPersonRequest, context: Context
    ) -> wire.CancelPersonResponse:
        """Cancels one person of a booking."""
        booking = await self._cancel(request.booking_id, request.account, request.queue_number)
        return wire.CancelPersonResponse(booking=booking)

    async def CorrectName(  # noqa: N802
        self, request: wire.CorrectNameRequest, context: Context
    ) -> wire.CorrectNameResponse:
        """Corrects a person's name."""
        booking_id, account = _check_key(request.booking_id, request.account)
        caller = CALLER.get().name
        booking = await self._bookings.find(booking_id, caller, account)
        if booking.state == messages_pb2.BOOKING_STATE_PENDING:
            raise AntrianError(Reason.NOT_DECIDED_YET, field="booking_id", retry_after=_RETRY)
        if booking.state != messages_pb2.BOOKING_STATE_CONFIRMED:
            state = messages_pb2.BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
            raise AntrianError(Reason.NOT_CONFIRMED, field="booking_id", state=state)
        await self._names.correct(booking_id, request.queue_number, request.full_name, None)
        return wire.CorrectNameResponse(booking=await self._bookings.find(booking_id, caller, account))

    async def _cancel(self, name: str, account: str, number: int | None = None) -> messages_pb2.Booking:
        """Cancels the booking, or its person with that queue number. Returns the booking afterwards."""
        booking_id, account = _check_key(name, account)
        caller, most = CALLER.get().name, self._catalog.policy.cancelled_people
        booking = await self._bookings.find(booking_id, caller, account)
        if number is not None and booking.code:
            check_numbers("queue_number", [number], sorted([*booking.queue_numbers, *booking.cancelled_queue_numbers]))
        if booking.state == messages_pb2.BOOKING_STATE_CONFIRMED and number not in booking.cancelled_queue_numbers:
            await self._commands.submit(booking.office_id, Cancel(booking_id, number, most=most))
            booking = await self._bookings.find(booking_id, caller, account)
        if number in booking.cancelled_queue_numbers:
            return booking
        match booking.state:
            case messages_pb2.BOOKING_STATE_CANCELLED:
                return booking
            case messages_pb2.BOOKING_STATE_PENDING:
                raise AntrianError(Reason.NOT_DECIDED_YET, field="booking_id", retry_after=_RETRY)
            case messages_pb2.BOOKING_STATE_CONFIRMED if number is not None and most <= len(
                booking.cancelled_queue_numbers
            ):
                raise AntrianError(Reason.CANCELLED_PEOPLE_LIMIT, field="booking_id", limit=str(most))
            case messages_pb2.BOOKING_STATE_CONFIRMED:
                office, day = self._catalog.office(booking.office_id), date.fromisoformat(booking.service_date)
                # Before its day, a booking is still confirmed only if the command was lost with its Redis.
                if booking.read_time.ToDatetime(UTC) < rules.day_begins(office.time_zone, day):
                    raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
                raise AntrianError(Reason.DAY_BEGUN, field="booking_id")
        state = messages_pb2.BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
        raise AntrianError(Reason.NOT_CANCELLABLE, field="booking_id", state=state)

    async def _fill(
        self,
        booking: messages_pb2.Booking,
        request: wire.RequestBookingRequest,
        join: JoinRequest,
        result: JoinResult | BaseException,
        deadline: float,
    ) -> None:
        """Fills in the booking from the result of the join. Raises the refusal or the exception that the result is."""
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, HeldUnverified):
            result = await self._reclaim.displace(join, result, deadline)
        if isinstance(result, Joined):
            convert.fill_joined(booking, request, join.booking_id, result)
            return
        if isinstance(result, Known):
            booking.CopyFrom(await self._bookings.repeated(join.booking_id, join.caller, join.account))
            return
        if join.refusal and result.reason == join.refusal.reason:
            raise join.refusal
        if result.reason == "WINDOW":
            zone = self._catalog.office(join.office_id).time_zone
            refusal = rules.refuse_window(self._catalog.policy, join.slot.service_date, result.at, zone)
            raise refusal or AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
        if result.reason == Reason.SLOT_FULL:
            raise await self._slot_full(join, result)
        refusal = self._refusal(Reason(result.reason), result.applicant, result.detail)
        refusal.initial = initial_of(refusal.field, [applicant.full_name for applicant in request.applicants])
        raise refusal

    async def _slot_full(self, join: JoinRequest, result: Refused) -> AntrianError:
        alternatives = await self._bookings.alternatives(join.office_id, join.slot, len(join.applicants))
        zone = self._catalog.office(join.office_id).time_zone
        closes_at = max(window.closes_at for window in join.windows).astimezone(zone)
        return AntrianError(
            Reason.SLOT_FULL, field="session", remaining=result.detail.decode(), close_time=closes_at.isoformat(),
            detail=messages_pb2.SlotFullInfo(
                alternatives=alternatives, window_close_time=convert.timestamp(closes_at)
            ),
        )  # fmt: skip

    def _refusal(self, reason: Reason, applicant: int, detail: bytes) -> AntrianError:
        match reason:
            case Reason.BARRED:
                refusal = AntrianError(reason, field=f"applicants[{applicant}]", last_barred_date=detail.decode())
            case Reason.ALREADY_BOOKED:
                refusal = AntrianError(reason, field=f"applicants[{applicant}]")
                if detail:
                    refusal.metadata["booking_id"] = str(UUID(bytes=detail))
            case Reason.ACCOUNT_LIMIT:
                limit = str(self._catalog.policy.account_people)
                refusal = AntrianError(reason, field="account", limit=limit, live=detail.decode())
            case Reason.PEOPLE_LIMIT:
                refusal = AntrianError(reason, field="applicants", limit=str(self._catalog.policy.tried_people))
            case Reason.ACCOUNT_RATE_LIMITED | Reason.DEVICE_RATE_LIMITED | Reason.ADDRESS_RATE_LIMITED:
                refusal = _rate_limited(reason, self._catalog.policy.limits, timedelta(milliseconds=int(detail)))
            case Reason.REQUEST_ID_REUSED | Reason.DAY_CLOSED:
                refusal = AntrianError(reason, field="service_date" if reason is Reason.DAY_CLOSED else "request_id")
            case Reason.LANE_FULL:
                refusal = AntrianError(reason, retry_after=_LANE_FULL_RETRY, waiting=detail.decode())
            case _:
                refusal = AntrianError(reason, retry_after=FULL_RETRY if reason is Reason.STORE_FULL else _RETRY)
        return refusal


def _rate_limited(reason: Reason, limits: RequestLimits, wait: timedelta) -> AntrianError:
    field, limit = {
        Reason.ACCOUNT_RATE_LIMITED: ("account", limits.account),
        Reason.DEVICE_RATE_LIMITED: ("origin.device_key", limits.device),
        Reason.ADDRESS_RATE_LIMITED: ("origin.address", limits.address),
    }[reason]
    return AntrianError(reason, field=field, retry_after=wait, limit=str(limit.per_hour))


def _check_key(booking_id: str, account: str) -> tuple[UUID, str]:
    account = check_account(account)
    return check_uuid(booking_id, "booking_id"), account


def _check_batch(requests: Sized) -> None:
    if not requests:
        raise invalid("requests", "sertakan sedikitnya satu permintaan", "must contain at least one request")
    if len(requests) > LARGEST_BATCH:
        raise AntrianError(Reason.TOO_LARGE, field="requests", limit=str(LARGEST_BATCH))


def _check_no_wait(item: wire.GetBookingRequest) -> None:
    if item.HasField("wait"):
        raise invalid("wait", "tidak berlaku bila bertanya sekaligus", "does not apply in a batch")


def _deadline(context: Context) -> float:
    """Returns the call's deadline on the event loop's clock."""
    remaining = cast("float | None", context.time_remaining())
    return float("inf") if remaining is None else asyncio.get_running_loop().time() + remaining
