"""Counts the breaches of the promises on live data: `antrian verify`. It reads only; the service may be running."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any
from uuid import UUID

import psycopg
from redis import Redis

from antrian.booking import Session, Slot
from antrian.lane.drainer import LaneDrainer
from antrian.ledger import sql
from antrian.settings import Settings

_NIK = re.compile(rb"(?<![0-9])[0-9]{16}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise held against the stores: what was looked at, how many there were, and how many broke it."""

    promise: str
    what: str
    examined: int
    breaches: int


def verify(settings: Settings) -> list[Check]:
    """All checks that need no client's history. Raises redis.RedisError or psycopg.Error when a store is away."""
    with (
        psycopg.connect(settings.database_url, autocommit=True) as ledger,
        Redis.from_url(settings.redis_url) as redis,
        closing(LaneDrainer(settings.redis_url)) as line,
    ):
        return [
            *_ledger_checks(ledger),
            *_lane_checks(line, ledger),
            _requests_check(redis, ledger),
            _clear_check(redis),
        ]


def _ledger_checks(ledger: psycopg.Connection) -> Iterator[Check]:
    """The statements of ledger/checks, each with its promise and its words in the first line, on one snapshot."""
    with ledger.transaction():
        ledger.execute("set transaction isolation level repeatable read, read only")
        for file in sorted(files("antrian.ledger").joinpath("checks").iterdir(), key=lambda file: file.name):
            statement = file.read_text()
            promise, _, what = statement.splitlines()[0].removeprefix("-- ").partition(" ")
            row = ledger.execute(statement.encode()).fetchone()
            assert row is not None
            yield Check(promise, what, row[0], row[1])


def _lane_checks(line: LaneDrainer, ledger: psycopg.Connection) -> Iterator[Check]:
    """Each lane against its ledger. Records come before settles, so what Redis calls settled the ledger must have."""
    tickets = lost = unrecorded = slots = wrong = closed = 0
    offices = ledger.execute(sql("lanes")).fetchall()
    for (office,) in offices:
        lane = line.audit(office)
        if not lane.opened:
            closed += 1
            continue
        lost += abs(lane.ticket - lane.settled - lane.waiting)
        row = ledger.execute(sql("lane"), {"office": office}).fetchone()
        tickets += lane.ticket - (row[3] if row else 0)
        unrecorded += max(0, lane.settled - row[1]) if row else lane.settled
        if lane.unsettled == 0:
            rows = ledger.execute(sql("slots"), {"office": office, "since": date.min}).fetchall()
            if line.audit(office) == lane:  # nothing was decided meanwhile
                for day, session, quota, taken, last_number, closed_day in rows:
                    counted = lane.counters.get(Slot(day, Session(session)))
                    slots += counted is not None
                    wrong += counted not in {None, (quota, quota - taken, last_number + 1, closed_day)}
    yield Check("P15", "every office's lane is open", len(offices), closed)
    yield Check("P2", "every accepted ticket is recorded or still in its line", tickets, lost + unrecorded)
    yield Check("P1", "places left in Redis and taken in the ledger make the quota", slots, wrong)


def _requests_check(redis: Redis, ledger: psycopg.Connection) -> Check:
    """Requests that Redis remembers against the bookings that the ledger has under their names."""
    examined = breaches = 0
    for bucket in redis.scan_iter("requests:*", count=1000):
        entries: Any = redis.hgetall(bucket)
        known = {UUID(bytes=name): text.split() for name, text in entries.items()}
        examined += len(known)
        for name, office, ticket, *_ in ledger.execute(sql("outcomes"), {"booking_ids": list(known)}):
            breaches += (office, ticket) != (known[name][1].decode(), int(known[name][2]))
    return Check("P5", "a request names one booking, the same in Redis and in the ledger", examined, breaches)


def _clear_check(redis: Redis) -> Check:
    """Everything that Redis holds, looked through for what reads like a NIK."""
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    examined = breaches = 0
    for key in redis.scan_iter(count=1000):
        kind: Any = redis.type(key)
        if kind in read:
            for text in _texts([key, read[kind](key)]):
                examined += 1
                breaches += bool(_NIK.search(text))
    return Check("P14", "no NIK in clear in Redis", examined, breaches)


def _texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)
