"""Authentication and authorization: identifies the caller of a call, and lists the roles that each rpc requires."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from antrian.errors import AntrianError, Reason
from antrian.text import has_nik


class Role(StrEnum):
    """The role of a caller."""

    GATEWAY = "gateway"
    """Acts for citizens' devices, and books with the device's location."""
    INTERNAL = "internal"
    """Another system of the immigration service. It vouches for the applicant's province."""
    STAFF = "staff"
    """The staff of the caller's offices. They vouch for the applicant's province."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that calls Antrian.

    offices: for staff, the ids of the offices that the caller may act for, or "*" for all of them. per_second: how many requests
    per second each server accepts from it; None for any number.
    """

    name: str
    roles: frozenset[Role]
    offices: frozenset[str] = frozenset()
    per_second: float | None = None

    @property
    def vouches(self) -> bool:
        """Whether the caller may state the applicant's province."""
        return bool(self.roles & {Role.INTERNAL, Role.STAFF})

    @property
    def acts_for_citizens(self) -> bool:
        """Whether the caller says where its users' requests come from."""
        return Role.GATEWAY in self.roles

    def check_office(self, office_id: str) -> None:
        """Raises PERMISSION_DENIED unless the caller is staff of that office."""
        if not self.offices & {office_id, "*"}:
            raise AntrianError(Reason.PERMISSION_DENIED, field="office_id")


LOCAL = Caller("local", frozenset(Role), frozenset({"*"}))
"""The caller of every call to a server without a callers file, which has embedded stores and listens on loopback."""

CALLER: ContextVar[Caller] = ContextVar("caller")
"""The caller of the current call."""

_CITIZENS = frozenset({Role.GATEWAY, Role.INTERNAL, Role.STAFF})
_STAFF = frozenset({Role.STAFF})
ACCESS: Mapping[str, frozenset[Role]] = {
    "/antrian.v1.BookingService/ListOffices": _CITIZENS,
    "/antrian.v1.BookingService/GetQuota": _CITIZENS,
    "/antrian.v1.BookingService/RequestBooking": _CITIZENS,
    "/antrian.v1.BookingService/BatchRequestBookings": _CITIZENS,
    "/antrian.v1.BookingService/GetBooking": _CITIZENS,
    "/antrian.v1.BookingService/BatchGetBookings": _CITIZENS,
    "/antrian.v1.BookingService/WatchBooking": _CITIZENS,
    "/antrian.v1.BookingService/ListBookings": _CITIZENS,
    "/antrian.v1.BookingService/CancelBooking": _CITIZENS,
    "/antrian.v1.BookingService/CancelPerson": _CITIZENS,
    "/antrian.v1.BookingService/CorrectName": _CITIZENS,
    "/antrian.v1.OfficeService/ListRosterEntries": _STAFF,
    "/antrian.v1.OfficeService/CheckIn": _STAFF,
    "/antrian.v1.OfficeService/SetQuota": _STAFF,
    "/antrian.v1.OfficeService/CloseDate": _STAFF,
    "/antrian.v1.OfficeService/ReleaseBooking": _STAFF,
    "/antrian.v1.OfficeService/CancelPerson": _STAFF,
    "/antrian.v1.OfficeService/CorrectName": _STAFF,
    "/antrian.v1.OfficeService/RetireOffice": _STAFF,
    "/antrian.v1.OfficeService/ReopenOffice": _STAFF,
    "/antrian.v1.OfficeService/ListBars": _STAFF,
    "/antrian.v1.OfficeService/LiftBar": _STAFF,
    "/antrian.v1.OfficeService/ExcuseNoShow": _STAFF,
    "/antrian.v1.OfficeService/UndoCheckIn": _STAFF,
    "/antrian.v1.OfficeService/LateAttendance": _STAFF,
}
"""The roles that may call each rpc. Nobody may call an rpc that is not listed."""


class CallersFileError(ValueError):
    """The callers file is invalid. The message says where."""


class Callers:
    """The callers by the SHA-256 of their bearer tokens. Without a file, every caller is LOCAL."""

    def __init__(self, file: Path | None) -> None:
        self._by_token = None if file is None else _read(file)

    def identify(self, metadata: Iterable[tuple[str, str | bytes]], method: str) -> Caller:
        """Returns the caller of a call. Raises UNAUTHENTICATED, or PERMISSION_DENIED if its role may not call the method."""
        caller = LOCAL if self._by_token is None else self._by_token.get(_token_hash(metadata))
        if caller is None:
            raise AntrianError(Reason.UNAUTHENTICATED)
        if not caller.roles & ACCESS.get(method, frozenset()):
            raise AntrianError(Reason.PERMISSION_DENIED)
        return caller


def _token_hash(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return hashlib.sha256(value[7:].strip().encode()).hexdigest()
    return ""


def _no_nik(name: str) -> str:
    if has_nik(name):
        raise ValueError("must not contain a NIK, or digits that read like one")
    return name


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Entry(_Table):
    name: Annotated[str, AfterValidator(_no_nik)] = Field(pattern="^[a-z0-9][a-z0-9._-]{0,31}$")
    role: Role = Field(strict=False)
    token_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    offices: list[str] = []
    requests_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class _File(_Table):
    caller: list[_Entry] = Field(min_length=1)


def _read(file: Path) -> dict[str, Caller]:
    try:
        entries = _File.model_validate(tomllib.loads(file.read_text("utf-8"))).caller
    except ValidationError as error:
        problems = "; ".join(f"{_where(problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise CallersFileError(f"{file}: {problems}; see docs/callers.md") from None
    except (OSError, ValueError) as error:
        raise CallersFileError(f"{file}: cannot be read: {error}") from None
    return {
        entry.token_sha256: Caller(
            entry.name, frozenset({entry.role}), frozenset(entry.offices), entry.requests_per_second
        )
        for entry in entries
    }


def _where(location: tuple[int | str, ...]) -> str:
    """Describes a location in the file, counting from 1: "caller 2: role"."""
    parts = [str(part + 1) if isinstance(part, int) else part for part in location]
    return ": ".join([" ".join(parts[:2]), *parts[2:]])
