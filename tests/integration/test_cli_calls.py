"""What the commands around a booking and of an office's staff ask a service, and what they print of its answer."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from antrian.v1 import booking_service_pb2, office_service_pb2
from antrian.v1.booking_service_pb2 import (
    CancelBookingRequest,
    CancelBookingResponse,
    CancelPersonRequest,
    CancelPersonResponse,
    ListBookingsRequest,
    ListBookingsResponse,
)
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_NO_SHOW,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    Booking,
)
from antrian.v1.office_service_pb2 import (
    Bar,
    CheckInRequest,
    CheckInResponse,
    CloseDateRequest,
    CloseDateResponse,
    ExcuseNoShowRequest,
    ExcuseNoShowResponse,
    LateAttendanceRequest,
    LateAttendanceResponse,
    LiftBarRequest,
    LiftBarResponse,
    ListBarsRequest,
    ListBarsResponse,
    ListRosterEntriesRequest,
    ListRosterEntriesResponse,
    OfficeServiceCancelPersonRequest,
    OfficeServiceCancelPersonResponse,
    ReleaseBookingRequest,
    ReleaseBookingResponse,
    ReopenOfficeRequest,
    ReopenOfficeResponse,
    RetireOfficeRequest,
    RetireOfficeResponse,
    RosterEntry,
    SetQuotaRequest,
    SetQuotaResponse,
    UndoCheckInRequest,
    UndoCheckInResponse,
)
from clients.cli.main import main

DAY = "2026-12-01"
FACTS: dict[str, Any] = {"booking_id": "b1", "office_id": "o", "service_date": DAY, "session": SESSION_MORNING}
BOOKING = Booking(**FACTS, state=BOOKING_STATE_CANCELLED)
ENTRY = RosterEntry(session=SESSION_MORNING, queue_number=3, code="C0DE", full_name="Ani", masked_nik="*0001")
BY = ["--staff", "head-1", "--reason", "flood"]
WHY = {"staff": "head-1", "reason": "flood"}
CODED = {"office_id": "o", "code": "C0DE", **WHY}
BAR = Bar(
    service_date=DAY,
    session=SESSION_MORNING,
    queue_number=3,
    code="C0DE",
    full_name="Ani",
    masked_nik="*0001",
    last_barred_date="2026-12-31",
)
SLOT = {"office_id": "o", "service_date": DAY}


class Service:
    """A server that gives `answer` to every call; `asked` is the last request."""

    def __init__(self) -> None:
        self.response: Message = Booking()
        self.asked: Message | None = None
        self.server = grpc.server(ThreadPoolExecutor(1))
        for module, name in ((booking_service_pb2, "BookingService"), (office_service_pb2, "OfficeService")):
            service = module.DESCRIPTOR.services_by_name[name]
            handlers: dict[str, Any] = {
                method.name: grpc.unary_unary_rpc_method_handler(self._serve(GetMessageClass(method.input_type)))
                for method in service.methods
            }
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _serve(self, kind: type[Message]) -> Any:
        def serve(data: bytes, _: grpc.ServicerContext) -> bytes:
            self.asked = kind.FromString(data)
            return self.response.SerializeToString()

        return serve


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.stop(None).wait()


@pytest.mark.parametrize(
    ("words", "asked", "response", "printed", "as_json"),
    [
        (
            ["bookings", "--account", "ani", "--state", "no-show", "--date", DAY],
            ListBookingsRequest(account="ani", state=BOOKING_STATE_NO_SHOW, service_date=DAY, page_size=100),
            ListBookingsResponse(bookings=[BOOKING]),
            "b1 CANCELLED o Tue 2026-12-01 morning",
            {"booking_id": "b1"},
        ),
        (
            ["cancel", "b1", "--account", "ani"],
            CancelBookingRequest(booking_id="b1", account="ani"),
            CancelBookingResponse(booking=BOOKING),
            "CANCELLED office o when Tue 2026-12-01 morning",
            {"booking_id": "b1"},
        ),
        (
            ["cancel-person", "b1", "3", "--account", "ani"],
            CancelPersonRequest(booking_id="b1", account="ani", queue_number=3),
            CancelPersonResponse(booking=Booking(**FACTS, state=BOOKING_STATE_CONFIRMED, cancelled_queue_numbers=[3])),
            "as of Thu 1970-01-01 07:00:00 WIB gave up 3",
            {"cancelled_queue_numbers": [3]},
        ),
        (
            ["office", "roster", "o", "--date", DAY, "--session", "afternoon", "--staff", "rina"],
            ListRosterEntriesRequest(**SLOT, session=SESSION_AFTERNOON, page_size=500, staff="rina"),
            ListRosterEntriesResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "check-in", "o", "C0DE", "--present", "3", "--present", "4", "--staff", "counter-1"],
            CheckInRequest(office_id="o", code="C0DE", queue_numbers=[3, 4], staff="counter-1"),
            CheckInResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "set-quota", "o", DAY, "morning", "40", "--expected", "60", *BY],
            SetQuotaRequest(**SLOT, **WHY, session=SESSION_MORNING, quota=40, expected_quota=60),
            SetQuotaResponse(previous_quota=60, quota=40, taken=7),
            "40 places, 7 of them taken; before: 60",
            {"previous_quota": 60},
        ),
        (
            ["office", "close-date", "o", DAY, "--yes", *BY],
            CloseDateRequest(**SLOT, **WHY),
            CloseDateResponse(cancelled_bookings=9),
            "closed; bookings cancelled: 9",
            {"cancelled_bookings": 9},
        ),
        (
            ["office", "release", "o", "C0DE", *BY],
            ReleaseBookingRequest(office_id="o", code="C0DE", **WHY),
            ReleaseBookingResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "cancel-person", "o", "C0DE", "4", *BY],
            OfficeServiceCancelPersonRequest(office_id="o", code="C0DE", queue_number=4, **WHY),
            OfficeServiceCancelPersonResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "retire", "o", *BY],
            RetireOfficeRequest(office_id="o", **WHY),
            RetireOfficeResponse(live_bookings=7),
            "retired; bookings still to be served: 7, and requests in the queue",
            {"live_bookings": 7},
        ),
        (
            ["office", "reopen", "o", *BY],
            ReopenOfficeRequest(office_id="o", **WHY),
            ReopenOfficeResponse(live_bookings=7),
            "accepts bookings; bookings still to be served: 7",
            {"live_bookings": 7},
        ),
        (
            ["office", "bars", "o", "--nik", "3171014505920003", "--staff", "rina"],
            ListBarsRequest(office_id="o", nik="3171014505920003", page_size=500, staff="rina"),
            ListBarsResponse(bars=[BAR]),
            "Tue 2026-12-01 morning 3 C0DE Ani *0001 Thu 2026-12-31",
            {"queue_number": 3, "lifted": False},
        ),
        (
            ["office", "lift-bar", "o", "C0DE", "3", *BY],
            LiftBarRequest(**CODED, queue_number=3),
            LiftBarResponse(bar=BAR),
            "Tue 2026-12-01 morning 3 C0DE Ani *0001 Thu 2026-12-31",
            {"queue_number": 3},
        ),
        (
            ["office", "excuse", "o", "C0DE", *BY],
            ExcuseNoShowRequest(**CODED),
            ExcuseNoShowResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "undo-check-in", "o", "C0DE", "--number", "3", *BY],
            UndoCheckInRequest(**CODED, queue_numbers=[3]),
            UndoCheckInResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
        (
            ["office", "late", "o", "C0DE", "--present", "3", *BY],
            LateAttendanceRequest(**CODED, queue_numbers=[3]),
            LateAttendanceResponse(entries=[ENTRY]),
            "morning 3 C0DE Ani *0001",
            {"queue_number": 3},
        ),
    ],
    ids=[
        *("bookings", "cancel", "cancel-person", "roster", "check-in", "set-quota", "close-date"),
        *("release", "office cancel-person", "retire", "reopen"),
        *("bars", "lift-bar", "excuse", "undo-check-in", "late"),
    ],
)
def test_a_command_sends_its_arguments_and_prints_the_response(
    service: Service, words: list[str], asked: Message, response: Message, printed: str, as_json: dict[str, Any]
) -> None:
    service.response = response
    result = CliRunner().invoke(main, [*words, "--target", service.target], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    assert service.asked == asked
    assert printed in " ".join(result.stdout.split())
    told = json.loads(CliRunner().invoke(main, [*words, "--target", service.target, "--json"]).stdout)
    [found] = told if isinstance(told, list) else [told]
    assert found.items() >= as_json.items()


def test_close_date_calls_the_service_only_after_confirmation(service: Service) -> None:
    service.asked = None
    result = CliRunner().invoke(main, ["office", "close-date", "o", DAY, *BY, "--target", service.target], input="y\n")
    assert (result.exit_code, service.asked) == (2, None)


def test_a_missing_nik_is_prompted_for(service: Service) -> None:
    service.response = ListBarsResponse()
    words = ["office", "bars", "o", "--staff", "rina", "--target", service.target]
    result = CliRunner().invoke(main, [*words, "--nik"], input="3171014505920003\n")
    assert (result.exit_code, service.asked) == (
        0,
        ListBarsRequest(office_id="o", nik="3171014505920003", page_size=500, staff="rina"),
    )
    assert "3171014505920003" not in result.output
    assert CliRunner().invoke(main, words).output == "nobody is barred\n"
    assert service.asked == ListBarsRequest(office_id="o", page_size=500, staff="rina")
