"""Turns of lanes: decide, record, settle. The heart; read it with the scripts and statements of these names."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from antrian import rules
from antrian.booking import Office, Policy
from antrian.lane.drainer import DeskBatch, Fenced, LaneBroken, LaneDrainer, Lease, Stock, Turn
from antrian.ledger.desk import SlotRow, days_of
from antrian.ledger.fence import LedgerFenced, LedgerGap
from antrian.ledger.recorder import LedgerRecorder
from workers.metrics import LEASES_LOST, count_decided, count_desk

TURN = 256
"""The most tickets of a turn."""

_NOT_OURS = (Fenced, LaneBroken, LedgerGap, LedgerFenced)
_log = logging.getLogger(__name__)


class Drain:
    """Drains lanes, a turn of each at a time: those of many in one go, since a commit costs as much for one as for many."""

    def __init__(self, line: LaneDrainer, ledger: LedgerRecorder, policy: Policy) -> None:
        self.line = line
        self.ledger = ledger
        self.policy = policy
        self._calendar = rules.calendar_mark(policy)

    def stock_mark(self, moment: datetime) -> str:
        """What a lane says of its stock when it has counters for all slots that can be booked, now and next week."""
        return f"{rules.stock_until(self.policy, moment)} {self._calendar}"

    def serve(self, leases: Sequence[Lease], offices: Mapping[str, Office]) -> int:
        """Serves leased lanes once each, its desk or its line, and gives them back; answers how many tickets were decided.

        Whatever dies between two steps, the next drainer's decide hands out the same decisions again, and record and
        settle may be repeated. A lease that is not given back runs out, and the sweep marks its lane ready. A lane that a
        newer drainer has is left to that one. Raises the stores' errors.
        """
        ready = (self.ready(lease, offices[lease.office_id]) for lease in leases)
        lanes = {lease.office_id: lease for lease in ready if lease}
        turns, recorded = [], []
        answers = self.line.decide(list(lanes.values()), TURN) if lanes else []
        for lease, decided in zip(lanes.values(), answers, strict=True):
            match decided:
                case Turn():
                    turns.append(decided)
                case DeskBatch():
                    try:
                        self.serve_desk(lease, offices[lease.office_id], decided)
                    except _NOT_OURS as problem:
                        self.give_up(lease, problem)
                case why_not:
                    self.give_up(lease, why_not)
        for turn, said in zip(turns, self.ledger.record(turns) if turns else [], strict=True):
            if isinstance(said, str):
                recorded.append((turn, said))
            else:
                self.give_up(lanes[turn.office_id], said)
        verdicts = [(lanes[turn.office_id], said) for turn, said in recorded]
        for (turn, said), unsettled in zip(recorded, self.line.settle(verdicts) if verdicts else [], strict=True):
            if unsettled:
                self.give_up(lanes[turn.office_id], unsettled)
            else:
                count_decided(turn.decisions, said)
        return sum(len(said) for _, said in recorded)

    def ready(self, lease: Lease, office: Office) -> Lease | None:
        """The lease of a lane that is open and has its stock, or None: it is given up."""
        try:
            if not lease.known:
                return self.open(lease, office)
            if lease.stocked != self.stock_mark(lease.now):
                self.stock(lease, office)
        except _NOT_OURS as problem:
            self.give_up(lease, problem)
            return None
        return lease

    def give_up(self, lease: Lease, problem: Exception) -> None:
        """Leaves the lane to a newer drainer; or, where Redis and the ledger do not agree, closes it until it is rebuilt."""
        try:
            if isinstance(problem, Fenced):
                raise problem
            self.line.shut(lease)  # raises Fenced when Redis knows of a newer drainer: then all is well
        except Fenced:
            LEASES_LOST.inc()
            _log.warning("a newer drainer has the lane %s", lease.office_id)
        else:
            _log.critical("lane closed, Redis and the ledger do not agree: %s: %s", type(problem).__name__, problem)

    def serve_desk(self, lease: Lease, office: Office, batch: DeskBatch) -> None:
        """Has the ledger judge what the desk asks, and makes the lane follow it."""
        self.plan(office, days_of(batch.entries))
        said = self.ledger.record_desk(lease.office_id, lease.token, batch)
        self.line.settle_desk(lease, batch, [_stock(office, row) for row in said.slots], said.freed)
        count_desk(batch.entries)

    def open(self, lease: Lease, office: Office) -> Lease:
        """Opens a lane that Redis has never seen. One that it has lost stays closed until it is rebuilt."""
        epoch = self.ledger.epoch(lease.office_id)  # before stock, which asks whether the lease is still ours
        if not self.line.is_whole() and not self.ledger.any_ticket():
            self.line.make_whole()  # the very first start: there is nothing that Redis could lack
        self.stock(lease, office)
        lane = self.ledger.open_lane(office.office_id, epoch)
        if lane.last_ticket:
            raise LaneBroken(f"{office.office_id}: Redis lost it after ticket {lane.last_ticket}")
        return self.line.open(lease, lane.token, lane.epoch, lane.last_ticket, lane.last_desk)

    def stock(self, lease: Lease, office: Office) -> None:
        """Creates the slots of the coming weeks and gives the lane their counters."""
        until = rules.stock_until(self.policy, lease.now)
        today = lease.now.astimezone(office.time_zone).date()
        self.plan(office, [today + timedelta(days=n) for n in range((until - today).days + 1)])
        slots = self.ledger.slots(office.office_id, today)
        self.line.stock(lease, [_stock(office, row) for row in slots], self.stock_mark(lease.now))

    def plan(self, office: Office, days: Sequence[date]) -> None:
        """Creates the slots that the office lacks on those of the days that are service days."""
        percent = self.policy.morning_percent if office.morning_percent is None else office.morning_percent
        served = [day for day in days if rules.is_service_day(self.policy, day)]
        if served:
            self.ledger.plan_slots(office.office_id, served, rules.split_quota(office.daily_quota, percent))


def _stock(office: Office, row: SlotRow) -> Stock:
    begins = rules.day_begins(office.time_zone, row.slot.service_date)
    return Stock(row.slot, row.quota, row.quota - row.taken, row.last_number + 1, begins, row.closed)
