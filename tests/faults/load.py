"""Citizens who book all the time, through the SDK and on the record, and never give up on a request."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle

from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    Booking,
)
from clients.sdk.booking_client import RefusedError
from clients.sdk.calls import UNKNOWN
from clients.sdk.history import History, RecordingClient
from tests.acceptance.person import Crowd
from tests.support.waiting import until

_EXPECTED = {"ALREADY_BOOKED", "SLOT_FULL"}  # of who tries with a second phone, or comes too late
_KEPT = 60  # confirmed bookings, before the oldest is cancelled
_ATTEMPT, _PATIENCE = timedelta(seconds=2), timedelta(seconds=3)  # then by another server


@dataclass(eq=False)
class Asked:
    """One request_id from the first attempt to its end: an outcome, or a refusal that is certain.

    accepted: it was answered with a booking. vanished: how often an accepted one was not there any more.
    """

    request: RequestBookingRequest
    accepted: bool = False
    vanished: int = 0
    outcome: Booking | None = None
    refused: str = ""
    ended: float = 0.0
    """When, by time.monotonic()."""

    @property
    def lost(self) -> bool:
        """Accepted, and yet no outcome came of it; unless it was lost undecided and its second phone was quicker then."""
        overtaken = self.vanished and self.refused == "ALREADY_BOOKED"
        return self.accepted and self.outcome is None and not overtaken


class Load:
    """`citizens` people at a time on these servers; an async context manager that stops in the end.

    Each books at a random office and asks for or watches the outcome; some press twice at once (by two servers), some try with a
    second phone, some bring a family; who has a place gives it back after a while, so that it can go on for ever.
    under_way are the requests that have no end yet. errors counts refusals that nobody should have met, by reason.
    """

    def __init__(
        self,
        targets: Sequence[str],
        history: History,
        offices: Sequence[str],
        dates: Sequence[date],
        *,
        citizens: int = 40,
        pause: float = 0.2,
        refusals: frozenset[str] = frozenset(),
    ) -> None:
        self.under_way: set[Asked] = set()
        self.ended: list[Asked] = []
        self.errors: Counter[str] = Counter()
        self.offices, self.dates = offices, dates
        self._random = random.Random()
        self._crowd = Crowd(self._random.getrandbits(64), dates)
        self._pause, self._expected = pause, _EXPECTED | refusals
        options = {"english": True, "deadline": _ATTEMPT, "patience": _PATIENCE}
        self.clients = [RecordingClient(target, history=history, **options) for target in targets]
        self._kept: deque[tuple[str, str]] = deque()
        self._stopping = asyncio.Event()
        self._count, self._citizens = citizens, list[asyncio.Task[None]]()
        self._undo = AsyncExitStack()

    async def __aenter__(self) -> "Load":
        for client in self.clients:
            self._undo.push_async_callback(client.close)
        self._undo.push_async_callback(self.stop)
        self._citizens = [asyncio.create_task(self._live()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._undo.aclose()

    async def stop(self) -> None:
        """No new requests; who waits for an outcome stops waiting."""
        self._stopping.set()
        for citizen in self._citizens:
            citizen.cancel()
        for end in await asyncio.gather(*self._citizens, return_exceptions=True):
            if isinstance(end, Exception):
                raise end
        self._citizens = []

    async def ask_again(self, within: float) -> None:
        """Asks for everything that is under way again, with the same request_id, until it is decided or time is up."""
        await self.follow_all(within)
        # The next load on this site needs places, too.
        await asyncio.gather(*(self._cancel(*kept) for kept in self._kept))
        self._kept.clear()

    async def follow_all(self, within: float) -> None:
        """Follows what is under way, also what a fault that failed has begun, until it has its end or time is up."""
        rest = [asyncio.create_task(self.follow(asked)) for asked in list(self.under_way)]
        if rest:
            _, late = await asyncio.wait(rest, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    def begin(self, office_id: str = "", people: int = 1, **changes: object) -> Asked:
        """A new request at this office or any, which is under way from now; follow() sends it."""
        values = {
            "office_id": office_id or self._random.choice(self.offices),
            # Half of them want the first day, which sells out at one office.
            "service_date": self._random.choice(self.dates[: self._random.choice((1, None))]).isoformat(),
            "session": self._random.choice((SESSION_MORNING, SESSION_AFTERNOON)),
            "applicants": self._crowd.people(people),
        }
        asked = Asked(self._crowd.request(**values | changes))
        self.under_way.add(asked)
        return asked

    async def follow(self, asked: Asked) -> None:
        """Asks, again and again, until it has its end."""
        booking: Booking | None = None
        servers = cycle(self._random.sample(self.clients, len(self.clients)))  # who fails is not asked twice in a row
        while not asked.ended:
            client = next(servers)
            try:
                if booking is None:
                    booking = await client.send(asked.request)
                    asked.accepted = True
                if booking.state == BOOKING_STATE_PENDING:
                    booking = await self._outcome(client, booking.booking_id, asked.request.account)
                asked.outcome = booking
            except TimeoutError:
                continue
            except RefusedError as error:
                if error.code in UNKNOWN:  # the SDK has paused, unless it was told to pause for longer than it may
                    await asyncio.sleep(0.1)
                    continue
                if booking is not None and error.reason == "BOOKING_NOT_FOUND":
                    asked.vanished, booking = asked.vanished + 1, None
                    continue
                asked.refused = error.reason
                self._judge(error)
            asked.ended = time.monotonic()
            self.under_way.discard(asked)
            self.ended.append(asked)

    async def until_busy(self, requests: int = 10, within: float = 20.0) -> None:
        """Returns once that many requests are in flight."""
        await until(lambda: len(self.under_way) >= requests, within)

    async def _live(self) -> None:
        while not self._stopping.is_set():
            chance = self._random.random()
            asked = self.begin(people=self._random.randint(2, 4) if chance < 0.1 else 1)
            if chance > 0.9:  # presses twice, and two servers get it
                await asyncio.gather(self.follow(asked), self._press_again(asked))
                if (
                    asked.lost and asked.refused == "SLOT_FULL"
                ):  # of one press; the other got a place given back meanwhile
                    self.ended.remove(asked)
                    asked.refused, asked.ended = "", 0.0
                    self.under_way.add(asked)
                    await self.follow(asked)
            elif chance > 0.8:  # a second phone
                other = self.begin(applicants=asked.request.applicants)
                await asyncio.gather(self.follow(asked), self.follow(other))
            else:
                await self.follow(asked)
            if asked.outcome and asked.outcome.state == BOOKING_STATE_CONFIRMED:
                self._kept.append((asked.outcome.booking_id, asked.request.account))
            if len(self._kept) > _KEPT:
                await self._cancel(*self._kept.popleft())
            await asyncio.sleep(self._random.uniform(0, 2 * self._pause))

    async def _outcome(self, client: RecordingClient, booking_id: str, account: str) -> Booking:
        if self._random.random() < 0.8:
            return await client.outcome(booking_id, account, within=_ATTEMPT)
        async with asyncio.timeout(_ATTEMPT.total_seconds()):
            watched = [booking async for booking in client.watch(booking_id, account)]
        return watched[-1]

    async def _press_again(self, asked: Asked) -> None:
        try:
            await self._random.choice(self.clients).send(asked.request)
            asked.accepted = True
        except RefusedError as error:
            self._judge(error)

    async def _cancel(self, booking_id: str, account: str) -> None:
        try:
            await self._random.choice(self.clients).cancel_booking(booking_id, account)
        except RefusedError as error:
            self._judge(error)

    def _judge(self, error: RefusedError) -> None:
        if error.code not in UNKNOWN and error.reason not in self._expected:
            self.errors[error.reason] += 1
