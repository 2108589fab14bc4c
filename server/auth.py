"""Authentication and authorization: identifies the caller of a call, and lists the roles that each rpc requires."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from antrian.callers_file import CallersFileError, Role, read_callers
from antrian.errors import AntrianError, Reason

_POLL = 1.0  # seconds between two looks at the callers file
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that calls Antrian.

    offices: for staff, the ids of the offices that the caller may act for, or "*" for all of them. per_second: how many requests
    per second each server accepts from it; None for any number. names_accounts: whether its requests may name any account.
    """

    name: str
    roles: frozenset[Role]
    offices: frozenset[str] = frozenset()
    per_second: float | None = None
    names_accounts: bool = True

    @property
    def vouches(self) -> bool:
        """Whether the caller may state the applicant's province."""
        return bool(self.roles & {Role.INTERNAL, Role.STAFF})

    def check_office(self, office_id: str) -> None:
        """Raises PERMISSION_DENIED unless the caller is staff of that office."""
        if not self.offices & {office_id, "*"}:
            raise AntrianError(Reason.PERMISSION_DENIED, field="office_id")

    def check_accounts(self, request: Message) -> None:
        """Raises PERMISSION_DENIED if the request, or an item of a batch, is for an account, and the caller names none."""
        if self.names_accounts:
            return
        for field, _ in _with_accounts(request):
            raise AntrianError(Reason.PERMISSION_DENIED, field=field)


def _with_accounts(request: Message) -> Iterable[tuple[str, Message]]:
    """Yields the messages of a request that have an account, with the path of that field."""
    fields = request.DESCRIPTOR.fields_by_name
    if "account" in fields:
        yield "account", request
    elif "requests" in fields:
        for number, item in enumerate(getattr(request, "requests")):  # noqa: B009 - of a type that is unknown here
            yield f"requests[{number}].account", item


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


@dataclass(frozen=True, slots=True)
class _Token:
    """A token's caller, and when the token expires, in seconds since 1970."""

    caller: Caller
    expires: float


class Callers:
    """The callers by the SHA-256 of their bearer tokens. Without a file, every caller is LOCAL.

    Raises:
        CallersFileError: the file is invalid.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._version = _version(file)
        self._tokens = None if file is None else _read(file)

    async def keep_fresh(self) -> None:
        """Reads the file again whenever it has changed. Never returns."""
        while True:
            await asyncio.sleep(_POLL)
            if (version := _version(self._file)) != self._version:
                self._version = version
                self.reload()

    def reload(self) -> None:
        """Reads the file again. If it is invalid, logs why and keeps the callers as they were."""
        if self._file is None:
            return
        try:
            self._tokens = _read(self._file)
        except CallersFileError as error:
            _log.error("the callers stay as they were: %s", error)
        else:
            _log.info("read %d tokens of callers from %s", len(self._tokens), self._file)

    def identify(self, metadata: Iterable[tuple[str, str | bytes]], method: str) -> Caller:
        """Returns the caller of a call.

        Raises UNAUTHENTICATED or TOKEN_EXPIRED, or PERMISSION_DENIED if the caller's role may not call the method.
        """
        caller = LOCAL if self._tokens is None else self._authenticate(_bearer_token(metadata), self._tokens)
        if not caller.roles & ACCESS.get(method, frozenset()):
            raise AntrianError(Reason.PERMISSION_DENIED)
        return caller

    def _authenticate(self, token: str, tokens: Mapping[str, _Token]) -> Caller:
        known = tokens.get(hashlib.sha256(token.encode()).hexdigest()) if token else None
        if known is None:
            raise AntrianError(Reason.UNAUTHENTICATED)
        if time.time() >= known.expires:
            raise AntrianError(Reason.TOKEN_EXPIRED)
        return known.caller


def _bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    return ""


def _version(file: Path | None) -> tuple[int, ...]:
    """Returns what changes whenever the file is written or replaced. Empty if there is none."""
    try:
        stat = file.stat() if file else None
    except OSError:
        stat = None
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size, stat.st_ctime_ns) if stat else ()


def _read(file: Path) -> dict[str, _Token]:
    return {
        entry.token_sha256: _Token(
            Caller(
                entry.name,
                frozenset({entry.role}),
                frozenset(entry.offices),
                entry.requests_per_second,
                entry.names_accounts,
            ),
            entry.not_after.timestamp() if entry.not_after else float("inf"),
        )
        for entry in read_callers(file)
    }
