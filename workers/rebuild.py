"""`python -m workers.rebuild`: closes all lanes, restores Redis from the ledger, and opens them again."""

import argparse
import json
import logging
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout
from redis import Redis
from redis.exceptions import RedisError

from antrian import rules
from antrian.booking import CommandBatch, Office, Turn
from antrian.lane.consumer import LaneConsumer
from antrian.lane.rebuild import Bar, LaneRebuilder, Restored
from antrian.lane.replies import FencedError, LaneBrokenError, Lease, sole
from antrian.ledger.connection import CONNECT
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from antrian.ledger.keys import check_keys
from antrian.ledger.recorder import LedgerRecorder
from antrian.logs import log_to_stderr
from antrian.policy import PolicyError, load_policy
from antrian.process import hide_memory
from antrian.redis_primary import connect
from antrian.settings import Settings, SettingsError, load_settings
from workers.commands import execute_commands
from workers.drain import MAX_TICKETS
from workers.lane_setup import LaneSetup, slot_counters

_PIECE = 500
_log = logging.getLogger("rebuild")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    offices: lanes that are open again. finished: tickets that were still in Redis and are decided now. lost: queued
    requests and commands that did not match the ledger and were dropped. bookings, bars: how many were restored to Redis.
    seconds: how long the lanes were closed.
    """

    offices: int
    finished: int
    lost: int
    bookings: int
    bars: int
    seconds: float


class Rebuild:
    """Restores Redis from the ledger, without losing anything that the ledger or an intact lane has."""

    def __init__(self, settings: Settings, consumer: LaneConsumer, ledger: LedgerRecorder, redis: Redis) -> None:
        self._keys = settings.make_keys()
        self._consumer, self._ledger = consumer, ledger
        self._redis = redis
        self._setup = LaneSetup(consumer, ledger, ledger.policy() or load_policy(settings.policy_file))

    def run(self) -> Rebuilt:
        """Closes every lane, finishes what survives in Redis, empties Redis, restores it from the ledger, opens the lanes.

        When it fails or is stopped in between, the lanes stay closed: run it again. Raises FencedError or
        LedgerFencedError when another rebuild runs, and the errors of the stores.
        """
        began, lanes = time.monotonic(), LaneRebuilder(self._redis)
        self._consumer.set_clock(self._ledger.clock_ahead())
        acquired = [(office, lanes.force_acquire(office.office_id)) for office in self._ledger.offices()]
        epochs = [self._ledger.epoch(office.office_id) for office, _ in acquired]
        results = [self._finish(office, lease) for office, lease in acquired]
        finished = sum(tickets for tickets, _ in results)
        acquired = [(office, lease) for (office, _), (_, lease) in zip(acquired, results, strict=True)]
        _log.info("%d lanes closed, %d tickets finished", len(acquired), finished)
        lost, opened = 0, []
        for (office, lease), epoch in zip(acquired, epochs, strict=True):
            lost += lanes.clear(lease)  # also checks that the lease is still valid
            # Redis may have issued tickets and lost them: at most the lane's bound. From here on the ledger refuses older
            # tokens, so what is read from it below is complete.
            opened.append(self._ledger.open_lane(office.office_id, epoch, skip=self._setup.policy.lane_bound))
        lanes.clear_people()
        bookings, bars = self._restore_bookings(lanes), self._restore_bars(lanes)
        _log.info("%d bookings and %d bars restored", bookings, bars)
        for office, lease in acquired:
            self._setup.load_counters(lease, office)
        if last_synced := self._ledger.days.last_synced(timedelta(0)):
            self._consumer.note_synced(last_synced)
        lanes.mark_restored()
        for (_, lease), lane in zip(acquired, opened, strict=True):
            self._consumer.open(lease, lane.token, lane.epoch, lane.last_ticket, lane.last_command)
        return Rebuilt(len(opened), finished, lost, bookings, bars, round(time.monotonic() - began, 3))

    def _finish(self, office: Office, lease: Lease) -> tuple[int, Lease]:
        """Decides, records and settles what the lane still has, if it matches the ledger. Returns the number of tickets.

        The rest stays in the lane: LaneRebuilder.clear removes and counts it.
        """
        finished, caught_up = 0, False
        decided: Turn | CommandBatch | None = None
        try:
            while lease.known:
                decided = self._next(lease, decided)
                try:
                    if isinstance(decided, CommandBatch):
                        execute_commands(self._setup, lease, office, decided)
                    elif decided.decisions:
                        sole(self._consumer.settle([(lease, self._record(decided))]))
                        finished += len(decided.decisions)
                    else:
                        break
                except (LedgerGapError, LedgerFencedError):
                    if caught_up:
                        raise
                    lease, caught_up = self._catch_up(office, lease), True
        except (LaneBrokenError, LedgerGapError, LedgerFencedError) as problem:
            _log.warning("dropping what Redis has of a lane, which does not match the ledger: %s", problem)
        return finished, lease

    def _catch_up(self, office: Office, lease: Lease) -> Lease:
        """Makes the lane follow the ledger, if the tickets that only the ledger has settled are those of the lane's queue.

        A Redis that took over without the latest decisions is behind the ledger, but the requests that joined since are in
        its queue: they keep their tickets and are decided next. Returns the lease to continue with. Raises LedgerGapError if
        the tickets differ: the lane is not the one that the ledger knows.
        """
        first = self._consumer.audit(office.office_id).settled + 1
        recorded = self._ledger.tickets_since(office.office_id, first)
        last = max(recorded, default=0)
        queued = self._consumer.queued(office.office_id, first, last)
        if not recorded or any(queued.get(ticket) != booking_id for ticket, booking_id in recorded.items()):
            raise LedgerGapError(f"{office.office_id}: the ledger has other tickets than its queue from {first} on")
        since = lease.now.astimezone(office.time_zone).date()
        slots = [slot_counters(office, row) for row in self._ledger.slots(office.office_id, since)]
        token = max(lease.token, self._ledger.last_token(office.office_id)) + 1
        _log.warning("%s catches up with the ledger, up to ticket %d", office.office_id, last)
        return self._consumer.catch_up(lease, token, last, slots)

    def _record(self, decided: Turn) -> str:
        results: str = sole(self._ledger.record([decided], self._setup.policy.version or None))
        return results

    def _next(self, lease: Lease, before: Turn | CommandBatch | None) -> Turn | CommandBatch:
        """Returns the lane's next turn or commands.

        Raises LaneBrokenError when they are the same as before: settling them had no effect.
        """
        decided: Turn | CommandBatch = sole(self._consumer.decide([lease], MAX_TICKETS))
        if decided == before:
            raise LaneBrokenError(f"{lease.office_id}: the lane returned what was already settled")
        return decided

    def _restore_bookings(self, lanes: LaneRebuilder) -> int:
        policy, now, restored = self._setup.policy, self._consumer.now(), 0
        keep_until = lru_cache(
            lambda day: max((w.closes_at + policy.remembered for w in rules.windows_for(policy, day)), default=now)
        )
        since = now.date() - policy.remembered - timedelta(weeks=policy.horizon_weeks + 1)

        def booking(
            booking_id: UUID,
            fingerprint: str,
            office_id: str,
            ticket: int,
            day: date,
            caller: str,
            account: str,
            held: bytes,
        ) -> Restored:
            keep, owner = keep_until(day), self._keys.owner(caller, account)
            return Restored(booking_id.bytes, fingerprint if keep > now else "", office_id, ticket, keep, owner, held)

        rows = self._ledger.known_bookings(since)
        while piece := [booking(*row) for row in islice(rows, _PIECE)]:
            lanes.restore(piece, [])
            restored += len(piece)
        return restored

    def _restore_bars(self, lanes: LaneRebuilder) -> int:
        bars = [Bar(missed.bytes, key, ends, day.isoformat()) for key, missed, ends, day in self._ledger.bars()]
        for n in range(0, len(bars), _PIECE):
            lanes.restore([], bars[n : n + _PIECE])
        return len(bars)


def main() -> int:
    """Returns the exit code: 0 if all lanes are open again, 1 if it failed, 2 if settings or keys are wrong."""
    parser = argparse.ArgumentParser(
        "antrian rebuild",
        description="Close all lanes, restore Redis from the ledger, and open the lanes again. Servers and workers may keep "
        "running: requests get LANE_CLOSED meanwhile. Settings come from ANTRIAN_* in the environment.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON, for programs.")
    arguments = parser.parse_args()
    hide_memory()
    try:
        settings = load_settings()
        log_to_stderr(settings.log_level)
        with psycopg.connect(settings.database_url, autocommit=True, **CONNECT) as connection:
            check_keys(connection, settings.make_keys())
        with (
            closing(LaneConsumer(settings.redis_url, replicas=settings.replicas)) as consumer,
            LedgerRecorder(settings.database_url) as ledger,
            connect(settings.redis_url) as redis,
        ):
            done = Rebuild(settings, consumer, ledger, redis).run()
    except (SettingsError, PolicyError) as error:
        print(f"rebuild: {error}", file=sys.stderr)
        return 2
    except (RedisError, psycopg.Error, PoolTimeout, OSError, FencedError, LedgerFencedError, LaneBrokenError) as error:
        print(f"rebuild: lanes are still closed, run it again: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(asdict(done)))
    else:
        print(
            f"{done.offices} lanes are open again after {done.seconds} s: {done.finished} waiting tickets were decided, "
            f"{done.lost} lost, {done.bookings} bookings and {done.bars} bars restored"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
