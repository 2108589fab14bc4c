"""The workers' side of the lanes: lease a lane, decide, settle, execute commands."""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError
from redis.retry import Retry

from antrian.booking import Command, CommandBatch, QueueEntry, UndoCheckIn
from antrian.lane import BARRIER, READY, REPLICATED_WITHIN_MS, NotReplicatedError, script
from antrian.lane.codec import milliseconds, moment, read_queue_entry, write_command
from antrian.lane.producer import MAX_COMMANDS
from antrian.lane.replies import (
    Decided,
    FencedError,
    LaneBrokenError,
    LaneState,
    Lease,
    LeasedLane,
    SlotCounters,
    problem_of,
    read_decided,
    read_leased,
    read_state,
)
from antrian.redis_primary import connect

LEASE = timedelta(seconds=3)
"""How long a consumer may be silent before another may lease its lane. Longer than the ledger's time limit for a batch."""

_LEASE_MS = LEASE // timedelta(milliseconds=1)
_COMMAND_BATCH = 64
_PIECE = 1000
_KEEP_COUNTERS = timedelta(days=14)


class LaneConsumer:
    """The scripts that drain lanes. All methods raise redis.RedisError when Redis cannot be reached.

    replicas: how many replicas of Redis must have a decision before it is returned. With fewer, NotReplicatedError is raised
    and nothing may be recorded: a failover could lose the decision, and the tickets would be decided anew.
    """

    def __init__(self, redis_url: str, *, replicas: int = 0) -> None:
        self._replicas = replicas
        self._redis = connect(
            redis_url,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.01), 3),
            # A server that is no primary any more responds so: a new connection finds the new one.
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
            "catch_up",
        ]
        self._steps = {name: self._redis.register_script(script(name)) for name in names}

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()

    def _run(self, step: str, *args: bytes | str | int) -> Any:
        response = self._steps[step](args=list(args))
        if problem := problem_of(str(args[0]), response):
            raise problem
        return response

    def lease(self, office_id: str = "") -> Lease | None:
        """Leases that office's lane, or the one that has been ready for longest. Returns None if none can be leased."""
        response = self._steps["lease"](args=[_LEASE_MS, office_id])
        return read_leased(response).lease if response else None

    def wait(self, seconds: float) -> str:
        """Waits for a lane to become ready. Returns its office and takes its ready mark, or "" after that many seconds."""
        popped: Any = self._redis.bzpopmin(READY, seconds)
        return popped[1].decode() if popped else ""

    def decide(self, leases: Sequence[Lease], max_tickets: int) -> list[Decided]:
        """Decides the next tickets of each leased lane in arrival order, at most max_tickets per lane.

        A lane hands out its outbox again until that is settled, then its commands, then new decisions.
        """
        lanes = [text for lease in leases for text in (lease.office_id, lease.token)]
        [responses] = self._together([(self._steps["decide"], [max_tickets, _COMMAND_BATCH, *lanes])], replicated=True)
        return [read_decided(lease, response[-1]) for lease, response in zip(leases, responses, strict=True)]

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
        args: list[bytes | str | int] = [
            _LEASE_MS, max_lanes, max_tickets, inventory_version, max_tickets, _COMMAND_BATCH, *first,
        ]  # fmt: skip
        steps: list[tuple[Script, list[bytes | str | int]]] = [(self._steps["lease_and_decide"], args)]
        if recorded:
            steps.insert(0, (self._steps["settle"], _settle_arguments(recorded)))
        *settled, leased = self._together(steps, replicated=max_lanes > 0)
        return _problems(recorded, settled[0] if settled else []), [read_leased(response) for response in leased]

    def _together(self, steps: Sequence[tuple[Script, Sequence[bytes | str | int]]], *, replicated: bool) -> list[Any]:
        """Returns the responses to steps that are sent as one message. replicated: followed by WAIT, if there are replicas."""
        pipeline = self._redis.pipeline(transaction=False)
        for step, args in steps:
            pipeline.evalsha(step.sha, 0, *args)
        if wait := replicated and self._replicas > 0:
            pipeline.publish(BARRIER, "")
            pipeline.wait(self._replicas, REPLICATED_WITHIN_MS)
        responses = pipeline.execute(raise_on_error=False)
        for response in responses:
            if isinstance(response, Exception) and not isinstance(response, NoScriptError):
                raise response
        unknown = [n for n in range(len(steps)) if isinstance(responses[n], NoScriptError)]
        if unknown:  # by a Redis that was just started or promoted; it has run the other steps
            for step, _ in steps:
                self._redis.script_load(step.script)
            run = iter(self._together([steps[n] for n in unknown], replicated=replicated))
            return [next(run) if n in unknown else responses[n] for n in range(len(steps))]
        if wait and responses[-1] < self._replicas:
            self._redis.connection_pool.disconnect()  # the next connection may lead to another primary
            raise NotReplicatedError(self._replicas, responses[-1])
        return responses[: len(steps)]

    def claim(self, lease: Lease, batch: CommandBatch) -> CommandBatch:
        """Holds the people again whose check-ins the batch is to undo (see claim.lua).

        Returns the batch, with the applicant who cannot be held, if any, in each of these commands.
        """
        undone = [entry for entry in batch.entries if isinstance(entry, UndoCheckIn)]
        args: list[bytes] = []
        for entry in undone:
            keys = b"".join(key.bytes for key in entry.people.values())
            kinds = b"".join(b"V" if number in entry.verified else b"B" for number in entry.people)
            args += [entry.booking_id.bytes, b64decode(entry.owner), keys, kinds]
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
        """Makes the lane follow the ledger after a batch of commands: sets these counters, and frees these people.

        freed: booking id and applicant key of each. lifted_at: when the latest bar of the batch's bookings was lifted.
        """
        args: list[bytes | str | int] = []
        for s in slots:
            args += [str(s.slot), s.quota, s.remaining, s.next_number, int(s.closed)]
        count = len(args) // 5
        for booking_id, person in freed:
            args += [booking_id, person]
        lifted = milliseconds(lifted_at) if lifted_at else 0
        self._run("settle_commands", lease.office_id, lease.token, batch.last, lifted, count, *args)

    def queued(self, office_id: str, first: int, last: int) -> dict[int, UUID]:
        """Returns the booking ids in the lane's queue by ticket, from first to last."""
        entries: Any = self._redis.xrange(f"queue:{{{office_id}}}", f"{first}-0", f"{last}-0")
        return {
            int(ticket.partition(b"-")[0]): UUID(bytes=read_queue_entry(fields[b"r"])[0].booking_id)
            for ticket, fields in entries
        }

    def catch_up(self, lease: Lease, token: int, last_ticket: int, slots: Iterable[SlotCounters]) -> Lease:
        """Makes a lane follow a ledger that is ahead of it, up to that ticket, with these counters (see catch_up.lua).

        token: above the ledger's. Returns the lease to continue with.
        """
        self._run("catch_up", lease.office_id, lease.token, token, last_ticket, *_counters(slots))
        return replace(lease, token=token)

    def settled_command(self, office_id: str) -> int:
        """Returns the number of the lane's last settled command."""
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

        settled_command: the lane's, as read before the ledger was. Returns False, and does nothing, if a command was settled
        since: read the ledger again (see release.lua).
        """
        flat = [text for pair in people for text in pair]
        return bool(
            self._run("release", office_id, settled_command, milliseconds(ends) if ends else 0, last_day, *flat)
        )

    def load_counters(self, lease: Lease, slots: Iterable[SlotCounters], inventory_version: str) -> None:
        """Gives the lane the counters that it lacks, and notes their inventory version."""
        expire_before = milliseconds(lease.now - _KEEP_COUNTERS)
        self._run("load_counters", lease.office_id, lease.token, inventory_version, expire_before, *_counters(slots))

    def open(self, lease: Lease, token: int, epoch: int, last_ticket: int, last_command: int) -> Lease:
        """Opens a lane that has its counters, as the ledger says that it stands. Returns the lease to continue with.

        Raises LaneBrokenError if Redis lacks what the ledger knows of people: rebuild it.
        """
        response = self._run("open", lease.office_id, lease.token, token, epoch, last_ticket, last_command)
        if response[0] == b"NOT_RESTORED":
            raise LaneBrokenError(f"{lease.office_id}: Redis lost what the ledger knows")
        return replace(lease, token=token, known=True)

    def send_command(self, office_id: str, entry: Command) -> bool:
        """Adds a command to the lane. Returns False, and adds nothing, if its commands are full or it is not open."""
        response = self._steps["send_command"](args=[office_id, MAX_COMMANDS, write_command(entry)])
        return bool(response[0] == b"SENT")

    def leave(self, lease: Lease) -> None:
        """Gives the lease back without having drained the lane."""
        self._run("leave", lease.office_id, lease.token)

    def quarantine(self, lease: Lease) -> None:
        """Closes the lane for joins and drains until it is rebuilt."""
        self._run("quarantine", lease.office_id, lease.token)

    def sweep(self, office_ids: Sequence[str], inventory_version: str) -> int:
        """Marks lanes ready that have work, or another inventory version, and no consumer. Returns how many it marked."""
        return int(self._run("sweep", inventory_version, *office_ids))

    def audit(self, office_id: str) -> LaneState:
        """Returns the state of the lane at one moment."""
        return read_state(self._run("audit", office_id))

    def depth(self, office_ids: Sequence[str]) -> dict[str, tuple[int, timedelta]]:
        """Returns by office how many tickets are not settled, and the age of the oldest of them (0 if there is none)."""
        now, *numbers = self._run("depth", *office_ids)
        return {
            office_id: (waiting, timedelta(milliseconds=max(0, now - accepted) if accepted else 0))
            for office_id, waiting, accepted in zip(office_ids, numbers[::2], numbers[1::2], strict=True)
        }

    def in_queue(self, office_id: str) -> Iterator[QueueEntry]:
        """Yields the requests that wait in the lane, the oldest first."""
        after = b"-"
        while entries := cast("Any", self._redis.xrange(f"queue:{{{office_id}}}", after, count=_PIECE)):
            for _, fields in entries:
                yield read_queue_entry(fields[b"r"])[0]
            after = b"(" + entries[-1][0]

    def ready_since(self) -> dict[str, timedelta]:
        """Returns for how long each ready lane has waited for a consumer."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(READY, 0, -1, withscores=True)
        (seconds, microseconds), lanes = pipeline.execute()
        now = seconds * 1_000_000 + microseconds
        return {office.decode(): timedelta(microseconds=now - since) for office, since in lanes}

    def expire(self, bucket: int) -> int:
        """Removes what need not be remembered any more from one of the 4,096 buckets. Returns how many entries it removed."""
        return int(self._run("expire", bucket))

    def is_restored(self) -> bool:
        """Returns whether Redis knows all that the ledger knows of people."""
        return bool(self._redis.exists("restored"))

    def mark_restored(self) -> None:
        """Notes that it does: on the first start, and after a rebuild."""
        self._redis.set("restored", 1)

    def last_synced(self) -> int:
        """Returns when the latest day was done whose bars Redis knows (ms), or 0."""
        done_at: Any = self._redis.zscore("synced", "day")
        return int(done_at or 0)

    def note_synced(self, done_at: datetime) -> None:
        """Notes that Redis knows the bars of a day that was done then."""
        self._redis.zadd("synced", {"day": milliseconds(done_at)}, gt=True)

    def now(self) -> datetime:
        """Returns the service's time."""
        [now] = self._steps["depth"](args=[])
        return moment(now)

    def set_clock(self, ahead: timedelta) -> None:
        """Copies how far the service's time is ahead from the ledger, which keeps it; for embedded stores and tests."""
        self._redis.set("clock", -(-ahead // timedelta(milliseconds=1)))  # rounded up: not behind the ledger's


def _counters(slots: Iterable[SlotCounters]) -> list[str | int]:
    return [
        text
        for s in slots
        for text in (str(s.slot), s.quota, s.remaining, s.next_number, milliseconds(s.begins), int(s.closed))
    ]


def _settle_arguments(turns: Sequence[tuple[Lease, str]]) -> list[bytes | str | int]:
    return [text for lease, results in turns for text in (lease.office_id, lease.token, results)]


def _problems(
    turns: Sequence[tuple[Lease, str]], responses: Sequence[Any]
) -> list[FencedError | LaneBrokenError | None]:
    return [problem_of(lease.office_id, response) for (lease, _), response in zip(turns, responses, strict=True)]
