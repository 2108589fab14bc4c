"""Reads bookings from their lane or the ledger, and waits for their outcomes."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from antrian import rules
from antrian.batching import Batcher
from antrian.booking import Slot, State, StatusReason
from antrian.errors import AntrianError, Reason
from antrian.identity import Keys
from antrian.lane.producer import LaneProducer, Waiting
from antrian.ledger.reader import LedgerReader, RecordedBooking
from antrian.v1 import messages_pb2 as wire
from server import convert
from server.limits import ConcurrencyLimiter
from server.office_cache import Catalog

Found = Waiting | RecordedBooking
FoundOrNot = TypeVar("FoundOrNot", bound=Found | BaseException | None)
FullSlot = tuple[str, Slot, int]
"""An office, one of its slots, and the size of a party that the slot has no room for."""

_ALTERNATIVES_LIFETIME = 1.0  # seconds
_MOST_ALTERNATIVES = 10_000
_MOST_SETTLED = 100_000


class Bookings:
    """Bookings as their owners may see them.

    Alternatives are cached for a second, because everybody who found the same slot full reads the booking again and again.
    """

    def __init__(
        self,
        catalog: Catalog,
        producer: LaneProducer,
        ledger: LedgerReader,
        keys: Keys,
        *,
        watching: ConcurrencyLimiter,
    ) -> None:
        self._catalog = catalog
        self._watching = watching
        self.keys = keys
        self._producer = producer
        self._ledger = ledger
        self._settled: set[UUID] = (
            set()
        )  # bookings known to be in the ledger, where they stay: their lanes need not be read
        self._cached: dict[FullSlot, tuple[float, Sequence[wire.Alternative]]] = {}
        # No batch window: reads that run at the same time already arrive together.
        self._alternatives: Batcher[FullSlot, Sequence[wire.Alternative]] = Batcher(
            self._find_alternatives, timedelta(0)
        )

    async def find(
        self, booking_id: UUID, caller: str, account: str, into: wire.Booking | None = None, *, settled: bool = False
    ) -> wire.Booking:
        """Returns the booking as it is now, in a new message or in `into`.

        settled: whether a message announced that it is settled, so that the ledger should have it. Raises BOOKING_NOT_FOUND,
        also if the booking belongs to another caller or account.
        """
        booking = wire.Booking() if into is None else into
        if alternatives := self.fill(booking, await self._find(booking_id, settled=settled), caller, account):
            await alternatives
        return booking

    async def find_all(self, booking_ids: Sequence[UUID]) -> list[Found | BaseException | None]:
        """Returns what `fill` needs for each booking: the booking, None if there is none, or the exception of its read."""
        found: list[Found | BaseException | None] = [None] * len(booking_ids)

        sources = (self._producer.look, self._ledger.booking) * 2  # as in _find
        missing = [n for n, booking_id in enumerate(booking_ids) if booking_id in self._settled]
        for source in (self._ledger.booking, *sources):
            responses = await asyncio.gather(*[source(booking_ids[n]) for n in missing], return_exceptions=True)
            for n, response in zip(missing, responses, strict=True):
                found[n] = self._note_settled(response)
            missing = [n for n, booking in enumerate(found) if booking is None]
        return found

    def fill(
        self, booking: wire.Booking, found: Found | BaseException | None, caller: str, account: str
    ) -> Coroutine[None, None, None] | None:
        """Fills in the booking. Returns a coroutine if its alternatives must still be read, otherwise None.

        Raises BOOKING_NOT_FOUND, or `found` if that is an exception.
        """
        if isinstance(found, BaseException):
            raise found
        if found is None or not _belongs_to(found, caller, account):
            raise AntrianError(Reason.BOOKING_NOT_FOUND, field="booking_id")
        convert.fill(booking, found, self.keys)
        if isinstance(found, Waiting) or found.reason is not StatusReason.SLOT_FULL:
            return None
        full = found.office_id, found.slot, found.party_size
        expires, alternatives = self._cached.get(full, (0.0, ()))
        if expires < asyncio.get_running_loop().time():
            return self._add_alternatives(booking, full)
        booking.alternatives.extend(alternatives)
        return None

    async def alternatives(self, office_id: str, slot: Slot, party_size: int) -> Sequence[wire.Alternative]:
        """Returns up to five slots with room for a party, as of at most a second ago; none once the slot's window is closed."""
        full = office_id, slot, party_size
        expires, alternatives = self._cached.get(full, (0.0, ()))
        return await self._alternatives(full) if expires < asyncio.get_running_loop().time() else alternatives

    async def repeated(self, booking_id: UUID, caller: str, account: str) -> wire.Booking:
        """Returns the booking of a request that was accepted before.

        Raises REQUEST_ID_REUSED if it belongs to another account, and STORE_UNAVAILABLE if Redis has lost it since.
        """
        found = await self._find(booking_id, settled=False)
        if found is None:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
        if not _belongs_to(found, caller, account):
            raise AntrianError(Reason.REQUEST_ID_REUSED, field="request_id")
        booking = wire.Booking()
        if alternatives := self.fill(booking, found, caller, account):
            await alternatives
        return booking

    async def waiting(self, caller: str, account: str) -> list[wire.Booking]:
        """Returns the account's bookings that are still in their lanes."""
        owned = await self._producer.owned(self.keys.owner(caller, account))
        bookings = []
        for waiting in await asyncio.gather(*map(self._producer.look, owned)):
            if waiting:
                bookings.append(wire.Booking())
                convert.fill(bookings[-1], waiting, self.keys)
        return bookings

    async def recorded(
        self,
        caller: str,
        account: str,
        limit: int,
        *,
        state: State | None,
        service_date: date | None,
        before: tuple[datetime, UUID] | None,
    ) -> list[RecordedBooking]:
        """Returns the account's decided bookings, newest first: at most limit, after the position `before` if it is given."""
        return await self._ledger.account_bookings(
            caller, account, limit, state=state, service_date=service_date, before=before
        )

    async def watch(
        self, booking_id: UUID, caller: str, account: str, *, poll: timedelta, wait: timedelta | None = None
    ) -> AsyncIterator[wire.Booking]:
        """Yields the booking now and after each change, until it is decided or `wait` has passed.

        An outcome is yielded as soon as Redis announces it. The position in the queue is read at the interval `poll`, which
        also finds outcomes whose announcement was lost. Raises SERVER_BUSY if too many calls wait, CALLER_BUSY if too many of
        this caller's do.
        """
        loop = asyncio.get_running_loop()
        ends = None if wait is None else loop.time() + wait.total_seconds()
        before, settled = None, False
        with self._watching.place(caller):
            while True:
                booking = await self.find(booking_id, caller, account, settled=settled)
                pending = booking.state == wire.BOOKING_STATE_PENDING
                if not pending or before is None or _moved(before, booking):
                    yield booking
                if not pending or (ends and loop.time() >= ends):
                    return
                before = booking
                # Jitter, so that a thousand watchers do not poll at the same moment.
                until = loop.time() + poll.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311
                until = min(until, ends) if ends else until
                if settled:  # but still pending: Redis lost its latest writes
                    await asyncio.sleep(until - loop.time())
                settled = await self._wait_settled(booking.office_id, booking.ticket, until)

    async def _wait_settled(self, office_id: str, ticket: int, until: float) -> bool:
        """Returns True when the ticket is settled, or False at that time of the event loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._producer.settled(office_id, ticket)
                return True
        return False

    async def _find(self, booking_id: UUID, *, settled: bool) -> Found | None:
        """Finds the booking in its lane or in the ledger."""
        if (settled or booking_id in self._settled) and (recorded := await self._ledger.booking(booking_id)):
            return recorded
        for _ in range(2):  # it may move from the lane to the ledger between the two reads
            if found := await self._producer.look(booking_id) or await self._ledger.booking(booking_id):
                return self._note_settled(found)
        return None

    def _note_settled(self, found: FoundOrNot) -> FoundOrNot:
        """Returns its argument, after remembering a booking that was found in the ledger."""
        if isinstance(found, RecordedBooking):
            if len(self._settled) >= _MOST_SETTLED:
                self._settled.clear()
            self._settled.add(found.booking_id)
        return found

    async def _add_alternatives(self, booking: wire.Booking, full: FullSlot) -> None:
        booking.alternatives.extend(await self._alternatives(full))

    async def _find_alternatives(self, full_slots: Sequence[FullSlot]) -> list[Sequence[wire.Alternative]]:
        distinct = list(dict.fromkeys(full_slots))
        found = dict(zip(distinct, await asyncio.gather(*map(self._read_alternatives, distinct)), strict=True))
        expires = asyncio.get_running_loop().time() + _ALTERNATIVES_LIFETIME
        if len(self._cached) > _MOST_ALTERNATIVES:
            self._cached.clear()
        self._cached |= {full: (expires, alternatives) for full, alternatives in found.items()}
        return [found[full] for full in full_slots]

    async def _read_alternatives(self, full: FullSlot) -> list[wire.Alternative]:
        """Returns slots with room for the party, or none if the window of the full slot is closed."""
        office_id, slot, party_size = full
        now = await self._producer.now()
        window, office = self._catalog.window_at(now), self._catalog.offices.get(office_id)
        if office is None or not window.contains(now) or slot.service_date not in window.dates:
            return []
        slots = tuple(Slot(day, session) for day in window.dates for session in self._catalog.policy.sessions)
        offices = [*([] if office.retired else [office_id]), *self._catalog.neighbours(office, 4)]
        counters = await asyncio.gather(*(self._producer.quota((other, slots)) for other in offices))
        choices = [
            rules.Choice(other, other_slot, places.remaining)
            for other, (_, of_office) in zip(offices, counters, strict=True)
            for other_slot, places in zip(slots, of_office, strict=True)
            if places and not places.closed
        ]
        return [convert.alternative(choice) for choice in rules.alternatives(office_id, slot, party_size, choices)]


def _belongs_to(found: Found, caller: str, account: str) -> bool:
    return found.account == account and found.caller == caller


def _moved(before: wire.Booking, now: wire.Booking) -> bool:
    return (before.ahead, before.remaining) != (now.ahead, now.remaining)
