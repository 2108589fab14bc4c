"""Counts violations of the promises in the stores, for `antrian verify`. The service may be running.

It only reads. It leases each lane briefly, so that concurrent turns cause no false violations.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from redis import Redis
from redis.client import Pipeline

from antrian.audit.chain_check import chain_checks
from antrian.audit.check import Check
from antrian.audit.niks import count_niks
from antrian.booking import CommandBatch, Decision, Policy, Session, Slot, State
from antrian.identity import Keys
from antrian.lane.codec import read_bars
from antrian.lane.consumer import LEASE, LaneConsumer
from antrian.lane.producer import MAX_COMMANDS
from antrian.lane.replies import FencedError, LaneBrokenError, LaneState, Lease, sole
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT
from antrian.ledger.keys import check_keys
from antrian.ledger.policies import ledger_policy, unserved_days
from antrian.policy import load_policy
from antrian.redis_primary import connect
from antrian.settings import Settings, WorkerSettings
from antrian.text import NIK_IN_TEXT

_TOO_OLD = timedelta(minutes=1)
_KEY_BATCH = 200
_HELD = {b"B", b"V"}  # entries of people whom a booking holds


class LaneRow(NamedTuple):
    """A lane in the ledger: the columns of lane.sql."""

    token: int
    last_ticket: int
    last_command: int
    skipped: int
    epoch: int


def verify(settings: WorkerSettings, *, whole: bool = True) -> list[Check]:
    """Runs all checks that need no client history. Those of personal data are left out without private keys.

    whole: see chain_checks.

    Raises:
        redis.RedisError, psycopg.Error: a store is unavailable.
        WrongKeysError: the ledger was written with other keys.
        PolicyError: the policy is invalid.
    """
    keys = settings.make_keys("private_keys") if isinstance(settings, Settings) and settings.private_keys else None
    with (
        psycopg.connect(settings.database_url, autocommit=True, **CONNECT) as ledger,
        connect(settings.redis_url) as redis,
        closing(LaneConsumer(settings.redis_url)) as consumer,
    ):
        if keys:
            check_keys(ledger, keys)
        policy = ledger_policy(ledger) or load_policy(settings.policy_file)
        return [
            *_ledger_checks(ledger),
            *chain_checks(ledger, settings, whole=whole),
            *(_people_checks(ledger, keys) if keys else ()),
            _calendar_check(ledger, policy),
            *_lane_checks(consumer, ledger, policy),
            _requests_check(redis, ledger),
            _bars_check(redis, ledger, consumer),
            _verified_check(redis, ledger),
            _nik_check(redis),
        ]


def _ledger_checks(ledger: psycopg.Connection) -> Iterator[Check]:
    """Runs the statements of ledger/checks on one snapshot. The first line of each has its promise and description."""
    with ledger.transaction():
        ledger.execute("set transaction isolation level repeatable read, read only")
        for file in sorted(files("antrian.ledger").joinpath("checks").iterdir(), key=lambda file: file.name):
            statement = file.read_text()
            promise, _, what = statement.splitlines()[0].removeprefix("-- ").partition(" ")
            values = {"nik": NIK_IN_TEXT} if "%(nik)s" in statement else None
            row = ledger.execute(statement.encode(), values).fetchone()
            assert row is not None
            yield Check(promise, what, row[0], row[1])


def _people_checks(ledger: psycopg.Connection, keys: Keys) -> Iterator[Check]:
    """Checks that each live booking is stored under the key of its applicant's NIK, and that no encrypted data are in clear."""
    examined = violations = 0
    with ledger.transaction(), ledger.cursor("live_people") as people:
        people.itersize = 2000
        for person in people.execute(sql("live_people")):
            examined += 1
            violations += not keys.fit(*person)
    yield Check("P4", "a live booking is stored under the key of its applicant's NIK", examined, violations)
    [(examined, violations)] = ledger.execute(sql("encrypted_niks")).fetchall()
    yield Check("P14", "no NIK in clear among the encrypted data in the ledger", examined, violations)


def _calendar_check(ledger: psycopg.Connection, policy: Policy) -> Check:
    """Checks bookable and booked days against the service days of the policy in force."""
    [(examined,)] = ledger.execute(sql("days_ahead")).fetchall()
    violations = len(unserved_days(ledger, policy))
    return Check("P10", "days without service are closed and have no bookings", examined, violations)


