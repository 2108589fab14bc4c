"""The servers' side of the lanes: join a queue, look at it, be notified of settled turns."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from prometheus_client import Counter
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from antrian.batching import Batcher
from antrian.booking import Command, EncryptedApplicant, RequestLimit, RequestLimits, Slot, Window
from antrian.errors import AntrianError, Reason
from antrian.lane import SETTLED, script
from antrian.lane.codec import milliseconds, moment, pack_request, read_queue_entry, whole_hours, write_command
from antrian.lane.config_check import check_config
from antrian.lane.connection import Call, Pipe, Script

MAX_COMMANDS = 1000
"""The maximum number of commands that wait in a lane; the next one is refused with LANE_FULL."""

TICKETS_LOST = Counter(
    "antrian_acknowledged_tickets_lost",
    "Lanes quarantined because Redis had lost tickets that this server acknowledged.",
)

_HOUR_MS = 3_600_000
_HEARTBEAT = 5.0
_COMMAND_RETRY = timedelta(seconds=1)
_log = logging.getLogger(__name__)


@dataclass(slots=True)  # not frozen: that would double what it takes to make one
class JoinRequest:
    """A checked request for a ticket.

    refusal: why it is refused for its location or its day; it does not apply to a request that was accepted before. origin: the
    device and the address prefix that ask, as Keys.asker returns each; empty if unknown. counted: whether limits have counted
    it already.
    """

    booking_id: UUID
    fingerprint: bytes
    owner: bytes
    caller: str
    account: str
    office_id: str
    slot: Slot
    windows: tuple[Window, ...]
    applicants: tuple[EncryptedApplicant, ...]
    refusal: AntrianError | None
    origin: bytes = b""
    counted: bool = False


@dataclass(slots=True)
class Joined:
    """The request has its ticket. ahead: requests that are decided before it. remaining: free places of its slot now."""

    ticket: int
    ahead: int
    remaining: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The request was accepted before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was not accepted, and nothing has changed. applicant: index of the applicant concerned.

    detail: the last day of a bar, the id of the booking that exists already (bytes), or a number; see join.lua.
    """

    reason: str
    at: datetime
    applicant: int = 0
    detail: bytes = b""


@dataclass(frozen=True, slots=True)
class HeldUnverified:
    """The request was not accepted yet: bookings that did not verify these people hold them, and give way to it.

    people: index of each applicant, and the booking that holds the person.
    """

    people: tuple[tuple[int, UUID], ...]
    at: datetime


JoinResult = Joined | Known | Refused | HeldUnverified
"""What becomes of a request that asks for a ticket."""


class Waiting(NamedTuple):
    """A booking that was still in its lane at as_of. remaining: free places of its slot, None if it has no counters."""

    booking_id: UUID
    office_id: str
    ticket: int
    ahead: int
    remaining: int | None
    slot: Slot
    people: Sequence[EncryptedApplicant]
    caller: str
    account: str
    accepted_at: datetime
    as_of: datetime


class Counters(NamedTuple):
    """A slot's places as the lane counts them."""

    quota: int
    remaining: int
    closed: bool


