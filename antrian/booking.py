"""The nouns of the domain: slots, policies, queue entries, decisions and commands. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo


class Session(StrEnum):
    """A part of an office's day."""

    MORNING = "MORNING"
    AFTERNOON = "AFTERNOON"


class State(StrEnum):
    """The state of a booking. The ledger's trigger booking_moves_forward defines the transitions."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    ATTENDED = "ATTENDED"
    NO_SHOW = "NO_SHOW"
    EXCUSED = "EXCUSED"


class StatusReason(StrEnum):
    """Why a booking was REJECTED, or why it was changed by others than its account."""

    SLOT_FULL = "SLOT_FULL"
    TOO_LATE = "TOO_LATE"
    ALREADY_BOOKED = "ALREADY_BOOKED"
    INTERNAL = "INTERNAL"
    DAY_CLOSED = "DAY_CLOSED"
    RELEASED_BY_OFFICE = "RELEASED_BY_OFFICE"
    PERSON_CANCELLED_BY_OFFICE = "PERSON_CANCELLED_BY_OFFICE"
    RECLAIMED = "RECLAIMED"


@dataclass(frozen=True, slots=True)
class Province:
    """A province. code: ISO 3166-2:ID. nik_code: the first two digits of a NIK issued there."""

    code: str
    name_id: str
    name_en: str
    nik_code: str
    time_zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Office:
    """An immigration office. Its days and sessions are in its own time zone.

    morning_percent: the morning's share of the quota, None for the policy's. retired: the office accepts no new bookings and
    serves those it has.
    """

    office_id: str
    name: str
    office_class: str
    city: str
    province_code: str
    time_zone: ZoneInfo
    latitude: float
    longitude: float
    daily_quota: int
    address: str
    morning_percent: int | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A day and session of an office, with one counter of places."""

    service_date: date
    session: Session
    _name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_name", f"{self.service_date.isoformat()}{self.session[0]}")

    def __str__(self) -> str:
        """Returns the slot's name in Redis: "2026-11-30M"."""
        return self._name

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> "Slot":
        """Returns the slot of that name, the inverse of str()."""
        return Slot(date.fromisoformat(text[:10]), Session.MORNING if text[10] == "M" else Session.AFTERNOON)


@dataclass(frozen=True, slots=True)
class Window:
    """When booking is open (half-open: opens_at is in, closes_at is out), and the service dates that can be booked."""

    opens_at: datetime
    closes_at: datetime
    dates: tuple[date, ...]

    def contains(self, moment: datetime) -> bool:
        """Returns whether booking is open at that moment."""
        return self.opens_at <= moment < self.closes_at


@dataclass(frozen=True, slots=True)
class SessionHours:
    """When a session begins and ends, in the office's own time."""

    starts: time
    ends: time


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """How many requests may come at once, and how many per hour after that. per_hour 0: any number."""

    burst: int
    per_hour: int


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of what asks for places: each account, each device, and each address prefix."""

    account: RequestLimit
    device: RequestLimit
    address: RequestLimit


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules as data. policy.toml explains each of them, policy.py loads and validates them.

    content: an equivalent policy file, as the ledger stores it. version: its number in the ledger, from 1; 0 if it was not
    read from the ledger.
    """

    opens_weekday: int
    opens_time: time
    closes_weekday: int
    closes_time: time
    window_zone: ZoneInfo
    service_weekdays: frozenset[int]
    horizon_weeks: int
    holidays: Mapping[date, str]
    sessions: Mapping[Session, SessionHours]
    morning_percent: int
    device_location: bool
    border_tolerance_m: float
    coarsest_accuracy_m: float
    coast_km: float
    nearby_km: float
    bar_days: int
    bar_verified_only: bool
    party_people: int
    account_people: int
    tried_people: int
    corrected_letters: int
    cancelled_people: int
    limits: RequestLimits
    lane_bound: int
    remembered_days: int
    personal_data_days: int
    late_until: time
    content: str
    version: int = 0

    @property
    def remembered(self) -> timedelta:
        """How long a request_id stays known after the end of its window."""
        return timedelta(days=self.remembered_days)


