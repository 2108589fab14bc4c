"""A shift: the RQ job in which a worker serves ready lanes for a few seconds."""

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from redis.exceptions import RedisError

from antrian.booking import Office, Policy
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.recorder import LedgerRecorder
from antrian.policy import PolicyError
from antrian.settings import Settings
from workers.day_close import finish_days
from workers.drain import Drain
from workers.metrics import STORE_FAILURES, TURN_SECONDS, TURN_TICKETS

QUEUE = "shifts"
"""The RQ queue that every worker listens on."""

JOB = "workers.shift.work"
"""The job's path: a wire format, since jobs of an older release may wait in RQ."""

LENGTH = timedelta(seconds=10)
"""How long a shift is."""

_SWEEP_EVERY, _LEARN_EVERY = 1.0, 5.0
_BUCKETS = 4096
_log = logging.getLogger(__name__)


@dataclass
class Bench:
    """What a worker process keeps from shift to shift: its connections and the policy."""

    drain: Drain
    stopping: Callable[[], bool]
    beat: Callable[[], None]
    offices: dict[str, Office]


_bench: Bench | None = None


def init_worker(settings: Settings, policy: Policy, stopping: Callable[[], bool], beat: Callable[[], None]) -> None:
    """Readies this process for shifts; stopping says when to end one early, beat is called while it gets on."""
    global _bench  # noqa: PLW0603 - RQ calls a function by its path: what it works with is the process's
    consumer, ledger = LaneConsumer(settings.redis_url), LedgerRecorder(settings.database_url)
    _bench = Bench(Drain(consumer, ledger, policy), stopping, beat, {})


def work() -> int:
    """Serves lanes, the longest-ready first, until the shift is over or the process stops; answers tickets decided.

    About once a second it sweeps, now and then it learns of offices and ends days. When a store fails it waits, longer
    each time, and takes no lane before both stores have answered these.
    """
    assert _bench is not None, "a shift needs a worker process: python -m workers"
    drain = _bench.drain
    decided, pause, swept, learned, ends = 0, 0.1, 0.0, 0.0, time.monotonic() + LENGTH.total_seconds()
    while time.monotonic() < ends and not _bench.stopping():
        _bench.beat()
        try:
            # Jitter: many workers, not all at once.
            if time.monotonic() - learned > _LEARN_EVERY:
                more = learn(_bench)
                learned = 0.0 if more else time.monotonic() - random.uniform(0, 1)  # noqa: S311
            if time.monotonic() - swept > _SWEEP_EVERY:
                sweep(_bench)
                swept = time.monotonic() - random.uniform(0, 0.2)  # noqa: S311
            office_id = "" if drain.busy else drain.consumer.wait(0.2)
            if office_id or drain.busy:
                with TURN_SECONDS.time():
                    tickets = drain.settle_and_decide(_bench.offices, office_id)
                TURN_TICKETS.observe(tickets)
                decided += tickets
            pause = 0.1
        except (RedisError, psycopg.Error, OSError) as problem:
            STORE_FAILURES.inc()
            _log.warning("store failed, waiting %.1f s: %s", pause, problem)
            pause, swept, learned = _rest(pause), 0.0, 0.0
        except Exception:  # a fault of ours in one lane must not end the shift of the others
            _log.exception("turn failed")
            pause = _rest(pause)
    with suppress(RedisError, psycopg.Error, OSError):  # whoever takes these lanes next finishes it
        decided += drain.finish(_bench.offices)
    return decided


def _rest(pause: float) -> float:
    time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
    return min(pause * 2, 2.0)


def learn(bench: Bench) -> int:
    """Learns of new offices and of another policy, and ends some of the days that are over; answers how many these were."""
    drain = bench.drain
    bench.offices = {office.office_id: office for office in drain.ledger.offices()}
    try:
        policy = drain.ledger.policy()
    except PolicyError as problem:  # of a newer Antrian: what we have is better than nothing
        _log.error("going on by version %d of the policy: %s", drain.policy.version, problem)
    else:
        if policy and policy.version != drain.policy.version:
            _log.info("going by version %d of the policy", policy.version)
            drain.follow(policy)
    return finish_days(drain.consumer, drain.ledger, drain.policy)


def sweep(bench: Bench) -> None:
    """Heals lanes that nobody serves, and forgets a bucket of what is over."""
    consumer = bench.drain.consumer
    consumer.sweep(list(bench.offices), bench.drain.inventory_version(consumer.now()))
    consumer.expire(random.randrange(_BUCKETS))  # noqa: S311 - which one does not matter
