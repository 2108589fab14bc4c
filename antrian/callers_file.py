"""The callers file: the systems that may call Antrian, the hashes of their tokens, and the issuers of persons' tokens."""

import hashlib
import tomllib
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from antrian.text import has_nik

_WEAK = (
    "password", "passw0rd", "password1", "password123", "secret", "secret123", "token", "bearer", "test", "test123",
    "testing", "admin", "admin123", "administrator", "root", "user", "guest", "demo", "example", "changeme", "change-me", "default", "letmein", "welcome", "qwerty", "qwerty123", "abc123", "abcdef", "iloveyou", "monkey", "dragon",
    "antrian", "passport", "paspor", "imigrasi", "indonesia", "rahasia", "sandi", "katasandi", "TOKEN", "null", "none",
    "undefined", "0", "1", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890", "000000",
    "111111", "123123", "654321",
)  # fmt: skip
_WEAK_HASHES = {hashlib.sha256(word.encode()).hexdigest() for word in ["", "\n", *_WEAK, *(f"{w}\n" for w in _WEAK)]}


class Role(StrEnum):
    """The role of a caller."""

    GATEWAY = "gateway"
    """Acts for citizens' devices, and books with the device's location."""
    INTERNAL = "internal"
    """Another system of the immigration service. It vouches for the applicant's province."""
    STAFF = "staff"
    """The staff of the caller's offices. They vouch for the applicant's province."""


class CallersFileError(ValueError):
    """The callers file is invalid. The message says where."""


def _no_nik(name: str) -> str:
    if has_nik(name):
        raise ValueError("must not contain a NIK, or digits that read like one")
    return name


def _strong(token_sha256: str) -> str:
    if token_sha256 in _WEAK_HASHES:
        raise ValueError("is the hash of an empty or well-known token; make one with `antrian callers add`")
    return token_sha256


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, AfterValidator(_no_nik)] = Field(pattern="^[a-z0-9][a-z0-9._-]{0,31}$")
    requests_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class CallerEntry(_Table):
    """One token of a caller, and what the caller may do. A caller with several tokens has several entries.

    token_sha256: SHA-256 of the token, in hex. not_after: when the token expires; None for never. offices: for staff, the
    offices that it may act for, or "*" for all. vouches_for: whether a gateway names the accounts that it acts for;
    "subject" means that accounts come from the tokens of persons only. verifies_people: whether a gateway identifies the
    people for whom it books. staff: for staff, the one person whose token this is; None if requests say who acts.
    requests_per_second: its limit at each server.
    """

    role: Role = Field(strict=False)
    token_sha256: Annotated[str, AfterValidator(_strong)] = Field(pattern="^[0-9a-f]{64}$")
    not_after: AwareDatetime | None = None
    offices: list[str] = []
    vouches_for: Literal["accounts", "subject"] = "subject"
    verifies_people: bool = False
    staff: Annotated[str, AfterValidator(_no_nik)] | None = Field(default=None, pattern="^[A-Za-z0-9._:@-]{1,64}$")

    @model_validator(mode="after")
    def _only_gateways_vouch(self) -> "CallerEntry":
        if self.role is not Role.GATEWAY and "vouches_for" in self.model_fields_set:
            raise ValueError("vouches_for is for callers with the role gateway")
        return self

    @property
    def names_accounts(self) -> bool:
        """Whether the caller's requests may name any account."""
        return self.role is not Role.GATEWAY or self.vouches_for == "accounts"

    @property
    def settings(self) -> dict[str, object]:
        """What all entries of one caller must have in common."""
        return self.model_dump(exclude={"token_sha256", "not_after"})


class IssuerEntry(_Table):
    """Who issues tokens (JWT) for persons, and the name of the caller that these persons use.

    issuer, audience: what the claims iss and aud must be. jwks: the issuer's public keys, a file (relative to the folder of the
    callers file) or an https URL.
    """

    issuer: str = Field(min_length=1, max_length=500)
    audience: str = Field(min_length=1, max_length=500)
    jwks: str = Field(min_length=1, max_length=500)

    @field_validator("jwks")
    @classmethod
    def _is_https(cls, jwks: str) -> str:
        if "://" in jwks and not jwks.startswith("https://"):
            raise ValueError("must be a file or an https URL")
        return jwks


class CallersFile(BaseModel):
    """The content of a callers file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    caller: list[CallerEntry] = []
    issuer: list[IssuerEntry] = []

    @model_validator(mode="after")
    def _has_somebody(self) -> "CallersFile":
        if not (self.caller or self.issuer):
            raise ValueError("must have at least one [[caller]] or [[issuer]]")
        return self


def read_callers(file: Path) -> CallersFile:
    """Returns the content of the file. Raises CallersFileError, whose message has neither tokens nor hashes."""
    try:
        return parse_callers(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        what = error if isinstance(error, CallersFileError) else f"cannot be read: {error}"
        raise CallersFileError(f"{file}: {what}") from None


def parse_callers(text: str) -> CallersFile:
    """Returns the content of a callers file with this text. Raises CallersFileError, or ValueError if it is not TOML."""
    try:
        content = CallersFile.model_validate(tomllib.loads(text))
    except ValidationError as error:
        problems = "; ".join(
            f"{_where(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()
        )
        raise CallersFileError(f"{problems}; see docs/callers.md") from None
    _refuse_duplicates(content)
    return content


def _refuse_duplicates(content: CallersFile) -> None:
    entries, tokens, names, issuers = content.caller, dict[str, int](), dict[str, int](), set[str]()
    for number, entry in enumerate(entries, 1):
        if (other := tokens.setdefault(entry.token_sha256, number)) != number:
            raise CallersFileError(f"caller {number}: token_sha256: is the same as that of caller {other}")
        first = names.setdefault(entry.name, number)
        settings = entries[first - 1].settings
        if different := [name for name, value in entry.settings.items() if value != settings[name]]:
            raise CallersFileError(
                f"caller {number}: {different[0]}: differs from that of caller {first}, which has the same name; the"
                " tokens of one caller must agree in everything but token_sha256 and not_after"
            )
    for number, issuer in enumerate(content.issuer, 1):
        if issuer.name in names:
            raise CallersFileError(f"issuer {number}: name: is that of another caller or issuer")
        if issuer.issuer in issuers:
            raise CallersFileError(f"issuer {number}: issuer: is that of another issuer")
        names[issuer.name] = number
        issuers.add(issuer.issuer)


def _where(location: tuple[int | str, ...]) -> str:
    """Describes a location in the file, counting from 1: "caller 2: role". "file" if it is not in one place."""
    if not location:
        return "file"
    parts = [str(part + 1) if isinstance(part, int) else part for part in location]
    return ": ".join([" ".join(parts[:2]), *parts[2:]])


def has_expired(not_after: datetime | None, now: datetime) -> bool:
    """Returns whether a token with this expiry is no longer valid."""
    return not_after is not None and now >= not_after
