"""Bad input gets a clear error that names the field and the reason, and changes nothing."""

import asyncio
import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from antrian.local.stack import Stack
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1 import office_service_pb2
from antrian.v1.booking_service_pb2 import Origin
from antrian.v1.messages_pb2 import Applicant, Location
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.person import JAKARTA, PUSAT, Crowd
from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, headers
from tests.support.window import window_to_come

GOOD = "3171010101900001"
WINDOW = window_to_come()
SUNDAY = f"{WINDOW.closes_at:%F}"
CHRISTMAS = f"{WINDOW.opens_at.year}-12-25"
LONG_OVER = "2026-11-03"
IN_TWO_YEARS = f"{WINDOW.dates[0] + timedelta(weeks=104)}"


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
    ({"account": "3171-0101-0190.0001"}, "INVALID_FIELD", "account"),
    ({"account": "３１７１０１０１０１９００００１"}, "INVALID_FIELD", "account"),
    ({"office_id": ""}, "OFFICE_NOT_FOUND", "office_id"),
    ({"office_id": "kanim-atlantis"}, "OFFICE_NOT_FOUND", "office_id"),
    ({"office_id": "kanim-bogor"}, "OFFICE_OUTSIDE_PROVINCE", "office_id"),
    ({"service_date": ""}, "INVALID_FIELD", "service_date"),
    ({"service_date": "20261130"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "2026-W49-1"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "2026-02-30"}, "INVALID_FIELD", "service_date"),
    ({"service_date": "9999-12-31"}, "DATE_NOT_OFFERED", "service_date"),
    ({"service_date": "0001-01-01"}, "DATE_NOT_OFFERED", "service_date"),
    ({"service_date": CHRISTMAS}, "NOT_A_SERVICE_DAY", "service_date"),
    ({"service_date": SUNDAY}, "NOT_A_SERVICE_DAY", "service_date"),
    ({"session": 0}, "INVALID_FIELD", "session"),
    ({"session": 7}, "INVALID_FIELD", "session"),
    (applicants(), "INVALID_FIELD", "applicants"),
    (applicants(*(f"317101010190000{n}" for n in range(1, 7))), "INVALID_FIELD", "applicants"),
    (applicants(GOOD, GOOD), "INVALID_FIELD", "applicants[1].nik"),
    (applicants("317101010190000"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("31710101019000011"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("3171/0101/0190/0001"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("3171013202900001"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("9971010101900001"), "INVALID_FIELD", "applicants[0].nik"),
    (applicants("5401010101900001"), "INVALID_FIELD", "applicants[0].nik"),
    ({"applicants": [Applicant(nik=GOOD, full_name="")]}, "INVALID_FIELD", "applicants[0].full_name"),
    ({"applicants": [Applicant(nik=GOOD, full_name=GOOD)]}, "INVALID_FIELD", "applicants[0].full_name"),
    ({"applicants": [Applicant(nik=GOOD, full_name="\u3164\u200b")]}, "INVALID_FIELD", "applicants[0].full_name"),
    ({"location": None}, "INVALID_FIELD", "location"),
    ({"location": Location()}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(longitude=117.15)}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(latitude=-0.5)}, "INVALID_FIELD", "location.longitude"),
    ({"location": Location(latitude=91, longitude=0)}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(latitude=float("nan"), longitude=0)}, "INVALID_FIELD", "location.latitude"),
    ({"location": Location(latitude=0, longitude=float("inf"))}, "INVALID_FIELD", "location.longitude"),
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
    ({"origin": Origin(device_key="two words")}, "INVALID_FIELD", "origin.device_key"),
    ({"origin": Origin(device_key="x" * 257)}, "INVALID_FIELD", "origin.device_key"),
    ({"origin": Origin(address="203.0.113.7:443")}, "INVALID_FIELD", "origin.address"),
]


def described(case: Any) -> str | None:
    return ",".join(case) if isinstance(case, dict) else None


