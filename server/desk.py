"""Asking an office's desk, and waiting until it is settled."""

import asyncio
from datetime import timedelta

from antrian.booking import DeskEntry
from antrian.errors import AntrianError, Reason
from antrian.lane.front import LaneFront

_WAIT = 8.0
_RETRY = timedelta(seconds=1)


class Desk:
    """The desks of all offices."""

    def __init__(self, front: LaneFront) -> None:
        self._front = front

    async def submit(self, office_id: str, entry: DeskEntry) -> None:
        """Returns when the ledger has judged the entry and the lane follows it: then the ledger can be read.

        Raises LANE_CLOSED and LANE_FULL, which are certain; STORE_UNAVAILABLE when it was not settled in time: it is
        still at the desk and may yet come true. Asking again is safe.
        """
        number = await self._front.ask_desk(office_id, entry)
        try:
            async with asyncio.timeout(_WAIT):
                await self._front.desk_settled(office_id, number)
        except TimeoutError:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY) from None
