"""A snapshot of both stores, taken between two steps of the state machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from antrian.booking import Session, Slot
from antrian.lane import READY
from antrian.lane.codec import read_queue_entry
from tests.support.world import World

OfficeSlot = tuple[str, Slot]

_BOOKINGS = """
select b.booking_id, b.office_id, b.ticket, s.service_date, s.session, b.party_size, b.state, b.reason, b.first_number,
    b.cancelled_people
from booking as b join slot as s using (slot_id) order by b.office_id, b.ticket
"""
_SLOTS = (
    "select office_id, service_date, session, quota, taken, last_number, closed from slot where service_date = any(%s)"
)
_LANES = "select office_id, token, last_ticket, last_command from lane"
_LIVE = "select applicant_key, booking_id from applicant where live"
_NUMBERS = "select booking_id, number, cancelled_at is not null from applicant order by number"
_BARS = "select applicant_key, booking_id, ends_at, lifted_at is not null from bar"
_PRESENT = "select applicant_key, booking_id from applicant where present_at is not null"
_DAYS = "select office_id, service_date, synced from day_done"


class Row(NamedTuple):
    """A recorded booking."""

    booking_id: UUID
    office_id: str
    ticket: int
    slot: Slot
    party: int
    state: str
    reason: str | None
    first_number: int | None
    cancelled_people: int

    @property
    def takes(self) -> int:
        """The number of places that it takes."""
        return 0 if self.state in {"REJECTED", "CANCELLED"} else self.party - self.cancelled_people

    @property
    def decision(self) -> str:
        """The decision of the lane, which the ledger may have refused since."""
        return f"CONFIRMED {self.first_number}" if self.first_number else str(self.reason)


class SlotCount(NamedTuple):
    """A slot's counts in the ledger."""

    quota: int
    taken: int
    last_number: int
    closed: bool


class LedgerLane(NamedTuple):
    """A lane's row in the ledger."""

    token: int
    last_ticket: int
    last_command: int


class Counters(NamedTuple):
    """A slot's counters in Redis."""

    quota: int
    remaining: int
    next_number: int
    closed: bool


@dataclass(frozen=True)
class Lane:
    """A lane in Redis. line: the booking of each queued ticket; outbox: the decision of each ticket."""

    known: bool
    opened: bool
    token: int
    leased: bool
    ticket: int
    settled: int
    commands: int
    settled_command: int
    queue: dict[int, UUID]
    outbox: dict[int, str]
    counters: dict[Slot, Counters]


@dataclass(frozen=True)
class Sight:
    """The contents of both stores.

    claims: what Redis says of each person; live, present, bars, lifted: people and bookings in the ledger; numbers: those of
    each booking's people; cancelled: those of who gave up; days: those that are done, and whether Redis was told of them.
    """

    rows: dict[UUID, Row]
    slots: dict[OfficeSlot, SlotCount]
    ledger_lanes: dict[str, LedgerLane]
    lanes: dict[str, Lane]
    live: list[tuple[bytes, UUID]]
    numbers: dict[UUID, list[int]]
    cancelled: dict[UUID, set[int]]
    present: set[tuple[bytes, UUID]]
    bars: dict[tuple[bytes, UUID], datetime]
    lifted: set[tuple[bytes, UUID]]
    days: dict[tuple[str, date], bool]
    claims: dict[bytes, bytes]
    ready: list[str]


def look(world: World, ledger: "psycopg.Connection[Any]", days: Sequence[date], people: Sequence[bytes]) -> Sight:
    """Reads both stores. Nothing else may run meanwhile."""
    with ledger.pipeline():
        bookings, slots, lanes, live, present, numbers, bars, done = (
            ledger.execute(statement.encode(), [list(days)] if "%s" in statement else None)
            for statement in (_BOOKINGS, _SLOTS, _LANES, _LIVE, _PRESENT, _NUMBERS, _BARS, _DAYS)
        )
    by_booking: dict[UUID, list[int]] = {}
    cancelled: dict[UUID, set[int]] = {}
    for booking_id, number, gave_up in numbers.fetchall():
        by_booking.setdefault(booking_id, []).append(number)
        if gave_up:
            cancelled.setdefault(booking_id, set()).add(number)
    in_redis, claims, ready = _redis(world, people)
    barred = bars.fetchall()
    return Sight(
        rows={row[0]: _row(*row) for row in bookings.fetchall()},
        slots={(row[0], Slot(row[1], Session(row[2]))): SlotCount(*row[3:]) for row in slots.fetchall()},
        ledger_lanes={row[0]: LedgerLane(*row[1:]) for row in lanes.fetchall()},
        lanes=in_redis,
        live=live.fetchall(),
        numbers=by_booking,
        cancelled=cancelled,
        present=set(present.fetchall()),
        bars={(key, booking_id): ends for key, booking_id, ends, _ in barred},
        lifted={(key, booking_id) for key, booking_id, _, lifted in barred if lifted},
        days={(office_id, day): told for office_id, day, told in done.fetchall()},
        claims=claims,
        ready=ready,
    )


def _row(booking_id: UUID, office_id: str, ticket: int, day: date, session: str, party: int, *rest: Any) -> Row:
    return Row(booking_id, office_id, ticket, Slot(day, Session(session)), party, *rest)


def _redis(world: World, people: Sequence[bytes]) -> tuple[dict[str, Lane], dict[bytes, bytes], list[str]]:
    pipeline = world.redis.pipeline(transaction=False)
    for office_id in world.offices:
        tag = f"{{{office_id}}}"
        pipeline.hmget(
            f"lane:{tag}", "open", "token", "ticket", "settled", "command", "settled_command", "lease", "outbox"
        )
        pipeline.xrange(f"queue:{tag}")
        pipeline.hgetall(f"counters:{tag}")
    for key in people:
        pipeline.hget(f"applicants:{key.hex()[:3]}", key)
    pipeline.zrange(READY, 0, -1)
    pipeline.lrange(READY, 0, -1)  # so does a variant keep it; one of the two is an error
    responses: list[Any] = pipeline.execute(raise_on_error=False)
    lanes = {office_id: _lane(*responses[3 * n : 3 * n + 3]) for n, office_id in enumerate(world.offices)}
    claims = {key: claim for key, claim in zip(people, responses[3 * len(lanes) :], strict=False) if claim}
    ready = next(response for response in responses[-2:] if isinstance(response, list))
    return lanes, claims, [name.decode() for name in ready]


def _lane(values: list[bytes | None], queue: Any, places: dict[bytes, bytes]) -> Lane:
    outbox = values.pop() or b""
    opened, token, ticket, settled, commands, settled_command, lease = (
        None if value is None else int(value) for value in values
    )
    entries = {
        int(name.split(b"-")[0]): UUID(bytes=read_queue_entry(fields[b"r"])[0].booking_id) for name, fields in queue
    }
    decisions = {(settled or 0) + n: text.decode() for n, text in enumerate(outbox.splitlines(), 1)}
    counters = {}
    for slot, text in places.items():
        quota, remaining, number, _, closed = map(int, text.split())
        counters[Slot.parse(slot.decode())] = Counters(quota, remaining, number, closed == 1)
    numbers = (
        token or 0,
        (lease or 0) > time.time_ns() // 1000,
        ticket or 0,
        settled or 0,
        commands or 0,
        settled_command or 0,
    )
    return Lane(opened is not None, opened == 1, *numbers, entries, decisions, counters)
