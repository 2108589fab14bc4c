"""Reads the final state of the stores: decided bookings, slots, changes by staff, and waiting requests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from redis import Redis

from antrian.booking import Session, Slot
from antrian.lane.codec import read_queue_entry
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT
from antrian.redis_primary import connect
from antrian.settings import WorkerSettings

_PAGE = 1000


@dataclass(slots=True)
class Booked:
    """A decided booking.

    numbers: the queue numbers of its people. first_number: the first number that its ticket got. cancelled: when single people
    cancelled, by queue number.
    """

    booking_id: str
    office: str
    ticket: int
    slot: Slot
    party: int
    state: str
    reason: str
    first_number: int | None
    account: str
    accepted_at: datetime
    decided_at: datetime
    ended_at: datetime | None
    numbers: Sequence[int]
    cancelled: Mapping[int, datetime] = field(default_factory=dict)

    @property
    def retired(self) -> bool:
        """Whether the ledger rejected it after the lane assigned numbers. The numbers stay used, the places are returned."""
        return self.state == "REJECTED" and self.first_number is not None

    @property
    def took(self) -> int:
        """The number of places that it took when it was recorded."""
        return 0 if self.state == "REJECTED" else self.party


@dataclass(slots=True)
class Places:
    """The final state of a slot. begins: when its day begins. last_number: None if unknown."""

    quota: int
    taken: int
    last_number: int | None
    begins: datetime


@dataclass(slots=True)
class Change:
    """A change of a slot by staff: another quota, or its closure."""

    at: datetime
    before: int
    after: int
    closes: bool


SlotOfOffice = tuple[str, Slot]


@dataclass(slots=True)
class Facts:
    """The final state of the stores: bookings by id, slots, and the changes of each slot in order.

    waiting: office and ticket of undecided bookings, by id. ways_back: the transitions that staff made, by booking id.
    """

    bookings: dict[str, Booked] = field(default_factory=dict)
    slots: dict[SlotOfOffice, Places] = field(default_factory=dict)
    changes: dict[SlotOfOffice, list[Change]] = field(default_factory=dict)
    waiting: dict[str, tuple[str, int]] = field(default_factory=dict)
    ways_back: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


def read_facts(settings: WorkerSettings) -> Facts:
    """Reads the stores after the load. Raises redis.RedisError or psycopg.Error if one is unavailable."""
    facts = Facts()
    with (
        psycopg.connect(settings.database_url, autocommit=True, **CONNECT) as ledger,
        connect(settings.redis_url) as redis,
    ):
        # Redis first, so that bookings decided meanwhile are found in the ledger.
        for (office,) in ledger.execute(sql("lanes")).fetchall():
            facts.waiting.update(_waiting(redis, office))
        with ledger.transaction():
            ledger.execute("set transaction isolation level repeatable read, read only")
            for office, day, session, quota, taken, last_number, begins in ledger.execute(sql("history_slots")):
                facts.slots[office, Slot(day, Session(session))] = Places(quota, taken, last_number, begins)
            for row in ledger.execute(sql("history_bookings")):
                booking_id, office, ticket, day, session, *rest, cancelled, at = row
                name, slot = str(booking_id), Slot(day, Session(session))
                booked = facts.bookings[name] = Booked(name, office, ticket, slot, *rest)
                booked.cancelled = dict(zip(cancelled, at, strict=True))
            for office, day, session, *change in ledger.execute(sql("history_changes")):
                facts.changes.setdefault((office, Slot(day, Session(session))), []).append(Change(*change))
            for booking_id, before, after in ledger.execute(sql("history_ways_back")):
                facts.ways_back.setdefault(booking_id, set()).add((before, after))
    return facts


def _waiting(redis: Redis, office: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yields the bookings in the office's queue, including those in its outbox."""
    after = "-"
    while entries := _page(redis, office, after):
        for name, entry in entries:
            yield str(UUID(bytes=read_queue_entry(entry[b"r"])[0].booking_id)), (office, int(name.partition(b"-")[0]))
        after = f"({entries[-1][0].decode()}"


def _page(redis: Redis, office: str, after: str) -> Any:
    return redis.xrange(f"queue:{{{office}}}", min=after, count=_PAGE)
