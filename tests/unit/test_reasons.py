"""The errors that the protos list with an rpc are those that it can answer."""

import re

import pytest

from antrian.errors import Reason
from antrian.v1 import booking_service_pb2, office_service_pb2
from protos.openapi import read_comments
from tests.support.reasons import reached

_SERVICES = [
    booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
    office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
]
_RPCS = [f"{service.name}.{method.name}" for service in _SERVICES for method in service.methods]
_EVERY_RPC = reached("Middleware", "_enter", "_admit") | {Reason.INTERNAL}
_IS_FOUND = "the booking was found by then, and offices are never deleted"
_STAFF = "only an account's corrections are limited"
# What the code names on the way of an rpc that never answers it.
_NEVER = {
    ("BookingService.RequestBooking", "BOOKING_NOT_FOUND"): "another's booking is REQUEST_ID_REUSED before",
    ("BookingService.BatchRequestBookings", "BOOKING_NOT_FOUND"): "another's booking is REQUEST_ID_REUSED before",
    ("BookingService.CancelBooking", "OFFICE_NOT_FOUND"): _IS_FOUND,
    ("BookingService.CancelBooking", "CANCELLED_PEOPLE_LIMIT"): "only one person at a time is counted",
    ("BookingService.CancelPerson", "OFFICE_NOT_FOUND"): _IS_FOUND,
    ("OfficeService.CorrectName", "BOOKING_NOT_FOUND"): _IS_FOUND,
    ("OfficeService.CorrectName", "NAME_TOO_DIFFERENT"): _STAFF,
    ("OfficeService.CorrectName", "NAME_CORRECTED_BEFORE"): _STAFF,
    ("OfficeService.RetireOffice", "NOT_A_SERVICE_DAY"): "the catalog's refresh prepares a check that is not made",
    ("OfficeService.ReopenOffice", "NOT_A_SERVICE_DAY"): "the catalog's refresh prepares a check that is not made",
}


@pytest.mark.parametrize("rpc", _RPCS)
def test_an_rpc_lists_exactly_the_errors_that_it_can_return(rpc: str) -> None:
    listed = re.fullmatch(r".* Errors: ([A-Z_, ]+)\.", read_comments()[f"antrian.v1.{rpc}"])
    assert listed, "the comment of an rpc ends with its errors"
    reasons = reached(*rpc.split("."))
    never = {reason for name, reason in _NEVER if name == rpc}
    assert never <= reasons
    assert sorted(listed[1].split(", ")) == sorted(reasons - _EVERY_RPC - never | reasons & {Reason.TOO_LARGE})


@pytest.mark.parametrize("service", [service.name for service in _SERVICES])
def test_a_service_lists_the_errors_that_all_its_rpcs_can_return(service: str) -> None:
    listed = read_comments()[f"antrian.v1.{service}"].partition("Every rpc can return ")[2]
    assert set(re.findall("[A-Z_]{5,}", listed.partition(".")[0])) == _EVERY_RPC
