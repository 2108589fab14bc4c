"""The nouns: what a slot, a request, a decision and an outcome are. Standard library only."""

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
    """Where a booking stands; the ledger's booking_moves_forward has the only ways from one to another."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    ATTENDED = "ATTENDED"
    NO_SHOW = "NO_SHOW"
    EXCUSED = "EXCUSED"


class StatusReason(StrEnum):
    """Why a booking was REJECTED, or what its office did to it."""

    SLOT_FULL = "SLOT_FULL"
    TOO_LATE = "TOO_LATE"
    ALREADY_BOOKED = "ALREADY_BOOKED"
    INTERNAL = "INTERNAL"
    DAY_CLOSED = "DAY_CLOSED"
    RELEASED_BY_OFFICE = "RELEASED_BY_OFFICE"
    PERSON_CANCELLED_BY_OFFICE = "PERSON_CANCELLED_BY_OFFICE"


@dataclass(frozen=True, slots=True)
class Province:
    """A province; code is ISO 3166-2:ID, nik_code the two digits with which a NIK issued there begins."""

    code: str
    name_id: str
    name_en: str
    nik_code: str
    time_zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Office:
    """An immigration office. Its days and sessions are in its own time zone.

    morning_percent is None where the policy's split holds. A retired one takes no more bookings and serves those it has.
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
    """A day and session of an office, whose places are counted together."""

    service_date: date
    session: Session
    _name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_name", f"{self.service_date.isoformat()}{self.session[0]}")

    def __str__(self) -> str:
        """The slot's name in Redis: "2026-11-30M"."""
        return self._name

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> "Slot":
        """The slot of that name."""
        return Slot(date.fromisoformat(text[:10]), Session.MORNING if text[10] == "M" else Session.AFTERNOON)


@dataclass(frozen=True, slots=True)
class Window:
    """When one may book (half-open: opens_at is in, closes_at is out), and the service dates that it is for."""

    opens_at: datetime
    closes_at: datetime
    dates: tuple[date, ...]

    def contains(self, moment: datetime) -> bool:
        """Whether one may book at that moment."""
        return self.opens_at <= moment < self.closes_at


@dataclass(frozen=True, slots=True)
class SessionHours:
    """From when to when a session is, in the office's own time."""

    starts: time
    ends: time


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules as data; policy.toml explains each of them. policy.py loads and checks it.

    content: the policy as the ledger keeps it, a file that says the same. version: its number in the ledger, from 1; 0: it
    is not from the ledger.
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
    party_people: int
    account_people: int
    tried_people: int
    corrected_letters: int
    lane_bound: int
    remembered_days: int
    late_until: time
    content: str
    version: int = 0

    @property
    def remembered(self) -> timedelta:
        """How long after the end of its window a request stays known."""
        return timedelta(days=self.remembered_days)


@dataclass(slots=True)  # not frozen: that would double what it takes to make one, and each request does
class Person:
    """An applicant in clear; lives only in the server's memory, never in Redis, logs or errors."""

    nik: str
    full_name: str


@dataclass(slots=True)
class EncryptedApplicant:
    """An applicant as it is kept: the keyed hash of the NIK, and the encrypted personal data."""

    key: bytes
    encrypted: bytes


class QueueEntry(NamedTuple):
    """A request as it waits in its line; what is bytes here is so for Redis and Postgres, too. accepted_ms: since 1970."""

    accepted_ms: int
    slot: Slot
    booking_id: bytes
    fingerprint: bytes
    caller: bytes
    account: bytes
    applicants: tuple[EncryptedApplicant, ...]


@dataclass(slots=True)
class Decision:
    """What a turn decided for one ticket: CONFIRMED with its first number, or rejected for a reason."""

    ticket: int
    entry: QueueEntry
    reason: StatusReason | None
    first_number: int | None

    @property
    def party_size(self) -> int:
        """How many people it is for."""
        return len(self.entry.applicants)


@dataclass(frozen=True, slots=True)
class Turn:
    """What was decided for the next tickets of a lane, in order, under that token."""

    office_id: str
    token: int
    decisions: Sequence[Decision]


@dataclass(frozen=True, slots=True)
class StaffAction:
    """What staff do: who (the caller's own id of a person), and why. action_id names it in the ledger."""

    action_id: UUID
    caller: str
    staff: str
    why: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Asks at an lane's commands to give a booking's places back: all that are left, or that of one queue number.

    by: the staff who ask, until the day is over; None: its account, before the day begins.
    """

    booking_id: UUID
    number: int | None = None
    by: StaffAction | None = None


@dataclass(frozen=True, slots=True)
class SetQuota(StaffAction):
    """Asks at an lane's commands for another quota of a slot; expected is what it must be now, if given."""

    slot: Slot
    quota: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class CloseDate(StaffAction):
    """Asks at an lane's commands to close a day."""

    service_date: date


@dataclass(frozen=True, slots=True)
class Follow:
    """Asks at an lane's commands that Redis follows what the ledger says of a booking's people: after a check-in."""

    booking_id: UUID


@dataclass(frozen=True, slots=True)
class LiftBar(StaffAction):
    """Asks at an lane's commands to end the bar of the person with that queue number of a booking."""

    booking_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class ExcuseNoShow(StaffAction):
    """Asks at an lane's commands to make a missed booking EXCUSED, and to end its bars."""

    booking_id: UUID


@dataclass(frozen=True, slots=True)
class UndoCheckIn(StaffAction):
    """Asks at an lane's commands to expect these people (queue number, applicant key) of a booking again.

    owner is whose booking it is, in base 64. taken is the number of who cannot be held again: the drainer finds that out.
    """

    booking_id: UUID
    owner: str
    people: dict[int, UUID]
    taken: int | None = None


@dataclass(frozen=True, slots=True)
class LateAttendance(StaffAction):
    """Asks at an lane's commands to note after the day that people of a booking did come, unless it is until by now."""

    booking_id: UUID
    numbers: tuple[int, ...]
    until: datetime


Command = Cancel | SetQuota | CloseDate | Follow | LiftBar | ExcuseNoShow | UndoCheckIn | LateAttendance


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """What a drainer was handed of a desk: the entries from number first to last, without those that cannot be read."""

    first: int
    last: int
    entries: list[Command]
