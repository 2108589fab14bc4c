"""Checks what clients observed, and the final stores, against the promises: `antrian verify --history`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from antrian.audit.history import clients, lanes
from antrian.audit.history.case import Case, Found, Violation, explain
from antrian.audit.history.events import ClientHistory, Fault, HistoryError, Op, Response, read_history
from antrian.audit.history.facts import Booked, Change, Facts, Places, SlotOfOffice, read_facts
from antrian.audit.verify import Check

__all__ = [
    "Booked",
    "Change",
    "ClientHistory",
    "Facts",
    "Fault",
    "Findings",
    "HistoryError",
    "Op",
    "Places",
    "Response",
    "SlotOfOffice",
    "Violation",
    "check_history",
    "read_facts",
    "read_history",
]

_Count = Callable[[Case], int]


def _accepted(case: Case) -> int:
    return len(case.request_of)


def _decided(case: Case) -> int:
    return len(case.facts.bookings)


def _slots(case: Case) -> int:
    return len(case.by_slot)


def _known(case: Case) -> int:
    accounts = {account for account, _ in case.requests}
    return sum(booked.account in accounts for booked in case.facts.bookings.values())


def _people(case: Case) -> int:
    return sum(len(case.requests[name][0].people) for name in case.request_of.values())


def _responses(case: Case) -> int:
    return sum(op.response is not None for op in case.history.ops)


def _repeated(case: Case) -> int:
    return sum(len(ops) - 1 for ops in case.calls.values())


def _numbered(case: Case) -> int:
    return sum(op.response is not None and bool(op.response.numbers) for op in case.history.ops)


_CHECKS: list[tuple[str, str, Callable[[Case], Iterator[Found]], _Count]] = [
    ("P1", "at every ticket the places taken are within the quota", lanes.overbooked, _slots),
    ("P2", "every accepted request has its outcome or waits", clients.lost, _accepted),
    ("P2", "every outcome was asked for", clients.unasked, _known),
    ("P3", "who was answered before another asked is before him", clients.overtaken, _accepted),
    ("P3", "tickets are decided in their order", lanes.disordered, _decided),
    ("P3", "tickets in order through the rules give the recorded outcomes", lanes.misjudged, _decided),
    ("P4", "nobody holds two bookings at any time", clients.held_twice, _people),
    ("P5", "all answers to a request name one booking and ticket", clients.contradicted, _responses),
    ("P6", "queue numbers are 1, 2, 3 … in ticket order", lanes.misnumbered, _decided),
    ("P7", "no answer takes an earlier one back", clients.taken_back, _repeated),
    ("P8", "queue numbers that were told are those recorded", clients.mistold, _numbered),
]


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a history check. lost_undecided: tickets lost to a fault that may lose undecided ones (P9)."""

    checks: list[Check]
    violations: list[Violation]
    lost_undecided: int


def check_history(history: ClientHistory, facts: Facts) -> Findings:
    """Runs all checks, in time linear in the history except for sorting."""
    case, checks, violations = Case(history, facts), [], []
    for promise, what, find, examined in _CHECKS:
        found = [explain(case, promise, what, one) for one in find(case)]
        checks.append(Check(promise, what, examined(case), len(found)))
        violations += found
    return Findings(checks, violations, case.lost_undecided)