def _lane_checks(consumer: LaneConsumer, ledger: psycopg.Connection, policy: Policy) -> list[Check]:
    """Checks each lane in Redis against the ledger."""
    lanes, slots, violations = Counter[str](), Counter[str](), Counter[str]()
    offices = [office for (office,) in ledger.execute(sql("lanes"))]
    ready = consumer.ready_since()  # read before the audit leases the lanes
    for office in offices:
        if not consumer.audit(office).opened:
            violations["closed"] += 1
        elif audited := _audit_lane(consumer, ledger, office):
            lanes["audited"] += 1
            lane, row, wrong = audited
            lanes["tickets"] += lane.ticket - row.skipped
            slots["counted"] += len(lane.counters)
            violations["lost"] += abs(lane.ticket - lane.settled - lane.waiting)
            violations["counters"] += wrong
            violations["differs"] += (
                lane.epoch != row.epoch
                or row.last_ticket not in {lane.settled, lane.settled + lane.unsettled}
                or row.last_command < lane.settled_command
            )
            violations["unbounded"] += lane.waiting > policy.lane_bound or lane.commands_waiting > MAX_COMMANDS
    violations["old"] = sum(age > _TOO_OLD for _, age in consumer.depth(offices).values())
    violations["starved"] = sum(since > _TOO_OLD for since in ready.values())
    return [
        Check("P15", "every office's lane is open", len(offices), violations["closed"]),
        Check("P15", "no ticket waits for longer than a minute", len(offices), violations["old"]),
        Check("P13", "no ready lane waits for a worker for longer than a minute", len(ready), violations["starved"]),
        Check("P2", "every accepted ticket is recorded or still in its queue", lanes["tickets"], violations["lost"]),
        Check("P9", "an open lane agrees with the ledger on what is recorded", lanes["audited"], violations["differs"]),
        Check(
            "P1", "remaining, taken and unrecorded places add up to the quota", slots["counted"], violations["counters"]
        ),
        Check("P12", "queues and commands are within their bounds", lanes["audited"], violations["unbounded"]),
    ]


def _audit_lane(
    consumer: LaneConsumer, ledger: psycopg.Connection, office: str
) -> tuple[LaneState, LaneRow, int] | None:
    """Returns a lane, its ledger row and its number of wrong counters. The lease prevents decisions meanwhile.

    Returns None if the lane could not be leased, or a consumer took the lease over.
    """
    lease = _wait_for_lease(consumer, office)
    if lease is None:
        return None
    try:
        decided = sole(consumer.decide([lease], 0))  # returns the outbox without new decisions
        lane = consumer.audit(office)
        row = LaneRow(*ledger.execute(sql("lane"), {"office": office}).fetchone() or (0, 0, 0, 0, 0))
        wrong = 0
        if row.last_command == lane.settled_command:  # otherwise the next settle updates the lane
            outbox = [] if isinstance(decided, CommandBatch) else decided.decisions
            wrong = _wrong_counters(ledger, office, lane, outbox)
        consumer.leave(lease)
    except (FencedError, LaneBrokenError):  # a broken lane is quarantined by the next consumer, which violates P15
        return None
    return lane, row, wrong


def _wait_for_lease(consumer: LaneConsumer, office: str) -> Lease | None:
    """Returns the lane's lease once a consumer releases it, or None after two lease times."""
    ends = time.monotonic() + 2 * LEASE.total_seconds()
    while (lease := consumer.lease(office)) is None and time.monotonic() < ends:
        time.sleep(0.002)
    return lease


def _wrong_counters(ledger: psycopg.Connection, office: str, lane: LaneState, outbox: Sequence[Decision]) -> int:
    """Returns the number of slots whose remaining, taken, and confirmed but unrecorded places do not make the quota."""
    confirmed = [d for d in outbox if d.first_number]
    rows = ledger.execute(sql("outcomes"), {"booking_ids": [UUID(bytes=d.entry.booking_id) for d in confirmed]})
    recorded = {(booking_id, ticket): state for booking_id, _, ticket, state, _ in rows}
    out, numbers = Counter[Slot](), Counter[Slot]()
    for decision in confirmed:
        state = recorded.get((UUID(bytes=decision.entry.booking_id), decision.ticket))
        out[decision.entry.slot] += decision.party_size if state in {None, State.REJECTED} else 0
        numbers[decision.entry.slot] += decision.party_size if state is None else 0
    wrong = 0
    for day, session, quota, taken, last_number, closed in ledger.execute(
        sql("slots"), {"office": office, "since": date.min}
    ):
        slot = Slot(day, Session(session))
        right = (quota, quota - taken - out[slot], last_number + numbers[slot] + 1, closed)
        wrong += lane.counters.get(slot, right) != right
    return wrong