@pytest.mark.parametrize(("change", "reason", "field"), BAD, ids=described)
async def test_an_invalid_request_is_refused_and_its_field_is_named(
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
async def test_bytes_that_are_not_a_message_get_a_clear_error(
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
        (wire.CancelBookingRequest(booking_id="x", account="a"), "booking_id"),
        (wire.CancelPersonRequest(booking_id="x", account="a", queue_number=1), "booking_id"),
        (
            wire.GetBookingRequest(
                booking_id="6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f", account="a", wait=Duration(seconds=61)
            ),
            "wait",
        ),
        (wire.BatchGetBookingsRequest(), "requests"),
        (wire.ListOfficesRequest(), "location"),
        (wire.ListOfficesRequest(location=Location(longitude=117.15)), "location.latitude"),
        (wire.ListOfficesRequest(location=Location(latitude=0, accuracy_m=5)), "location.longitude"),
        (wire.ListOfficesRequest(location=JAKARTA, page_size=-1), "page_size"),
        (wire.ListOfficesRequest(location=JAKARTA, page_token="?"), "page_token"),
    ],
)
async def test_an_invalid_read_names_its_field(client: BookingClient, request_: Message, field: str) -> None:
    name = type(request_).__name__.removesuffix("Request")
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
        f"/antrian.v1.BookingService/{name}"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request_.SerializeToString(), timeout=5)
    refusal = RefusedError.of_error(caught.value)
    assert (refusal.reason, refusal.metadata["field"]) == ("INVALID_FIELD", field)


BAD_STAFF: list[tuple[str, dict[str, Any], str, str]] = [
    ("ListRosterEntries", {"office_id": "kanim-atlantis"}, "OFFICE_NOT_FOUND", "office_id"),
    ("ListRosterEntries", {"service_date": "tomorrow"}, "INVALID_FIELD", "service_date"),
    ("ListRosterEntries", {"session": 9}, "INVALID_FIELD", "session"),
    ("ListRosterEntries", {"page_size": -1}, "INVALID_FIELD", "page_size"),
    ("ListRosterEntries", {"page_token": "MORNING 1"}, "INVALID_FIELD", "page_token"),
    ("ListRosterEntries", {"staff": ""}, "INVALID_FIELD", "staff"),
    ("CheckIn", {"code": "12345"}, "INVALID_FIELD", "code"),
    ("CheckIn", {"code": "0000000000"}, "CODE_NOT_FOUND", "code"),
    ("CheckIn", {"staff": ""}, "INVALID_FIELD", "staff"),
    ("SetQuota", {"service_date": CHRISTMAS}, "NOT_A_SERVICE_DAY", "service_date"),
    ("SetQuota", {"service_date": LONG_OVER}, "DAY_BEGUN", "service_date"),
    ("SetQuota", {"service_date": IN_TWO_YEARS}, "INVALID_FIELD", "service_date"),
    ("SetQuota", {"session": 0}, "INVALID_FIELD", "session"),
    ("SetQuota", {"quota": None}, "INVALID_FIELD", "quota"),
    ("SetQuota", {"quota": -1}, "INVALID_FIELD", "quota"),
    ("SetQuota", {"quota": 10_001}, "INVALID_FIELD", "quota"),
    ("SetQuota", {"expected_quota": 7}, "QUOTA_CHANGED", "expected_quota"),
    ("SetQuota", {"staff": GOOD}, "INVALID_FIELD", "staff"),
    ("SetQuota", {"reason": ""}, "INVALID_FIELD", "reason"),
    ("SetQuota", {"reason": f"untuk {GOOD}"}, "INVALID_FIELD", "reason"),
    ("CloseDate", {"service_date": SUNDAY}, "NOT_A_SERVICE_DAY", "service_date"),
    ("CloseDate", {"service_date": LONG_OVER}, "DAY_BEGUN", "service_date"),
    ("CloseDate", {"reason": "x" * 201}, "INVALID_FIELD", "reason"),
    ("ReleaseBooking", {"office_id": "kanim-atlantis"}, "OFFICE_NOT_FOUND", "office_id"),
    ("ReleaseBooking", {"code": "12345"}, "INVALID_FIELD", "code"),
    ("ReleaseBooking", {}, "CODE_NOT_FOUND", "code"),
    ("ReleaseBooking", {"staff": GOOD}, "INVALID_FIELD", "staff"),
    ("ReleaseBooking", {"reason": f"untuk {GOOD}"}, "INVALID_FIELD", "reason"),
    ("CancelPerson", {"reason": ""}, "INVALID_FIELD", "reason"),
    ("CancelPerson", {}, "CODE_NOT_FOUND", "code"),
    ("ListBars", {"nik": "3171"}, "INVALID_FIELD", "nik"),
    ("ListBars", {"page_size": -1}, "INVALID_FIELD", "page_size"),
    ("ListBars", {"page_token": "MORNING 1"}, "INVALID_FIELD", "page_token"),
    ("ListBars", {"staff": "siti rina"}, "INVALID_FIELD", "staff"),
    ("LiftBar", {"code": "12345"}, "INVALID_FIELD", "code"),
    ("LiftBar", {"reason": ""}, "INVALID_FIELD", "reason"),
    ("ExcuseNoShow", {"code": "0000000000"}, "CODE_NOT_FOUND", "code"),
    ("ExcuseNoShow", {"reason": f"untuk {GOOD}"}, "INVALID_FIELD", "reason"),
    ("UndoCheckIn", {"staff": ""}, "INVALID_FIELD", "staff"),
    ("LateAttendance", {"staff": GOOD}, "INVALID_FIELD", "staff"),
]


