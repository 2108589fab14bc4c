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
from antrian.settings import WorkerSettings
from workers.day_close import finish_days
from workers.drain import LanePipeline
from workers.lane_setup import LaneSetup
from workers.metrics import STORE_FAILURES, TURN_SECONDS, TURN_TICKETS

QUEUE = "shifts"
"""The RQ queue that every worker listens on."""

JOB = "workers.shift.work"
"""The job's path: a wire format, since jobs of an older release may wait in RQ."""

LENGTH = timedelta(seconds=10)
"""The length of a shift."""

_SWEEP_EVERY, _REFRESH_EVERY = 1.0, 5.0
_BUCKETS = 4096
_log = logging.getLogger(__name__)


@dataclass
class WorkerContext:
    """What a worker process keeps from shift to shift: its connections, the policy, the offices.

    stopping: returns whether to end a shift early. heartbeat: called whenever the worker makes progress.
    """

    pipeline: LanePipeline
    setup: LaneSetup
    stopping: Callable[[], bool]
    heartbeat: Callable[[], None]
    offices: dict[str, Office]


_context: WorkerContext | None = None


def init_worker(
    settings: WorkerSettings, policy: Policy, stopping: Callable[[], bool], heartbeat: Callable[[], None]
) -> None:
    """Connects this process to the stores, so that it can work shifts."""
    global _context  # noqa: PLW0603 - RQ calls a function by its path, so its context is the process's
    consumer, ledger = (
        LaneConsumer(settings.redis_url, replicas=settings.replicas),
        LedgerRecorder(settings.database_url),
    )
    setup = LaneSetup(consumer, ledger, policy)
    _context = WorkerContext(LanePipeline(setup), setup, stopping, heartbeat, {})


def work() -> int:
    """Drains lanes, the longest ready first, until the shift or the process ends. Returns the number of settled tickets.

    Sweeps about once a second; every few seconds refreshes offices and policy, and finishes days that are over. After a
    store failed, backs off, and leases no lane before a refresh and a sweep have succeeded.
    """
    assert _context is not None, "a shift needs a worker process: python -m workers"
    context, pipeline = _context, _context.pipeline
    settled, pause, swept, refreshed, ends = 0, 0.1, 0.0, 0.0, time.monotonic() + LENGTH.total_seconds()
    while time.monotonic() < ends and not context.stopping():
        context.heartbeat()
        try:
            # Jitter, so that many workers do not do this all at once.
            if time.monotonic() - refreshed > _REFRESH_EVERY:
                more = refresh(context)
                refreshed = 0.0 if more else time.monotonic() - random.uniform(0, 1)  # noqa: S311
            if time.monotonic() - swept > _SWEEP_EVERY:
                sweep(context)
                swept = time.monotonic() - random.uniform(0, 0.2)  # noqa: S311
            office_id = "" if pipeline.in_flight else context.setup.consumer.wait(0.2)
            if office_id or pipeline.in_flight:
                with TURN_SECONDS.time():
                    tickets = pipeline.step(context.offices, office_id)
                TURN_TICKETS.observe(tickets)
                settled += tickets
            pause = 0.1
        except (RedisError, psycopg.Error, OSError) as problem:
            STORE_FAILURES.inc()
            _log.warning("store failed, waiting %.1f s: %s", pause, problem)
            pause, swept, refreshed = _back_off(pause), 0.0, 0.0
        except Exception:  # a bug in one lane must not end the shift of the others
            _log.exception("turn failed")
            pause = _back_off(pause)
    with suppress(RedisError, psycopg.Error, OSError):  # the next consumer of these lanes finishes them
        settled += pipeline.flush(context.offices)
    return settled


def _back_off(pause: float) -> float:
    time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
    return min(pause * 2, 2.0)


def refresh(context: WorkerContext) -> int:
    """Reads the offices and the policy again, and finishes some of the days that are over. Returns how many it synced."""
    setup = context.setup
    context.offices = {office.office_id: office for office in setup.ledger.offices()}
    try:
        policy = setup.ledger.policy()
    except PolicyError as problem:  # written by a newer release: the current version is better than none
        _log.error("keeping version %d of the policy: %s", setup.policy.version, problem)
    else:
        if policy and policy.version != setup.policy.version:
            _log.info("following version %d of the policy", policy.version)
            setup.follow(policy)
    return finish_days(setup.consumer, setup.ledger, setup.policy)


def sweep(context: WorkerContext) -> None:
    """Marks lanes ready that have work but no consumer, and expires one bucket of people and requests."""
    setup = context.setup
    setup.consumer.sweep(list(context.offices), setup.inventory_version(setup.consumer.now()))
    setup.consumer.expire(random.randrange(_BUCKETS))  # noqa: S311 - which one does not matter
