"""The oracle of the history replay: how decisions.lua must decide one ticket, as a pure function."""

from typing import NamedTuple

from antrian.booking import State, StatusReason


class Outcome(NamedTuple):
    """The outcome of one ticket, and its slot's counters after it."""

    state: State
    reason: StatusReason | None
    first_number: int | None
    remaining: int
    next_number: int


def decide(remaining: int, next_number: int, party_size: int, *, day_begun: bool) -> Outcome:
    """Returns the outcome of a ticket whose slot has `remaining` places.

    day_begun: the service day had begun at the office (moment >= rules.day_begins). Either the whole party gets consecutive
    queue numbers, or nobody does. A rejection leaves the counters unchanged, so a smaller party behind may still fit.
    """
    if day_begun:
        return Outcome(State.REJECTED, StatusReason.TOO_LATE, None, remaining, next_number)
    if remaining < party_size:
        return Outcome(State.REJECTED, StatusReason.SLOT_FULL, None, remaining, next_number)
    return Outcome(State.CONFIRMED, None, next_number, remaining - party_size, next_number + party_size)
