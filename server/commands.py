"""Asking a lane's commands, and waiting until it is settled."""

import asyncio
from datetime import timedelta

from antrian.booking import Command
from antrian.errors import AntrianError, Reason
from antrian.lane.producer import LaneProducer

_WAIT = 8.0
_RETRY = timedelta(seconds=1)


class LaneCommands:
    """The desks of all offices."""

    def __init__(self, producer: LaneProducer) -> None:
        self._producer = producer

    async def submit(self, office_id: str, entry: Command) -> None:
        """Returns when the ledger has judged the entry and the lane follows it: then the ledger can be read.

        Raises LANE_CLOSED and LANE_FULL, which are certain; STORE_UNAVAILABLE when it was not settled in time: it is
        still at the desk and may yet come true. Asking again is safe.
        """
        number = await self._producer.send_command(office_id, entry)
        try:
            async with asyncio.timeout(_WAIT):
                await self._producer.command_settled(office_id, number)
        except TimeoutError:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY) from None
