"""What both clients do with answers in pages, with refusals that pass, and with options that were not given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Detail
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from antrian.v1 import booking_service_pb2, office_service_pb2
from antrian.v1.booking_service_pb2 import (
    CancelBookingRequest,
    ListBookingsRequest,
    ListBookingsResponse,
    ListOfficesResponse,
)
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    SESSION_MORNING,
    Booking,
    Office,
    Province,
)
from antrian.v1.office_service_pb2 import (
    ListRosterEntriesRequest,
    ListRosterEntriesResponse,
    RosterEntry,
    SetQuotaRequest,
    SetQuotaResponse,
)
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient

DAY = date(2026, 11, 30)


def refusal(code: grpc.StatusCode, reason: str, milliseconds: int) -> Status:
    """The status with which a server refuses for so long."""
    status = Status(code=code.value[0])
    delay = Duration(nanos=milliseconds * 1_000_000)
    for content in (ErrorInfo(reason=reason, domain="antrian"), RetryInfo(retry_delay=delay)):
        detail = Detail()
        detail.Pack(content)
        status.details.append(detail)
    return status


@asynccontextmanager
async def service(rpc: str, *responses: Message) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that gives these answers to calls of the rpc, one each: its address and what it was asked."""
    asked: list[Any] = []
    known = {**booking_service_pb2.__dict__, **office_service_pb2.__dict__}

    async def serve(request: Any, context: Any) -> Message:
        response = responses[len(asked)]
        asked.append(request)
        if isinstance(response, Status):
            await context.abort_with_status(rpc_status.to_status(response))
        return response

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=known[f"{rpc}Request"].FromString,
        response_serializer=known[f"{rpc}Response"].SerializeToString,
    )
    for name in ("BookingService", "OfficeService"):
        handlers = grpc.method_handlers_generic_handler(f"antrian.v1.{name}", {rpc: handler})
        server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", asked
    finally:
        await server.stop(None)


async def test_a_booking_that_moves_between_pages_is_listed_once_in_its_latest_state() -> None:
    moved = Booking(booking_id="b", state=BOOKING_STATE_PENDING)
    decided = Booking(booking_id="b", state=BOOKING_STATE_CONFIRMED)
    pages = [
        ListBookingsResponse(bookings=[Booking(booking_id="a"), moved], next_page_token="more"),
        ListBookingsResponse(bookings=[decided, Booking(booking_id="c")]),
    ]
    async with service("ListBookings", *pages) as (address, asked), BookingClient(address) as client:
        found = await client.list_bookings("ani", service_date=DAY)
    assert [(booking.booking_id, booking.state) for booking in found] == [("a", 0), ("b", decided.state), ("c", 0)]
    first = ListBookingsRequest(account="ani", service_date="2026-11-30", page_size=100)
    assert asked[0] == first
    assert [request.page_token for request in asked] == ["", "more"]


async def test_a_repeated_page_token_raises_an_error() -> None:
    page = ListBookingsResponse(next_page_token="more")
    async with service("ListBookings", *[page] * 3) as (address, asked), BookingClient(address) as client:
        with pytest.raises(RefusedError, match="a page names itself as the next page"):
            await client.list_bookings("ani")
    assert len(asked) == 2


async def test_offices_of_all_pages_are_listed_with_the_provinces_of_the_first() -> None:
    provinces = [Province(province_code="ID-JK")]
    pages = [
        ListOfficesResponse(offices=[Office(office_id="a")], provinces=provinces, next_page_token="more"),
        ListOfficesResponse(offices=[Office(office_id="b")], provinces=provinces),
    ]
    async with service("ListOffices", *pages) as (address, _), BookingClient(address) as client:
        found = await client.list_offices("ID-JK")
    assert found == ListOfficesResponse(offices=[Office(office_id="a"), Office(office_id="b")], provinces=provinces)


async def test_the_roster_is_read_from_all_pages() -> None:
    pages = [
        ListRosterEntriesResponse(entries=[RosterEntry(queue_number=1)], next_page_token="more"),
        ListRosterEntriesResponse(entries=[RosterEntry(queue_number=2)]),
    ]
    async with service("ListRosterEntries", *pages) as (address, asked), OfficeClient(address) as client:
        assert [entry.queue_number for entry in await client.day_roster("kanim-bogor", staff="rina")] == [1, 2]
    assert asked[0] == ListRosterEntriesRequest(office_id="kanim-bogor", page_size=500, staff="rina")


async def test_a_cancel_before_the_decision_is_refused_without_a_retry() -> None:
    early = refusal(grpc.StatusCode.FAILED_PRECONDITION, "NOT_DECIDED_YET", 500)
    async with service("CancelBooking", early) as (address, asked), BookingClient(address) as client:
        with pytest.raises(RefusedError) as caught:
            await client.cancel_booking("b", "ani")
    assert (caught.value.reason, caught.value.retry_after) == ("NOT_DECIDED_YET", timedelta(milliseconds=500))
    assert asked == [CancelBookingRequest(booking_id="b", account="ani")]


@pytest.mark.parametrize("expected", [None, 0, 60])
async def test_set_quota_retries_and_sends_the_expected_quota_only_when_given(expected: int | None) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 1)
    responses = [away, SetQuotaResponse(previous_quota=60, quota=40, taken=7)]
    async with service("SetQuota", *responses) as (address, asked), OfficeClient(address) as client:
        response = await client.set_quota(
            "kanim-bogor", DAY, SESSION_MORNING, 40, staff="head-1", reason="flood", expected_quota=expected
        )
    assert (response.previous_quota, response.quota, response.taken) == (60, 40, 7)
    assert asked[0] == asked[1]
    request: SetQuotaRequest = asked[0]
    assert (request.service_date, request.quota, request.staff, request.reason) == ("2026-11-30", 40, "head-1", "flood")
    assert (request.expected_quota if request.HasField("expected_quota") else None) == expected
