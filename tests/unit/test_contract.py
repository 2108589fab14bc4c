"""The contract and the code that answers it are one."""

from pathlib import Path

import pytest

from antrian import booking
from antrian.errors import Reason
from antrian.v1 import booking_service_pb2, error_reason_pb2, messages_pb2, office_service_pb2
from server.auth import ACCESS
from server.status import code_of
from tests.support.generate_protos import generate

GENERATED = Path(__file__).parents[2] / "antrian"


def test_the_committed_stubs_are_what_the_protos_make(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {file.name: file.read_text() for file in (tmp_path / "v1").iterdir()}
    committed = {file.name: file.read_text() for file in (GENERATED / "v1").glob("*.py*")}
    assert made == committed, "run `make protos`"


def test_every_reason_is_in_the_contract_and_has_a_code() -> None:
    wire = set(error_reason_pb2.ErrorReason.keys())
    names = {name.removeprefix("ERROR_REASON_") for name in wire} - {"UNSPECIFIED"}
    assert {reason.value for reason in Reason} == names
    assert all(code_of(reason) for reason in Reason)


@pytest.mark.parametrize(
    ("ours", "wire", "prefix"),
    [
        (booking.State, messages_pb2.BookingState, "BOOKING_STATE_"),
        (booking.OutcomeReason, messages_pb2.OutcomeReason, "OUTCOME_REASON_"),
        (booking.Session, messages_pb2.Session, "SESSION_"),
    ],
)
def test_our_enums_are_the_contracts(
    ours: type[booking.State], wire: type[messages_pb2.BookingState], prefix: str
) -> None:
    assert {f"{prefix}{item.value}" for item in ours} == set(wire.keys()) - {f"{prefix}UNSPECIFIED"}


def test_every_rpc_says_who_may_call_it() -> None:
    services = [
        booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
        office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
    ]
    assert set(ACCESS) == {f"/{s.full_name}/{method.name}" for s in services for method in s.methods}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_in_the_documented_table(reason: Reason) -> None:
    code = code_of(reason).name
    assert f"| {reason} | {code} |" in (Path(__file__).parents[2] / "docs/errors.md").read_text()
