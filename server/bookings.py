"""Reading a booking, wherever it is, and waiting for its outcome."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from uuid import UUID

from antrian import rules
from antrian.booking import OutcomeReason, Slot, State
from antrian.errors import AntrianError, Reason
from antrian.identity import Keys
from antrian.lane.front import LaneFront, Waiting
from antrian.ledger.reader import LedgerReader, RecordedBooking
from antrian.v1 import messages_pb2 as wire
from server import resources
from server.catalog import Catalog
from server.room import Room


class Bookings:
    """Bookings as their owners may see them."""

    def __init__(
        self, catalog: Catalog, front: LaneFront, ledger: LedgerReader, keys: Keys, *, most_watching: int
    ) -> None:
        self._catalog = catalog
        self._watching = Room(most_watching)
        self._keys = keys
        self._front = front
        self._ledger = ledger

    async def find(self, booking_id: UUID, caller: str, account: str, *, told: bool = False) -> wire.Booking:
        """The booking as it is now. Raises BOOKING_NOT_FOUND, also when it is another caller's or account's."""
        if shown := await self._show(await self._find(booking_id, told=told), caller, account):
            return shown
        raise AntrianError(Reason.BOOKING_NOT_FOUND, field="booking_id")

    async def repeated(self, booking_id: UUID, caller: str, account: str) -> wire.Booking:
        """The booking of a request that is known. Raises REQUEST_ID_REUSED when it is another account's.

        Raises STORE_UNAVAILABLE when Redis has lost it since it said so.
        """
        found = await self._find(booking_id, told=False)
        if shown := await self._show(found, caller, account):
            return shown
        if found is None:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
        raise AntrianError(Reason.REQUEST_ID_REUSED, field="request_id")

    async def _show(
        self, found: tuple[datetime, Waiting] | RecordedBooking | None, caller: str, account: str
    ) -> wire.Booking | None:
        """It as a message; None when it is another caller's or account's."""
        if isinstance(found, tuple):
            as_of, waiting = found
            if (waiting.entry.caller, waiting.entry.account) == (caller, account):
                return resources.waiting_booking(waiting, as_of)
        elif found and (found.caller, found.account) == (caller, account):
            return resources.recorded_booking(found, await self._alternatives(found))
        return None

    async def waiting(self, caller: str, account: str) -> list[wire.Booking]:
        """The account's bookings that are still in line."""
        owned = await self._front.owned(self._keys.owner(caller, account))
        looks = await asyncio.gather(*(self._front.look(booking_id) for booking_id in owned))
        return [resources.waiting_booking(waiting, as_of) for as_of, waiting in looks if waiting]

    async def recorded(
        self,
        caller: str,
        account: str,
        most: int,
        *,
        state: State | None,
        service_date: date | None,
        before: tuple[datetime, UUID] | None,
    ) -> list[RecordedBooking]:
        """The account's decided bookings, the newest first."""
        return await self._ledger.account_bookings(
            caller, account, most, state=state, service_date=service_date, before=before
        )

    async def watch(
        self, booking_id: UUID, caller: str, account: str, *, look_again: timedelta, at_most: timedelta | None = None
    ) -> AsyncIterator[wire.Booking]:
        """The booking now and after changes, until it is decided or the time is over.

        Its outcome is told at once; its place in line whenever look_again has passed, which is also the net for an
        outcome whose message was lost. Raises SERVER_BUSY when too many wait.
        """
        loop = asyncio.get_running_loop()
        ends = None if at_most is None else loop.time() + at_most.total_seconds()
        before, told = None, False
        with self._watching.place():
            while True:
                booking = await self.find(booking_id, caller, account, told=told)
                pending = booking.state == wire.BOOKING_STATE_PENDING
                if not pending or before is None or _news(before, booking):
                    yield booking
                if not pending or (ends and loop.time() >= ends):
                    return
                before = booking
                # Jitter, so that a thousand watchers do not look at once.
                until = loop.time() + look_again.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311
                until = min(until, ends) if ends else until
                if told:  # and yet it waits: Redis went back in time
                    await asyncio.sleep(until - loop.time())
                told = await self._told(booking.office_id, booking.ticket, until)

    async def _told(self, office_id: str, ticket: int, until: float) -> bool:
        """Returns true when the ticket has been settled, false when it is that time of the loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._front.settled(office_id, ticket)
                return True
        return False

    async def _find(self, booking_id: UUID, *, told: bool) -> tuple[datetime, Waiting] | RecordedBooking | None:
        """Where it is: in its lane or in the ledger. told: it was heard to be settled, so the ledger should have it."""
        if told and (recorded := await self._ledger.booking(booking_id)):
            return recorded
        for _ in range(2):  # it may move from the lane to the ledger between the two looks
            as_of, waiting = await self._front.look(booking_id)
            if waiting:
                return as_of, waiting
            if recorded := await self._ledger.booking(booking_id):
                return recorded
        return None

    async def _alternatives(self, booking: RecordedBooking) -> list[rules.Choice]:
        """Where there is room for a party that found its slot full, while its window is open."""
        window, now = self._catalog.window()
        office = self._catalog.offices.get(booking.office_id)
        if booking.reason is not OutcomeReason.SLOT_FULL or office is None or not window.contains(now):
            return []
        if booking.slot.service_date not in window.dates:
            return []
        slots = tuple(Slot(day, session) for day in window.dates for session in self._catalog.policy.sessions)
        offices = [office.office_id, *self._catalog.neighbours(office, 4)]
        counters = await asyncio.gather(*(self._front.quota((office_id, slots)) for office_id in offices))
        choices = [
            rules.Choice(office_id, slot, places.left)
            for office_id, (_, of_office) in zip(offices, counters, strict=True)
            for slot, places in zip(slots, of_office, strict=True)
            if places and not places.closed
        ]
        return rules.alternatives(booking.office_id, booking.slot, booking.party_size, choices)


def _news(before: wire.Booking, now: wire.Booking) -> bool:
    return (before.ahead, before.places_left) != (now.ahead, now.places_left)
