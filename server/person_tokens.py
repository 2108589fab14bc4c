"""Identifies persons by the tokens (JWT) that an issuer of the callers file has signed for them."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from antrian.callers_file import IssuerEntry
from antrian.errors import AntrianError, Reason
from antrian.text import check_account
from server.caller import Caller, person
from server.denied import DeniedError
from server.key_sets import KeySet

_LONGEST = 4096  # characters of a token; those of large providers have about 1,000
_MOST_VERIFIED = 50_000
_LEEWAY = 10.0  # seconds by which the clocks of an issuer and a server may differ


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer and its keys."""

    entry: IssuerEntry
    keys: KeySet


class PersonTokens:
    """Verifies tokens of persons, and remembers the verified ones until they expire: a signature costs as much as a call."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = {issuer.entry.issuer: issuer for issuer in issuers}
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def forget_verified(self) -> None:
        """Verifies every token again, because there are other keys."""
        self._verified.clear()

    def recall(self, digest: str) -> Caller | None:
        """Returns the caller of a token that was verified before. digest: a cryptographic hash of the token."""
        if known := self._verified.get(digest):
            if time.time() < known[1]:
                self._verified.move_to_end(digest)
                return known[0]
            del self._verified[digest]
        return None

    def identify(self, token: str, digest: str) -> Caller:
        """Returns the caller that the token's person uses, and remembers it. Raises UNAUTHENTICATED or TOKEN_EXPIRED."""
        caller, expires = self._verify(token)
        self._verified[digest] = caller, expires
        if len(self._verified) > _MOST_VERIFIED:
            self._verified.popitem(last=False)
        return caller

    def _verify(self, token: str) -> tuple[Caller, float]:
        if len(token) > _LONGEST:
            raise DeniedError(Reason.UNAUTHENTICATED, "token too long")
        try:
            issuer, key = self._find_key(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=issuer.entry.issuer,
                audience=issuer.entry.audience,
                leeway=_LEEWAY,
                options={"require": ["iss", "aud", "exp", "sub"]},
            )
        except ExpiredSignatureError:
            raise DeniedError(Reason.TOKEN_EXPIRED, "token expired") from None
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:  # JSON of a stranger
            raise DeniedError(Reason.UNAUTHENTICATED, type(error).__name__) from None
        return person(issuer.entry, _subject(claims)), float(claims["exp"])

    def _find_key(self, token: str) -> tuple[Issuer, jwt.PyJWK]:
        """Returns the issuer that the token names and the key that it names, before anything of the token is verified."""
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        issuer = self._issuers.get(str(unverified["payload"].get("iss")))
        if issuer is None:
            raise DeniedError(Reason.UNAUTHENTICATED, "unknown issuer")
        key = issuer.keys.find(str(unverified["header"].get("kid")))
        if key is None:
            raise DeniedError(Reason.UNAUTHENTICATED, "unknown key")
        return issuer, key


def _subject(claims: dict[str, Any]) -> str:
    """Returns the subject, which has to be an account as it is."""
    subject = str(claims["sub"])
    try:
        if check_account(subject, "sub") == subject:
            return subject
    except AntrianError:
        pass
    raise DeniedError(Reason.UNAUTHENTICATED, "subject is not an account")