class LaneProducer:
    """The scripts that servers call. All methods raise redis.RedisError when Redis cannot be reached.

    Concurrent joins, looks and quotas are sent in batches, at most one per batch_window each.

    replicas: how many replicas of Redis must have received what was written before a join or a look is answered. So a ticket that
    anybody has heard of survives a failover, and a former primary that is cut off answers neither.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        lane_bound: int,
        account_people: int,
        tried_people: int,
        limits: RequestLimits,
        remembered: timedelta,
        batch_window: timedelta,
        replicas: int = 0,
    ) -> None:
        self._redis_url, self._replicas = redis_url, replicas
        self._pipe, self._messages = Pipe(redis_url), Pipe(redis_url, self._receive)
        # WAIT blocks its connection, so what is replicated has connections of its own.
        self._joins = Pipe(redis_url, on_connect=self._check_acknowledged) if replicas else self._pipe
        self._looks = Pipe(redis_url) if replicas else self._pipe
        self._now, self._quota, self._commands = (
            Script(self._pipe, script(name)) for name in ("look", "counters", "send_command")
        )
        self._join = Script(self._joins, script("join"), replicas=replicas)
        self._look, self._owned = (Script(self._looks, script(name), replicas=replicas) for name in ("look", "owned"))
        self.set_bounds(
            lane_bound=lane_bound, account_people=account_people, tried_people=tried_people, limits=limits,
            remembered=remembered,
        )  # fmt: skip
        self.join: Batcher[JoinRequest, JoinResult] = Batcher(self._send_joins, batch_window)
        """Asks for a ticket: `await producer.join(request)`."""
        self.look: Batcher[UUID, Waiting | None] = Batcher(self._send_looks, batch_window)
        """Returns the booking if it still waits in its lane, else None: only the ledger may have it."""
        self.quota: Batcher[tuple[str, tuple[Slot, ...]], tuple[datetime, tuple[Counters | None, ...]]] = Batcher(
            self._send_quotas, batch_window
        )
        """Returns the time, and the counters of an office's slots; None where the lane is not open or lacks the slot."""
        self._acknowledged: dict[str, tuple[int, UUID]] = {}
        self._last_settled: dict[str, int] = {}
        self._waiting: dict[str, dict[asyncio.Future[None], int]] = {}
        self._listener: asyncio.Task[None] | None = None

    def set_bounds(
        self, *, lane_bound: int, account_people: int, tried_people: int, limits: RequestLimits, remembered: timedelta
    ) -> None:
        """Uses these bounds for joins from now on; lane_bound: the maximum number of requests that wait in a lane."""
        rates = (limits.account, limits.device, limits.address)
        self._bounds = (lane_bound, account_people, tried_people, *(number for rate in rates for number in _pace(rate)))

        def spans(windows: Sequence[Window]) -> tuple[str, int]:
            """Windows as join.lua takes them, and until when a request for their date is remembered (hours)."""
            moments = (f"{milliseconds(window.opens_at)}-{milliseconds(window.closes_at)}" for window in windows)
            return ",".join(moments), whole_hours(windows[-1].closes_at + remembered) if windows else 0

        self._open = lru_cache(maxsize=256)(spans)

    async def start(self) -> None:
        """Starts to listen for settled turns."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Sends the batches that wait, and closes the connections."""
        await self.join.close()
        await self.look.close()
        await self.quota.close()
        if self._listener:
            self._listener.cancel()
        for pipe in (self._pipe, self._joins, self._looks, self._messages):
            pipe.close()

    async def now(self) -> datetime:
        """Returns the service's time, which is Redis's."""
        return moment((await self._now())[0])

    async def check_config(self, offices: int) -> None:
        """Raises UnsupportedRedisError if this Redis, or a replica, may not hold the lanes of that many offices."""
        await check_config(self._redis_url, offices, self._bounds[0], self._replicas)

    async def _send_joins(self, requests: Sequence[JoinRequest]) -> list[JoinResult]:
        args: list[bytes | str | int] = list(self._bounds)
        for request in requests:
            args += self._arguments(request)
        try:
            now, *responses = await self._join(*args)
        except ResponseError as error:
            if not is_full(error):
                raise
            return await self._known_or_full([request.booking_id for request in requests])
        at = moment(now)
        joined = [_join_response(response, at) for response in responses]
        if self._replicas:
            for request, response in zip(requests, joined, strict=True):
                if isinstance(response, Joined):
                    self._acknowledge(request.office_id, response.ticket, request.booking_id)
        return joined

    def _acknowledge(self, office_id: str, ticket: int, booking_id: UUID) -> None:
        """Notes the highest acknowledged ticket of each lane."""
        if office_id not in self._acknowledged or ticket > self._acknowledged[office_id][0]:
            self._acknowledged[office_id] = ticket, booking_id

    async def _check_acknowledged(self, call: Call) -> None:
        """Quarantines the lanes of which a newly connected Redis lacks acknowledged tickets (see witness.lua)."""
        args = [
            text
            for office_id, (ticket, booking_id) in self._acknowledged.items()
            for text in (office_id, ticket, booking_id.bytes)
        ]
        lost = await call(("EVALSHA", await call(("SCRIPT", "LOAD", script("witness"))), 0, *args)) if args else []
        for office_id in map(bytes.decode, lost):
            ticket, _ = self._acknowledged.pop(office_id)
            TICKETS_LOST.inc()
            _log.critical("lane quarantined, Redis lost acknowledged tickets: %s, up to ticket %d", office_id, ticket)

    async def _known_or_full(self, booking_ids: Sequence[UUID]) -> list[JoinResult]:
        """A full Redis accepts no request, but still knows those that it has accepted: repeats get their booking."""
        known = await asyncio.gather(
            *(self._pipe.call("HEXISTS", f"requests:{one.hex[:3]}", one.bytes) for one in booking_ids)
        )
        full = Refused(Reason.STORE_FULL, datetime.now(UTC))
        return [Known() if one else full for one in known]

    def _arguments(self, r: JoinRequest) -> list[bytes | str | int]:
        packed = pack_request(r.slot, r.booking_id.bytes, r.fingerprint, r.caller, r.account, r.applicants)
        spans, keep = self._open(r.windows)
        askers = b"" if r.counted else b"a" + r.owner + r.origin
        return [packed, r.owner, askers, r.office_id, spans, keep, r.refusal.reason.value if r.refusal else ""]

    async def _send_looks(self, booking_ids: Sequence[UUID]) -> list[Waiting | None]:
        now, *found = await self._look(*[booking_id.bytes for booking_id in booking_ids])
        as_of = moment(now)
        return [
            _waiting(booking_id, as_of, *values) if values else None
            for booking_id, values in zip(booking_ids, found, strict=True)
        ]

    async def _send_quotas(
        self, queries: Sequence[tuple[str, tuple[Slot, ...]]]
    ) -> list[tuple[datetime, tuple[Counters | None, ...]]]:
        """Makes one script call per distinct set of slots, with each of their offices once."""
        offices: dict[tuple[Slot, ...], dict[str, None]] = {}
        for office_id, slots in queries:
            offices.setdefault(slots, {})[office_id] = None
        responses = {}
        for slots, office_ids in offices.items():
            now, *found = await self._quota(len(slots), *map(str, slots), *office_ids)
            at = moment(now)
            for office_id, (opened, *texts) in zip(office_ids, found, strict=True):
                responses[office_id, slots] = at, _counters(tuple(texts)) if opened else (None,) * len(slots)
        return [responses[query] for query in queries]

    async def send_command(self, office_id: str, entry: Command) -> int:
        """Adds a command to the lane and returns its number. Raises LANE_CLOSED or LANE_FULL: then nothing was added."""
        kind, *number = await self._commands(office_id, MAX_COMMANDS, write_command(entry))
        if kind != b"SENT":
            raise AntrianError(Reason(kind.decode()), retry_after=_COMMAND_RETRY)
        return int(number[0])

    async def owned(self, owner: bytes) -> list[UUID]:
        """Returns the live bookings of an account: those in a queue and those that are confirmed."""
        return [UUID(bytes=booking_id) for booking_id in await self._owned(owner)]

    def command_settled(self, office_id: str, number: int) -> "asyncio.Future[None]":
        """Returns the same as settled(), for a command of the lane."""
        return self.settled(f"commands:{office_id}", number)

    def settled(self, office_id: str, ticket: int) -> "asyncio.Future[None]":
        """Returns a future that is done once this server was notified that the ticket is settled. It may be cancelled.

        A notification can be lost with its connection: wait with a limit, then look again.
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
                await self._messages.call("SUBSCRIBE", SETTLED)
                while not await self._messages.lost(within=_HEARTBEAT):
                    await self._messages.call("PING")
            except RedisError as error:
                _log.warning("no notifications of settled turns, subscribing again: %s", error)
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter

    def _receive(self, message: bytes) -> None:
        words = message.decode().split()
        for office_id, last in zip(words[::2], map(int, words[1::2]), strict=True):
            self._last_settled[office_id] = last
            for future, ticket in self._waiting.get(office_id, {}).items():
                if ticket <= last and not future.done():
                    future.set_result(None)


def _pace(limit: RequestLimit) -> tuple[int, int]:
    """Returns a limit as limits.lua takes it: the milliseconds between requests, and by how many a burst may be ahead."""
    every = round(_HOUR_MS / limit.per_hour) if limit.per_hour else 0
    return every, every * (limit.burst - 1)


def is_full(error: Exception) -> bool:
    """Returns whether Redis refused a write because its memory or its disk is full; then it has not started the script."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("MISCONF")


