"""Plays asks against a service, open loop: every press at its moment, whatever the service does meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import grpc

from antrian.gather import Gather
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, Booking, BookingState, OutcomeReason
from clients.booking_client import BookingClient, RefusedError
from clients.rush.crowd import Ask
from clients.rush.record import Record

OUTCOME_WITHIN = timedelta(seconds=120)
"""After so long without an outcome an accepted request counts as undecided."""

PERSISTENCE = 120.0
"""For so many seconds a person goes on asking while the service does not answer for certain."""

_GATHER = timedelta(milliseconds=25)
_BATCH = 100
_IN_FLIGHT = 5000
_FOLLOWED = 10_000
# A press so soon after the opening may be before it on the service's clock.
_ABOUT_OPENING = 0.25
# What these say is "unknown", or "not now": the person presses again, with the same request_id.
_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}

Send = Callable[[RequestBookingRequest], Awaitable[Booking]]
Count = Callable[[str], None]


class Gateway:
    """Sends the requests of many people in batches, as a gateway would."""

    def __init__(self, client: BookingClient) -> None:
        self._ask: Gather[RequestBookingRequest, Booking | RefusedError] = Gather(client.send_batch, _GATHER, _BATCH)

    async def send(self, request: RequestBookingRequest) -> Booking:
        """The answer to the request, which goes with the next batch. Raises RefusedError."""
        answer = await self._ask(request)
        if isinstance(answer, RefusedError):
            raise answer
        return answer


class Player:
    """Plays asks; opening is the moment of the opening on time.monotonic(). count is told of each thing that happens."""

    def __init__(self, client: BookingClient, opening: float, count: Count) -> None:
        self.lags: list[float] = []
        self.looks = 0
        self.held = 0
        self._client, self._opening, self._count = client, opening, count
        self._gateway = Gateway(client)
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._followed = asyncio.Semaphore(_FOLLOWED)

    async def play(self, asks: Sequence[Ask]) -> list[Record]:
        """Returns when each ask has its outcome, its refusal, or waited for OUTCOME_WITHIN."""
        plan: list[tuple[float, Callable[[], Coroutine[None, None, None]]]] = []
        records = []
        for ask in asks:
            record = Record(ask.number, ask.message.office_id, ask.slot, len(ask.message.applicants))
            records.append(record)
            plan.append((ask.at, partial(self._live, ask, record)))
            for delay in ask.repeats:
                due = ask.at + delay
                plan.append((due, partial(self._repeat, ask, record, due)))
            if ask.looks_at is not None:
                plan.append((ask.looks_at, partial(self._look, ask.message.office_id)))
        plan.sort(key=lambda step: step[0])
        async with asyncio.TaskGroup() as crowd:
            for due, step in plan:
                if due > self._now():
                    await asyncio.sleep(due - self._now())
                crowd.create_task(step())
        return records

    def _now(self) -> float:
        return time.monotonic() - self._opening

    async def _live(self, ask: Ask, record: Record) -> None:
        send = self._gateway.send if ask.gateway else self._client.send
        booking = await self._press(ask, record, send, ask.at)
        if record.early:
            again = max(ask.again, ask.at)
            await asyncio.sleep(again - self._now())
            booking = await self._press(ask, record, send, again)
        if booking is None:
            self._check_refusal(ask, record)
            self._count("refused")
            return
        self._count("accepted")
        if ask.wrong:
            record.surprise = f"accepted in spite of {ask.wrong}"
        try:
            async with self._followed:
                booking = await _persist(partial(self._follow, ask, booking))
        except (RefusedError, TimeoutError) as error:
            record.state, record.surprise = "PENDING", f"no outcome: {error}"
            return
        record.seen = self._now()
        record.state = BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
        record.reason = OutcomeReason.Name(booking.outcome_reason).removeprefix("OUTCOME_REASON_")
        record.numbers = tuple(booking.queue_numbers)
        record.accepted_at = booking.accept_time.ToNanoseconds() / 1e9
        record.decided_at = booking.decide_time.ToNanoseconds() / 1e9
        record.answers.add((booking.booking_id, booking.ticket))
        self._count("decided")

    async def _press(self, ask: Ask, record: Record, send: Send, due: float) -> Booking | None:
        record.presses.append(due)
        record.intended = due
        async with self._slot(due):
            record.sent = self._now()
            try:
                booking = await _persist(partial(send, ask.message))
            except RefusedError as error:
                record.answered, record.refusal = self._now(), error.reason
                if error.reason == "WINDOW_CLOSED" and due < _ABOUT_OPENING:
                    record.early = True
                return None
        record.refusal = ""
        self._told(record, booking)
        return booking

    async def _repeat(self, ask: Ask, record: Record, due: float) -> None:
        record.presses.append(due)
        async with self._slot(due):
            try:
                booking = await _persist(partial(self._client.send, ask.message))
            except RefusedError as error:
                record.surprise = f"repeated, it was refused: {error.reason}"
                return
        record.repeats += 1
        self._told(record, booking)

    @asynccontextmanager
    async def _slot(self, due: float) -> AsyncIterator[None]:
        """The right to have a press in flight; those that have to wait for it are counted."""
        self.lags.append(self._now() - due)
        self.held += self._in_flight.locked()
        async with self._in_flight:
            self._count("sent")
            yield

    def _told(self, record: Record, booking: Booking) -> None:
        if not record.answers:
            record.answered = self._now()
        record.answers.add((booking.booking_id, booking.ticket))

    async def _follow(self, ask: Ask, booking: Booking) -> Booking:
        account = ask.message.account
        if not ask.watching:
            return await self._client.outcome(booking.booking_id, account, within=OUTCOME_WITHIN)
        async with asyncio.timeout(OUTCOME_WITHIN.total_seconds()):
            async for news in self._client.watch(booking.booking_id, account):
                booking = news
        if booking.state == BOOKING_STATE_PENDING:
            raise TimeoutError("the stream ended before the outcome")
        return booking

    async def _look(self, office_id: str) -> None:
        with suppress(RefusedError):
            await self._client.get_quota(office_id)
            self.looks += 1

    def _check_refusal(self, ask: Ask, record: Record) -> None:
        if record.refusal not in ask.expected:
            record.surprise = f"refused with {record.refusal} ({ask.wrong or 'nothing wrong'})"


async def _persist(call: Callable[[], Awaitable[Booking]]) -> Booking:
    """Calls until the service says yes or no for certain, or PERSISTENCE is over. Raises the last RefusedError."""
    ends = time.monotonic() + PERSISTENCE
    while True:
        try:
            return await call()
        except RefusedError as error:
            pause = error.retry_after.total_seconds() if error.retry_after else 0.5
            if error.code not in _PASSING or time.monotonic() + pause > ends:
                raise
        await asyncio.sleep(pause)
