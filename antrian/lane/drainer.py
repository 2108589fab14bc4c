"""The drainer's side of the line: take a lane, decide, settle."""

import logging
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError
from redis.retry import Retry

from antrian.booking import Decision, DeskEntry, Slot, StatusReason, UndoCheckIn
from antrian.lane import READY, script
from antrian.lane.entry import milliseconds, moment, read_desk_entry, read_line_entry, write_desk_entry
from antrian.lane.front import DESK_BOUND

LEASE = timedelta(seconds=3)
"""How long a drainer may be silent before another may take its lane. Longer than the ledger's time limit of a turn."""


_log = logging.getLogger(__name__)
_LEASE_MS = LEASE // timedelta(milliseconds=1)
_DESK_BATCH = 64
_PIECE = 1000
_KEEP_COUNTERS = timedelta(days=14)


class Fenced(Exception):
    """A newer drainer has this lane; nothing was written."""


class LaneBroken(Exception):
    """Redis and the ledger do not agree about a lane; it has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drain a lane. known is False when Redis has never seen the lane, or has lost it."""

    office_id: str
    token: int
    known: bool
    stocked: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What was decided for the next tickets of a lane, in order, under that token."""

    office_id: str
    token: int
    decisions: Sequence[Decision]


@dataclass(frozen=True, slots=True)
class DeskBatch:
    """What a drainer was handed of a desk: the entries from number first to last, without those that cannot be read."""

    first: int
    last: int
    entries: list[DeskEntry]


Decided = Turn | DeskBatch | Fenced | LaneBroken
"""What a lane's drainer has to do next, or why it was left as it is."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A lane that was leased, and what was decided; None when its stock comes first."""

    lease: Lease
    decided: Decided | None


