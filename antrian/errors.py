"""Errors that callers can receive, with one root class. server/status.py converts them to gRPC statuses."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a call was refused: the names of antrian.v1.ErrorReason, which documents each."""

    INVALID_FIELD = "INVALID_FIELD"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    TOO_LARGE = "TOO_LARGE"
    OFFICE_NOT_FOUND = "OFFICE_NOT_FOUND"
    OFFICE_RETIRED = "OFFICE_RETIRED"
    BOOKING_NOT_FOUND = "BOOKING_NOT_FOUND"
    NOT_A_SERVICE_DAY = "NOT_A_SERVICE_DAY"
    DATE_NOT_OFFERED = "DATE_NOT_OFFERED"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    DAY_CLOSED = "DAY_CLOSED"
    DAY_BEGUN = "DAY_BEGUN"
    OUTSIDE_INDONESIA = "OUTSIDE_INDONESIA"
    LOCATION_TOO_COARSE = "LOCATION_TOO_COARSE"
    OFFICE_OUTSIDE_PROVINCE = "OFFICE_OUTSIDE_PROVINCE"
    LOCATION_REQUIRED = "LOCATION_REQUIRED"
    VERIFIED_NOT_ALLOWED = "VERIFIED_NOT_ALLOWED"
    BARRED = "BARRED"
    ALREADY_BOOKED = "ALREADY_BOOKED"
    ACCOUNT_LIMIT = "ACCOUNT_LIMIT"
    PEOPLE_LIMIT = "PEOPLE_LIMIT"
    ACCOUNT_RATE_LIMITED = "ACCOUNT_RATE_LIMITED"
    DEVICE_RATE_LIMITED = "DEVICE_RATE_LIMITED"
    ADDRESS_RATE_LIMITED = "ADDRESS_RATE_LIMITED"
    CANCELLED_PEOPLE_LIMIT = "CANCELLED_PEOPLE_LIMIT"
    NAME_TOO_DIFFERENT = "NAME_TOO_DIFFERENT"
    NAME_CORRECTED_BEFORE = "NAME_CORRECTED_BEFORE"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    NOT_DECIDED_YET = "NOT_DECIDED_YET"
    NOT_CANCELLABLE = "NOT_CANCELLABLE"
    CODE_NOT_FOUND = "CODE_NOT_FOUND"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    NOT_TODAY = "NOT_TODAY"
    QUOTA_BELOW_TAKEN = "QUOTA_BELOW_TAKEN"
    SLOT_FULL = "SLOT_FULL"
    LANE_FULL = "LANE_FULL"
    LANE_CLOSED = "LANE_CLOSED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    QUOTA_CHANGED = "QUOTA_CHANGED"
    STORE_FULL = "STORE_FULL"
    SERVER_BUSY = "SERVER_BUSY"
    CALLER_BUSY = "CALLER_BUSY"
    RATE_LIMITED = "RATE_LIMITED"
    BAR_NOT_FOUND = "BAR_NOT_FOUND"
    NOT_MISSED = "NOT_MISSED"
    BOOKED_AGAIN = "BOOKED_AGAIN"
    ATTENDANCE_CLOSED = "ATTENDANCE_CLOSED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - not a secret
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INTERNAL = "INTERNAL"


class Text(NamedTuple):
    """One text for people, in Indonesian and in English."""

    indonesian: str
    english: str


class AntrianError(Exception):
    """A refused call.

    field: path of the request's invalid field. problem: what is wrong with it, and what to do. retry_after: how long until
    a retry may succeed. initial: first letter of the name of the applicant concerned. detail: a message that is added to
    the error's details. metadata: sent to the caller unchanged, so it must not contain personal data.
    """

    def __init__(
        self,
        reason: Reason,
        *,
        field: str = "",
        problem: Text | None = None,
        retry_after: timedelta | None = None,
        initial: str = "",
        detail: object = None,
        **metadata: str,
    ) -> None:
        super().__init__(f"{reason} {field}".strip())
        self.reason = reason
        self.field = field
        self.problem = problem
        self.retry_after = retry_after
        self.initial = initial
        self.detail = detail
        self.metadata = metadata


def invalid(field: str, indonesian: str, english: str) -> AntrianError:
    """Returns INVALID_FIELD for a missing or malformed field. The texts follow the field's name: "Session: …"."""
    return AntrianError(Reason.INVALID_FIELD, field=field, problem=Text(indonesian, english))
