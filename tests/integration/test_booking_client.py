"""The SDK against a service that is away for a moment: it asks again, under the same request_id, and not for ever."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from antrian.errors import AntrianError, Reason
from antrian.v1 import booking_service_pb2 as wire
from clients.sdk.booking_client import SESSION_MORNING, Applicant, BookingClient, RefusedError
from server.status import to_status

Serve = Callable[[wire.RequestBookingRequest, Any], Awaitable[wire.RequestBookingResponse]]


@asynccontextmanager
async def service(serve: Serve) -> AsyncIterator[BookingClient]:
    """A gRPC server that answers RequestBooking so, and a client of it that is patient for two seconds."""
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=wire.RequestBookingRequest.FromString,
        response_serializer=wire.RequestBookingResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler("antrian.v1.BookingService", {"RequestBooking": handler})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with BookingClient(f"127.0.0.1:{port}", patience=timedelta(seconds=2)) as client:
            yield client
    finally:
        await server.stop(None)


async def book(client: BookingClient) -> str:
    booking = await client.request_booking(
        account="ani",
        office_id="kanim-bogor",
        service_date=date(2026, 11, 30),
        session=SESSION_MORNING,
        applicants=[Applicant(nik="3171010101900001", full_name="Ani")],
        whereabouts="ID-JB",
    )
    return booking.booking_id


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED]
)
async def test_the_client_retries_under_the_same_request_id(code: grpc.StatusCode) -> None:
    seen: list[str] = []

    async def serve(request: wire.RequestBookingRequest, context: Any) -> wire.RequestBookingResponse:
        seen.append(request.request_id)
        if len(seen) < 3:
            await context.abort(code, "for now")
        response = wire.RequestBookingResponse()
        response.booking.booking_id = "found"
        return response

    async with service(serve) as client:
        assert await book(client) == "found"
    assert len(seen) == 3
    assert {str(uuid.UUID(request_id)) for request_id in seen} == {seen[0]}


async def test_a_refusal_is_raised_at_once_with_its_details() -> None:
    calls = 0

    async def serve(request: wire.RequestBookingRequest, context: Any) -> wire.RequestBookingResponse:
        nonlocal calls
        calls += 1
        refusal = AntrianError(
            Reason.WINDOW_CLOSED, retry_after=timedelta(hours=3), open_time="2026-11-27T14:00:00+07:00"
        )
        await context.abort_with_status(rpc_status.to_status(to_status(refusal, english=False)))
        raise AssertionError

    async with service(serve) as client:
        with pytest.raises(RefusedError) as caught:
            await book(client)
    refusal = caught.value
    assert calls == 1
    assert (refusal.reason, refusal.code) == ("WINDOW_CLOSED", grpc.StatusCode.FAILED_PRECONDITION)
    assert refusal.metadata == {"open_time": "2026-11-27T14:00:00+07:00"}
    assert refusal.retry_after == timedelta(hours=3)
    assert refusal.message == (
        "Pendaftaran sedang ditutup. Coba lagi saat dibuka: Jumat, 27 November 2026 pukul 14.00 WIB."
    )


async def test_the_client_stops_retrying_after_its_timeout() -> None:
    async def serve(request: wire.RequestBookingRequest, context: Any) -> wire.RequestBookingResponse:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        raise AssertionError

    async with service(serve) as client:
        with pytest.raises(RefusedError) as caught:
            await book(client)
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE


async def test_the_client_stops_reopening_streams_that_end_without_an_event() -> None:
    asked = 0

    async def serve(request: wire.WatchBookingRequest, context: Any) -> AsyncIterator[wire.WatchBookingResponse]:
        nonlocal asked
        asked += 1
        for news in list[wire.WatchBookingResponse]():
            yield news

    server = grpc.aio.server()
    handler: Any = grpc.unary_stream_rpc_method_handler(
        serve,
        request_deserializer=wire.WatchBookingRequest.FromString,
        response_serializer=wire.WatchBookingResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler("antrian.v1.BookingService", {"WatchBooking": handler})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with BookingClient(f"127.0.0.1:{port}", patience=timedelta(seconds=0.3)) as client, asyncio.timeout(10):
            with pytest.raises(RefusedError, match="without any news"):
                assert [booking async for booking in client.watch("b", "ani")] == []
    finally:
        await server.stop(None)
    assert 2 <= asked <= 10
