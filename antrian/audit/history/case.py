"""The input that the checks share, with its indexes, and the violations that they find."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from antrian.audit.history.events import ClientHistory, Op
from antrian.audit.history.facts import Booked, Facts, SlotOfOffice

RequestName = tuple[str, str]
"""Account and request_id."""


class Found(NamedTuple):
    """A contradiction. ops: the calls that show it, by default those of its bookings."""

    office: str
    words: str
    bookings: Sequence[Booked] = ()
    ops: Sequence[Op] = ()
    tickets: Sequence[int] = ()


class Case:
    """A client history, the facts of the stores, and indexes of both. lost_undecided: see Findings."""

    def __init__(self, history: ClientHistory, facts: Facts) -> None:
        self.history = history
        self.facts = facts
        self.lost_undecided = 0

    @cached_property
    def requests(self) -> dict[RequestName, list[Op]]:
        """The calls of each request, by start time."""
        requests: defaultdict[RequestName, list[Op]] = defaultdict(list)
        for op in self.history.ops:
            if op.call == "request":
                requests[op.account, op.request_id].append(op)
        for ops in requests.values():
            ops.sort(key=lambda op: op.started)
        return dict(requests)

    @cached_property
    def refused_as_full(self) -> list[Op]:
        """The requests that were refused because their slot was full already."""
        return [op for op in self.history.ops if op.call == "request" and op.reason == "SLOT_FULL"]

    @cached_property
    def calls(self) -> dict[str, list[Op]]:
        """The calls about each booking, by end time: requests that returned it, reads and cancellations."""
        calls: defaultdict[str, list[Op]] = defaultdict(list)
        for op in self.history.ops:
            name = op.booking_id or (op.response.booking_id if op.response else "")
            if name:
                calls[name].append(op)
        for ops in calls.values():
            ops.sort(key=lambda op: op.ended)
        return dict(calls)

    @cached_property
    def request_of(self) -> dict[str, RequestName]:
        """The request of each booking, by booking id."""
        return {
            op.response.booking_id: name for name, ops in self.requests.items() for op in ops if op.response is not None
        }

    @cached_property
    def tickets(self) -> dict[tuple[str, int], Booked]:
        """The decided booking of each office and ticket."""
        return {(booked.office, booked.ticket): booked for booked in self.facts.bookings.values()}

    @cached_property
    def by_office(self) -> dict[str, list[Booked]]:
        """The decided bookings of each office, by ticket."""
        offices: defaultdict[str, list[Booked]] = defaultdict(list)
        for booked in sorted(self.facts.bookings.values(), key=lambda booked: booked.ticket):
            offices[booked.office].append(booked)
        return dict(offices)

    @cached_property
    def by_slot(self) -> dict[SlotOfOffice, list[Booked]]:
        """The decided bookings of each slot, by ticket. Includes slots without bookings."""
        slots: dict[SlotOfOffice, list[Booked]] = {slot: [] for slot in self.facts.slots}
        for office, bookings in self.by_office.items():
            for booked in bookings:
                slots.setdefault((office, booked.slot), []).append(booked)
        return slots

    def calls_of(self, booked: Booked) -> Iterator[Op]:
        """Yields all calls about a booking, including requests without an observed end."""
        yield from self.requests.get(self.request_of.get(booked.booking_id, ("", "")), ())
        yield from (op for op in self.calls.get(booked.booking_id, ()) if op.call != "request")

    def ticket_of(self, booking_id: str) -> tuple[str, int] | None:
        """Returns the booking's office and ticket in the stores, or None if they lack it."""
        if booked := self.facts.bookings.get(booking_id):
            return booked.office, booked.ticket
        return self.facts.waiting.get(booking_id)


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated promise and the smallest part of the history that shows it. faults: those that were active then."""

    promise: str
    what: str
    words: str
    office: str
    tickets: list[int]
    booking_ids: list[str]
    events: list[dict[str, Any]]
    faults: list[str]


_EVENTS = 12


def explain(case: Case, promise: str, what: str, found: Found) -> Violation:
    """Returns the finding as a violation, with the events that show it."""
    ops = list(found.ops) or [op for booked in found.bookings for op in _first_calls(case, booked)]
    ids = dict.fromkeys([b.booking_id for b in found.bookings])
    ids |= dict.fromkeys(op.response.booking_id for op in ops if op.response is not None)
    tickets = {*found.tickets, *(b.ticket for b in found.bookings)}
    tickets |= {op.response.ticket for op in ops if op.response is not None}
    events = sorted((event for op in ops for event in op.events()), key=lambda event: event["t"])
    faults = [
        fault.name
        for fault in case.history.faults
        if any(fault.begins <= (op.started if op.ended == inf else op.ended) and fault.ends >= op.started for op in ops)
    ]
    recorded = [_recorded(case.facts.bookings[name]) for name in ids if name in case.facts.bookings]
    return Violation(
        promise, what, found.words, found.office, sorted(tickets), list(ids), events[:_EVENTS] + recorded,
        list(dict.fromkeys(faults)),
    )  # fmt: skip


def _first_calls(case: Case, booked: Booked) -> Iterator[Op]:
    """Yields the calls about a booking up to the first that observed its outcome."""
    for op in sorted(case.calls_of(booked), key=lambda op: op.ended):
        yield op
        if op.response is not None and op.response.state != "PENDING":
            return


def _recorded(booked: Booked) -> dict[str, Any]:
    """Returns a booking of the ledger in the format of an event."""
    return {
        "event": "recorded",
        "booking_id": booked.booking_id,
        "office": booked.office,
        "ticket": booked.ticket,
        "slot": str(booked.slot),
        "party": booked.party,
        "state": booked.state,
        "reason": booked.reason,
        "first_number": booked.first_number,
        "numbers": list(booked.numbers),
        "cancelled": {number: at.isoformat() for number, at in booked.cancelled.items()},
        "accepted_at": booked.accepted_at.isoformat(),
        "decided_at": booked.decided_at.isoformat(),
        "ended_at": booked.ended_at.isoformat() if booked.ended_at else None,
    }
