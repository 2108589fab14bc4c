"""What the scripts of workers return, as Python, and the nouns that it is made of."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from antrian.booking import Command, CommandBatch, Decision, Slot, StatusReason, Turn
from antrian.lane.codec import moment, read_command, read_queue_entry

_log = logging.getLogger(__name__)


class FencedError(Exception):
    """A newer consumer has leased this lane; nothing was written."""


class LaneBrokenError(Exception):
    """Redis and the ledger disagree about a lane; it has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drain a lane. known is False if Redis has never seen the lane, or has lost it."""

    office_id: str
    token: int
    known: bool
    inventory_version: str
    now: datetime


Decided = Turn | CommandBatch | FencedError | LaneBrokenError
"""What a lane's consumer has to do next, or why nothing was decided."""


@dataclass(frozen=True, slots=True)
class LeasedLane:
    """A lane that was leased, and what was decided; None if its counters have to be loaded first."""

    lease: Lease
    decided: Decided | None


@dataclass(frozen=True, slots=True)
class SlotCounters:
    """A slot's counters according to the ledger."""

    slot: Slot
    quota: int
    remaining: int
    next_number: int
    begins: datetime
    closed: bool


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane at one moment.

    known: whether Redis has seen it. ticket, settled: the last ticket that was issued, and settled. waiting: entries in its
    queue. unsettled: decisions in its outbox. settled_command: the last command that was settled. commands_waiting: commands
    that are not. counters: slot -> quota, remaining, next queue number, whether it is closed.
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


def problem_of(office_id: str, response: Any) -> FencedError | LaneBrokenError | None:
    """Returns why a script did nothing, or None if it did its work."""
    if isinstance(response, list) and response and response[0] == b"FENCED":
        return FencedError(office_id)
    if isinstance(response, list) and response and response[0] in {b"GAP", b"MISSING"}:
        return LaneBrokenError(f"{office_id}: {response[0].decode()} {response[1]!r}")
    return None


def read_leased(response: Sequence[Any]) -> LeasedLane:
    """Reads what decisions.lua's describe() returns of a lane."""
    office, token, known, inventory_version, now, *decided = response
    lease = Lease(office.decode(), token, known == 1, inventory_version.decode(), moment(now))
    return LeasedLane(lease, read_decided(lease, decided[0]) if decided and decided[0] is not None else None)


def read_decided(lease: Lease, response: list[Any]) -> Decided:
    """Reads what decisions.lua's decide() returns. A queue entry that is damaged is refused as INTERNAL, or breaks the lane."""
    if problem := problem_of(lease.office_id, response):
        return problem
    kind, first, *texts = response
    if kind == b"COMMANDS":
        return CommandBatch(first, first + len(texts) - 1, list(_read_commands(lease.office_id, texts)))
    try:
        tickets = enumerate(zip(texts[::2], texts[1::2], strict=True), first)
        return Turn(lease.office_id, lease.token, [_decision(lease.office_id, n, *ticket) for n, ticket in tickets])
    except LaneBrokenError as problem:
        return problem


def read_state(response: Sequence[Any]) -> LaneState:
    """Reads what audit.lua returns."""
    opened, epoch, ticket, settled, waiting, unsettled, settled_command, commands_waiting, *texts = response
    counters = {}
    for text in texts:
        slot, quota, remaining, next_number, _, closed = text.split()
        counters[Slot.parse(slot.decode())] = int(quota), int(remaining), int(next_number), closed == b"1"
    numbers = epoch, ticket, settled, waiting, unsettled, settled_command, commands_waiting
    return LaneState(opened != b"", opened == b"1", *numbers, counters)


def sole(responses: Sequence[Any]) -> Any:
    """Returns the result of the only lane; raises it if it is an error."""
    [response] = responses
    if isinstance(response, Exception):
        raise response
    return response


def _read_commands(office_id: str, texts: Iterable[bytes]) -> Iterator[Command]:
    for text in texts:
        try:
            yield read_command(text)
        except ValueError:
            _log.error("%s: a command cannot be read and is left out", office_id)


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