def _requests_check(redis: Redis, ledger: psycopg.Connection) -> Check:
    """Checks the requests that Redis remembers against their bookings in the ledger."""
    examined = violations = 0
    for buckets in _key_batches(redis, "requests:*"):
        with redis.pipeline(transaction=False) as pipeline:
            for bucket in buckets:
                pipeline.hgetall(bucket)
            entries = pipeline.execute()
        known = {UUID(bytes=name): text.split() for bucket in entries for name, text in bucket.items()}
        examined += len(known)
        for name, office, ticket, *_ in ledger.execute(sql("outcomes"), {"booking_ids": list(known)}):
            violations += (office, ticket) != (known[name][1].decode(), int(known[name][2]))
    return Check("P5", "a request names one booking, the same in Redis and in the ledger", examined, violations)


def _bars_check(redis: Redis, ledger: psycopg.Connection, consumer: LaneConsumer) -> Check:
    """Checks the bars in Redis against the ledger's. Rechecks differences for two lease times, in which lanes settle."""
    what, ends = "Redis and the ledger bar the same people", time.monotonic() + 2 * LEASE.total_seconds()
    examined, differ = _differing_bars(redis, ledger, consumer)
    while differ and time.monotonic() < ends:
        time.sleep(0.1)
        differ &= _differing_bars(redis, ledger, consumer)[1]
    return Check("P10", what, examined, len(differ))


def _differing_bars(
    redis: Redis, ledger: psycopg.Connection, consumer: LaneConsumer
) -> tuple[int, set[tuple[bytes, bytes]]]:
    """Returns the number of bars in the ledger, and the bars (applicant key, missed booking) that only one store has."""
    if not consumer.is_restored():  # lanes are closed until the rebuild, which violates P15
        return 0, set()
    ledger_bars = {(key, missed.bytes): synced for key, missed, synced in ledger.execute(sql("synced_bars"))}
    now, barred, holders = consumer.now(), set[tuple[bytes, bytes]](), set[bytes]()
    for entries in _applicant_batches(redis):
        holders |= {key for key, entry in entries if entry[:1] in _HELD}
        barred |= {
            (key, missed) for key, entry in entries for missed, bar_ends, _ in read_bars(entry) if bar_ends > now
        }
    lacking = {bar for bar, is_synced in ledger_bars.items() if is_synced and bar[0] not in holders} - barred
    return len(ledger_bars), lacking | (barred - ledger_bars.keys())


def _verified_check(redis: Redis, ledger: psycopg.Connection) -> Check:
    """Checks who is verified according to Redis against the ledger."""
    examined = violations = 0
    for entries in _applicant_batches(redis):
        live = ledger.execute(sql("verified_people"), {"keys": [key for key, _ in entries]})
        verified = {(key, booking_id.bytes): verified for key, booking_id, verified in live}
        for key, entry in entries:
            if (
                entry[:1] in _HELD and (key, entry[1:17]) in verified
            ):  # otherwise one store is about to follow the other
                examined += 1
                violations += (entry[:1] == b"V") != verified[key, entry[1:17]]
    return Check("P4", "Redis and the ledger call the same people verified", examined, violations)


def _applicant_batches(redis: Redis) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yields the applicant keys in Redis with their entries, in batches."""
    for buckets in _key_batches(redis, "applicants:*"):
        with redis.pipeline(transaction=False) as pipeline:
            for bucket in buckets:
                pipeline.hgetall(bucket)
            yield [pair for bucket in pipeline.execute() for pair in bucket.items()]


def _nik_check(redis: Redis) -> Check:
    """Searches everything in Redis for NIKs."""
    read: dict[bytes, Callable[[Pipeline, bytes], Any]] = {
        b"string": lambda pipeline, key: pipeline.get(key),
        b"hash": lambda pipeline, key: pipeline.hgetall(key),
        b"list": lambda pipeline, key: pipeline.lrange(key, 0, -1),
        b"set": lambda pipeline, key: pipeline.smembers(key),
        b"zset": lambda pipeline, key: pipeline.zrange(key, 0, -1),
        b"stream": lambda pipeline, key: pipeline.xrange(key),
    }
    examined = violations = 0
    for keys in _key_batches(redis, "*"):
        with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.type(key)
            kinds = pipeline.execute()
            readable = [(key, read[kind]) for key, kind in zip(keys, kinds, strict=True) if kind in read]
            for key, query in readable:
                query(pipeline, key)
            values = pipeline.execute()
        for (key, _), value in zip(readable, values, strict=True):
            texts, niks = count_niks(key, value)
            examined, violations = examined + texts, violations + niks
    return Check("P14", "no unencrypted NIK in Redis", examined, violations)


def _key_batches(redis: Redis, pattern: str) -> Iterator[list[bytes]]:
    """Yields the keys of that pattern in batches, each to be read in one round trip."""
    keys = redis.scan_iter(pattern, count=1000)
    while batch := list(islice(keys, _KEY_BATCH)):
        yield batch
