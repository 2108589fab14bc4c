"""Reading a booking, wherever it is, and waiting for its outcome."""

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
Full = tuple[str, Slot, int]
"""An office, one of its slots, and a party that it has no room for."""

_ALTERNATIVES_FOR = 1.0
_MOST_ALTERNATIVES = 10_000
_MOST_SETTLED = 100_000


class Bookings:
    """Bookings as their owners may see them.

    Where else there is room is at most a second old: many who found the same slot full look again and again.
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
        self._settled: set[UUID] = set()  # some of those that have left their lanes, for good: only the ledger is asked
        self._kept: dict[Full, tuple[float, Sequence[wire.Alternative]]] = {}
        # No window: those who come together were found together.
        self._alternatives: Batcher[Full, Sequence[wire.Alternative]] = Batcher(self._find_alternatives, timedelta(0))

    async def find(
        self, booking_id: UUID, caller: str, account: str, into: wire.Booking | None = None, *, told: bool = False
    ) -> wire.Booking:
        """The booking as it is now, in a message of its own or in the one given.

        told: it was heard to be settled, so the ledger should have it. Raises BOOKING_NOT_FOUND, also when it is another
        caller's or account's.
        """
        booking = wire.Booking() if into is None else into
        if rest := self.tell(booking, await self._find(booking_id, told=told), caller, account):
            await rest
        return booking

    async def find_all(self, booking_ids: Sequence[UUID]) -> list[Found | BaseException | None]:
        """Where each of them is, for tell; or what went wrong with it."""
        found: list[Found | BaseException | None] = [None] * len(booking_ids)

        sources = (self._producer.look, self._ledger.booking) * 2  # as in _find
        some = [n for n, one in enumerate(booking_ids) if one in self._settled]
        for source in (self._ledger.booking, *sources):
            responses = await asyncio.gather(*[source(booking_ids[n]) for n in some], return_exceptions=True)
            for n, response in zip(some, responses, strict=True):
                found[n] = self._noted(response)
            some = [n for n, one in enumerate(found) if one is None]
        return found

    def tell(
        self, booking: wire.Booking, found: Found | BaseException | None, caller: str, account: str
    ) -> Coroutine[None, None, None] | None:
        """Fills in what was found; returns what is still to be awaited, if anything.

        Raises BOOKING_NOT_FOUND, and what went wrong.
        """
        if isinstance(found, BaseException):
            raise found
        if found is None or not _theirs(found, caller, account):
            raise AntrianError(Reason.BOOKING_NOT_FOUND, field="booking_id")
        convert.fill(booking, found, self.keys)
        if isinstance(found, Waiting) or found.reason is not StatusReason.SLOT_FULL:
            return None
        full = found.office_id, found.slot, found.party_size
        until, kept = self._kept.get(full, (0.0, ()))
        if until < asyncio.get_running_loop().time():
            return self._add_alternatives(booking, full)
        booking.alternatives.extend(kept)
        return None

    async def repeated(self, booking_id: UUID, caller: str, account: str) -> wire.Booking:
        """The booking of a request that is known. Raises REQUEST_ID_REUSED when it is another account's.

        Raises STORE_UNAVAILABLE when Redis has lost it since it said so.
        """
        found = await self._find(booking_id, told=False)
        if found is None:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
        if not _theirs(found, caller, account):
            raise AntrianError(Reason.REQUEST_ID_REUSED, field="request_id")
        booking = wire.Booking()
        if rest := self.tell(booking, found, caller, account):
            await rest
        return booking

    async def waiting(self, caller: str, account: str) -> list[wire.Booking]:
        """The account's bookings that are still in line."""
        owned = await self._producer.owned(self.keys.owner(caller, account))
        looks = await asyncio.gather(*map(self._producer.look, owned))
        bookings = []
        for waiting in looks:
            if waiting:
                bookings.append(wire.Booking())
                convert.fill(bookings[-1], waiting, self.keys)
        return bookings

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
        outcome whose message was lost. Raises SERVER_BUSY when too many wait, CALLER_BUSY when too many of the caller's do.
        """
        loop = asyncio.get_running_loop()
        ends = None if at_most is None else loop.time() + at_most.total_seconds()
        before, told = None, False
        with self._watching.place(caller):
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
                await self._producer.settled(office_id, ticket)
                return True
        return False

    async def _find(self, booking_id: UUID, *, told: bool) -> Found | None:
        """It where it is: in its lane or in the ledger."""
        if (told or booking_id in self._settled) and (recorded := await self._ledger.booking(booking_id)):
            return recorded
        for _ in range(2):  # it may move from the lane to the ledger between the two looks
            if found := await self._producer.look(booking_id) or await self._ledger.booking(booking_id):
                return self._noted(found)
        return None

    def _noted(self, found: FoundOrNot) -> FoundOrNot:
        """What was found; when it was the ledger that had it, notes so."""
        if isinstance(found, RecordedBooking):
            if len(self._settled) >= _MOST_SETTLED:
                self._settled.clear()
            self._settled.add(found.booking_id)
        return found

    async def _add_alternatives(self, booking: wire.Booking, full: Full) -> None:
        booking.alternatives.extend(await self._alternatives(full))

    async def _find_alternatives(self, asked: Sequence[Full]) -> list[Sequence[wire.Alternative]]:
        distinct = list(dict.fromkeys(asked))
        found = dict(zip(distinct, await asyncio.gather(*map(self._room_for, distinct)), strict=True))
        until = asyncio.get_running_loop().time() + _ALTERNATIVES_FOR
        if len(self._kept) > _MOST_ALTERNATIVES:
            self._kept.clear()
        self._kept |= {full: (until, choices) for full, choices in found.items()}
        return [found[full] for full in asked]

    async def _room_for(self, full: Full) -> list[wire.Alternative]:
        """Where there is room for a party that found its slot full, while its window is open."""
        office_id, slot, party_size = full
        now = await self._producer.now()
        window, office = self._catalog.window_at(now), self._catalog.offices.get(office_id)
        if office is None or not window.contains(now) or slot.service_date not in window.dates:
            return []
        slots = tuple(Slot(day, session) for day in window.dates for session in self._catalog.policy.sessions)
        offices = [*([] if office.retired else [office_id]), *self._catalog.neighbours(office, 4)]
        counters = await asyncio.gather(*(self._producer.quota((one, slots)) for one in offices))
        choices = [
            rules.Choice(one, other, places.remaining)
            for one, (_, of_office) in zip(offices, counters, strict=True)
            for other, places in zip(slots, of_office, strict=True)
            if places and not places.closed
        ]
        return [convert.alternative(choice) for choice in rules.alternatives(office_id, slot, party_size, choices)]


def _theirs(found: Found, caller: str, account: str) -> bool:
    return found.account == account and found.caller == caller


def _news(before: wire.Booking, now: wire.Booking) -> bool:
    return (before.ahead, before.remaining) != (now.ahead, now.remaining)
