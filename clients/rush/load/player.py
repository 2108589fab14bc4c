"""Plays asks against a service, open loop: every submission at its moment, whatever the service does meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import TypeVar

import grpc

from antrian.audit.history import Response
from antrian.batching import Batcher
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, Booking, BookingState, StatusReason
from clients.rush.load.phones import HttpPhones
from clients.rush.load.record import Observation, Record
from clients.rush.load.tally import TallyWriter
from clients.rush.plan.crowd import Ask
from clients.sdk.booking_client import BookingClient, RefusedError

_BATCH_METHOD = "/antrian.v1.BookingService/BatchRequestBookings"
_GATHER = 0.02
_BATCH = 100
_READS = 200
_POLL = (0.1, 1.6)  # seconds until a gateway asks for an outcome, and the most that its pauses grow to
_TURN = 0.002  # seconds of submissions after which answers are handled
# A submission so soon after the opening may be before it on the service's clock.
_ABOUT_OPENING = 0.25
# A slow phone hears nothing before that; then it submits again.
_DEAF = (0.01, 0.3)
_SLOW_AGAIN = (2.0, 6.0)
_SLOW_READ = 1.0
_T = TypeVar("_T")


class CrowdClient(BookingClient):
    """A client for many, which sends requests that are bytes already: a load generator has no time to make them."""

    async def send_encoded(self, items: Sequence[bytes]) -> Sequence[wire.BatchRequestBookingsResult]:
        """The results of a batch whose items encoded() has made."""
        decode = wire.BatchRequestBookingsResponse.FromString

        def method() -> Callable[..., Awaitable[wire.BatchRequestBookingsResponse]]:
            return self.channel.unary_unary(_BATCH_METHOD, response_deserializer=decode)

        return (await self._call(method, b"".join(items))).results

    async def send_unheard(self, message: wire.RequestBookingRequest, seconds: float) -> None:
        """Sends a request and hears no answer that takes longer."""
        with suppress(grpc.aio.AioRpcError):
            await self.stub.RequestBooking(message, timeout=seconds, metadata=self._metadata)


def encoded(message: wire.RequestBookingRequest) -> bytes:
    """The request as an item of a batch: a batch is its items' bytes, one after the other."""
    return wire.BatchRequestBookingsRequest(requests=[message]).SerializeToString()


@dataclass(slots=True)
class _Live:
    """An ask that is being played. ends: until when its person persists, from the first submission on."""

    ask: Ask
    record: Record
    item: bytes
    ends: float = field(default=float("inf"))


@dataclass(slots=True)
class _Submission:
    """One submission of it, and when it was due."""

    live: _Live
    due: float
    repeat: bool = False


