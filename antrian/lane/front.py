"""The server's side of the line: join it, look at it, hear of its turns."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from antrian.booking import DeskEntry, SealedApplicant, Slot, Window
from antrian.errors import AntrianError, Reason
from antrian.gather import Gather
from antrian.lane import SETTLED, script
from antrian.lane.connection import connection_pool
from antrian.lane.entry import Entry, milliseconds, moment, pack_people, read_entry, write_desk_entry
from antrian.lane.fitness import check_fitness

DESK_BOUND = 1000
"""The most entries of an office's desk; who comes then is told to come back."""

_CONNECTIONS = 16
_DESK_RETRY = timedelta(seconds=1)
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
    closed: bool


class LaneFront:
    """The scripts that servers call. Raises redis.RedisError when Redis cannot be reached.

    What many callers ask (join, look, quota) is gathered for gather_for and sent in one script call each.
    """

    def __init__(
        self, redis_url: str, *, lane_bound: int, account_people: int, remembered: timedelta, gather_for: timedelta
    ) -> None:
        # Not after a silence: what is sent again then would be joined for callers who have left.
        retry = Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.01), 3, supported_errors=(RedisConnectionError,))
        self._redis = Redis.from_pool(
            connection_pool(redis_url, max_connections=_CONNECTIONS, timeout=3, socket_timeout=3, retry=retry)
        )
        self._join, self._look, self._quota, self._desk, self._owned, self._release = (
            self._redis.register_script(script(name)) for name in ("join", "look", "quota", "desk", "owned", "release")
        )
        self._bounds = (lane_bound, account_people)
        self._remembered = remembered
        self.join: Gather[JoinRequest, Joined | Known | Refused] = Gather(self._send_joins, gather_for)
        """Asks for a ticket: `await front.join(request)`."""
        self.look: Gather[UUID, tuple[datetime, Waiting | None]] = Gather(self._send_looks, gather_for)
        """The time, and the booking if it still waits in its lane; None: the ledger has it, or nobody."""
        self.quota: Gather[tuple[str, tuple[Slot, ...]], tuple[datetime, list[Counters | None]]] = Gather(
            self._send_quotas, gather_for
        )
        """The time, and the counters of an office's slots; None where the lane is not open or has none for a slot."""
        self._last_settled: dict[str, int] = {}
        self._waiting: dict[str, dict[asyncio.Future[None], int]] = {}
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to listen for settled turns."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Finishes what was gathered and closes the connections."""
        await self.join.close()
        await self.look.close()
        await self.quota.close()
        while self._listener and not self._listener.done():
            # More than once: redis-py swallows a cancellation that meets it while it connects.
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=0.1)
        await self._redis.aclose()

    async def ping(self) -> None:
        """Returns when Redis answers."""
        await self._redis.ping()

    async def check_fitness(self, offices: int) -> None:
        """Raises UnfitRedis when this Redis may not hold the lanes of so many offices."""
        await check_fitness(self._redis, offices, self._bounds[0])

    async def clock_ahead(self) -> timedelta:
        """How far the service's time is ahead of real time (see clock in keys.lua)."""
        return timedelta(milliseconds=int(await self._redis.get("clock") or 0))

    async def _send_joins(self, requests: Sequence[JoinRequest]) -> list[Joined | Known | Refused]:
        args: list[bytes | str | int] = list(self._bounds)
        for request in requests:
            args += self._arguments(request)
        try:
            now, *answers = await self._join(args=args)
        except ResponseError as error:
            if not is_full(error):
                raise
            return await self._known_or_full([request.booking_id for request in requests])
        at = moment(now)
        return [_join_answer(answer, at) for answer in answers]

    async def _known_or_full(self, booking_ids: Sequence[UUID]) -> list[Joined | Known | Refused]:
        """A full Redis takes nobody, but still knows whom it has taken: a repeat, or one whose first answer was lost."""
        pipeline = self._redis.pipeline(transaction=False)
        for booking_id in booking_ids:
            pipeline.hexists(f"requests:{booking_id.hex[:3]}", booking_id.bytes)
        full = Refused(Reason.STORE_FULL, datetime.now(UTC))
        return [Known() if known else full for known in await pipeline.execute()]

    def _arguments(self, r: JoinRequest) -> list[bytes | str | int]:
        keys, sealed = pack_people(r.applicants)
        windows = ",".join(f"{milliseconds(w.opens_at)}-{milliseconds(w.closes_at)}" for w in r.windows)
        keep = milliseconds(r.windows[-1].closes_at + self._remembered) // 1000 if r.windows else 0
        verdict = r.verdict.reason.value if r.verdict else ""
        by = f"{r.caller} {r.account}"
        return [
            r.booking_id.bytes, r.fingerprint, r.owner, r.office_id, str(r.slot), windows, keep, verdict, keys, by, sealed,
        ]  # fmt: skip

    async def _send_looks(self, booking_ids: Sequence[UUID]) -> list[tuple[datetime, Waiting | None]]:
        now, *found = await self._look(args=[booking_id.bytes for booking_id in booking_ids])
        at = moment(now)
        return [(at, _waiting(*values) if values else None) for values in found]

    async def _send_quotas(
        self, questions: Sequence[tuple[str, tuple[Slot, ...]]]
    ) -> list[tuple[datetime, list[Counters | None]]]:
        """One script call for all that ask for the same slots, once for each of their offices."""
        asked: dict[tuple[Slot, ...], dict[str, None]] = {}
        for office_id, slots in questions:
            asked.setdefault(slots, {})[office_id] = None
        answers = {}
        for slots, office_ids in asked.items():
            now, *found = await self._quota(args=[len(slots), *map(str, slots), *office_ids])
            at = moment(now)
            for office_id, (opened, *texts) in zip(office_ids, found, strict=True):
                answers[office_id, slots] = at, [_counters(text) if opened else None for text in texts]
        return [answers[question] for question in questions]

    async def ask_desk(self, office_id: str, entry: DeskEntry) -> int:
        """Puts it on the office's desk; its number there. Raises LANE_CLOSED, LANE_FULL: certain, nothing was taken."""
        kind, *number = await self._desk(args=[office_id, DESK_BOUND, write_desk_entry(entry)])
        if kind != b"DESKED":
            raise AntrianError(Reason(kind.decode()), retry_after=_DESK_RETRY)
        return int(number[0])

    async def owned(self, owner: bytes) -> list[UUID]:
        """The bookings that an account has live: in line or confirmed."""
        return [UUID(bytes=booking_id) for booking_id in await self._owned(args=[owner])]

    async def release(self, booking_id: UUID, people: Sequence[bytes]) -> None:
        """Frees people who have come; the ledger has to say so already."""
        await self._release(args=[0, "", booking_id.bytes, b"".join(people)])

    def desk_settled(self, office_id: str, number: int) -> "asyncio.Future[None]":
        """The same as settled, for an entry of the office's desk."""
        return self.settled(f"desk:{office_id}", number)

    def settled(self, office_id: str, ticket: int) -> "asyncio.Future[None]":
        """Done when that ticket of the office has been settled, as far as this server has heard; may be cancelled.

        A message can be lost with its connection: wait with a limit, then look again.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._last_settled.get(office_id, 0) >= ticket:
            future.set_result(None)
        else:
            waiting = self._waiting.setdefault(office_id, {})
            waiting[future] = ticket
            future.add_done_callback(waiting.pop)
        return future

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(SETTLED)
                    while True:
                        message: Any = await channel.get_message(timeout=None)
                        if message:
                            office, last = message["data"].decode().split()
                            self._hear(office, int(last))
            except (RedisError, OSError) as error:
                _log.warning("not hearing of settled turns, trying again: %s", error)
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter

    def _hear(self, office_id: str, last_ticket: int) -> None:
        self._last_settled[office_id] = last_ticket
        for future, ticket in self._waiting.get(office_id, {}).items():
            if ticket <= last_ticket and not future.done():
                future.set_result(None)


def is_full(error: Exception) -> bool:
    """Whether Redis refused to write since its memory or its disk is full; it has not begun then."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("MISCONF")


def _waiting(office: bytes, ticket: int, ahead: int, left: int, fields: list[bytes]) -> Waiting:
    return Waiting(office.decode(), ticket, ahead, None if left < 0 else left, read_entry(fields))


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
    quota, left, *_, closed = text.split()
    return Counters(int(quota), int(left), closed == b"1")
