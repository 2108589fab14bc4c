"""One turn of one lane: decide, record, settle. The heart; read it with the scripts of antrian/lane and record.sql."""

import logging
from datetime import datetime, timedelta

from antrian import rules
from antrian.booking import Office, Policy
from antrian.lane.drainer import LaneBroken, LaneDrainer, Lease, Stock
from antrian.ledger.recorder import LedgerGap, LedgerRecorder

TURN = 256
"""The most tickets of a turn."""

_log = logging.getLogger(__name__)


class Drain:
    """Drains lanes, a turn at a time."""

    def __init__(self, line: LaneDrainer, ledger: LedgerRecorder, policy: Policy) -> None:
        self.line = line
        self.ledger = ledger
        self.policy = policy
        self._calendar = rules.calendar_mark(policy)

    def stock_mark(self, moment: datetime) -> str:
        """What a lane says of its stock when it has counters for all slots that can be booked, now and next week."""
        return f"{rules.stock_until(self.policy, moment)} {self._calendar}"

    def turn(self, lease: Lease, office: Office) -> int:
        """Serves the leased lane once and gives it back; answers how many tickets were decided.

        Whatever dies between two steps, the next drainer's decide hands out the same decisions again, and record and
        settle may be repeated. A lease that is not given back runs out, and the sweep marks its lane ready.
        Raises Fenced or LedgerFenced when a newer drainer has the lane, and the stores' errors.
        """
        if lease.known and not lease.opened:
            return 0  # closed until it is rebuilt
        try:
            if lease.stocked != self.stock_mark(lease.now):
                lease = self.prepare(lease, office)
            decisions = self.line.decide(lease, TURN)
            verdicts = self.ledger.record(lease.office_id, lease.token, decisions) if decisions else ""
            self.line.settle(lease, verdicts)
        except (LaneBroken, LedgerGap) as problem:
            _log.critical("lane closed, Redis and the ledger do not agree: %s", problem)
            self.line.shut(lease)
            return 0
        return len(decisions)

    def prepare(self, lease: Lease, office: Office) -> Lease:
        """Creates the slots of the coming weeks, gives the lane their counters, and opens it if it is new."""
        policy, until = self.policy, rules.stock_until(self.policy, lease.now)
        today = lease.now.astimezone(office.time_zone).date()
        days = [today + timedelta(days=n) for n in range((until - today).days + 1)]
        percent = policy.morning_percent if office.morning_percent is None else office.morning_percent
        places = rules.split_quota(office.daily_quota, percent)
        self.ledger.plan_slots(office.office_id, [day for day in days if rules.is_service_day(policy, day)], places)
        stock = [
            Stock(
                row.slot,
                row.quota,
                row.quota - row.taken,
                row.last_number + 1,
                rules.day_begins(office.time_zone, row.slot.service_date),
            )
            for row in self.ledger.slots(office.office_id, today)
        ]
        self.line.stock(lease, stock, self.stock_mark(lease.now))
        if lease.known:
            return lease
        lane = self.ledger.open_lane(office.office_id, lease.token)
        if lane.last_ticket:
            raise LaneBroken(f"{office.office_id}: Redis lost it after ticket {lane.last_ticket}")
        return self.line.open(lease, lane.token, lane.epoch, lane.last_ticket)
