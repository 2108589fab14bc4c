"""A booking as one job, the usual way: an atomic counter in Redis, then one statement to Postgres. For any job queue."""

import os
import threading

import psycopg
from redis import Redis

REDIS, DATABASE = "BENCH_REDIS_URL", "BENCH_DATABASE_URL"
"""Where a worker finds the counters and the tables: the names of variables of its environment."""

Job = dict[str, str | int]
"""What a booking is of, as JSON has it; see _INSERT. quota: the places of its slot."""

_INSERT = """
with made as (
    insert into booking (
        booking_id, office_id, ticket, slot_id, party_size, state, first_number, fingerprint, caller, account, accepted_at,
        decided_at
    )
    values (
        %(booking_id)s::uuid, %(office_id)s, %(ticket)s, %(slot_id)s, 1, 'CONFIRMED', %(number)s, %(fingerprint)s,
        %(caller)s, %(account)s, %(accepted_at)s::timestamptz, clock_timestamp()
    )
    returning slot_id, first_number, booking_id
)
insert into applicant (slot_id, number, booking_id, applicant_key, encrypted)
select slot_id, first_number, booking_id, decode(%(applicant_key)s, 'hex'), decode(%(encrypted)s, 'hex') from made
"""
_kept = threading.local()


def counter(slot_id: str | int) -> str:
    """The key in Redis that counts the places taken of a slot."""
    return f"taken:{slot_id}"


def book(job: Job) -> None:
    """Takes the next place of the slot and writes the booking. Its connections stay, one of each to a thread."""
    if not hasattr(_kept, "redis"):
        _kept.redis = Redis.from_url(os.environ[REDIS])
        _kept.ledger = psycopg.connect(os.environ[DATABASE], autocommit=True, prepare_threshold=0)
    number = _kept.redis.incr(counter(job["slot_id"]))
    if number <= int(job["quota"]):
        _kept.ledger.execute(_INSERT, job | {"number": number})
