"""What the stores say in the end: every decided booking, every slot and what staff changed, and who still waits."""

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
from antrian.settings import Settings

_PAGE = 1000


@dataclass(slots=True)
class Booked:
    """A decided booking.

    numbers: those of its people, one each; first_number: what its ticket was given; cancelled: when those people gave up
    who did so one by one, by number.
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
        """Whether the lane gave it numbers and the ledger refused it: those stay used, its places come back."""
        return self.state == "REJECTED" and self.first_number is not None

    @property
    def took(self) -> int:
        """The places that it took when it was recorded."""
        return 0 if self.state == "REJECTED" else self.party


@dataclass(slots=True)
class Places:
    """A slot in the end; begins is its day's beginning. last_number is None where nobody could see it."""

    quota: int
    taken: int
    last_number: int | None
    begins: datetime


@dataclass(slots=True)
class Change:
    """What staff did to a slot: another quota, or closed it."""

    at: datetime
    before: int
    after: int
    closes: bool


SlotOfOffice = tuple[str, Slot]


@dataclass(slots=True)
class Facts:
    """Bookings by id, slots, the changes of each slot in order, and office and ticket of bookings that still wait, by id.

    ways_back: the steps from state to state that staff made for a booking, by id.
    """

    bookings: dict[str, Booked] = field(default_factory=dict)
    slots: dict[SlotOfOffice, Places] = field(default_factory=dict)
    changes: dict[SlotOfOffice, list[Change]] = field(default_factory=dict)
    waiting: dict[str, tuple[str, int]] = field(default_factory=dict)
    ways_back: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


def read_facts(settings: Settings) -> Facts:
    """Reads them, after the load. Raises redis.RedisError or psycopg.Error when a store is away."""
    facts = Facts()
    with (
        psycopg.connect(settings.database_url, autocommit=True, **CONNECT) as ledger,
        Redis.from_url(settings.redis_url) as redis,
    ):
        # Redis first: who is decided meanwhile is in the ledger then.
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
    """The bookings in the office's line, those in its outbox included."""
    after = "-"
    while entries := _page(redis, office, after):
        for name, entry in entries:
            yield str(UUID(bytes=read_queue_entry(entry[b"r"])[0].booking_id)), (office, int(name.partition(b"-")[0]))
        after = f"({entries[-1][0].decode()}"


def _page(redis: Redis, office: str, after: str) -> Any:
    return redis.xrange(f"queue:{{{office}}}", min=after, count=_PAGE)
