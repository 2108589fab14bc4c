"""Plays requests against a service, open loop: every submission is sent when it is due, however slow the service is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import TypeVar

import grpc

from antrian.audit.history import Response
from antrian.batching import Batcher
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, Booking, BookingState, StatusReason
from clients.rush.load.crowd_client import CrowdClient, encoded
from clients.rush.load.phones import HttpPhones
from clients.rush.load.record import Observation, Record
from clients.rush.load.tally import TallyWriter
from clients.rush.plan.crowd import PlannedRequest
from clients.sdk.booking_client import RefusedError

_BATCH_WINDOW = 0.02
_BATCH = 100
_READS = 200
_POLL = (0.1, 1.6)  # the first and the longest pause between reads of a pending booking, in seconds
_TURN = 0.002  # seconds of submissions after which responses are handled
# A submission this soon after the opening may be early by the service's clock.
_ABOUT_OPENING = 0.25
# A slow phone loses its connection within this time, and then submits again.
_HANGS_UP = (0.01, 0.3)
_SLOW_AGAIN = (2.0, 6.0)
_SLOW_READ = 1.0
_T = TypeVar("_T")


@dataclass(slots=True)
class _Live:
    """A request that is being played. ends: when its person gives up, set by the first submission."""

    planned: PlannedRequest
    record: Record
    item: bytes
    ends: float = field(default=float("inf"))


@dataclass(slots=True)
class _Submission:
    """One submission of a request, and when it is due."""

    live: _Live
    due: float
    repeat: bool = False


class Player:
    """Plays requests. opening: when booking opens, by time.monotonic(). patience: after how many seconds people give up.

    records: the progress of each request so far. lags: by how many seconds each submission was sent late. looks: for each
    read of the remaining places, when it was due and how many seconds it took.
    """

    def __init__(self, client: CrowdClient | HttpPhones, opening: float, tally: TallyWriter, patience: float) -> None:
        self.records: list[Record] = []
        self.lags: list[float] = []
        self.looks: list[tuple[float, float]] = []
        self._client, self._opening, self._tally, self._patience = client, opening, tally, patience
        self._batch: list[_Submission] = []
        self._reads = Batcher(client.get_bookings, timedelta(seconds=_BATCH_WINDOW), _READS)
        self._tasks = asyncio.TaskGroup()

    async def play(self, requests: Iterable[PlannedRequest]) -> None:
        """Plays the requests. Returns when each has its outcome or refusal, or was given up."""
        lives = [_Live(planned, _record(planned), encoded(planned.message)) for planned in requests]
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
            planned = live.planned
            yield planned.at, partial(self._submit, _Submission(live, planned.at))
            for delay in planned.repeats:
                yield planned.at + delay, partial(self._submit, _Submission(live, planned.at + delay, repeat=True))
            for due in planned.looks:
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
        if live.planned.habit == "slow" and not submission.repeat:
            self._start(self._submit_and_hang_up(submission))
        else:
            self._send(submission)

    def _send(self, submission: _Submission) -> None:
        if not submission.live.planned.gateway:
            self._start(self._send_alone(submission))
            return
        if not self._batch:
            self._start(self._send_together(self._batch))
        self._batch.append(submission)
        if len(self._batch) >= _BATCH:
            self._batch = []

    async def _send_together(self, batch: list[_Submission]) -> None:
        """Sends the submissions of a short time as one batch, as a gateway does for its phones."""
        await asyncio.sleep(_BATCH_WINDOW)
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
                booking = await self._client.send(submission.live.planned.message)
        except RefusedError as error:
            self._refused(submission, started, error)
        else:
            self._accepted(submission, started, booking)

    async def _submit_and_hang_up(self, submission: _Submission) -> None:
        """The request arrives, but not the response: the phone has lost its connection meanwhile."""
        live, started = submission.live, self._now()
        seconds = _between(_HANGS_UP, live.planned)
        with self._cut_off("request", [live.record], started):
            await self._client.send_and_hang_up(live.planned.message, seconds)
        live.record.observations.append(Observation("request", started, self._now(), None, "UNHEARD", uncertain=True))
        await asyncio.sleep(_between(_SLOW_AGAIN, live.planned))
        again = self._now()
        live.record.submissions.append(again)
        self._tally.count("submitted")
        await self._send_alone(_Submission(live, again))

    def _accepted(self, submission: _Submission, started: float, booking: Booking) -> None:
        live, record, now = submission.live, submission.live.record, self._now()
        record.observations.append(Observation("request", started, now, _response(booking)))
        if record.accepted:
            return
        record.due, record.answered = live.planned.at if submission.repeat else submission.due, now
        record.refusal = ""
        record.booking_id, record.ticket, record.ahead = booking.booking_id, booking.ticket, booking.ahead
        record.accepted_at = booking.accept_time.ToNanoseconds() / 1e9
        record.state = "PENDING"
        self._tally.accepted(record.office_id, booking.ahead, now - record.due)
        if live.planned.wrong:
            self._surprise(record, f"accepted despite {live.planned.wrong}")
        self._start(self._follow(live, booking))

    def _refused(self, submission: _Submission, started: float, error: RefusedError) -> None:
        live, record, now = submission.live, submission.live.record, self._now()
        record.observations.append(Observation("request", started, now, None, error.reason, error.uncertain))
        if _is_retried(error):
            record.passing += 1
            self._tally.count("again")
            pause = error.retry_after.total_seconds() if error.retry_after else 0.5
            if now + pause < live.ends:
                self._start(self._later(pause, partial(self._send, submission)))
                return
            if error.uncertain:
                return  # it stays unanswered
        if record.accepted:
            self._surprise(record, f"a repetition was refused with {error.reason}")
            return
        if error.reason == "WINDOW_CLOSED" and submission.due < _ABOUT_OPENING and not live.planned.wrong:
            record.early = True
            again = max(live.planned.again, now)
            self._start(self._later(again - now, partial(self._submit, _Submission(live, again))))
            return
        if not record.refusal:
            self._tally.count("refused")
        record.due, record.answered, record.refusal = submission.due, now, error.reason
        if error.reason not in {*live.planned.expected, "SLOT_FULL"} and not _is_retried(error):
            self._surprise(record, f"refused with {error.reason} ({live.planned.wrong or 'valid request'})")

    # -- after acceptance

    async def _follow(self, live: _Live, booking: Booking) -> None:
        planned, record = live.planned, live.record
        if planned.look_later:
            await asyncio.sleep(planned.look_later)
        record.watched = planned.look_later == 0
        started = self._now()
        try:
            booking = await self._persist(partial(self._outcome, planned, booking.booking_id))
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
        if record.state == "CONFIRMED" and planned.cancels is not None:
            await asyncio.sleep(planned.cancels)
            await self._cancel(live)
            if planned.buyer and record.state == "CANCELLED":
                self._start(self._buy(planned.buyer))
        elif record.state == "REJECTED" and planned.looks:
            due = record.seen + planned.again
            await asyncio.sleep(planned.again)
            await self._look(record.office_id, due)

    async def _buy(self, planned: PlannedRequest) -> None:
        """Submits the request of a buyer, whose time begins with the cancellation."""
        await asyncio.sleep(planned.at)
        live = _Live(replace(planned, at=self._now()), _record(planned), encoded(planned.message))
        self.records.append(live.record)
        self._submit(_Submission(live, live.planned.at))

    async def _outcome(self, planned: PlannedRequest, booking_id: str) -> Booking:
        account = planned.message.account
        if planned.gateway and not planned.watching:
            return await self._polled(booking_id, account)
        if not planned.watching:
            return await self._client.outcome(booking_id, account, within=timedelta(seconds=self._patience))
        booking = Booking()
        async with asyncio.timeout(self._patience):
            async for news in self._client.watch(booking_id, account):
                booking = news
                if planned.habit == "slow":
                    await asyncio.sleep(_SLOW_READ)
        return booking

    async def _polled(self, booking_id: str, account: str) -> Booking:
        """Returns the outcome. Polls in batches, as a gateway does for its phones."""
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
                    partial(self._client.cancel_booking, record.booking_id, live.planned.message.account)
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
        """Retries until the result is certain, or patience is over. Raises the last RefusedError."""
        ends = time.monotonic() + self._patience
        while True:
            try:
                return await call()
            except RefusedError as error:
                pause = error.retry_after.total_seconds() if error.retry_after else 0.5
                if not _is_retried(error) or time.monotonic() + pause > ends:
                    raise
            await asyncio.sleep(pause)

    @contextmanager
    def _cut_off(self, call: str, records: Sequence[Record], started: float) -> Iterator[None]:
        """Records a call without a response if the play is stopped during it."""
        try:
            yield
        except asyncio.CancelledError:
            for record in records:
                record.observations.append(Observation(call, started, self._now(), None, "UNHEARD", uncertain=True))
            raise

    def _surprise(self, record: Record, words: str) -> None:
        record.surprise = record.surprise or words
        self._tally.count("surprises")


def _record(planned: PlannedRequest) -> Record:
    message = planned.message
    people = tuple(blake2b(person.nik.encode(), digest_size=8).hexdigest() for person in message.applicants)
    return Record(
        planned.number, message.office_id, planned.slot, message.account, message.request_id, people, planned.habit
    )


def _response(booking: Booking) -> Response:
    return Response(
        booking.booking_id,
        booking.office_id,
        booking.ticket,
        BookingState.Name(booking.state).removeprefix("BOOKING_STATE_"),
        tuple(booking.queue_numbers),
    )


def _between(limits: tuple[float, float], planned: PlannedRequest) -> float:
    """Returns a number within the limits, the same for the same request."""
    low, high = limits
    return low + (high - low) * (planned.number * 0.618034 % 1)


def _is_retried(error: RefusedError) -> bool:
    """Returns whether the person retries, with the same request_id: the result is unknown, or the service is busy."""
    return error.uncertain or error.code is grpc.StatusCode.UNAVAILABLE or error.reason == "RATE_LIMITED"
