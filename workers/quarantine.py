"""Handles lanes that cannot be served."""

import logging

from antrian.lane.consumer import LaneConsumer
from antrian.lane.replies import FencedError, Lease
from antrian.ledger.fence import LedgerBusyError
from workers.metrics import LEASES_LOST

_log = logging.getLogger(__name__)


def quarantine_or_yield(consumer: LaneConsumer, lease: Lease, problem: Exception) -> None:
    """Yields the lane to a newer consumer; quarantines it until a rebuild when Redis and the ledger disagree.

    A lane whose rows another transaction has locked in the ledger is tried again once its lease has expired. Raises
    redis.RedisError.
    """
    if isinstance(problem, LedgerBusyError):
        _log.warning("another transaction locks the lane %s in the ledger", lease.office_id)
        return
    try:
        if isinstance(problem, FencedError):
            raise problem
        consumer.quarantine(lease)  # raises FencedError if a newer consumer has the lane, which is no fault
    except FencedError:
        LEASES_LOST.inc()
        _log.warning("a newer consumer has the lane %s", lease.office_id)
    else:
        _log.critical("lane quarantined, Redis and the ledger disagree: %s: %s", type(problem).__name__, problem)
