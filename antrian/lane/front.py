"""The server's side of the line: join it, look at it, hear of its turns."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from antrian.booking import SealedApplicant, Slot, Window
from antrian.errors import AntrianError, Reason
from antrian.lane import SETTLED, script
from antrian.lane.entry import Entry, milliseconds, moment, pack_people, read_entry

_MOST_GATHERED = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A checked request that asks for its ticket.

    verdict refuses it for its place or its day, but only if the request is not known already.
    """

    booking_id: UUID
    fingerprint: str
    owner: bytes
    caller: str
    account: str
    office_id: str
    slot: Slot
    windows: tuple[Window, ...]
    applicants: tuple[SealedApplicant, ...]
    verdict: AntrianError | None


@dataclass(frozen=True, slots=True)
class Joined:
    """The request has its ticket; ahead requests are decided before it, left places are in the slot now."""

    ticket: int
    ahead: int
    left: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The request was accepted before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was not accepted, and nothing has changed. applicant is the index of the one at fault.

    detail: the last day of a bar, the bytes of the booking that stands in the way, or a number; see join.lua.
    """

    reason: str
    at: datetime
    applicant: int = 0
    detail: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A booking that is still in its lane. left is None when the slot has no counters."""

    office_id: str
    ticket: int
    ahead: int
    left: int | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class Counters:
    """A slot's places as the lane counts them."""

    quota: int
    left: int


class LaneFront:
    """The scripts that servers call. Raises redis.RedisError when Redis cannot be reached.

    Joins of many callers are gathered for gather_for and sent in one script call.
    """

    def __init__(
        self, redis_url: str, *, lane_bound: int, account_people: int, remembered: timedelta, gather_for: timedelta
    ) -> None:
        self._redis = Redis.from_url(
            redis_url, socket_timeout=5, retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.01), 3)
        )
        self._join, self._look, self._quota = (
            self._redis.register_script(script(name)) for name in ("join", "look", "quota")
        )
        self._bounds = (lane_bound, account_people)
        self._remembered = remembered
        self._gather_for = gather_for.total_seconds()
        self._gathered: list[tuple[JoinRequest, asyncio.Future[Joined | Known | Refused]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._turns: dict[str, asyncio.Future[int]] = {}
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to listen for settled turns."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Finishes what was gathered and closes the connections."""
        self._flush()
        await asyncio.gather(*self._flushes)
        if self._listener:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        await self._redis.aclose()

    async def ping(self) -> None:
        """Returns when Redis answers."""
        await self._redis.ping()

    async def clock_ahead(self) -> timedelta:
        """How far the service's time is ahead of real time (see clock in keys.lua)."""
        return timedelta(milliseconds=int(await self._redis.get("clock") or 0))

    async def join(self, request: JoinRequest) -> Joined | Known | Refused:
        """Asks for a ticket. A caller that is cancelled meanwhile does not take its request back."""
        answer: asyncio.Future[Joined | Known | Refused] = asyncio.get_running_loop().create_future()
        self._gathered.append((request, answer))
        if len(self._gathered) >= _MOST_GATHERED:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_for, self._flush)
        return await answer

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            task = asyncio.create_task(self._send(gathered))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _send(self, gathered: list[tuple[JoinRequest, asyncio.Future[Joined | Known | Refused]]]) -> None:
        args: list[bytes | str | int] = list(self._bounds)
        for request, _ in gathered:
            args += self._arguments(request)
        try:
            now, *answers = await self._join(args=args)
        except Exception as error:  # every waiter must hear of it, whatever it is
            for _, answer in gathered:
                if not answer.done():
                    answer.set_exception(error)
            return
        at = moment(now)
        for (_, future), answer in zip(gathered, answers, strict=True):
            if not future.done():
                future.set_result(_join_answer(answer, at))

    def _arguments(self, r: JoinRequest) -> list[bytes | str | int]:
        keys, sealed = pack_people(r.applicants)
        windows = ",".join(f"{milliseconds(w.opens_at)}-{milliseconds(w.closes_at)}" for w in r.windows)
        keep = milliseconds(r.windows[-1].closes_at + self._remembered) // 1000 if r.windows else 0
        verdict = r.verdict.reason.value if r.verdict else ""
        by = f"{r.caller} {r.account}"
        return [
            r.booking_id.bytes, r.fingerprint, r.owner, r.office_id, str(r.slot), windows, keep, verdict, keys, by, sealed,
        ]  # fmt: skip

    async def look(self, booking_id: UUID) -> tuple[datetime, Waiting | None]:
        """The booking if it still waits in its lane, else None: then the ledger has it, or nobody; and the time."""
        now, *found = await self._look(args=[booking_id.bytes])
        if not found:
            return moment(now), None
        office, ticket, ahead, left, fields = found
        waiting = Waiting(office.decode(), ticket, ahead, None if left < 0 else left, read_entry(fields))
        return moment(now), waiting

    async def quota(
        self, office_ids: Sequence[str], slots: Sequence[Slot]
    ) -> tuple[datetime, list[list[Counters | None]]]:
        """The counters of each slot at each office (None where a lane is not open or has none), and the time."""
        now, *found = await self._quota(args=[len(slots), *map(str, slots), *office_ids])
        return moment(now), [[_counters(text) if opened else None for text in texts] for opened, *texts in found]

    def next_turn(self, office_id: str) -> "asyncio.Future[int]":
        """Done, with the last settled ticket, when the office's lane has next settled a turn. Do not cancel it.

        A message can be lost with its connection: wait with a limit, then look again.
        """
        turn = self._turns.get(office_id)
        if turn is None:
            turn = self._turns[office_id] = asyncio.get_running_loop().create_future()
        return turn

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(SETTLED)
                    while True:
                        message: Any = await channel.get_message(timeout=None)
                        if message:
                            office, last = message["data"].decode().split()
                            turn = self._turns.pop(office, None)
                            if turn and not turn.done():
                                turn.set_result(int(last))
            except (RedisError, OSError) as error:
                _log.warning("not hearing of settled turns, trying again: %s", error)
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter


def _join_answer(answer: list[Any], at: datetime) -> Joined | Known | Refused:
    kind = answer[0].decode()
    if kind == "JOINED":
        return Joined(answer[1], answer[2], answer[3], at)
    if kind == "KNOWN":
        return Known()
    if kind in {Reason.BARRED, Reason.ALREADY_BOOKED}:
        return Refused(kind, at, answer[1], answer[2])
    return Refused(kind, at, detail=str(answer[1]).encode() if len(answer) > 1 else b"")


def _counters(text: bytes | None) -> Counters | None:
    if text is None:
        return None
    quota, left, _ = text.split(maxsplit=2)
    return Counters(int(quota), int(left))
