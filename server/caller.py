"""The caller of a call, and what it may do."""

from contextvars import ContextVar
from dataclasses import dataclass

from google.protobuf.message import Message

from antrian.callers_file import CallerEntry, IssuerEntry, Role
from antrian.errors import Reason
from antrian.text import check_account
from server.denied import DeniedError


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that calls Antrian, or a person who uses one.

    offices: for staff, the ids of the offices that the caller may act for, or "*" for all of them. per_second: how many requests
    per second each server accepts from it; None for any number. names_accounts: whether its requests may name any account.
    subject: for a person, the only account. verifies_people: whether it identifies the people for whom it books, for example
    by a face match. staff: the one person who acts with its token, None if requests say who does.
    """

    name: str
    roles: frozenset[Role]
    offices: frozenset[str] = frozenset()
    per_second: float | None = None
    names_accounts: bool = True
    subject: str = ""
    verifies_people: bool = False
    staff: str | None = None

    @property
    def may_verify(self) -> bool:
        """Whether the caller may state that an applicant was identified."""
        return self.verifies_people or self.vouches

    @property
    def vouches(self) -> bool:
        """Whether the caller may state the applicant's province."""
        return bool(self.roles & {Role.INTERNAL, Role.STAFF})

    @property
    def acts_for_citizens(self) -> bool:
        """Whether the caller says where its users' requests come from."""
        return Role.GATEWAY in self.roles

    def acting_staff(self, staff: str) -> str:
        """Returns who acts, given a request's staff. Raises INVALID_FIELD, or PERMISSION_DENIED if it is not the token's."""
        if self.staff is None:
            return check_account(staff, "staff")
        if staff not in {"", self.staff}:
            raise DeniedError(Reason.PERMISSION_DENIED, "another person", field="staff")
        return self.staff

    def check_office(self, office_id: str) -> None:
        """Raises PERMISSION_DENIED unless the caller is staff of that office."""
        if not self.offices & {office_id, "*"}:
            raise DeniedError(Reason.PERMISSION_DENIED, "another office", field="office_id")

    def take_account(self, request: Message) -> None:
        """Makes the request one of the person's account if it names none. Does nothing if requests of its type have no account.

        Raises PERMISSION_DENIED if it names another one, or if the caller is neither a person nor names accounts.
        """
        if self.names_accounts or "account" not in request.DESCRIPTOR.fields_by_name:
            return
        if not self.subject or request.account not in {"", self.subject}:  # type: ignore[attr-defined]
            raise DeniedError(Reason.PERMISSION_DENIED, "another account", field="account")
        request.account = self.subject  # type: ignore[attr-defined]


def system(entry: CallerEntry) -> Caller:
    """Returns the caller of an entry of the callers file."""
    return Caller(
        entry.name,
        frozenset({entry.role}),
        frozenset(entry.offices),
        entry.requests_per_second,
        names_accounts=entry.names_accounts,
        verifies_people=entry.verifies_people,
        staff=entry.staff,
    )


def person(issuer: IssuerEntry, subject: str) -> Caller:
    """Returns the caller of a person for whom an issuer has signed a token."""
    return Caller(
        issuer.name,
        frozenset({Role.GATEWAY}),
        per_second=issuer.requests_per_second,
        names_accounts=False,
        subject=subject,
    )


LOCAL = Caller("local", frozenset(Role), frozenset({"*"}))
"""The caller of every call to a server without a callers file, which has embedded stores and listens on loopback."""

CALLER: ContextVar[Caller] = ContextVar("caller")
"""The caller of the current call."""