@pytest.mark.parametrize(("rpc", "change", "reason", "field"), BAD_STAFF, ids=str)
async def test_an_invalid_staff_request_is_refused_and_its_field_is_named(
    client: BookingClient, crowd: Crowd, rpc: str, change: dict[str, Any], reason: str, field: str
) -> None:
    good: dict[str, dict[str, Any]] = {
        "ListRosterEntries": {"office_id": PUSAT, "staff": "rina"},
        "CheckIn": {"office_id": PUSAT, "code": "0123456789", "staff": "rina"},
        "SetQuota": {
            "office_id": PUSAT,
            "service_date": crowd.dates[0].isoformat(),
            "session": 1,
            "quota": 50,
            "staff": "rina",
            "reason": "mesin rusak",
        },
        "CloseDate": {
            "office_id": PUSAT,
            "service_date": crowd.dates[0].isoformat(),
            "staff": "rina",
            "reason": "banjir",
        },
        "ReleaseBooking": {"office_id": PUSAT, "code": "0123456789", "staff": "rina", "reason": "salah NIK"},
        "CancelPerson": {
            "office_id": PUSAT,
            "code": "0123456789",
            "queue_number": 1,
            "staff": "rina",
            "reason": "sakit",
        },
        "ListBars": {"office_id": PUSAT, "staff": "rina"},
    }
    coded = {"office_id": PUSAT, "code": "0123456789", "staff": "rina", "reason": "surat dokter"}
    good |= dict.fromkeys(("LiftBar", "ExcuseNoShow", "UndoCheckIn", "LateAttendance"), coded)

    async def places() -> list[tuple[str, int, int, bool]]:  # not those left: good requests may still be in line
        slots = (await client.get_quota(PUSAT)).slots
        return [(slot.service_date, slot.session, slot.quota, slot.closed) for slot in slots]

    before = await places()
    method = office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"].methods_by_name[rpc]
    request = GetMessageClass(method.input_type)(**good[rpc] | change)
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
        f"/antrian.v1.OfficeService/{rpc}"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request.SerializeToString(), timeout=10)
    refusal = RefusedError.of_error(caught.value)
    assert (refusal.reason, refusal.metadata["field"]) == (reason, field)
    assert await places() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account": ""}, "account"),
        ({"state": 99}, "state"),
        ({"service_date": "30-11-2026"}, "service_date"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "abc"}, "page_token"),
    ],
    ids=str,
)
async def test_an_invalid_list_request_is_refused_and_its_field_is_named(
    client: BookingClient, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.stub.ListBookings(wire.ListBookingsRequest(**{"account": "a"} | change), timeout=5)
    refusal = RefusedError.of_error(caught.value)
    assert (refusal.reason, refusal.metadata["field"]) == ("INVALID_FIELD", field)


ELSEWHERE = {
    ("request_id", "REQUEST_ID_REUSED"): "acceptance/test_booking.py",
    ("service_date", "WINDOW_CLOSED"): "acceptance/test_window.py",
    ("service_date", "DAY_CLOSED"): "acceptance/test_life.py",
    ("applicants[0]", "ALREADY_BOOKED"): "acceptance/test_booking.py",
    ("applicants[0].verified", "VERIFIED_NOT_ALLOWED"): "acceptance/test_verified.py",
    ("applicants", "PEOPLE_LIMIT"): "integration/test_join.py",
    ("account", "ACCOUNT_RATE_LIMITED"): "integration/test_request_limits.py",
    ("origin.device_key", "DEVICE_RATE_LIMITED"): "acceptance/test_strangers.py",
    ("origin.address", "ADDRESS_RATE_LIMITED"): "integration/test_request_limits.py",
    ("applicants[0]", "BARRED"): "acceptance/test_no_show.py",
    ("location", "LOCATION_REQUIRED"): "acceptance/test_callers.py",
    ("office_id", "PERMISSION_DENIED"): "acceptance/test_callers.py",
    ("requests", "INVALID_FIELD"): "acceptance/test_bad_input.py",
    ("requests", "TOO_LARGE"): "acceptance/test_bad_input.py",
    ("the message", "TOO_LARGE"): "acceptance/test_bad_input.py",
    ("the message", "INVALID_MESSAGE"): "acceptance/test_bad_input.py",
    ("booking_id", "BOOKING_NOT_FOUND"): "acceptance/test_callers.py",
    ("booking_id", "NOT_DECIDED_YET"): "acceptance/test_life.py",
    ("booking_id", "CANCELLED_PEOPLE_LIMIT"): "acceptance/test_strangers.py",
    ("booking_id", "DAY_BEGUN"): "acceptance/test_no_show.py",
    ("booking_id", "NOT_CANCELLABLE"): "acceptance/test_cli.py",
    ("code", "NOT_TODAY"): "acceptance/test_cli.py",
    ("code", "NOT_CONFIRMED"): "integration/test_days.py",
    ("code", "NOT_CANCELLABLE"): "acceptance/test_cli.py",
    ("queue_number", "INVALID_FIELD"): "acceptance/test_ways_back.py",
    ("quota", "QUOTA_BELOW_TAKEN"): "acceptance/test_life.py",
    ("code", "NOT_MISSED"): "acceptance/test_bars.py",
    ("code", "ATTENDANCE_CLOSED"): "acceptance/test_bars.py",
    ("queue_numbers", "BOOKED_AGAIN"): "integration/test_ways_back.py",
    ("queue_numbers", "INVALID_FIELD"): "acceptance/test_bars.py",
    ("queue_number", "BAR_NOT_FOUND"): "acceptance/test_bars.py",
}
"""Rows of the table in docs/errors.md that need a life before them, or no RequestBooking, and the test that has them."""


def test_every_row_of_the_documented_table_is_tested() -> None:
    tests = Path(__file__).parents[1]
    text = (tests.parent / "docs/errors.md").read_text().split("## Bad inputs")[1]
    rows = {
        (row[1].strip(" `"), row[3].split()[0].rstrip(":,"))
        for row in csv.reader(text.splitlines(), delimiter="|")
        if len(row) > 4
    }
    rows -= {("field", "reason"), ("---", "---")}
    walked = {(field, reason) for _, reason, field in BAD} | {(field, reason) for *_, reason, field in BAD_STAFF}
    walked |= {
        (field, "INVALID_FIELD")
        for field in ("state", "booking_id", "account", "location", "page_size", "page_token", "wait")
    }
    assert rows - walked - ELSEWHERE.keys() == set()
    for (field, reason), file in ELSEWHERE.items():
        assert (field, reason) in rows
        assert reason in (tests / file).read_text(), file


@pytest.mark.parametrize(
    "path", [b"/antrian.v1.BookingService/GetQuota\xff", b"\xff\xfe", b"/antrian.v1/None", b"/" + b"a" * 4000]
)
async def test_an_rpc_path_of_arbitrary_bytes_is_refused_and_the_server_survives(
    client: BookingClient, path: bytes
) -> None:
    call: Any = client.channel.unary_unary(path)  # type: ignore[arg-type]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    async with BookingClient(client.target, patience=timedelta(0)) as another:
        await another.get_quota(PUSAT)


async def test_unauthenticated_callers_cannot_fill_the_log(stack: Stack) -> None:
    log = stack.folder / "log/server.log"
    before = log.stat().st_size
    host, _, port = stack.address.rpartition(":")
    path = "/antrian.v1.BookingService/GetQuota"
    calls = [
        headers(path, x_any=b"\xff" * 2000),
        headers(path, grpc_timeout=b"soon"),
        headers(path, grpc_encoding=b"none"),
    ]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, 1, 0, b""))
    for n in range(150):  # as many as a connection may have
        writer.write(
            frame(HEADERS, END_HEADERS, 2 * n + 1, calls[n % 3]) + frame(DATA, END_STREAM, 2 * n + 1, bytes(5))
        )
    await writer.drain()
    async with asyncio.timeout(10):
        while not log.stat().st_size > before:
            await reader.read(1000)
    async with BookingClient(stack.address, patience=timedelta(0)) as another:
        await another.get_quota(PUSAT)  # all that came before has been read
    writer.close()
    lines = log.read_bytes()[before:].decode().splitlines()
    assert {json.loads(line)["level"] for line in lines} == {"ERROR"}
    assert len(lines) <= 100
    assert max(map(len, lines)) < 6000


