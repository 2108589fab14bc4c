"""Closing the days on which nobody is served any more, through each lane's commands."""

import logging
import uuid
from collections.abc import Iterable

from antrian.booking import CloseDate, Policy
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.policies import UnservedDay

_NAMES = uuid.UUID("0d0c8a5e-93f5-4d7b-8f3c-6f1f4b1c6f10")
_log = logging.getLogger(__name__)


def close_days(consumer: LaneConsumer, days: Iterable[UnservedDay], policy: Policy) -> None:
    """Asks the desks to close these days by that version of the policy. A desk that cannot be asked now is left out.

    All who ask at once name a day's closing alike, so it is recorded once. Raises redis.RedisError.
    """
    why = f"policy version {policy.version}"
    for day in days:
        name = uuid.uuid5(_NAMES, f"{day.office_id} {day.service_date} {day.closings}")
        if consumer.send_command(day.office_id, CloseDate(name, "antrian", "policy", why, day.service_date)):
            _log.info("%s: closing %s by %s", day.office_id, day.service_date, why)