@dataclass(slots=True)  # not frozen: that doubles the cost of construction, which every request pays
class Person:
    """An applicant in plain text, kept only in the server's memory, never in Redis, logs or errors."""

    nik: str
    full_name: str


@dataclass(slots=True)
class EncryptedApplicant:
    """An applicant as stored: the keyed hash of the NIK, and the encrypted personal data.

    verified: the caller vouches that the person was identified.
    """

    key: bytes
    encrypted: bytes
    verified: bool = False


class QueueEntry(NamedTuple):
    """A request as it waits in its lane's queue, in the types of Redis and Postgres. accepted_ms: Unix time in milliseconds."""

    accepted_ms: int
    slot: Slot
    booking_id: bytes
    fingerprint: bytes
    caller: bytes
    account: bytes
    applicants: tuple[EncryptedApplicant, ...]


@dataclass(slots=True)
class Decision:
    """The outcome of one ticket: CONFIRMED with its first queue number, or REJECTED with a reason."""

    ticket: int
    entry: QueueEntry
    reason: StatusReason | None
    first_number: int | None

    @property
    def party_size(self) -> int:
        """The number of applicants."""
        return len(self.entry.applicants)


KEPT, REJECTED, DUPLICATE = "K", "R", "D"
"""What the ledger recorded of a decision, one letter each, as settle.lua takes them.

KEPT: its places are taken. REJECTED: it holds nothing. DUPLICATE: its booking was recorded at another ticket.
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """The decisions for the next tickets of a lane, in order, under a lease's token."""

    office_id: str
    token: int
    decisions: Sequence[Decision]


@dataclass(frozen=True, slots=True)
class StaffAction:
    """An action of staff. staff: the caller's own id of the person. action_id: its key in the ledger, which makes it idempotent."""

    action_id: UUID
    caller: str
    staff: str
    why: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Command: return a booking's places, all that remain or the one of a queue number.

    by: the action of staff, who may cancel until the day is over; None for the booking's account, which may before it begins.
    reclaimed: by is the action of a caller whose request verified the person, which only cancels a person who was not verified.
    most: how many people of the booking may be cancelled one by one, this one included; None for any number.
    """

    booking_id: UUID
    number: int | None = None
    by: StaffAction | None = None
    reclaimed: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class SetQuota(StaffAction):
    """Command: set the quota of a slot. expected: the quota that it must have now, if given."""

    slot: Slot
    quota: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class CloseDate(StaffAction):
    """Command: close a service date."""

    service_date: date


@dataclass(frozen=True, slots=True)
class Follow:
    """Command: sync the people of a booking from the ledger to Redis, after a check-in."""

    booking_id: UUID


@dataclass(frozen=True, slots=True)
class LiftBar(StaffAction):
    """Command: end the bar of the person with that queue number of a booking."""

    booking_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class ExcuseNoShow(StaffAction):
    """Command: make a NO_SHOW booking EXCUSED, and end its bars."""

    booking_id: UUID


@dataclass(frozen=True, slots=True)
class UndoCheckIn(StaffAction):
    """Command: undo the check-in of people of a booking, which holds them in Redis again.

    people: applicant keys by queue number. verified: the numbers of those who were verified. owner: the booking's owner in base
    64. taken: the queue number of the person who has another booking by now, set by the consumer.
    """

    booking_id: UUID
    owner: str
    people: dict[int, UUID]
    taken: int | None = None
    verified: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LateAttendance(StaffAction):
    """Command: record, after the day but before `until`, that people of a booking attended."""

    booking_id: UUID
    numbers: tuple[int, ...]
    until: datetime


Command = Cancel | SetQuota | CloseDate | Follow | LiftBar | ExcuseNoShow | UndoCheckIn | LateAttendance


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """A batch of a lane's commands: numbers first to last, without entries that cannot be decoded."""

    first: int
    last: int
    entries: list[Command]
