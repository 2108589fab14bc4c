"""Closes days that the policy in force no longer serves, through the commands of each office's lane."""

import logging
import uuid
from collections.abc import Iterable

from antrian.booking import CloseDate, Policy
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.policies import UnservedDay

_ACTION_NAMESPACE = uuid.UUID("0d0c8a5e-93f5-4d7b-8f3c-6f1f4b1c6f10")
_log = logging.getLogger(__name__)


def close_unserved_days(consumer: LaneConsumer, days: Iterable[UnservedDay], policy: Policy) -> None:
    """Sends each lane the command to close its days, giving the policy's version as the reason.

    Skips lanes that accept no commands now. Action ids are derived from the day, so concurrent callers close it once.

    Raises:
        redis.RedisError: Redis failed or did not reply.
    """
    why = f"policy version {policy.version}"
    for day in days:
        action_id = uuid.uuid5(_ACTION_NAMESPACE, f"{day.office_id} {day.service_date} {day.closings}")
        if consumer.send_command(day.office_id, CloseDate(action_id, "antrian", "policy", why, day.service_date)):
            _log.info("%s: closing %s by %s", day.office_id, day.service_date, why)
