"""Makes lanes ready to be drained, between two batches of the pipeline."""

import time
from collections.abc import Mapping, Sequence

from antrian.booking import CommandBatch, Office
from antrian.lane.consumer import LEASE
from antrian.lane.replies import FencedError, LaneBrokenError, LeasedLane
from antrian.ledger.fence import LedgerBusyError, LedgerFencedError, LedgerGapError
from workers.commands import execute_commands
from workers.lane_setup import LaneSetup
from workers.quarantine import quarantine_or_yield

REFUSALS = (FencedError, LaneBrokenError, LedgerGapError, LedgerFencedError, LedgerBusyError)
"""Why a lane cannot be served now. The other lanes are not affected."""

_PREPARE_WITHIN = LEASE.total_seconds() / 3


def prepare_lanes(
    setup: LaneSetup, lanes: Sequence[LeasedLane], offices: Mapping[str, Office], leased_at: float
) -> None:
    """Executes commands, opens lanes and loads counters. The queues of these lanes are decided in a later batch.

    Each takes several round trips. Lanes that are not reached within a third of a lease are given back untouched: otherwise
    their leases would expire one by one, and the next consumer would have the same problem. leased_at: when they were
    leased (time.monotonic). Raises the errors of the stores.
    """
    for n, lane in enumerate(lanes):
        office = offices[lane.lease.office_id]
        try:
            if n and time.monotonic() > leased_at + _PREPARE_WITHIN:
                setup.consumer.leave(lane.lease)
            elif isinstance(lane.decided, CommandBatch):
                execute_commands(setup, lane.lease, office, lane.decided)
            else:
                setup.consumer.leave(setup.ensure_ready(lane.lease, office))
        except REFUSALS as problem:
            quarantine_or_yield(setup.consumer, lane.lease, problem)