async def test_errors_name_the_person_by_position_and_initial(client: BookingClient, crowd: Crowd) -> None:
    people = [crowd.person(), Applicant(nik="317101", full_name="Dewi Lestari")]
    async with BookingClient(client.target, patience=timedelta(0)) as indonesian:
        with pytest.raises(RefusedError) as caught:
            await indonesian.send(crowd.request(applicants=people))
    assert caught.value.message == "Pemohon ke-2 (D.): NIK harus 16 angka."
    assert caught.value.metadata["field"] == "applicants[1].nik"
    [response] = await client.send_batch([crowd.request(applicants=people)])
    assert isinstance(response, RefusedError)
    assert response.message == "Applicant 2 (D.): a NIK must be 16 digits."


async def test_errors_are_in_indonesian_unless_english_is_requested(client: BookingClient, crowd: Crowd) -> None:
    async with BookingClient(client.target, patience=timedelta(0)) as indonesian:
        with pytest.raises(RefusedError, match="Kantor itu tidak ada"):
            await indonesian.get_quota("kanim-atlantis")
    with pytest.raises(RefusedError, match="There is no such office"):
        await client.get_quota("kanim-atlantis")


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (["id;q=0.2,en;q=0.9"], "There is no such office"),
        (["fr", "en-GB"], "There is no such office"),
        (["en;q=0.2,id;q=0.9"], "Kantor itu tidak ada"),
        (["en;q=0"], "Kantor itu tidak ada"),
    ],
)
async def test_languages_in_the_metadata_are_ranked_by_their_quality_values(
    client: BookingClient, languages: list[str], words: str
) -> None:
    metadata = [("accept-language", language) for language in languages]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.stub.GetQuota(wire.GetQuotaRequest(office_id="kanim-atlantis"), metadata=metadata, timeout=5)
    assert words in RefusedError.of_error(caught.value).message
