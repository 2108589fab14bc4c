"""Bad input gets a clear error that names the field and the reason, and changes nothing."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import Applicant, Location
from clients.booking_client import BookingClient, RefusedError
from tests.acceptance.person import JAKARTA, Crowd

GOOD = "3171010101900001"


def applicants(*niks: str) -> dict[str, Any]:
    return {"applicants": [Applicant(nik=nik, full_name="Budi") for nik in niks]}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"request_id": ""}, "INVALID_FIELD", "request_id"),
    ({"request_id": "123"}, "INVALID_FIELD", "request_id"),
    ({"request_id": "{6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f}"}, "INVALID_FIELD", "request_id"),
    ({"account": ""}, "INVALID_FIELD", "account"),
    ({"account": "two words"}, "INVALID_FIELD", "account"),
    ({"account": "x" * 65}, "INVALID_FIELD", "account"),
    ({"account": f"nik-{GOOD}"}, "INVALID_FIELD", "account"),
    ({"office_id": ""}, "OFFICE_NOT_FOUND", "office_id"),
    ({"office_id": "kanim-atlantis"}, "OFFICE_NOT_FOUND", "office_id"),
    ({"office_id": "kanim-bogor"}, "OFFICE_OUTSIDE_PROVINCE", "office_id"),
    ({"service_date": ""}, "INVALID_FIELD", "service_date"),
    ({"service_date": "20261130"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "2026-W49-1"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "2026-02-30"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "9999-12-31"}, "DATE_NOT_OFFERED", "service_date"),
    ({"service_date": "0001-01-01"}, "DATE_NOT_OFFERED", "service_date"),
    ({"service_date": "2026-12-25"}, "NOT_A_SERVICE_DAY", "service_date"),
    ({"service_date": "2026-11-29"}, "NOT_A_SERVICE_DAY", "service_date"),
    ({"session": 0}, "INVALID_FIELD", "session"),
    ({"session": 7}, "INVALID_FIELD", "session"),
    (applicants(), "INVALID_FIELD", "applicants"),
    (applicants(*(f"317101010190000{n}" for n in range(1, 7))), "INVALID_FIELD", "applicants"),
    (applicants(GOOD, GOOD), "INVALID_FIELD", "applicants[1].nik"),
    (applicants("317101010190000"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("31710101019000011"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("٣١٧١٠١٠١٠١٩٠٠٠٠١"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("3171013202900001"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("9971010101900001"), "INVALID_FIELD", "applicants[0].nik"),
    ({"applicants": [Applicant(nik=GOOD, full_name="")]}, "INVALID_FIELD", "applicants[0].full_name"),
    ({"applicants": [Applicant(nik=GOOD, full_name=GOOD)]}, "INVALID_FIELD", "applicants[0].full_name"),
    ({"location": None}, "INVALID_FIELD", "location"),
    ({"location": Location(latitude=91)}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(latitude=float("nan"))}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(longitude=float("inf"))}, "INVALID_FIELD", "location.longitude"),
    (
        {"location": Location(latitude=-6.18, longitude=106.83, accuracy_m=-1)},
        "INVALID_FIELD",
        "location.accuracy_m",
    ),
    (
        {"location": Location(latitude=-6.18, longitude=106.83, accuracy_m=2001)},
        "LOCATION_TOO_COARSE",
        "location.accuracy_m",
    ),
    ({"location": Location(latitude=1.29, longitude=103.85)}, "OUTSIDE_INDONESIA", "location"),
    ({"province_code": "ID-XX"}, "INVALID_FIELD", "province_code"),
]


def described(case: Any) -> str | None:
    return ",".join(case) if isinstance(case, dict) else None


@pytest.mark.parametrize(("change", "reason", "field"), BAD, ids=described)
async def test_a_bad_request_is_refused_with_its_field(
    client: BookingClient, crowd: Crowd, change: dict[str, Any], reason: str, field: str
) -> None:
    request = crowd.request(**change)
    with pytest.raises(RefusedError) as caught:
        await client.send(request)
    assert (caught.value.reason, caught.value.metadata["field"]) == (reason, field)
    assert GOOD not in str(caught.value)
    # Nothing was changed: the same request_id is still free for a good request.
    if reason != "OFFICE_NOT_FOUND" and change.keys() != {"request_id"}:
        assert (await client.send(crowd.request(request_id=request.request_id))).ticket > 0


async def test_a_batch_over_200_and_an_empty_one_are_refused(client: BookingClient, crowd: Crowd) -> None:
    with pytest.raises(RefusedError) as caught:
        await client.send_batch([crowd.request() for _ in range(201)])
    assert (caught.value.reason, caught.value.metadata["limit"]) == ("TOO_LARGE", "200")
    with pytest.raises(RefusedError) as caught:
        await client.send_batch([])
    assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_FIELD", "requests")


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (b"\xff\xff\xff", "INVALID_MESSAGE", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0a" + b"\x80\x80\x14" + b"x" * (256 * 1024 + 1), "TOO_LARGE", grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["no message", "too large"],
)
async def test_bytes_that_are_no_message_get_a_clear_error(
    client: BookingClient, data: bytes, reason: str, code: grpc.StatusCode
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
        "/antrian.v1.BookingService/RequestBooking"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(data, timeout=5)
    refusal = RefusedError.of_error(caught.value)
    assert (refusal.reason, refusal.code) == (reason, code)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (wire.GetBookingRequest(booking_id="x", account="a"), "booking_id"),
        (wire.GetBookingRequest(booking_id="6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f"), "account"),
        (wire.ListOfficesRequest(), "location"),
        (wire.ListOfficesRequest(location=JAKARTA, page_size=201), "page_size"),
        (wire.ListOfficesRequest(location=JAKARTA, page_token="?"), "page_token"),
    ],
)
async def test_bad_reads_name_their_field(client: BookingClient, request_: Message, field: str) -> None:
    name = type(request_).__name__.removesuffix("Request")
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
        f"/antrian.v1.BookingService/{name}"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request_.SerializeToString(), timeout=5)
    refusal = RefusedError.of_error(caught.value)
    assert (refusal.reason, refusal.metadata["field"]) == ("INVALID_FIELD", field)


async def test_errors_are_indonesian_unless_english_is_asked_for(client: BookingClient, crowd: Crowd) -> None:
    async with BookingClient(client.target, patience=timedelta(0)) as indonesian:
        with pytest.raises(RefusedError, match="Kantor itu tidak ada"):
            await indonesian.get_quota("kanim-atlantis")
    with pytest.raises(RefusedError, match="There is no such office"):
        await client.get_quota("kanim-atlantis")