def _waiting(
    booking_id: UUID, as_of: datetime, office: bytes, ticket: int, ahead: int, remaining: int, text: bytes
) -> Waiting:
    entry, _ = read_queue_entry(text)
    return Waiting(
        booking_id, office.decode(), ticket, ahead, None if remaining < 0 else remaining, entry.slot, entry.applicants,
        entry.caller.decode(), entry.account.decode(), moment(entry.accepted_ms), as_of,
    )  # fmt: skip


def _join_response(response: list[Any], at: datetime) -> JoinResult:
    kind = response[0].decode()
    if kind == "JOINED":
        return Joined(response[1], response[2], response[3], at)
    if kind == "KNOWN":
        return Known()
    if kind == "HELD_UNVERIFIED":
        indexes, holders = response[1::2], response[2::2]
        return HeldUnverified(tuple((n, UUID(bytes=one)) for n, one in zip(indexes, holders, strict=True)), at)
    if kind in {Reason.BARRED, Reason.ALREADY_BOOKED}:
        return Refused(kind, at, response[1], response[2])
    return Refused(kind, at, detail=str(response[1]).encode() if len(response) > 1 else b"")


@lru_cache(maxsize=4096)  # most are asked for again before anything changes
def _counters(texts: tuple[bytes | None, ...]) -> tuple[Counters | None, ...]:
    return tuple(None if text is None else _slot_counters(*text.split()) for text in texts)


def _slot_counters(quota: bytes, remaining: bytes, _next: bytes, _begins: bytes, closed: bytes) -> Counters:
    return Counters(int(quota), int(remaining), closed == b"1")
