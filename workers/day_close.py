"""What becomes of days: those on which nobody is served any more are closed; when one is over, who did not come is barred."""

import logging
from datetime import date, timedelta
from itertools import groupby

from antrian import rules
from antrian.booking import Policy
from antrian.lane.codec import milliseconds
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.recorder import LedgerRecorder
from antrian.unserved_days import close_unserved_days

_GRACE = timedelta(minutes=1)  # a bar that was just lifted may still be at its desk
_log = logging.getLogger(__name__)


def finish_days(consumer: LaneConsumer, ledger: LedgerRecorder, policy: Policy) -> int:
    """Ends days that are over, also those of an outage; answers how many. Safe to repeat, and to run twice at once.

    A day's people are told to Redis until that is noted, so a crash between the two steps costs nothing; it also heals
    check-ins whose second step was lost. A Redis that went back in time is told again of all bars that may still hold.
    """
    last_synced = ledger.days.last_synced(_GRACE)
    if last_synced and consumer.told() < milliseconds(last_synced):
        _log.error("Redis does not know of days that it was told of: it went back in time, and is told again")
        ledger.days.mark_unsynced((consumer.now() - timedelta(days=policy.bar_days + 2)).date())
        consumer.note_synced(last_synced)
    unserved = ledger.unserved_days(policy)
    close_unserved_days(consumer, unserved, policy)
    # Nobody may be barred for a day without service, and days are done in order: they wait until it is closed.
    waiting = {day.office_id for day in unserved if day.over}
    for office_id, day, time_zone in ledger.days.over(waiting):
        last_day, ends_at = rules.bar_ends(policy, time_zone, day)
        ledger.days.finish(office_id, day, last_day, ends_at)
    told = 0
    for office_id, day, done_at in ledger.days.unsynced():
        if _tell(consumer, ledger, office_id, day):
            consumer.note_synced(done_at)
            ledger.days.told(office_id, day)
            _log.info("%s is done for %s", office_id, day)
            told += 1
    return told


def _tell(consumer: LaneConsumer, ledger: LedgerRecorder, office_id: str, day: date) -> bool:
    """Tells Redis of a day's people; not while the lane's commands, which lifts bars, is served: then later."""
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
