"""The contract and the code that answers it are one."""

from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessages
from grpc_tools import protoc

from antrian import booking
from antrian.errors import AntrianError, Reason
from antrian.v1 import booking_service_pb2, error_reason_pb2, messages_pb2, office_service_pb2
from protos.generate import generate
from protos.openapi import read_comments
from server.auth import ACCESS
from server.status import code_of, to_status

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "antrian"


def test_the_committed_stubs_match_the_protos(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {file.name: file.read_text() for file in (tmp_path / "v1").iterdir()}
    committed = {file.name: file.read_text() for file in (GENERATED / "v1").glob("*.py*")}
    assert made == committed, "run `make protos`"


def test_a_client_decodes_an_error_with_the_protos_alone(tmp_path: Path) -> None:
    includes = [ROOT / "protos", ROOT / "protos/vendor", files("grpc_tools") / "_proto"]
    made = tmp_path / "set"
    arguments = ["--include_imports", f"--descriptor_set_out={made}", *(f"-I{path}" for path in includes)]
    assert not protoc.main(["protoc", *arguments, "google/rpc/status.proto", "google/rpc/error_details.proto"])
    known = GetMessages(FileDescriptorSet.FromString(made.read_bytes()).file)
    error = to_status(AntrianError(Reason.BARRED, field="applicants[0]", retry_after=timedelta(1)), english=True)
    status: Any = known["google.rpc.Status"].FromString(error.SerializeToString())
    names = [detail.type_url.rpartition(".")[2] for detail in status.details]
    assert names == ["ErrorInfo", "LocalizedMessage", "BadRequest", "RetryInfo"]
    assert all(MessageToDict(known[f"google.rpc.{name}"]()) == {} for name in [*names, "RequestInfo"])


@pytest.mark.parametrize(("name", "comment"), read_comments().items())
def test_a_comment_begins_with_the_name_of_its_element(name: str, comment: str) -> None:
    element = name.rpartition(".")[2]
    assert element.isupper() or comment.startswith(f"{element} "), "only the values of enums have no name in front"


def test_every_reason_is_in_the_contract_and_has_a_code() -> None:
    wire = set(error_reason_pb2.ErrorReason.keys())
    names = {name.removeprefix("ERROR_REASON_") for name in wire} - {"UNSPECIFIED"}
    assert {reason.value for reason in Reason} == names
    assert all(code_of(reason) for reason in Reason)


@pytest.mark.parametrize(
    ("ours", "wire", "prefix"),
    [
        (booking.State, messages_pb2.BookingState, "BOOKING_STATE_"),
        (booking.StatusReason, messages_pb2.StatusReason, "STATUS_REASON_"),
        (booking.Session, messages_pb2.Session, "SESSION_"),
    ],
)
def test_python_enums_equal_the_contracts(
    ours: type[booking.State], wire: type[messages_pb2.BookingState], prefix: str
) -> None:
    assert {f"{prefix}{item.value}" for item in ours} == set(wire.keys()) - {f"{prefix}UNSPECIFIED"}


def test_every_rpc_has_a_required_role() -> None:
    services = [
        booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
        office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
    ]
    assert set(ACCESS) == {f"/{s.full_name}/{method.name}" for s in services for method in s.methods}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_in_the_documented_table(reason: Reason) -> None:
    code = code_of(reason).name
    assert f"| {reason} | {code} |" in (Path(__file__).parents[2] / "docs/errors.md").read_text()
