"""The workers' side of the lanes: lease a lane, decide, settle, execute commands."""

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

from antrian.booking import Command, CommandBatch, Decision, Slot, StatusReason, Turn, UndoCheckIn
from antrian.lane import READY, script
from antrian.lane.codec import milliseconds, moment, read_command, read_queue_entry, write_command
from antrian.lane.producer import MAX_COMMANDS

LEASE = timedelta(seconds=3)
"""How long a consumer may be silent before another may lease its lane. Longer than the ledger's time limit for a batch."""


_log = logging.getLogger(__name__)
_LEASE_MS = LEASE // timedelta(milliseconds=1)
_COMMAND_BATCH = 64
_PIECE = 1000
_KEEP_COUNTERS = timedelta(days=14)


class FencedError(Exception):
    """A newer consumer has leased this lane; nothing was written."""


class LaneBrokenError(Exception):
    """Redis and the ledger do not agree about a lane; it has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drain a lane. known is False when Redis has never seen the lane, or has lost it."""

    office_id: str
    token: int
    known: bool
    inventory_version: str
    now: datetime


Decided = Turn | CommandBatch | FencedError | LaneBrokenError
"""What a lane's consumer has to do next, or why the lane was left as it is."""


@dataclass(frozen=True, slots=True)
class LeasedLane:
    """A lane that was leased, and what was decided; None when its counters have to be loaded first."""

    lease: Lease
    decided: Decided | None


