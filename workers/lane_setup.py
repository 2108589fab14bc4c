"""Prepares lanes: a lane can be drained once it is open, its slots exist and it has their counters."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from antrian import rules
from antrian.booking import Office, Policy
from antrian.lane.consumer import LaneConsumer
from antrian.lane.replies import LaneBrokenError, Lease, SlotCounters
from antrian.ledger.commands import SlotRow
from antrian.ledger.recorder import LedgerRecorder


class LaneSetup:
    """Opens lanes and loads their counters, by one policy at a time. All methods raise the errors of the stores."""

    def __init__(self, consumer: LaneConsumer, ledger: LedgerRecorder, policy: Policy) -> None:
        self.consumer, self.ledger = consumer, ledger
        self.follow(policy)

    def follow(self, policy: Policy) -> None:
        """Uses this policy from now on."""
        self.policy = policy
        self._calendar = rules.calendar_version(policy)

    def inventory_version(self, moment: datetime) -> str:
        """Returns the version that a lane's counters have once they cover all slots bookable now and next week."""
        return f"{rules.inventory_until(self.policy, moment)} {self._calendar}"

    def ensure_ready(self, lease: Lease, office: Office) -> Lease:
        """Opens the lane or loads its counters if needed. Returns the lease to continue with.

        Raises FencedError, and LaneBrokenError when the lane has to be rebuilt.
        """
        if not lease.known:
            return self.open_lane(lease, office)
        if lease.inventory_version != self.inventory_version(lease.now):
            self.load_counters(lease, office)
        return lease

    def open_lane(self, lease: Lease, office: Office) -> Lease:
        """Opens a lane that Redis has never seen. Raises LaneBrokenError for one that Redis has lost: rebuild it."""
        epoch = self.ledger.epoch(lease.office_id)  # before load_counters, which checks that the lease is still valid
        if not self.consumer.is_restored() and not self.ledger.any_ticket():
            self.consumer.mark_restored()  # the very first start: the ledger has nothing that Redis could lack
        self.load_counters(lease, office)
        lane = self.ledger.open_lane(office.office_id, epoch)
        if lane.last_ticket:
            raise LaneBrokenError(f"{office.office_id}: Redis lost it after ticket {lane.last_ticket}")
        return self.consumer.open(lease, lane.token, lane.epoch, lane.last_ticket, lane.last_command)

    def load_counters(self, lease: Lease, office: Office) -> None:
        """Creates the slots of the coming weeks and gives the lane their counters. Raises FencedError."""
        until = rules.inventory_until(self.policy, lease.now)
        today = lease.now.astimezone(office.time_zone).date()
        self.create_slots(office, [today + timedelta(days=n) for n in range((until - today).days + 1)])
        slots = self.ledger.slots(office.office_id, today)
        counters = [slot_counters(office, row) for row in slots]
        self.consumer.load_counters(lease, counters, self.inventory_version(lease.now))

    def create_slots(self, office: Office, days: Sequence[date]) -> None:
        """Creates the missing slots of the office on those of the days that are service days."""
        percent = self.policy.morning_percent if office.morning_percent is None else office.morning_percent
        served = [day for day in days if rules.is_service_day(self.policy, day)]
        if served:
            self.ledger.plan_slots(office.office_id, served, rules.split_quota(office.daily_quota, percent))


def slot_counters(office: Office, row: SlotRow) -> SlotCounters:
    """Returns a slot's counters according to the ledger."""
    begins = rules.day_begins(office.time_zone, row.slot.service_date)
    return SlotCounters(row.slot, row.quota, row.quota - row.taken, row.last_number + 1, begins, row.closed)
