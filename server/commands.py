"""Sends commands to lanes and waits until they are settled."""

import asyncio
from datetime import timedelta

from antrian.booking import Command
from antrian.errors import AntrianError, Reason
from antrian.lane.producer import LaneProducer

_WAIT = 8.0
_RETRY = timedelta(seconds=1)


class LaneCommands:
    """The commands of all lanes."""

    def __init__(self, producer: LaneProducer) -> None:
        self._producer = producer

    async def submit(self, office_id: str, command: Command) -> None:
        """Returns when the command is recorded in the ledger and settled in the lane, so that its result can be read.

        Raises LANE_CLOSED or LANE_FULL if the command was not accepted, and STORE_UNAVAILABLE if it was not settled in time:
        it may still be executed. Submitting it again is safe.
        """
        number = await self._producer.send_command(office_id, command)
        try:
            async with asyncio.timeout(_WAIT):
                await self._producer.command_settled(office_id, number)
        except TimeoutError:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY) from None
