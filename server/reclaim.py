"""Displaces bookings that did not verify a person by a request that does."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from antrian.booking import Cancel, StaffAction, State
from antrian.errors import AntrianError, Reason
from antrian.lane.producer import HeldUnverified, Joined, JoinRequest, Known, LaneProducer, Refused, Waiting
from antrian.ledger.reader import RecordedBooking
from server.booking_reader import Bookings
from server.commands import LaneCommands

_WAIT = 8.0
_LOOK_AGAIN = 1.0
_PAUSE = 0.02
_RETRY = timedelta(seconds=1)
_WHY = "verified request"


class Reclaim:
    """Takes verified people from the bookings that hold them unverified, each in its own lane, and joins again.

    No step depends on the next. A request whose server stops in between was not accepted, and repeating it continues where it
    stopped. Two requests that verify the same person cancel the same booking, and the first to join has the person.
    """

    def __init__(self, producer: LaneProducer, bookings: Bookings, commands: LaneCommands) -> None:
        self._producer, self._bookings, self._commands = producer, bookings, commands

    async def displace(self, request: JoinRequest, held: HeldUnverified, deadline: float) -> Joined | Known | Refused:
        """Returns what became of the request.

        It is refused with ALREADY_BOOKED if a booking cannot give way any more, because its day is over or somebody of it has
        come. Raises the errors of LaneCommands.submit, and STORE_UNAVAILABLE if that takes too long.
        """
        request, cancelled = replace(request, counted=True), set[tuple[int, UUID]]()
        try:
            async with asyncio.timeout(_WAIT):
                while True:
                    for index, booking_id in held.people:
                        if (index, booking_id) in cancelled:
                            return Refused(Reason.ALREADY_BOOKED, held.at, index)
                        if await self._cancel(request, request.applicants[index].key, booking_id):
                            cancelled.add((index, booking_id))
                    result = await self._producer.join(request, deadline)
                    if not isinstance(result, HeldUnverified):
                        return result
                    held = result
        except TimeoutError:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY) from None

    async def _cancel(self, request: JoinRequest, applicant_key: bytes, booking_id: UUID) -> bool:
        """Cancels the person's place in the booking. Returns False if the booking was undecided until now."""
        [found] = await self._bookings.find_all([booking_id])
        if isinstance(found, BaseException):
            raise found
        if isinstance(found, Waiting):
            with suppress(TimeoutError):  # the notification can be lost: look again
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._producer.settled(found.office_id, found.ticket)
            await asyncio.sleep(_PAUSE)  # it stays undecided if Redis has lost its latest writes
            return False
        if found is None or found.state is not State.CONFIRMED:
            return True
        number = _number_of(found, applicant_key)
        if number is not None:
            by = StaffAction(uuid4(), request.caller, request.account, _WHY)
            await self._commands.submit(found.office_id, Cancel(booking_id, number, by, reclaimed=True))
        return True


def _number_of(booking: RecordedBooking, applicant_key: bytes) -> int | None:
    """Returns the person's queue number, None if the person has been cancelled."""
    first = booking.first_number or 0
    numbers = [n for n in range(first, first + booking.party_size) if n not in booking.cancelled]
    keys = [person.key for person in booking.people]
    return dict(zip(keys, numbers, strict=True)).get(applicant_key)
