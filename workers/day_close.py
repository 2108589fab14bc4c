"""Closes days without service, finishes days that are over (which bars no-shows), and syncs them to Redis."""

import logging
from datetime import date, timedelta
from itertools import groupby

from antrian import rules
from antrian.booking import Policy
from antrian.lane.codec import milliseconds
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.recorder import LedgerRecorder
from antrian.unserved_days import close_unserved_days

_GRACE = timedelta(minutes=1)  # the command of a bar that was just lifted may not be settled yet
_log = logging.getLogger(__name__)


def finish_days(consumer: LaneConsumer, ledger: LedgerRecorder, policy: Policy) -> int:
    """Finishes days that are over, including those of an outage, and syncs them to Redis. Returns how many it synced.

    Safe to repeat, and to run twice at the same time. A day is synced again until the ledger has noted it as synced, so a
    crash between the two steps loses nothing; this also repairs check-ins whose second step was lost. When Redis was
    restored from an older copy, all bars that may still hold are synced again.
    """
    last_synced = ledger.days.last_synced(_GRACE)
    if last_synced and consumer.last_synced() < milliseconds(last_synced):
        _log.error("Redis lacks synced day closures (restored from an older copy?); syncing again")
        ledger.days.mark_unsynced((consumer.now() - timedelta(days=policy.bar_days + 2)).date())
        consumer.note_synced(last_synced)
    unserved = ledger.unserved_days(policy)
    close_unserved_days(consumer, unserved, policy)
    # Nobody may be barred for a day without service, and an office's days are finished in order, so its later days wait
    # until that day is closed.
    waiting = {day.office_id for day in unserved if day.over}
    for office_id, day, time_zone in ledger.days.over(waiting):
        last_day, ends_at = rules.bar_ends(policy, time_zone, day)
        ledger.days.finish(office_id, day, last_day, ends_at, verified_only=policy.bar_verified_only)
    synced = 0
    for office_id, day, done_at in ledger.days.unsynced():
        if _sync(consumer, ledger, office_id, day):
            consumer.note_synced(done_at)
            ledger.days.mark_synced(office_id, day)
            _log.info("%s: finished %s", office_id, day)
            synced += 1
    return synced


def _sync(consumer: LaneConsumer, ledger: LedgerRecorder, office_id: str, day: date) -> bool:
    """Syncs a day's people to Redis: releases those who came, bars the others.

    Returns False when commands of the lane, which may lift bars, are settled meanwhile: sync the day again later.
    """
    settled_command = consumer.settled_command(office_id)
    people = ledger.days.people(office_id, day)
    came = [(p.booking_id, p.applicant_key) for p in people if p.ends_at is None]
    if not consumer.release(office_id, settled_command, came):
        return False
    for (ends_at, last_day), group in groupby(people, key=lambda p: (p.ends_at, p.last_day)):
        barred = [(p.booking_id, p.applicant_key) for p in group]
        if (
            ends_at
            and last_day
            and not consumer.release(office_id, settled_command, barred, ends_at, last_day.isoformat())
        ):
            return False
    return True
