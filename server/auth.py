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
from server.address import client_network
from server.attempts import Attempts
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
        self._attempts = Attempts()
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

    def identify(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Returns the caller of the current call. Raises UNAUTHENTICATED, TOKEN_EXPIRED or TOO_MANY_ATTEMPTS.

        A token that is known or was verified before is never refused because of others from the same address.
        """
        if self._known is None:
            return LOCAL
        token = _bearer_token(metadata)
        digest = hashlib.sha256(token.encode()).hexdigest()
        caller = self._known.recall(digest)
        if caller is None:
            address = client_network()
            self._attempts.check(address)
            try:
                caller = self._known.verify(token, digest)
            except DeniedError:
                self._attempts.fail(address)
                raise
        if self._attempts:
            self._attempts.succeed(client_network())
        return caller


def check_access(caller: Caller, method: str) -> None:
    """Raises PERMISSION_DENIED if no role of the caller may call the method."""
    if not caller.roles & ACCESS.get(method, frozenset()):
        raise DeniedError(Reason.PERMISSION_DENIED, "role")


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

    def recall(self, digest: str) -> Caller | None:
        """Returns the caller of a token that needs no verification. Raises TOKEN_EXPIRED."""
        if known := self.tokens.get(digest):
            if time.time() >= known.expires:
                raise DeniedError(Reason.TOKEN_EXPIRED, "token expired")
            return known.caller
        return self.persons.recall(digest)

    def verify(self, token: str, digest: str) -> Caller:
        """Returns the caller of another token. Raises UNAUTHENTICATED or TOKEN_EXPIRED."""
        if self.key_sets and token.count(".") == 2:
            return self.persons.identify(token, digest)
        raise DeniedError(Reason.UNAUTHENTICATED, "unknown token" if token else "no token")


def _bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    return ""
