"""Turns of lanes: decide, record, settle. The heart; read it with the scripts and statements of these names."""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

from antrian import rules
from antrian.booking import Office, Policy, UndoCheckIn
from antrian.lane.consumer import (
    LEASE,
    CommandBatch,
    FencedError,
    LaneBrokenError,
    LaneConsumer,
    Lease,
    SlotCounters,
    Taken,
    Turn,
)
from antrian.ledger.commands import SlotRow, days_of
from antrian.ledger.fence import LedgerBusyError, LedgerFencedError, LedgerGapError
from antrian.ledger.recorder import LedgerRecorder
from antrian.ledger.turns import Recorded
from workers.metrics import LEASES_LOST, count_commands, count_decided

TURN = 512
"""The most tickets of a turn."""

LANES = 32
"""The most lanes of a go; fewer where much waits, so that other workers have some, too."""

Go = list[tuple[Lease, Turn]]
"""Turns of different lanes that are decided, recorded and settled together, since a commit costs as much for one as for
many; each with its lease."""

_ATTEND = LEASE.total_seconds() / 3
_NOT_OURS = (FencedError, LaneBrokenError, LedgerGapError, LedgerFencedError, LedgerBusyError)
_log = logging.getLogger(__name__)


class Drain:
    """Drains lanes, a go at a time; while the ledger records one, the next is decided.

    Whatever dies between two steps, the next drainer's decide hands out the same decisions again, and record and settle
    may be repeated. A lease that is not given back runs out, and the sweep marks its lane ready. A lane that a newer
    drainer has is left to that one. All raise the stores' errors.
    """

    def __init__(self, consumer: LaneConsumer, ledger: LedgerRecorder, policy: Policy) -> None:
        self.consumer = consumer
        self.ledger = ledger
        self.follow(policy)
        self._now = datetime.fromtimestamp(0, UTC)  # as of the latest lease
        self._clerk = ThreadPoolExecutor(1, "record")
        self._recording: tuple[Go, Future[list[Recorded]]] | None = None
        self._recorded: list[tuple[Lease, Turn, str]] = []

    def follow(self, policy: Policy) -> None:
        """Goes by this policy from the next go on."""
        self.policy = policy
        self._calendar = rules.calendar_version(policy)

    @property
    def busy(self) -> bool:
        """Whether a go is under way."""
        return bool(self._recording or self._recorded)

    def settle_and_decide(self, offices: Mapping[str, Office], office_id: str = "", *, lanes: int = LANES) -> int:
        """Settles the go that is recorded, and decides the next while the ledger records the one between them.

        The next has the given office's lane and those that have been ready for longest, at most so many. Answers how many
        tickets were settled.
        """
        recorded = self._recorded
        settled, taken = self.consumer.settle_and_decide(
            [(lease, said) for lease, _, said in recorded], self.inventory_version(self._time()), office_id,
            lanes=lanes, tickets=TURN, most=TURN,
        )  # fmt: skip
        taken_at = time.monotonic()
        self._recorded = []
        tickets = self.settled(recorded, settled)
        go, others = self.decided(taken, offices)
        if self._recording:
            before, future = self._recording
            self._recording = None
            self._recorded = self.said(before, future.result())
        if go:
            turns, version = [turn for _, turn in go], self.policy.version or None
            self._recording = go, self._clerk.submit(self.ledger.record, turns, version)
        self.attend(others, offices, taken_at)  # last: the go must not wait for them, its leases run
        return tickets

    def finish(self, offices: Mapping[str, Office]) -> int:
        """Finishes what is under way, without another go; answers how many tickets were settled."""
        tickets = 0
        while self.busy:
            tickets += self.settle_and_decide(offices, lanes=0)
        return tickets

    def decided(self, taken: Sequence[Taken], offices: Mapping[str, Office]) -> tuple[Go, list[Taken]]:
        """The turns of lanes that were taken, and the other lanes: what their desks have, or nothing where they lack stock."""
        go, others = Go(), []
        for one in taken:
            self._now = max(self._now, one.lease.now)
            match one.decided:
                case Turn() as turn:
                    go.append((one.lease, turn))
                case FencedError() | LaneBrokenError() as problem:
                    self.quarantine_or_yield(one.lease, problem)
                case _ if one.lease.office_id in offices:
                    others.append(one)
        return go, others

    def attend(self, lanes: Sequence[Taken], offices: Mapping[str, Office], taken_at: float) -> None:
        """Serves the desks of lanes; opens and stocks those that need it, to be decided in a later go.

        One after the other, and each takes some messages: what is left of them when it takes long is given back untouched,
        since their leases would run out one by one, and whoever has the lanes then would fare the same.
        """
        for n, one in enumerate(lanes):
            office = offices[one.lease.office_id]
            try:
                if n and time.monotonic() > taken_at + _ATTEND:
                    self.consumer.leave(one.lease)
                elif isinstance(one.decided, CommandBatch):
                    self.execute_commands(one.lease, office, one.decided)
                else:
                    self.consumer.leave(self.ready(one.lease, office))
            except _NOT_OURS as problem:
                self.quarantine_or_yield(one.lease, problem)

    def said(self, go: Go, recorded: Sequence[Recorded]) -> list[tuple[Lease, Turn, str]]:
        """The turns that the ledger has recorded, with its verdicts; lanes whose turns it refused are given up."""
        done = []
        for (lease, turn), said in zip(go, recorded, strict=True):
            if isinstance(said, str):
                done.append((lease, turn, said))
            else:
                self.quarantine_or_yield(lease, said)
        return done

    def settled(
        self, recorded: Sequence[tuple[Lease, Turn, str]], problems: Sequence[FencedError | LaneBrokenError | None]
    ) -> int:
        """Counts the tickets of turns that are settled; gives up lanes where there was a problem."""
        tickets = 0
        for (lease, turn, said), problem in zip(recorded, problems, strict=True):
            if problem:
                self.quarantine_or_yield(lease, problem)
            else:
                count_decided(turn.decisions, said)
                tickets += len(said)
        return tickets

    def _time(self) -> datetime:
        if not self._now.timestamp():
            self._now = self.consumer.now()
        return self._now

    def inventory_version(self, moment: datetime) -> str:
        """What a lane says of its stock when it has counters for all slots that can be booked, now and next week."""
        return f"{rules.inventory_until(self.policy, moment)} {self._calendar}"

    def ready(self, lease: Lease, office: Office) -> Lease:
        """Opens or stocks a lane if it needs it; the lease to go on with. Raises why it cannot be had."""
        if not lease.known:
            return self.open(lease, office)
        if lease.inventory_version != self.inventory_version(lease.now):
            self.load_counters(lease, office)
        return lease

    def quarantine_or_yield(self, lease: Lease, problem: Exception) -> None:
        """Leaves the lane to a newer drainer; or, where Redis and the ledger do not agree, closes it until it is rebuilt.

        One that is held in the ledger is left until its lease runs out.
        """
        if isinstance(problem, LedgerBusyError):
            _log.warning("somebody holds the lane %s in the ledger", lease.office_id)
            return
        try:
            if isinstance(problem, FencedError):
                raise problem
            self.consumer.quarantine(lease)  # raises Fenced when Redis knows of a newer drainer: then all is well
        except FencedError:
            LEASES_LOST.inc()
            _log.warning("a newer drainer has the lane %s", lease.office_id)
        else:
            _log.critical("lane closed, Redis and the ledger do not agree: %s: %s", type(problem).__name__, problem)

    def execute_commands(self, lease: Lease, office: Office, batch: CommandBatch) -> None:
        """Has the ledger judge what the desk asks, and makes the lane follow it.

        Raises Fenced, LaneBroken, LedgerFenced or LedgerGap when the batch does not fit the lane or the ledger: what is
        to be done then, the caller knows.
        """
        self.plan(office, days_of(batch.entries))
        if any(isinstance(entry, UndoCheckIn) for entry in batch.entries):
            batch = self.consumer.claim(lease, batch)
        said = self.ledger.record_commands(lease.office_id, lease.token, batch)
        self.consumer.settle_commands(
            lease, batch, [_slot_counters(office, row) for row in said.slots], said.freed, said.lifted_at
        )
        count_commands(batch.entries)

    def open(self, lease: Lease, office: Office) -> Lease:
        """Opens a lane that Redis has never seen. One that it has lost stays closed until it is rebuilt."""
        epoch = self.ledger.epoch(lease.office_id)  # before stock, which asks whether the lease is still ours
        if not self.consumer.is_restored() and not self.ledger.any_ticket():
            self.consumer.mark_restored()  # the very first start: there is nothing that Redis could lack
        self.load_counters(lease, office)
        lane = self.ledger.open_lane(office.office_id, epoch)
        if lane.last_ticket:
            raise LaneBrokenError(f"{office.office_id}: Redis lost it after ticket {lane.last_ticket}")
        return self.consumer.open(lease, lane.token, lane.epoch, lane.last_ticket, lane.last_command)

    def load_counters(self, lease: Lease, office: Office) -> None:
        """Creates the slots of the coming weeks and gives the lane their counters."""
        until = rules.inventory_until(self.policy, lease.now)
        today = lease.now.astimezone(office.time_zone).date()
        self.plan(office, [today + timedelta(days=n) for n in range((until - today).days + 1)])
        slots = self.ledger.slots(office.office_id, today)
        self.consumer.load_counters(
            lease, [_slot_counters(office, row) for row in slots], self.inventory_version(lease.now)
        )

    def plan(self, office: Office, days: Sequence[date]) -> None:
        """Creates the slots that the office lacks on those of the days that are service days."""
        percent = self.policy.morning_percent if office.morning_percent is None else office.morning_percent
        served = [day for day in days if rules.is_service_day(self.policy, day)]
        if served:
            self.ledger.plan_slots(office.office_id, served, rules.split_quota(office.daily_quota, percent))


def _slot_counters(office: Office, row: SlotRow) -> SlotCounters:
    begins = rules.day_begins(office.time_zone, row.slot.service_date)
    return SlotCounters(row.slot, row.quota, row.quota - row.taken, row.last_number + 1, begins, row.closed)
