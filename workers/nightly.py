"""When an office's day is over: who did not come is barred, first in the ledger, then in Redis."""

import logging
from itertools import groupby

from antrian import rules
from antrian.booking import Policy
from antrian.lane.drainer import LaneDrainer
from antrian.ledger.recorder import LedgerRecorder

_log = logging.getLogger(__name__)


def finish_days(line: LaneDrainer, ledger: LedgerRecorder, policy: Policy) -> int:
    """Ends all days that are over, also those of an outage; answers how many. Safe to repeat, and to run twice at once.

    A day's people are told to Redis until that is noted, so a crash between the two steps costs nothing; it also heals
    check-ins whose second step was lost.
    """
    over = ledger.days.over()
    for office_id, day, time_zone in over:
        last_day, ends_at = rules.bar_ends(policy, time_zone, day)
        ledger.days.finish(office_id, day, last_day, ends_at)
    for office_id, day in ledger.days.untold():
        people = ledger.days.people(office_id, day)
        line.release([(p.booking_id, p.applicant_key) for p in people if p.ends_at is None])
        for (ends_at, last_day), barred in groupby(people, key=lambda p: (p.ends_at, p.last_day)):
            if ends_at and last_day:
                line.release([(p.booking_id, p.applicant_key) for p in barred], ends_at, last_day.isoformat())
        ledger.days.told(office_id, day)
        _log.info("%s is done for %s", office_id, day)
    return len(over)
