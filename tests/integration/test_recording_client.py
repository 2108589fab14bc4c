"""A recording client writes what it asked of a server and what it was told."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from antrian.audit.history import (
    Response,
    read_history,
)
from antrian.errors import AntrianError, Reason
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, SESSION_MORNING, Applicant, Booking
from clients.sdk.booking_client import RefusedError
from clients.sdk.history import History, RecordingClient
from server.status import to_status

OFFICE = "kanim-a"


Serve = Callable[[wire.RequestBookingRequest, Any], Awaitable[wire.RequestBookingResponse]]


@asynccontextmanager
async def recording(serve: Serve, path: Path) -> AsyncIterator[RecordingClient]:
    """A client that writes to the path, of a server that answers RequestBooking so."""
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
        with History(path) as history:
            async with RecordingClient(
                f"127.0.0.1:{port}", history=history, patience=timedelta(milliseconds=200)
            ) as client:
                yield client
    finally:
        await server.stop(None)


REQUEST = wire.RequestBookingRequest(
    request_id="8a5e",
    account="ani",
    office_id=OFFICE,
    service_date="2026-11-30",
    session=SESSION_MORNING,
    applicants=[Applicant(nik="3171010101900001", full_name="Ani")],
)


async def test_a_recording_client_writes_its_requests_and_responses_without_a_nik(tmp_path: Path) -> None:
    async def serve(request: wire.RequestBookingRequest, context: Any) -> wire.RequestBookingResponse:
        booking = Booking(booking_id="b", office_id=OFFICE, ticket=7, state=BOOKING_STATE_PENDING)
        return wire.RequestBookingResponse(booking=booking)

    async with recording(serve, tmp_path / "a") as client:
        await client.send(REQUEST)
    text = (tmp_path / "a").read_text()
    (op,) = read_history([tmp_path / "a"]).ops
    assert (op.call, op.request_id, op.account, op.office) == ("request", "8a5e", "ani", OFFICE)
    assert (op.date, op.session, len(op.people), len(op.people[0])) == ("2026-11-30", "MORNING", 1, 16)
    assert op.response == Response("b", OFFICE, 7, "PENDING", [], [])
    assert "3171010101900001" not in text
    assert op.started < op.ended


@pytest.mark.parametrize(
    ("error", "event", "told"),
    [
        (AntrianError(Reason.ALREADY_BOOKED), "refused", "ALREADY_BOOKED"),
        (AntrianError(Reason.LANE_FULL, retry_after=timedelta(seconds=1)), "refused", "LANE_FULL"),
        (None, "unknown", "UNAVAILABLE"),
    ],
)
async def test_an_error_is_recorded_as_a_refusal_or_as_unknown(
    tmp_path: Path, error: AntrianError | None, event: str, told: str
) -> None:
    async def serve(request: wire.RequestBookingRequest, context: Any) -> wire.RequestBookingResponse:
        if error:
            await context.abort_with_status(rpc_status.to_status(to_status(error, english=True)))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        raise AssertionError

    async with recording(serve, tmp_path / "a") as client:
        with pytest.raises(RefusedError):
            await client.send(REQUEST)
    end = json.loads((tmp_path / "a").read_text().splitlines()[-1])
    assert (end["event"], end["reason"]) == (event, told)