@dataclass(frozen=True, slots=True)
class SlotCounters:
    """A slot's counters as the ledger has them."""

    slot: Slot
    quota: int
    remaining: int
    next_number: int
    begins: datetime
    closed: bool


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane at one moment: known to Redis, open, its epoch, last ticket issued and settled, entries in its queue.

    unsettled: decisions in the outbox. settled_command: the last command settled. commands_waiting: how many
    are not. counters: slot -> quota, remaining, next queue number, whether it is closed.
    """

    known: bool
    opened: bool
    epoch: int
    ticket: int
    settled: int
    waiting: int
    unsettled: int
    settled_command: int
    commands_waiting: int
    counters: dict[Slot, tuple[int, int, int, bool]]


class LaneConsumer:
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
            "lease",
            "decide",
            "lease_and_decide",
            "settle",
            "load_counters",
            "open",
            "sweep",
            "quarantine",
            "expire",
            "audit",
            "depth",
            "claim",
            "settle_commands",
            "release",
            "leave",
            "send_command",
        ]
        self._steps = {name: self._redis.register_script(script(name)) for name in names}

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()

    def _run(self, step: str, *args: bytes | str | int) -> Any:
        response = self._steps[step](args=list(args))
        if problem := _problem(str(args[0]), response):
            raise problem
        return response

    def lease(self, office_id: str = "") -> Lease | None:
        """Leases that office's lane, or the one that has been ready for longest. None when it cannot be had."""
        response = self._steps["lease"](args=[_LEASE_MS, office_id])
        return _leased(response).lease if response else None

    def wait(self, seconds: float) -> str:
        """Waits for a lane to become ready. Returns its office and takes its ready mark, or "" after that many seconds."""
        popped: Any = self._redis.bzpopmin(READY, seconds)
        return popped[1].decode() if popped else ""

    def decide(self, leases: Sequence[Lease], max_tickets: int) -> list[Decided]:
        """Decides the next tickets of each leased lane in arrival order, at most max_tickets per lane.

        A lane hands out its outbox again until that is settled, then its commands, then new decisions.
        """
        lanes = [text for lease in leases for text in (lease.office_id, lease.token)]
        responses = self._steps["decide"](args=[max_tickets, _COMMAND_BATCH, *lanes])
        return [_decided(lease, response[-1]) for lease, response in zip(leases, responses, strict=True)]

    def settle(self, turns: Sequence[tuple[Lease, str]]) -> list[FencedError | LaneBrokenError | None]:
        """Makes each lane follow what the ledger recorded of its turn (see settle.lua) and gives its lease back.

        Returns None for each lane that is settled, else why it is not.
        """
        return _problems(turns, self._steps["settle"](args=_settle_arguments(turns)))

    def settle_and_decide(
        self,
        recorded: Sequence[tuple[Lease, str]],
        inventory_version: str,
        office_id: str,
        *,
        max_lanes: int,
        max_tickets: int,
    ) -> tuple[list[FencedError | LaneBrokenError | None], list[LeasedLane]]:
        """Settles recorded turns, then leases ready lanes and decides those whose counters have this inventory version.

        Leases the given office's lane, if any, and those that have been ready for longest: at most max_lanes, and no further
        one once max_tickets wait in them. At most max_tickets are decided per lane. Both steps are one message, so that
        Redis syncs its log once.
        """
        first = [office_id] if office_id else []
        limits: list[bytes | str | int] = [
            _LEASE_MS,
            max_lanes,
            max_tickets,
            inventory_version,
            max_tickets,
            _COMMAND_BATCH,
        ]
        steps: list[tuple[Script, list[bytes | str | int]]] = [(self._steps["lease_and_decide"], [*limits, *first])]
        if recorded:
            steps.insert(0, (self._steps["settle"], _settle_arguments(recorded)))
        *settled, leased = self._together(steps)
        return _problems(recorded, settled[0] if settled else []), [_leased(response) for response in leased]

    def _together(self, steps: Sequence[tuple[Script, Sequence[bytes | str | int]]]) -> list[Any]:
        """The answers to steps that are sent as one message."""
        pipeline = self._redis.pipeline(transaction=False)
        for step, args in steps:
            pipeline.evalsha(step.sha, 0, *args)
        responses = pipeline.execute(raise_on_error=False)
        for n, (step, args) in enumerate(steps):
            if isinstance(responses[n], NoScriptError):  # of a Redis that was just started; the others are done
                responses[n] = step(args=args)
            elif isinstance(responses[n], Exception):
                raise responses[n]
        return responses

    def claim(self, lease: Lease, batch: CommandBatch) -> CommandBatch:
        """Holds the people again whose check-ins the batch wants undone; the batch, with who cannot be held (see claim.lua)."""
        undone = [entry for entry in batch.entries if isinstance(entry, UndoCheckIn)]
        args: list[bytes] = []
        for entry in undone:
            keys = b"".join(key.bytes for key in entry.people.values())
            args += [entry.booking_id.bytes, b64decode(entry.owner), keys]
        _, *responses = self._run("claim", lease.office_id, lease.token, *args)
        taken = {entry.action_id: list(entry.people)[at - 1] for entry, at in zip(undone, responses, strict=True) if at}
        entries = [
            replace(entry, taken=taken.get(entry.action_id)) if isinstance(entry, UndoCheckIn) else entry
            for entry in batch.entries
        ]
        return replace(batch, entries=entries)

    def settle_commands(
        self,
        lease: Lease,
        batch: CommandBatch,
        slots: Iterable[SlotCounters],
        freed: Iterable[tuple[bytes, bytes]],
        lifted_at: datetime | None,
    ) -> None:
        """Makes the lane follow the ledger after a batch of its desk: these counters, these people free.

        lifted_at is when the latest bar of the batch's bookings was lifted.
        """
        args: list[bytes | str | int] = []
        for s in slots:
            args += [str(s.slot), s.quota, s.remaining, s.next_number, int(s.closed)]
        count = len(args) // 5
        for booking_id, person in freed:
            args += [booking_id, person]
        lifted = milliseconds(lifted_at) if lifted_at else 0
        self._run("settle_commands", lease.office_id, lease.token, batch.last, lifted, count, *args)

    def settled_command(self, office_id: str) -> int:
        """The number that was settled last at the lane's commands."""
        number: Any = self._redis.hget(f"lane:{{{office_id}}}", "settled_command")
        return int(number or 0)

    def release(
        self,
        office_id: str,
        settled_command: int,
        people: Sequence[tuple[bytes, bytes]],
        ends: datetime | None = None,
        last_day: str = "",
    ) -> bool:
        """Frees these people (booking id, applicant key) after their day; with ends, they are barred until then.

        desked is what it was before the ledger was asked. False, and nothing was done: ask again (see release.lua).
        """
        flat = [text for pair in people for text in pair]
        return bool(
            self._run("release", office_id, settled_command, milliseconds(ends) if ends else 0, last_day, *flat)
        )

    def load_counters(self, lease: Lease, slots: Iterable[SlotCounters], mark: str) -> None:
        """Gives the lane the counters that it lacks; mark is kept with it, to tell later whether it needs more."""
        counters: list[str | int] = []
        for s in slots:
            counters += [str(s.slot), s.quota, s.remaining, s.next_number, milliseconds(s.begins), int(s.closed)]
        expire_before = milliseconds(lease.now - _KEEP_COUNTERS)
        self._run("load_counters", lease.office_id, lease.token, mark, expire_before, *counters)

    def open(self, lease: Lease, token: int, epoch: int, last_ticket: int, last_command: int) -> Lease:
        """Opens a lane, after its stock, as the ledger has it; answers the lease to go on with.

        Raises LaneBrokenError when Redis is not whole.
        """
        response = self._run("open", lease.office_id, lease.token, token, epoch, last_ticket, last_command)
        if response[0] == b"NOT_RESTORED":
            raise LaneBrokenError(f"{lease.office_id}: Redis lost what the ledger knows")
        return replace(lease, token=token, known=True)

    def send_command(self, office_id: str, entry: Command) -> bool:
        """Puts it on the lane's commands; False when that is full or the lane closed, and then nothing was taken."""
        response = self._steps["send_command"](args=[office_id, MAX_COMMANDS, write_command(entry)])
        return bool(response[0] == b"SENT")

    def leave(self, lease: Lease) -> None:
        """Gives the lease back without a turn."""
        self._run("leave", lease.office_id, lease.token)

    def quarantine(self, lease: Lease) -> None:
        """Closes a lane for joins and drains until it is rebuilt."""
        self._run("quarantine", lease.office_id, lease.token)

    def sweep(self, office_ids: Sequence[str], mark: str) -> int:
        """Marks lanes ready that have work or another stock than this mark, and nobody who does it; says how many."""
        return int(self._run("sweep", mark, *office_ids))

    def audit(self, office_id: str) -> LaneState:
        """How the lane stands, at one moment."""
        opened, epoch, ticket, settled, waiting, unsettled, settled_command, commands_waiting, *places = self._run(
            "audit", office_id
        )
        counters = {}
        for line in places:
            slot, quota, remaining, next_number, _, closed = line.split()
            counters[Slot.parse(slot.decode())] = int(quota), int(remaining), int(next_number), closed == b"1"
        numbers = epoch, ticket, settled, waiting, unsettled, settled_command, commands_waiting
        return LaneState(opened != b"", opened == b"1", *numbers, counters)

    def depth(self, office_ids: Sequence[str]) -> dict[str, tuple[int, timedelta]]:
        """By office: how many tickets wait to be settled, and how old the oldest of them is (0 when none waits)."""
        now, *numbers = self._run("depth", *office_ids)
        return {
            office_id: (waiting, timedelta(milliseconds=max(0, now - accepted) if accepted else 0))
            for office_id, waiting, accepted in zip(office_ids, numbers[::2], numbers[1::2], strict=True)
        }

    def in_queue(self, office_id: str) -> Counter[date]:
        """How many requests wait in the lane, by the day that they are for."""
        waiting, after = Counter[date](), b"-"
        while True:
            entries: Any = self._redis.xrange(f"queue:{{{office_id}}}", after, count=_PIECE)
            if not entries:
                return waiting
            waiting.update(read_queue_entry(fields[b"r"])[0].slot.service_date for _, fields in entries)
            after = b"(" + entries[-1][0]

    def ready_since(self) -> dict[str, timedelta]:
        """For how long each ready lane has waited for a drainer."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(READY, 0, -1, withscores=True)
        (seconds, microseconds), lanes = pipeline.execute()
        now = seconds * 1_000_000 + microseconds
        return {office.decode(): timedelta(microseconds=now - since) for office, since in lanes}

    def expire(self, bucket: int) -> int:
        """Forgets what need not be remembered any more in one of the 4,096 buckets; says how many entries."""
        return int(self._run("expire", bucket))

    def is_restored(self) -> bool:
        """Whether Redis has all that the ledger knows of people."""
        return bool(self._redis.exists("restored"))

    def mark_restored(self) -> None:
        """Says that it has: on the first start, and after a rebuild."""
        self._redis.set("restored", 1)

    def told(self) -> int:
        """When the latest day was done that Redis has been told of (ms); 0: it knows of none."""
        told: Any = self._redis.zscore("synced", "day")
        return int(told or 0)

    def note_synced(self, done_at: datetime) -> None:
        """Notes that it has been told of a day that was done then."""
        self._redis.zadd("synced", {"day": milliseconds(done_at)}, gt=True)

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


def _readable(office_id: str, texts: Iterable[bytes]) -> Iterator[Command]:
    for text in texts:
        try:
            yield read_command(text)
        except ValueError:
            _log.error("%s: an entry at the desk cannot be read and is left out", office_id)


def _problem(office_id: str, response: Any) -> FencedError | LaneBrokenError | None:
    """What a script says when it did nothing."""
    if isinstance(response, list) and response and response[0] == b"FENCED":
        return FencedError(office_id)
    if isinstance(response, list) and response and response[0] in {b"GAP", b"MISSING"}:
        return LaneBrokenError(f"{office_id}: {response[0].decode()} {response[1]!r}")
    return None


def _settle_arguments(turns: Sequence[tuple[Lease, str]]) -> list[bytes | str | int]:
    """The arguments of settle.lua."""
    return [text for lease, results in turns for text in (lease.office_id, lease.token, results)]


def _problems(
    turns: Sequence[tuple[Lease, str]], responses: Sequence[Any]
) -> list[FencedError | LaneBrokenError | None]:
    return [_problem(lease.office_id, response) for (lease, _), response in zip(turns, responses, strict=True)]


def _leased(response: Sequence[Any]) -> LeasedLane:
    office, token, known, inventory_version, now, *decided = response
    lease = Lease(office.decode(), token, known == 1, inventory_version.decode(), moment(now))
    return LeasedLane(lease, _decided(lease, decided[0]) if decided and decided[0] is not None else None)


def _decided(lease: Lease, response: list[Any]) -> Decided:
    if problem := _problem(lease.office_id, response):
        return problem
    kind, first, *texts = response
    if kind == b"COMMANDS":
        return CommandBatch(first, first + len(texts) - 1, list(_readable(lease.office_id, texts)))
    try:
        tickets = enumerate(zip(texts[::2], texts[1::2], strict=True), first)
        return Turn(lease.office_id, lease.token, [_decision(lease.office_id, n, *ticket) for n, ticket in tickets])
    except LaneBrokenError as problem:
        return problem


def sole(responses: Sequence[Any]) -> Any:
    """The answer for one lane; raises it where it is why not."""
    [response] = responses
    if isinstance(response, Exception):
        raise response
    return response


def _decision(office_id: str, ticket: int, decided: bytes, text: bytes) -> Decision:
    try:
        entry, sound = read_queue_entry(text)
        outcome, _, number = decided.partition(b" ")
        reason = None if number else StatusReason(outcome.decode())
        first_number = int(number) if number else None
    except ValueError as error:
        raise LaneBrokenError(f"{office_id}: ticket {ticket} cannot be read") from error
    if not reason and not sound:
        _log.error("%s ticket %d refused: its people cannot be read", office_id, ticket)
        reason = StatusReason.INTERNAL
    return Decision(ticket, entry, reason, first_number)
