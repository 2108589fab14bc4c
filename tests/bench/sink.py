"""`python -m tests.bench.sink PORT`: a server that takes every request and knows every outcome, and does nothing else."""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, BOOKING_STATE_PENDING, Booking

_SERVICE = wire.DESCRIPTOR.services_by_name["BookingService"]


class Sink:
    """The rpcs that a rush of nothing but gateways calls."""

    async def BatchRequestBookings(self, request: wire.BatchRequestBookingsRequest, _: Any) -> Any:  # noqa: N802
        """Takes all."""
        pending = [
            Booking(booking_id=one.request_id, office_id=one.office_id, state=BOOKING_STATE_PENDING, ticket=1)
            for one in request.requests
        ]
        return wire.BatchRequestBookingsResponse(
            results=[wire.BatchRequestBookingsResult(booking=booking) for booking in pending]
        )

    async def BatchGetBookings(self, request: wire.BatchGetBookingsRequest, _: Any) -> Any:  # noqa: N802
        """Confirms all."""
        confirmed = [
            Booking(booking_id=one.booking_id, state=BOOKING_STATE_CONFIRMED, ticket=1, queue_numbers=[1])
            for one in request.requests
        ]
        return wire.BatchGetBookingsResponse(
            results=[wire.BatchGetBookingsResult(booking=booking) for booking in confirmed]
        )


async def _serve(port: str) -> None:
    server, sink = grpc.aio.server(), Sink()
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(sink, name),
            getattr(wire, f"{name}Request").FromString,
            lambda response: response.SerializeToString(),
        )
        for name in ("BatchRequestBookings", "BatchGetBookings")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1]))
