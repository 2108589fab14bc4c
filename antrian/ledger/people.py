"""What the ledger keeps about one person: its export and its erasure, both recorded as staff actions."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import psycopg

from antrian.ledger import sql


@dataclass(frozen=True, slots=True)
class PersonBooking:
    """A place of a person. live: whether the person still holds it."""

    booking_id: UUID
    office_id: str
    service_date: date
    session: str
    queue_number: int
    state: str
    reason: str | None
    caller: str
    account: str
    accepted_at: datetime
    decided_at: datetime
    ended_at: datetime | None
    present_at: datetime | None
    cancelled_at: datetime | None
    corrected_at: datetime | None
    encrypted: bytes
    live: bool


@dataclass(frozen=True, slots=True)
class PersonBar:
    """A bar of a person, from the booking that was missed."""

    booking_id: UUID
    last_day: date
    ends_at: datetime
    lifted_at: datetime | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class KeptPerson:
    """What the ledger has about a person."""

    bookings: list[PersonBooking]
    bars: list[PersonBar]


def kept_person(ledger: psycopg.Connection[Any], applicant_key: bytes) -> KeptPerson:
    """Returns what the ledger has about the person with that applicant key. It reads all applicants, which takes a while."""
    values = {"applicant_key": applicant_key}
    return KeptPerson(
        [PersonBooking(*row) for row in ledger.execute(sql("person_bookings"), values)],
        [PersonBar(*row) for row in ledger.execute(sql("person_bars"), values)],
    )


def export_person(ledger: psycopg.Connection[Any], applicant_key: bytes, staff: str, why: str) -> KeptPerson:
    """Returns the same, and records at each office concerned who exported it and why."""
    with ledger.transaction():
        ledger.execute(sql("note_export"), {"applicant_key": applicant_key, "staff": staff, "why": why})
        return kept_person(ledger, applicant_key)


def erase_person(ledger: psycopg.Connection[Any], applicant_key: bytes, staff: str, why: str) -> tuple[int, KeptPerson]:
    """Erases what may be erased; see erase_person.sql. Returns the number of bookings, and what is still kept."""
    with ledger.transaction():
        values = {"applicant_key": applicant_key, "staff": staff, "why": why}
        [(erased,)] = ledger.execute(sql("erase_person"), values).fetchall()
        return erased, kept_person(ledger, applicant_key)
