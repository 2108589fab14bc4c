"""`python -m tests.bench.empty_server PORT [--bare]`: BookingService that answers at once, always the same.

Its handlers stand behind the same gate as the service's own, with the same messages: what is left is what gRPC and the gate
cost. --bare leaves out the gate, too.
"""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import uvloop
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from antrian.batching import MESSAGE_LIMIT
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1 import messages_pb2
from server import convert
from server.auth import Callers
from server.grpc_server import make_server
from server.limits import ConcurrencyLimiter
from server.middleware import Middleware
from tests.support.window import window_to_come

_SERVICE = wire.DESCRIPTOR.services_by_name["BookingService"]
_MOST_CALLS = 10_000


def responses() -> dict[str, Message]:
    """An answer to each rpc, of the size that it has in life."""
    window, now = window_to_come(), convert.timestamp(datetime.now(UTC))
    waiting = messages_pb2.Booking(
        booking_id="6f1c2d34-5a6b-8c7d-8e9f-0a1b2c3d4e5f", state=messages_pb2.BOOKING_STATE_PENDING,
        office_id="kanim-kelas-i-khusus-jakarta", service_date=window.dates[0].isoformat(),
        session=messages_pb2.SESSION_MORNING, party_size=1, ticket=1234, ahead=100, remaining=50,
        accept_time=now, read_time=now,
    )  # fmt: skip
    decided = messages_pb2.Booking(
        booking_id=waiting.booking_id, state=messages_pb2.BOOKING_STATE_CONFIRMED, office_id=waiting.office_id,
        service_date=waiting.service_date, session=waiting.session, party_size=1, ticket=1234, queue_numbers=[17],
        code="DWE2T6JTCC", accept_time=now, decide_time=now, read_time=now,
    )  # fmt: skip
    quota = wire.GetQuotaResponse(
        office_id=waiting.office_id,
        window=convert.window(window, now.ToDatetime(UTC), ZoneInfo("Asia/Jakarta")),
        read_time=now,
    )
    for day in window.dates:
        for session in (messages_pb2.SESSION_MORNING, messages_pb2.SESSION_AFTERNOON):
            quota.slots.add(
                service_date=day.isoformat(), session=session, start_time=now, end_time=now, quota=60, remaining=30
            )
    province = load_provinces()["ID-JK"]
    offices = [convert.office(one, 1.5) for one in load_offices() if one.province_code == province.code]
    return {
        "RequestBooking": wire.RequestBookingResponse(booking=waiting),
        "GetBooking": wire.GetBookingResponse(booking=decided),
        "GetQuota": quota,
        "ListOffices": wire.ListOfficesResponse(offices=offices, provinces=[convert.province(province)]),
        "BatchRequestBookings": wire.BatchRequestBookingsResponse(
            results=[wire.BatchRequestBookingsResult(booking=waiting)]
        ),
    }


class Empty:
    """The rpcs that are measured."""

    def __init__(self) -> None:
        self._responses = responses()
        self._result = self._responses["BatchRequestBookings"].results[0]  # type: ignore[attr-defined]

    def __getattr__(self, rpc: str) -> Any:
        response = self._responses.get(rpc)

        async def same(request: Message, context: object) -> Message:
            assert response is not None
            return response

        return same

    async def BatchRequestBookings(self, request: wire.BatchRequestBookingsRequest, _: object) -> Message:  # noqa: N802
        """A result for each."""
        return wire.BatchRequestBookingsResponse(results=[self._result] * len(request.requests))


def _bare(empty: Empty) -> grpc.GenericRpcHandler:
    handlers: dict[str, Any] = {}
    for method in _SERVICE.methods:
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        if not method.server_streaming:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                getattr(empty, method.name), request.FromString, response.SerializeToString
            )
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)


async def _serve(port: int, *, bare: bool) -> None:
    empty, options = Empty(), [("grpc.max_receive_message_length", 8 * MESSAGE_LIMIT)]
    if bare:
        server = grpc.aio.server(handlers=[_bare(empty)], options=options)
    else:
        middleware = Middleware(Callers(None), ConcurrencyLimiter(_MOST_CALLS))
        server = make_server([middleware.handlers(_SERVICE, empty)], 2 * _MOST_CALLS, options)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(bound, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.bench.empty_server", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--bare", action="store_true", help="without the gate")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(given.port, bare=given.bare))
