"""Authentication and authorization: identifies the caller of a call, and lists the roles that each rpc requires."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from antrian.callers_file import CallersFileError, Role, read_callers
from antrian.errors import Reason
from server.caller import LOCAL, Caller, system
from server.denied import DeniedError
from server.file_version import file_version
from server.key_sets import KeySet
from server.person_tokens import Issuer, PersonTokens

_POLL = 1.0  # seconds between two looks at the files
_log = logging.getLogger(__name__)

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


class Callers:
    """The callers of the callers file, by their tokens. Without a file, every caller is LOCAL.

    Raises:
        CallersFileError: the file, or a file with an issuer's keys, is invalid.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._version = file_version(file)
        self._known = None if file is None else _Known.of_file(file, {})
        self._refreshes = set[asyncio.Task[None]]()

    async def keep_fresh(self) -> None:
        """Reads the files again whenever they have changed, and fetches issuers' keys. Never returns."""
        while True:
            if (version := file_version(self._file)) != self._version:
                self._version = version
                self.reload()
            if self._known and not self._refreshes:  # a URL may take its time, which must not delay a revocation
                task = asyncio.create_task(self._refresh_keys(self._known))
                self._refreshes.add(task)
                task.add_done_callback(self._refreshes.discard)
            await asyncio.sleep(_POLL)

    async def _refresh_keys(self, known: "_Known") -> None:
        for keys in known.key_sets.values():
            if await keys.refresh() and self._known:
                self._known.persons.forget_verified()  # not those of `known`, in case of a reload meanwhile

    def reload(self) -> None:
        """Reads the file again. If it is invalid, logs why and keeps the callers as they were."""
        if self._file is None or self._known is None:
            return
        try:
            self._known = _Known.of_file(self._file, self._known.key_sets)
        except CallersFileError as error:
            _log.error("the callers stay as they were: %s", error)
        else:
            _log.info("read %d tokens of callers from %s", len(self._known.tokens), self._file)

    def identify(self, metadata: Iterable[tuple[str, str | bytes]], method: str) -> Caller:
        """Returns the caller of a call.

        Raises UNAUTHENTICATED or TOKEN_EXPIRED, or PERMISSION_DENIED if the caller's role may not call the method.
        """
        caller = self._known.authenticate(_bearer_token(metadata)) if self._known else LOCAL
        if not caller.roles & ACCESS.get(method, frozenset()):
            raise DeniedError(Reason.PERMISSION_DENIED, "role")
        return caller


@dataclass(frozen=True, slots=True)
class _Token:
    """A token's caller, and when the token expires, in seconds since 1970."""

    caller: Caller
    expires: float


@dataclass(frozen=True, slots=True)
class _Known:
    """What a callers file says: tokens by their SHA-256, and issuers' keys by their source."""

    tokens: Mapping[str, _Token]
    persons: PersonTokens
    key_sets: Mapping[str, KeySet]

    @classmethod
    def of_file(cls, file: Path, before: Mapping[str, KeySet]) -> "_Known":
        """Returns what the file says. before: the keys that are known already, by source."""
        content = read_callers(file)
        key_sets = {entry.jwks: before.get(entry.jwks) or KeySet(entry.jwks, file.parent) for entry in content.issuer}
        return cls(
            {
                entry.token_sha256: _Token(
                    system(entry), entry.not_after.timestamp() if entry.not_after else float("inf")
                )
                for entry in content.caller
            },
            PersonTokens([Issuer(entry, key_sets[entry.jwks]) for entry in content.issuer]),
            key_sets,
        )

    def authenticate(self, token: str) -> Caller:
        if not token:
            raise DeniedError(Reason.UNAUTHENTICATED, "no token")
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self.tokens.get(digest)
        if known is None:
            if self.key_sets and token.count(".") == 2:
                return self.persons.identify(token, digest)
            raise DeniedError(Reason.UNAUTHENTICATED, "unknown token")
        if time.time() >= known.expires:
            raise DeniedError(Reason.TOKEN_EXPIRED, "token expired")
        return known.caller


def _bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    return ""
