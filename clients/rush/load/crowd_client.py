"""The gRPC client of the load generator."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import grpc

from antrian.v1 import booking_service_pb2 as wire
from clients.sdk.booking_client import BookingClient

_BATCH_METHOD = "/antrian.v1.BookingService/BatchRequestBookings"


class CrowdClient(BookingClient):
    """A client that sends requests which are encoded beforehand, because a load generator has no time to encode them."""

    async def send_encoded(self, items: Sequence[bytes]) -> Sequence[wire.BatchRequestBookingsResult]:
        """Sends a batch of items from encoded(). Returns a result for each."""
        decode = wire.BatchRequestBookingsResponse.FromString

        def method() -> Callable[..., Awaitable[wire.BatchRequestBookingsResponse]]:
            return self.channel.unary_unary(_BATCH_METHOD, response_deserializer=decode)

        return (await self._call(method, b"".join(items))).results

    async def send_and_hang_up(self, message: wire.RequestBookingRequest, seconds: float) -> None:
        """Sends a request, and stops waiting for the response after that many seconds."""
        with suppress(grpc.aio.AioRpcError):
            await self.stub.RequestBooking(message, timeout=seconds, metadata=self._metadata)


def encoded(message: wire.RequestBookingRequest) -> bytes:
    """Returns the request as an item of a batch, whose encoding is the concatenation of its items."""
    return wire.BatchRequestBookingsRequest(requests=[message]).SerializeToString()
