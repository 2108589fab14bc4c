"""The commands of a lane: cancellations by accounts, and the changes that staff make to its slots and people."""

from antrian.booking import CommandBatch, Office, UndoCheckIn
from antrian.lane.replies import Lease
from antrian.ledger.commands import days_of
from workers.lane_setup import LaneSetup, slot_counters
from workers.metrics import count_commands


def execute_commands(setup: LaneSetup, lease: Lease, office: Office, batch: CommandBatch) -> None:
    """Records a lane's commands in the ledger, which decides on each, and settles the lane by its results.

    Raises FencedError, LaneBrokenError, LedgerFencedError or LedgerGapError when the batch does not fit the lane or the
    ledger.
    """
    setup.create_slots(office, days_of(batch.entries))
    if any(isinstance(command, UndoCheckIn) for command in batch.entries):
        batch = setup.consumer.claim(lease, batch)
    recorded = setup.ledger.record_commands(lease.office_id, lease.token, batch)
    counters = [slot_counters(office, row) for row in recorded.slots]
    setup.consumer.settle_commands(lease, batch, counters, recorded.freed, recorded.lifted_at)
    count_commands(batch.entries)