@dataclass(frozen=True, slots=True)
class Stock:
    """A slot's counters as the ledger has them."""

    slot: Slot
    quota: int
    left: int
    next_number: int
    begins: datetime
    closed: bool


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane at one moment: known to Redis, open, its epoch, last ticket issued and settled, entries in line.

    unsettled: decisions in the outbox. desked: the last desk number settled. at_desk: entries at the desk. counters: slot
    -> quota, left, next queue number, whether it is closed.
    """

    known: bool
    opened: bool
    epoch: int
    ticket: int
    settled: int
    waiting: int
    unsettled: int
    desked: int
    at_desk: int
    counters: dict[Slot, tuple[int, int, int, bool]]


class LaneDrainer:
    """The scripts that drain lanes. Raises redis.RedisError when Redis cannot be reached."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.01), 3),
            # Told by what is no primary any more: a new connection may lead to the one that is.
            retry_on_error=[ReadOnlyError, MasterDownError],
        )
        names = [
            "decide",
            "settle",
            "stock",
            "open",
            "sweep",
            "shut",
            "forget",
            "audit",
            "depth",
            "claim",
            "settle_desk",
            "release",
            "leave",
            "desk",
        ]
        self._steps = {name: self._redis.register_script(script(name)) for name in names}

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()

    def _run(self, step: str, *args: bytes | str | int) -> Any:
        answer = self._steps[step](args=list(args))
        if problem := _problem(str(args[0]), answer):
            raise problem
        return answer

    def take(self, office_id: str = "") -> Lease | None:
        """Leases that office's lane, or the one that has been ready for longest; None when it is not to be had."""
        asked = [office_id, ""] if office_id else []
        answers = self._steps["decide"](args=[_LEASE_MS, int(not office_id), 1, "", 0, 0, *asked])
        return _taken(answers[0]).lease if answers else None

    def wait(self, seconds: float) -> str:
        """Waits so long for a lane to become ready: takes its mark and answers its office, or ""."""
        popped: Any = self._redis.bzpopmin(READY, seconds)
        return popped[1].decode() if popped else ""

    def decide(self, leases: Sequence[Lease], most: int) -> list[Decided]:
        """Decides the next tickets of each lane in order, at most so many a lane.

        A lane answers its outbox again while that is not settled; else what its desk has; or why it was left as it is.
        """
        lanes = [text for lease in leases for text in (lease.office_id, lease.token)]
        answers = self._steps["decide"](args=[_LEASE_MS, 0, 0, "", most, _DESK_BATCH, *lanes])
        return [_decided(lease, answer[-1]) for lease, answer in zip(leases, answers, strict=True)]

    def settle(self, turns: Sequence[tuple[Lease, str]]) -> list[Fenced | LaneBroken | None]:
        """Makes each lane follow what the ledger says of its turn (see settle.lua), and gives it back; or why not."""
        return _problems(turns, self._steps["settle"](args=_verdicts(turns)))

    def go_on(
        self,
        recorded: Sequence[tuple[Lease, str]],
        stocked: str,
        office_id: str,
        *,
        lanes: int,
        tickets: int,
        most: int,
    ) -> tuple[list[Fenced | LaneBroken | None], list[Taken]]:
        """Settles turns that are recorded; then leases lanes and decides those whose stock has this mark, at most so many a lane.

        These are the given office's (if any) and those that have been ready for longest: so many, or fewer once so many
        tickets wait in them. Both in one message: Redis syncs its log once for all.
        """
        asked = [office_id, ""] if office_id else []
        steps: list[tuple[Script, list[bytes | str | int]]] = [
            (self._steps["decide"], [_LEASE_MS, lanes, tickets, stocked, most, _DESK_BATCH, *asked])
        ]
        if recorded:
            steps.insert(0, (self._steps["settle"], _verdicts(recorded)))
        *settled, taken = self._together(steps)
        return _problems(recorded, settled[0] if settled else []), [_taken(answer) for answer in taken]

    def _together(self, steps: Sequence[tuple[Script, Sequence[bytes | str | int]]]) -> list[Any]:
        """The answers to steps that are sent as one message."""
        pipeline = self._redis.pipeline(transaction=False)
        for step, args in steps:
            pipeline.evalsha(step.sha, 0, *args)
        answers = pipeline.execute(raise_on_error=False)
        for n, (step, args) in enumerate(steps):
            if isinstance(answers[n], NoScriptError):  # of a Redis that was just started; the others are done
                answers[n] = step(args=args)
            elif isinstance(answers[n], Exception):
                raise answers[n]
        return answers

    def claim(self, lease: Lease, batch: DeskBatch) -> DeskBatch:
        """Holds the people again whose check-ins the batch wants undone; the batch, with who cannot be held (see claim.lua)."""
        undone = [entry for entry in batch.entries if isinstance(entry, UndoCheckIn)]
        args: list[bytes] = []
        for entry in undone:
            keys = b"".join(key.bytes for key in entry.people.values())
            args += [entry.booking_id.bytes, b64decode(entry.owner), keys]
        _, *answers = self._run("claim", lease.office_id, lease.token, *args)
        taken = {entry.action_id: list(entry.people)[at - 1] for entry, at in zip(undone, answers, strict=True) if at}
        entries = [
            replace(entry, taken=taken.get(entry.action_id)) if isinstance(entry, UndoCheckIn) else entry
            for entry in batch.entries
        ]
        return replace(batch, entries=entries)

    def settle_desk(
        self,
        lease: Lease,
        batch: DeskBatch,
        slots: Iterable[Stock],
        freed: Iterable[tuple[bytes, bytes]],
        lifted_at: datetime | None,
    ) -> None:
        """Makes the lane follow the ledger after a batch of its desk: these counters, these people free.

        lifted_at is when the latest bar of the batch's bookings was lifted.
        """
        args: list[bytes | str | int] = []
        for s in slots:
            args += [str(s.slot), s.quota, s.left, s.next_number, int(s.closed)]
        count = len(args) // 5
        for booking_id, person in freed:
            args += [booking_id, person]
        lifted = milliseconds(lifted_at) if lifted_at else 0
        self._run("settle_desk", lease.office_id, lease.token, batch.last, lifted, count, *args)

    def desked(self, office_id: str) -> int:
        """The number that was settled last at the office's desk."""
        number: Any = self._redis.hget(f"lane:{{{office_id}}}", "desked")
        return int(number or 0)

    def release(
        self,
        office_id: str,
        desked: int,
        people: Sequence[tuple[bytes, bytes]],
        ends: datetime | None = None,
        last_day: str = "",
    ) -> bool:
        """Frees these people (booking id, applicant key) after their day; with ends, they are barred until then.

        desked is what it was before the ledger was asked. False, and nothing was done: ask again (see release.lua).
        """
        flat = [text for pair in people for text in pair]
        return bool(self._run("release", office_id, desked, milliseconds(ends) if ends else 0, last_day, *flat))

    def stock(self, lease: Lease, slots: Iterable[Stock], mark: str) -> None:
        """Gives the lane the counters that it lacks; mark is kept with it, to tell later whether it needs more."""
        counters: list[str | int] = []
        for s in slots:
            counters += [str(s.slot), s.quota, s.left, s.next_number, milliseconds(s.begins), int(s.closed)]
        forget_before = milliseconds(lease.now - _KEEP_COUNTERS)
        self._run("stock", lease.office_id, lease.token, mark, forget_before, *counters)

    def open(self, lease: Lease, token: int, epoch: int, last_ticket: int, last_desk: int) -> Lease:
        """Opens a lane, after its stock, as the ledger has it; answers the lease to go on with.

        Raises LaneBroken when Redis is not whole.
        """
        answer = self._run("open", lease.office_id, lease.token, token, epoch, last_ticket, last_desk)
        if answer[0] == b"NOT_WHOLE":
            raise LaneBroken(f"{lease.office_id}: Redis lost what the ledger knows")
        return replace(lease, token=token, known=True)

    def ask_desk(self, office_id: str, entry: DeskEntry) -> bool:
        """Puts it on the office's desk; False when that is full or the lane closed, and then nothing was taken."""
        answer = self._steps["desk"](args=[office_id, DESK_BOUND, write_desk_entry(entry)])
        return bool(answer[0] == b"DESKED")

    def leave(self, lease: Lease) -> None:
        """Gives the lease back without a turn."""
        self._run("leave", lease.office_id, lease.token)

    def shut(self, lease: Lease) -> None:
        """Closes a lane for joins and drains until it is rebuilt."""
        self._run("shut", lease.office_id, lease.token)

    def sweep(self, office_ids: Sequence[str], mark: str) -> int:
        """Marks lanes ready that have work or another stock than this mark, and nobody who does it; says how many."""
        return int(self._run("sweep", mark, *office_ids))

    def audit(self, office_id: str) -> LaneState:
        """How the lane stands, at one moment."""
        opened, epoch, ticket, settled, waiting, unsettled, desked, at_desk, *places = self._run("audit", office_id)
        counters = {}
        for line in places:
            slot, quota, left, next_number, _, closed = line.split()
            counters[Slot.parse(slot.decode())] = int(quota), int(left), int(next_number), closed == b"1"
        numbers = epoch, ticket, settled, waiting, unsettled, desked, at_desk
        return LaneState(opened != b"", opened == b"1", *numbers, counters)

    def depth(self, office_ids: Sequence[str]) -> dict[str, tuple[int, timedelta]]:
        """By office: how many tickets wait to be settled, and how old the oldest of them is (0 when none waits)."""
        now, *numbers = self._run("depth", *office_ids)
        return {
            office_id: (waiting, timedelta(milliseconds=max(0, now - accepted) if accepted else 0))
            for office_id, waiting, accepted in zip(office_ids, numbers[::2], numbers[1::2], strict=True)
        }

    def in_line(self, office_id: str) -> Counter[date]:
        """How many requests wait in the lane, by the day that they are for."""
        waiting, after = Counter[date](), b"-"
        while True:
            entries: Any = self._redis.xrange(f"line:{{{office_id}}}", after, count=_PIECE)
            if not entries:
                return waiting
            waiting.update(read_line_entry(fields[b"r"])[0].slot.service_date for _, fields in entries)
            after = b"(" + entries[-1][0]

    def ready_since(self) -> dict[str, timedelta]:
        """For how long each ready lane has waited for a drainer."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(READY, 0, -1, withscores=True)
        (seconds, microseconds), lanes = pipeline.execute()
        now = seconds * 1_000_000 + microseconds
        return {office.decode(): timedelta(microseconds=now - since) for office, since in lanes}

    def forget(self, bucket: int) -> int:
        """Forgets what need not be remembered any more in one of the 4,096 buckets; says how many entries."""
        return int(self._run("forget", bucket))

    def is_whole(self) -> bool:
        """Whether Redis has all that the ledger knows of people."""
        return bool(self._redis.exists("whole"))

    def make_whole(self) -> None:
        """Says that it has: on the first start, and after a rebuild."""
        self._redis.set("whole", 1)

    def told(self) -> int:
        """When the latest day was done that Redis has been told of (ms); 0: it knows of none."""
        told: Any = self._redis.zscore("told", "day")
        return int(told or 0)

    def note_told(self, done_at: datetime) -> None:
        """Notes that it has been told of a day that was done then."""
        self._redis.zadd("told", {"day": milliseconds(done_at)}, gt=True)

    def now(self) -> datetime:
        """The service's time."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.get("clock")
        (seconds, microseconds), ahead = pipeline.execute()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds, milliseconds=int(ahead or 0))

    def set_clock(self, ahead: timedelta) -> None:
        """Copies how far the service's time is ahead from the ledger, which keeps it; for embedded stores and tests."""
        self._redis.set("clock", -(-ahead // timedelta(milliseconds=1)))  # rounded up: not behind the ledger's


def _readable(office_id: str, texts: Iterable[bytes]) -> Iterator[DeskEntry]:
    for text in texts:
        try:
            yield read_desk_entry(text)
        except ValueError:
            _log.error("%s: an entry at the desk cannot be read and is left out", office_id)


def _problem(office_id: str, answer: Any) -> Fenced | LaneBroken | None:
    """What a script says when it did nothing."""
    if isinstance(answer, list) and answer and answer[0] == b"FENCED":
        return Fenced(office_id)
    if isinstance(answer, list) and answer and answer[0] in {b"GAP", b"MISSING"}:
        return LaneBroken(f"{office_id}: {answer[0].decode()} {answer[1]!r}")
    return None


def _verdicts(turns: Sequence[tuple[Lease, str]]) -> list[bytes | str | int]:
    """The arguments of settle.lua."""
    return [text for lease, verdicts in turns for text in (lease.office_id, lease.token, verdicts)]


def _problems(turns: Sequence[tuple[Lease, str]], answers: Sequence[Any]) -> list[Fenced | LaneBroken | None]:
    return [_problem(lease.office_id, answer) for (lease, _), answer in zip(turns, answers, strict=True)]


def _taken(answer: Sequence[Any]) -> Taken:
    office, token, known, stocked, now, decided = answer
    lease = Lease(office.decode(), token, known == 1, stocked.decode(), moment(now))
    return Taken(lease, None if decided is None else _decided(lease, decided))


def _decided(lease: Lease, answer: list[Any]) -> Decided:
    if problem := _problem(lease.office_id, answer):
        return problem
    kind, first, *texts = answer
    if kind == b"DESK":
        return DeskBatch(first, first + len(texts) - 1, list(_readable(lease.office_id, texts)))
    try:
        tickets = enumerate(zip(texts[::2], texts[1::2], strict=True), first)
        return Turn(lease.office_id, lease.token, [_decision(lease.office_id, n, *ticket) for n, ticket in tickets])
    except LaneBroken as problem:
        return problem


def sole(answers: Sequence[Any]) -> Any:
    """The answer for one lane; raises it where it is why not."""
    [answer] = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _decision(office_id: str, ticket: int, decided: bytes, text: bytes) -> Decision:
    try:
        entry, sound = read_line_entry(text)
        outcome, _, number = decided.partition(b" ")
        reason = None if number else StatusReason(outcome.decode())
        first_number = int(number) if number else None
    except ValueError as error:
        raise LaneBroken(f"{office_id}: ticket {ticket} cannot be read") from error
    if not reason and not sound:
        _log.error("%s ticket %d refused: its people cannot be read", office_id, ticket)
        reason = StatusReason.INTERNAL
    return Decision(ticket, entry, reason, first_number)
