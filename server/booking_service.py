"""antrian.v1.BookingService: what each rpc does."""

import asyncio
from collections.abc import AsyncIterator, Sized
from datetime import UTC, date, timedelta
from functools import lru_cache
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

from antrian import rules
from antrian.booking import Cancel, Slot, Window
from antrian.errors import AntrianError, Reason, invalid
from antrian.lane.front import Joined, Known, LaneFront
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1 import messages_pb2
from server import resources
from server.admission import Admission, check_account, check_uuid
from server.auth import CALLER
from server.booking_list import list_bookings
from server.bookings import Bookings
from server.catalog import Catalog
from server.desk import Desk
from server.gate import FULL_RETRY, Context, explain, wants_english
from server.office_list import list_offices

_BATCH = 200
_LONGEST_WAIT = timedelta(seconds=60)
_RETRY = timedelta(seconds=1)
# Who waits for the outcome only needs to look again in case its message was lost; who watches wants to see the line move.
_NET = timedelta(seconds=5)
_NEWS = timedelta(seconds=1)
# A lane at its bound drains thousands a second; who comes back after this finds room.
_LANE_FULL_RETRY = timedelta(seconds=10)


class BookingService:
    """Offices, quota, requests and bookings. Refusals are AntrianErrors; the gate turns them into statuses."""

    def __init__(
        self, catalog: Catalog, front: LaneFront, admission: Admission, bookings: Bookings, desk: Desk
    ) -> None:
        self._catalog = catalog
        self._front = front
        self._admission = admission
        self._bookings = bookings
        self._desk = desk
        self._week = lru_cache(maxsize=16)(self._find_week)

    async def ListOffices(  # noqa: N802 - the rpc's name
        self, request: wire.ListOfficesRequest, context: Context
    ) -> wire.ListOfficesResponse:
        """The offices that a person may use."""
        return list_offices(request, self._catalog)

    async def GetQuota(self, request: wire.GetQuotaRequest, context: Context) -> wire.GetQuotaResponse:  # noqa: N802
        """What is left at an office in the current or next window."""
        office = self._catalog.office(request.office_id)
        window, now = self._catalog.window()
        slots, prototype = self._week(window, office.time_zone)
        as_of, counters = await self._front.quota((office.office_id, slots))
        response = wire.GetQuotaResponse()
        response.CopyFrom(prototype)
        response.office_id = office.office_id
        response.window.open = window.contains(now)
        response.as_of.FromDatetime(as_of)
        for slot, places in zip(response.slots, counters, strict=True):
            if places is None:
                raise AntrianError(Reason.LANE_CLOSED, retry_after=_RETRY)
            slot.quota, slot.left = places.quota, 0 if places.closed else places.left
            slot.closed = places.closed
        return response

    def _find_week(self, window: Window, zone: ZoneInfo) -> tuple[tuple[Slot, ...], wire.GetQuotaResponse]:
        """The window's slots at offices of a time zone, and all of GetQuota's answer that is the same for these."""
        policy = self._catalog.policy
        slots = tuple(Slot(day, session) for day in window.dates for session in policy.sessions)
        answer = wire.GetQuotaResponse(
            window=resources.window(window, window.opens_at),
            closed_days=[
                messages_pb2.ClosedDay(date=day.isoformat(), name=name)
                for day, name in rules.closed_days(policy, window).items()
            ],
        )
        for slot in slots:
            starts, ends = rules.session_times(policy, zone, slot)
            answer.slots.add(
                service_date=slot.service_date.isoformat(),
                session=resources.session(slot.session),
                starts_at=resources.timestamp(starts),
                ends_at=resources.timestamp(ends),
            )
        return slots, answer

    async def RequestBooking(  # noqa: N802
        self, request: wire.RequestBookingRequest, context: Context
    ) -> wire.RequestBookingResponse:
        """Takes a place in the office's line."""
        return wire.RequestBookingResponse(booking=await self._request(request, _leaves(context)))

    async def BatchRequestBooking(  # noqa: N802
        self, request: wire.BatchRequestBookingRequest, context: Context
    ) -> wire.BatchRequestBookingResponse:
        """Takes places for many requests; each has its own answer."""
        _check_batch(request.requests)
        english, leaves = wants_english(context), _leaves(context)

        async def one(item: wire.RequestBookingRequest) -> wire.BatchRequestBookingResult:
            try:
                return wire.BatchRequestBookingResult(booking=await self._request(item, leaves))
            except Exception as error:  # one bad item harms no other
                _, status = explain(error, "BatchRequestBooking", english=english)
                return wire.BatchRequestBookingResult(error=status)

        return wire.BatchRequestBookingResponse(results=await asyncio.gather(*map(one, request.requests)))

    async def GetBooking(self, request: wire.GetBookingRequest, context: Context) -> wire.GetBookingResponse:  # noqa: N802
        """A booking, at once or as soon as it is decided."""
        booking_id, account = self._whose(request.booking_id, request.account)
        if not request.HasField("wait"):
            booking = await self._bookings.find(booking_id, CALLER.get().name, account)
            return wire.GetBookingResponse(booking=booking)
        wait = timedelta(seconds=min(max(request.wait.seconds, -1), 61), microseconds=request.wait.nanos // 1000)
        if not timedelta(0) <= wait <= _LONGEST_WAIT:
            raise invalid("wait", "harus 0 sampai 60 detik", "must be 0 to 60 s")
        response = wire.GetBookingResponse()
        async for booking in self._bookings.watch(
            booking_id, CALLER.get().name, account, look_again=_NET, at_most=wait
        ):
            response = wire.GetBookingResponse(booking=booking)
        return response

    async def BatchGetBookings(  # noqa: N802
        self, request: wire.BatchGetBookingsRequest, context: Context
    ) -> wire.BatchGetBookingsResponse:
        """Many bookings as they are now; each has its own answer."""
        _check_batch(request.requests)
        english, caller = wants_english(context), CALLER.get().name

        async def one(item: wire.GetBookingRequest) -> wire.BatchGetBookingsResult:
            try:
                booking_id, account = self._whose(item.booking_id, item.account)
                _check_no_wait(item)
                booking = await self._bookings.find(booking_id, caller, account)
                return wire.BatchGetBookingsResult(booking=booking)
            except Exception as error:  # one bad item harms no other
                _, status = explain(error, "BatchGetBookings", english=english)
                return wire.BatchGetBookingsResult(error=status)

        return wire.BatchGetBookingsResponse(results=await asyncio.gather(*map(one, request.requests)))

    async def WatchBooking(  # noqa: N802
        self, request: wire.WatchBookingRequest, context: Context
    ) -> AsyncIterator[wire.WatchBookingResponse]:
        """A booking after each change, until it is decided."""
        booking_id, account = self._whose(request.booking_id, request.account)
        async for booking in self._bookings.watch(booking_id, CALLER.get().name, account, look_again=_NEWS):
            yield wire.WatchBookingResponse(booking=booking)

    async def ListBookings(  # noqa: N802
        self, request: wire.ListBookingsRequest, context: Context
    ) -> wire.ListBookingsResponse:
        """An account's bookings."""
        return await list_bookings(request, CALLER.get().name, self._bookings)

    async def CancelBooking(  # noqa: N802
        self, request: wire.CancelBookingRequest, context: Context
    ) -> wire.CancelBookingResponse:
        """Gives a booking's places back."""
        booking_id, account = self._whose(request.booking_id, request.account)
        caller = CALLER.get().name
        booking = await self._bookings.find(booking_id, caller, account)
        if booking.state == messages_pb2.BOOKING_STATE_CONFIRMED:
            await self._desk.submit(booking.office_id, Cancel(booking_id))
            booking = await self._bookings.find(booking_id, caller, account)
        match booking.state:
            case messages_pb2.BOOKING_STATE_CANCELLED:
                return wire.CancelBookingResponse(booking=booking)
            case messages_pb2.BOOKING_STATE_PENDING:
                raise AntrianError(Reason.NOT_DECIDED_YET, field="booking_id", retry_after=_RETRY)
            case messages_pb2.BOOKING_STATE_CONFIRMED:
                office, day = self._catalog.office(booking.office_id), date.fromisoformat(booking.service_date)
                if booking.as_of.ToDatetime(UTC) < rules.day_begins(
                    office.time_zone, day
                ):  # the desk was lost with its Redis
                    raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
                raise AntrianError(Reason.DAY_BEGUN, field="booking_id")
        state = messages_pb2.BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
        raise AntrianError(Reason.NOT_CANCELLABLE, field="booking_id", state=state)

    def _whose(self, booking_id: str, account: str) -> tuple[UUID, str]:
        check_account(account)
        return check_uuid(booking_id, "booking_id"), account

    async def _request(self, request: wire.RequestBookingRequest, leaves: float) -> messages_pb2.Booking:
        ask = self._admission.admit(request, CALLER.get())
        answer = await self._front.join(ask, leaves)
        if isinstance(answer, Joined):
            return resources.joined_booking(ask, answer)
        if isinstance(answer, Known):
            return await self._bookings.repeated(ask.booking_id, ask.caller, ask.account)
        if ask.verdict and answer.reason == ask.verdict.reason:
            raise ask.verdict
        if answer.reason == "WINDOW":
            refusal = rules.refuse_window(self._catalog.policy, ask.slot.service_date, answer.at)
            raise refusal or AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
        raise self._refusal(Reason(answer.reason), answer.applicant, answer.detail)

    def _refusal(self, reason: Reason, applicant: int, detail: bytes) -> AntrianError:
        match reason:
            case Reason.BARRED:
                return AntrianError(reason, field=f"applicants[{applicant}]", last_day=detail.decode())
            case Reason.ALREADY_BOOKED:
                refusal = AntrianError(reason, field=f"applicants[{applicant}]")
                if detail:
                    refusal.metadata["booking_id"] = str(UUID(bytes=detail))
                return refusal
            case Reason.ACCOUNT_LIMIT:
                limit = str(self._catalog.policy.account_people)
                return AntrianError(reason, field="account", limit=limit, live=detail.decode())
            case Reason.REQUEST_ID_REUSED | Reason.DAY_CLOSED:
                return AntrianError(reason, field="service_date" if reason is Reason.DAY_CLOSED else "request_id")
            case Reason.LANE_FULL:
                return AntrianError(reason, retry_after=_LANE_FULL_RETRY, waiting=detail.decode())
            case _:
                return AntrianError(reason, retry_after=FULL_RETRY if reason is Reason.STORE_FULL else _RETRY)


def _check_batch(requests: Sized) -> None:
    if not requests:
        raise invalid("requests", "sertakan sedikitnya satu permintaan", "must have at least one request")
    if len(requests) > _BATCH:
        raise AntrianError(Reason.TOO_LARGE, field="requests", limit=str(_BATCH))


def _check_no_wait(item: wire.GetBookingRequest) -> None:
    if item.HasField("wait"):
        raise invalid("wait", "tidak berlaku bila bertanya sekaligus", "does not apply in a batch")


def _leaves(context: Context) -> float:
    """When the caller will have left, on the event loop's clock."""
    left = cast("float | None", context.time_remaining())
    return float("inf") if left is None else asyncio.get_running_loop().time() + left
