"""Who calls: the one place where a call gets its caller, and the one table of what each rpc needs."""

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
    """What a caller is to Antrian."""

    GATEWAY = "gateway"
    """Speaks for citizens' devices; books with the device's location."""
    INTERNAL = "internal"
    """Another system of the immigration service; vouches for a province."""
    STAFF = "staff"
    """People of the offices named; vouches for a province."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that calls. offices is for staff: whose rosters and quotas it may handle, and which it may retire; "*": all.

    per_second: how many requests a second each server takes from it; None: any number.
    """

    name: str
    roles: frozenset[Role]
    offices: frozenset[str] = frozenset()
    per_second: float | None = None

    @property
    def vouches(self) -> bool:
        """Whether it may say in which province the applicant is."""
        return bool(self.roles & {Role.INTERNAL, Role.STAFF})

    def check_office(self, office_id: str) -> None:
        """Raises PERMISSION_DENIED unless it is staff of that office."""
        if not self.offices & {office_id, "*"}:
            raise AntrianError(Reason.PERMISSION_DENIED, field="office_id")


LOCAL = Caller("local", frozenset(Role), frozenset({"*"}))
"""Whoever calls a server with embedded stores on loopback and no callers file."""

CALLER: ContextVar[Caller] = ContextVar("caller")
"""The caller of the rpc that is being served."""

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
"""Which roles may call an rpc; one that is not here may be called by nobody."""


class CallersFileError(ValueError):
    """The callers file is wrong; the message says where."""


class Callers:
    """The callers by the SHA-256 of their bearer tokens; without a file everybody is LOCAL."""

    def __init__(self, file: Path | None) -> None:
        self._by_token = None if file is None else _read(file)

    def identify(self, metadata: Iterable[tuple[str, str | bytes]], method: str) -> Caller:
        """The caller of an rpc. Raises UNAUTHENTICATED, or PERMISSION_DENIED when its role may not call it."""
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
        raise ValueError("must not hold a NIK, nor what reads like one")
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


def _where(place: tuple[int | str, ...]) -> str:
    """A place in the file as people count: "caller 2: role"."""
    words = [str(part + 1) if isinstance(part, int) else part for part in place]
    return ": ".join([" ".join(words[:2]), *words[2:]])