class Player:
    """Plays asks; opening is the moment of the opening on time.monotonic(), patience how long people go on (seconds).

    records has what became of each ask, so far. lags has the seconds by which each submission left late; looks, for each read of the remaining places, when it was due and how
    many seconds it took.
    """

    def __init__(self, client: CrowdClient | HttpPhones, opening: float, tally: TallyWriter, patience: float) -> None:
        self.records: list[Record] = []
        self.lags: list[float] = []
        self.looks: list[tuple[float, float]] = []
        self._client, self._opening, self._tally, self._patience = client, opening, tally, patience
        self._batch: list[_Submission] = []
        self._reads = Batcher(client.get_bookings, timedelta(seconds=_GATHER), _READS)
        self._tasks = asyncio.TaskGroup()

    async def play(self, asks: Iterable[Ask]) -> None:
        """Returns when each ask has its outcome or its refusal, or was given up."""
        lives = [_Live(ask, _record(ask), encoded(ask.message)) for ask in asks]
        self.records = [live.record for live in lives]
        plan = sorted(self._plan(lives), key=lambda step: step[0])
        turn_ends = 0.0
        async with self._tasks:
            for due, step in plan:
                now = self._now()
                if due > now:
                    await asyncio.sleep(due - now)
                    turn_ends = self._now() + _TURN
                elif now > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = self._now() + _TURN
                step()

    def _plan(self, lives: Sequence[_Live]) -> Iterable[tuple[float, Callable[[], None]]]:
        for live in lives:
            ask = live.ask
            yield ask.at, partial(self._submit, _Submission(live, ask.at))
            for delay in ask.repeats:
                yield ask.at + delay, partial(self._submit, _Submission(live, ask.at + delay, repeat=True))
            for due in ask.looks:
                yield due, partial(self._start_look, live.record.office_id, due)

    def _now(self) -> float:
        return time.monotonic() - self._opening

    def _start_look(self, office_id: str, due: float) -> None:
        self._start(self._look(office_id, due))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.create_task(work)

    async def _later(self, seconds: float, step: Callable[[], None]) -> None:
        await asyncio.sleep(seconds)
        step()

    # -- submitting

    def _submit(self, submission: _Submission) -> None:
        now, live = self._now(), submission.live
        live.record.submissions.append(submission.due)
        live.ends = min(live.ends, now + self._patience)
        self.lags.append(now - submission.due)
        self._tally.count("submitted")
        if live.ask.habit == "slow" and not submission.repeat:
            self._start(self._submit_unheard(submission))
        else:
            self._send(submission)

    def _send(self, submission: _Submission) -> None:
        if not submission.live.ask.gateway:
            self._start(self._send_alone(submission))
            return
        if not self._batch:
            self._start(self._send_together(self._batch))
        self._batch.append(submission)
        if len(self._batch) >= _BATCH:
            self._batch = []

    async def _send_together(self, batch: list[_Submission]) -> None:
        """Sends what came in a short time, as a gateway does for its phones."""
        await asyncio.sleep(_GATHER)
        if self._batch is batch:
            self._batch = []
        started = self._now()
        try:
            with self._cut_off("request", [submission.live.record for submission in batch], started):
                results = await self._client.send_encoded([submission.live.item for submission in batch])
        except RefusedError as error:
            for submission in batch:
                self._refused(submission, started, error)
            return
        for submission, result in zip(batch, results, strict=True):
            if result.HasField("booking"):
                self._accepted(submission, started, result.booking)
            else:
                self._refused(submission, started, RefusedError.of_status(result.error))

    async def _send_alone(self, submission: _Submission) -> None:
        started = self._now()
        try:
            with self._cut_off("request", [submission.live.record], started):
                booking = await self._client.send(submission.live.ask.message)
        except RefusedError as error:
            self._refused(submission, started, error)
        else:
            self._accepted(submission, started, booking)

    async def _submit_unheard(self, submission: _Submission) -> None:
        """The request arrives, the answer does not: the phone has lost its connection by then."""
        live, started = submission.live, self._now()
        seconds = _between(_DEAF, live.ask)
        with self._cut_off("request", [live.record], started):
            await self._client.send_unheard(live.ask.message, seconds)
        live.record.observations.append(Observation("request", started, self._now(), None, "UNHEARD", uncertain=True))
        await asyncio.sleep(_between(_SLOW_AGAIN, live.ask))
        again = self._now()
        live.record.submissions.append(again)
        self._tally.count("submitted")
        await self._send_alone(_Submission(live, again))

    def _accepted(self, submission: _Submission, started: float, booking: Booking) -> None:
        live, record, now = submission.live, submission.live.record, self._now()
        record.observations.append(Observation("request", started, now, _response(booking)))
        if record.accepted:
            return
        record.due, record.answered = live.ask.at if submission.repeat else submission.due, now
        record.refusal = ""
        record.booking_id, record.ticket, record.ahead = booking.booking_id, booking.ticket, booking.ahead
        record.accepted_at = booking.accept_time.ToNanoseconds() / 1e9
        record.state = "PENDING"
        self._tally.accepted(record.office_id, booking.ahead, now - record.due)
        if live.ask.wrong:
            self._surprise(record, f"accepted in spite of {live.ask.wrong}")
        self._start(self._follow(live, booking))

    def _refused(self, submission: _Submission, started: float, error: RefusedError) -> None:
        live, record, now = submission.live, submission.live.record, self._now()
        record.observations.append(Observation("request", started, now, None, error.reason, error.uncertain))
        if _is_passing(error):
            record.passing += 1
            self._tally.count("again")
            pause = error.retry_after.total_seconds() if error.retry_after else 0.5
            if now + pause < live.ends:
                self._start(self._later(pause, partial(self._send, submission)))
                return
            if error.uncertain:
                return  # it stays without an answer
        if record.accepted:
            self._surprise(record, f"repeated, it was refused: {error.reason}")
            return
        if error.reason == "WINDOW_CLOSED" and submission.due < _ABOUT_OPENING and not live.ask.wrong:
            record.early = True
            again = max(live.ask.again, now)
            self._start(self._later(again - now, partial(self._submit, _Submission(live, again))))
            return
        if not record.refusal:
            self._tally.count("refused")
        record.due, record.answered, record.refusal = submission.due, now, error.reason
        if error.reason not in {*live.ask.expected, "SLOT_FULL"} and not _is_passing(error):
            self._surprise(record, f"refused with {error.reason} ({live.ask.wrong or 'nothing wrong'})")

    # -- afterwards

    async def _follow(self, live: _Live, booking: Booking) -> None:
        ask, record = live.ask, live.record
        if ask.look_later:
            await asyncio.sleep(ask.look_later)
        record.watched = ask.look_later == 0
        started = self._now()
        try:
            booking = await self._persist(partial(self._outcome, ask, booking.booking_id))
        except (RefusedError, TimeoutError) as error:
            self._surprise(record, f"no outcome: {error}")
            return
        record.seen = self._now()
        record.observations.append(Observation("read", started, record.seen, _response(booking)))
        record.state = BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
        record.reason = StatusReason.Name(booking.status_reason).removeprefix("STATUS_REASON_")
        record.numbers = tuple(booking.queue_numbers)
        record.accepted_at = booking.accept_time.ToNanoseconds() / 1e9
        record.decided_at = booking.decide_time.ToNanoseconds() / 1e9
        self._tally.count("decided")
        if record.state == "CONFIRMED" and ask.cancels is not None:
            await asyncio.sleep(ask.cancels)
            await self._cancel(live)
        elif record.state == "REJECTED" and ask.looks:
            due = record.seen + ask.again
            await asyncio.sleep(ask.again)
            await self._look(record.office_id, due)

    async def _outcome(self, ask: Ask, booking_id: str) -> Booking:
        account = ask.message.account
        if ask.gateway and not ask.watching:
            return await self._polled(booking_id, account)
        if not ask.watching:
            return await self._client.outcome(booking_id, account, within=timedelta(seconds=self._patience))
        booking = Booking()
        async with asyncio.timeout(self._patience):
            async for news in self._client.watch(booking_id, account):
                booking = news
                if ask.habit == "slow":
                    await asyncio.sleep(_SLOW_READ)
        return booking

    async def _polled(self, booking_id: str, account: str) -> Booking:
        """The outcome, which the gateway asks for again and again, together with those of its other phones."""
        ends, pause = self._now() + self._patience, _POLL[0]
        while self._now() < ends:
            await asyncio.sleep(pause)
            booking = await self._reads((booking_id, account))
            if isinstance(booking, RefusedError):
                raise booking
            if booking.state != BOOKING_STATE_PENDING:
                return booking
            pause = min(2 * pause, _POLL[1])
        raise TimeoutError(f"booking {booking_id} is still pending")

    async def _cancel(self, live: _Live) -> None:
        record, started = live.record, self._now()
        try:
            with self._cut_off("cancel", [record], started):
                booking = await self._persist(
                    partial(self._client.cancel_booking, record.booking_id, live.ask.message.account)
                )
        except RefusedError as error:
            record.observations.append(Observation("cancel", started, self._now(), None, error.reason, error.uncertain))
            self._surprise(record, f"not cancelled: {error.reason}")
            return
        record.observations.append(Observation("cancel", started, self._now(), _response(booking)))
        record.state = BookingState.Name(booking.state).removeprefix("BOOKING_STATE_")
        record.ended_at = booking.end_time.ToNanoseconds() / 1e9

    async def _look(self, office_id: str, due: float) -> None:
        with suppress(RefusedError):
            await self._client.get_quota(office_id)
            self.looks.append((due, self._now() - due))

    async def _persist(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Calls until the service says yes or no for certain, or patience is over. Raises the last RefusedError."""
        ends = time.monotonic() + self._patience
        while True:
            try:
                return await call()
            except RefusedError as error:
                pause = error.retry_after.total_seconds() if error.retry_after else 0.5
                if not _is_passing(error) or time.monotonic() + pause > ends:
                    raise
            await asyncio.sleep(pause)

    @contextmanager
    def _cut_off(self, call: str, records: Sequence[Record], started: float) -> Iterator[None]:
        """Notes a call whose answer nobody hears, when the play is stopped meanwhile."""
        try:
            yield
        except asyncio.CancelledError:
            for record in records:
                record.observations.append(Observation(call, started, self._now(), None, "UNHEARD", uncertain=True))
            raise

    def _surprise(self, record: Record, words: str) -> None:
        record.surprise = record.surprise or words
        self._tally.count("surprises")


def _record(ask: Ask) -> Record:
    message = ask.message
    people = tuple(blake2b(person.nik.encode(), digest_size=8).hexdigest() for person in message.applicants)
    return Record(ask.number, message.office_id, ask.slot, message.account, message.request_id, people, ask.habit)


def _response(booking: Booking) -> Response:
    return Response(
        booking.booking_id,
        booking.office_id,
        booking.ticket,
        BookingState.Name(booking.state).removeprefix("BOOKING_STATE_"),
        tuple(booking.queue_numbers),
    )


def _between(limits: tuple[float, float], ask: Ask) -> float:
    """A number between these, the same for the same ask."""
    low, high = limits
    return low + (high - low) * (ask.number * 0.618034 % 1)


def _is_passing(error: RefusedError) -> bool:
    """Whether it says "unknown" or "not now": the person submits again, with the same request_id."""
    return error.uncertain or error.code is grpc.StatusCode.UNAVAILABLE or error.reason == "RATE_LIMITED"
