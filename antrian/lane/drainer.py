"""The drainer's side of the line: take a lane, decide, settle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from antrian.booking import Decision, OutcomeReason, Slot, State
from antrian.lane import READY, script
from antrian.lane.entry import milliseconds, moment, read_entry

LEASE = timedelta(seconds=3)
"""How long a drainer may be silent before another may take its lane. Longer than the ledger's time limit of a turn."""


_KEEP_COUNTERS = timedelta(days=14)


class Fenced(Exception):
    """A newer drainer has this lane; nothing was written."""


class LaneBroken(Exception):
    """Redis and the ledger do not agree about a lane; it has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drain a lane. known is False when Redis has never seen the lane, opened when it may be drained."""

    office_id: str
    token: int
    known: bool
    opened: bool
    stocked: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Stock:
    """A slot's counters as the ledger has them."""

    slot: Slot
    quota: int
    left: int
    next_number: int
    begins: datetime


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane at one moment: known to Redis, open, last ticket issued and settled, entries in line, decisions unsettled.

    counters: slot -> quota, left, next queue number.
    """

    known: bool
    opened: bool
    ticket: int
    settled: int
    waiting: int
    unsettled: int
    counters: dict[Slot, tuple[int, int, int]]


class LaneDrainer:
    """The scripts that drain lanes. Raises redis.RedisError when Redis cannot be reached."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url, socket_timeout=5, retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.01), 3)
        )
        names = ["take", "decide", "settle", "stock", "open", "sweep", "shut", "forget", "audit"]
        self._steps = {name: self._redis.register_script(script(name)) for name in names}

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()

    def _run(self, step: str, *args: bytes | str | int) -> Any:
        answer = self._steps[step](args=list(args))
        if isinstance(answer, list) and answer and answer[0] == b"FENCED":
            raise Fenced(str(args[0]))
        if isinstance(answer, list) and answer and answer[0] in {b"GAP", b"MISSING"}:
            raise LaneBroken(f"{args[0]!s}: {answer[0].decode()} {answer[1]!r}")
        return answer

    def take(self, office_id: str = "") -> Lease | None:
        """Leases the lane that has been ready for longest, or that office's; None when there is none to be had."""
        answer = self._run("take", int(LEASE.total_seconds() * 1000), office_id)
        if answer is None:
            return None
        office, token, opened, stocked, now = answer
        return Lease(
            office.decode(),
            token,
            opened != b"",
            opened == b"1",
            stocked.decode(),
            moment(now),
        )

    def wait(self, seconds: float) -> Lease | None:
        """The same as take, waiting so long for a lane to become ready."""
        popped: Any = self._redis.bzpopmin(READY, seconds)
        return self.take(popped[1].decode()) if popped else None

    def decide(self, lease: Lease, most: int) -> list[Decision]:
        """Decides up to so many tickets in order, or answers the outbox that is not settled yet."""
        answer = self._run("decide", lease.office_id, lease.token, most)
        return [_decision(*ticket) for ticket in answer[1:]]

    def settle(self, lease: Lease, verdicts: str) -> None:
        """Makes the lane follow what the ledger says of the turn (see settle.lua), and gives it back."""
        self._run("settle", lease.office_id, lease.token, verdicts)

    def stock(self, lease: Lease, slots: Iterable[Stock], mark: str) -> None:
        """Gives the lane the counters that it lacks; mark is kept with it, to tell later whether it needs more."""
        counters: list[str | int] = []
        for s in slots:
            counters += [str(s.slot), s.quota, s.left, s.next_number, milliseconds(s.begins)]
        forget_before = milliseconds(lease.now - _KEEP_COUNTERS)
        self._run("stock", lease.office_id, lease.token, mark, forget_before, *counters)

    def open(self, lease: Lease, token: int, epoch: int, last_ticket: int) -> Lease:
        """Opens a lane that Redis does not know, after its stock, as the ledger has it; answers the lease to go on with."""
        self._run("open", lease.office_id, lease.token, token, epoch, last_ticket)
        return replace(lease, token=token, known=True, opened=True)

    def shut(self, lease: Lease) -> None:
        """Closes a lane for joins and drains until it is rebuilt."""
        self._run("shut", lease.office_id, lease.token)

    def sweep(self, office_ids: Sequence[str], mark: str) -> int:
        """Marks lanes ready that have work or another stock than this mark, and nobody who does it; says how many."""
        return int(self._run("sweep", mark, *office_ids))

    def audit(self, office_id: str) -> LaneState:
        """How the lane stands, at one moment."""
        opened, ticket, settled, waiting, unsettled, *places = self._run("audit", office_id)
        counters = {}
        for line in places:
            slot, quota, left, next_number, _ = line.split()
            counters[Slot.parse(slot.decode())] = int(quota), int(left), int(next_number)
        return LaneState(opened != b"", opened == b"1", ticket, settled, waiting, unsettled, counters)

    def forget(self, bucket: int) -> int:
        """Forgets what need not be remembered any more in one of the 4,096 buckets; says how many entries."""
        return int(self._run("forget", bucket))

    def now(self) -> datetime:
        """The service's time."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.get("clock")
        (seconds, microseconds), ahead = pipeline.execute()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds, milliseconds=int(ahead or 0))

    def set_clock(self, ahead: timedelta) -> None:
        """Copies how far the service's time is ahead from the ledger, which keeps it; for embedded stores and tests."""
        self._redis.set("clock", ahead // timedelta(milliseconds=1))


def _decision(ticket: int, decided: bytes, fields: list[bytes]) -> Decision:
    entry = read_entry(fields)
    outcome, _, number = decided.decode().partition(" ")
    confirmed = outcome == State.CONFIRMED
    return Decision(
        ticket=ticket,
        booking_id=entry.booking_id,
        slot=entry.slot,
        applicants=entry.applicants,
        caller=entry.caller,
        account=entry.account,
        accepted_at=entry.accepted_at,
        state=State.CONFIRMED if confirmed else State.REJECTED,
        reason=None if confirmed else OutcomeReason(outcome),
        first_number=int(number) if confirmed else None,
    )
