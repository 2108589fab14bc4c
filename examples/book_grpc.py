"""Books a place with grpcio alone, for clients that do without the SDK. It shows what every client has to do itself.

Run it from the root of the repository, while `.venv/bin/antrian up --clock open` runs:

    .venv/bin/python -m examples.book_grpc [HOST:PORT]

antrian.v1 is generated from protos/antrian/v1. In a project of your own, generate it with grpcio-tools or buf.
"""

import sys
import time
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage
from grpc_status import rpc_status

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, SESSION_MORNING, Applicant, Booking, Location

ACCOUNT = "budi"
METADATA = [("accept-language", "en")]  # with a callers file also ("authorization", "Bearer TOKEN")
RETRY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def request_booking(stub: BookingServiceStub, request: wire.RequestBookingRequest) -> Booking:
    """Sends the request until it is answered. A retry has the same request_id, so it never books twice."""
    for pause in (0.2, 0.5, 1, 2, 4):
        try:
            return stub.RequestBooking(request, metadata=METADATA, timeout=5).booking
        except grpc.RpcError as error:
            if error.code() not in RETRY:  # refused for certain
                raise
        time.sleep(pause)
    return stub.RequestBooking(request, metadata=METADATA, timeout=5).booking


def wait_for_outcome(stub: BookingServiceStub, booking_id: str) -> Booking:
    """Reads the booking. The server answers when it is decided, after 20 s at the latest."""
    request = wire.GetBookingRequest(booking_id=booking_id, account=ACCOUNT, wait=Duration(seconds=20))
    return stub.GetBooking(request, metadata=METADATA, timeout=25).booking


def explain(error: grpc.RpcError) -> str:
    """Returns the reason, by which programs decide, and the message, which people read."""
    info, message = ErrorInfo(), LocalizedMessage()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if not detail.Unpack(info):
            detail.Unpack(message)
    return f"{info.reason or error.code().name}: {message.message or error.details()}"


def main(target: str) -> int:
    """Books for one person, waits for the outcome and prints it. Returns the exit code."""
    with grpc.insecure_channel(target) as channel:
        stub = BookingServiceStub(channel)
        try:
            quota = stub.GetQuota(wire.GetQuotaRequest(office_id="kanim-bogor"), metadata=METADATA, timeout=5)
            booking = request_booking(
                stub,
                wire.RequestBookingRequest(
                    request_id=str(uuid.uuid4()),
                    account=ACCOUNT,
                    office_id="kanim-bogor",
                    service_date=quota.window.first_date,
                    session=SESSION_MORNING,
                    applicants=[Applicant(nik="3271011212900003", full_name="Budi Santoso")],
                    location=Location(latitude=-6.5950, longitude=106.8167, accuracy_m=20),
                ),
            )
            booking = wait_for_outcome(stub, booking.booking_id)
        except grpc.RpcError as error:
            print(f"refused: {explain(error)}")
            return 1
        if booking.state != BOOKING_STATE_CONFIRMED:
            print(f"not confirmed: {booking.status_message_en}")
            return 1
        print(f"confirmed: queue numbers {list(booking.queue_numbers)}, code {booking.code}")
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["127.0.0.1:7700"]))
