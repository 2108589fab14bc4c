"""Who calls: the one place where a call gets its caller, and the one table of what each rpc needs."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from antrian.errors import AntrianError, Reason


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
    """A system that calls. offices is for staff: whose rosters and quotas it may handle; "*": all.

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
    "/antrian.v1.BookingService/BatchRequestBooking": _CITIZENS,
    "/antrian.v1.BookingService/GetBooking": _CITIZENS,
    "/antrian.v1.BookingService/BatchGetBookings": _CITIZENS,
    "/antrian.v1.BookingService/WatchBooking": _CITIZENS,
    "/antrian.v1.BookingService/ListBookings": _CITIZENS,
    "/antrian.v1.BookingService/CancelBooking": _CITIZENS,
    "/antrian.v1.OfficeService/GetDayRoster": _STAFF,
    "/antrian.v1.OfficeService/CheckIn": _STAFF,
    "/antrian.v1.OfficeService/SetQuota": _STAFF,
    "/antrian.v1.OfficeService/CloseDate": _STAFF,
}
"""Which roles may call an rpc; one that is not here may be called by nobody."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


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


def _read(file: Path) -> dict[str, Caller]:
    try:
        entries = tomllib.loads(file.read_text())["caller"]
        callers = {}
        for n, entry in enumerate(entries, 1):
            if unknown := entry.keys() - {"name", "role", "token_sha256", "offices", "requests_per_second"}:
                raise CallersFileError(f"{file}: caller {n}: unknown {', '.join(sorted(unknown))}")
            if not _NAME.fullmatch(entry["name"]):
                raise CallersFileError(f"{file}: caller {n}: name must be 1 to 32 of a-z 0-9 . _ -")
            if not re.fullmatch("[0-9a-f]{64}", entry["token_sha256"]):
                raise CallersFileError(f"{file}: caller {n}: token_sha256 must be 64 hex digits")
            roles = frozenset({Role(entry["role"])})
            per_second = entry.get("requests_per_second")
            if per_second is not None and not (isinstance(per_second, int | float) and per_second > 0):
                raise CallersFileError(f"{file}: caller {n}: requests_per_second must be a number above 0")
            offices = frozenset(entry.get("offices", []))
            callers[entry["token_sha256"]] = Caller(entry["name"], roles, offices, per_second)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, CallersFileError) else CallersFileError(f"{file}: {error!r}") from error
    return callers
