"""Checks what clients observed, and the final stores, against the promises: `antrian verify --history`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from antrian.audit.check import Check
from antrian.audit.history import clients, lanes
from antrian.audit.history.case import Case, Found, Violation, explain
from antrian.audit.history.events import ClientHistory, Fault, HistoryError, Op, Response, read_history
from antrian.audit.history.facts import Booked, Change, Facts, Places, SlotOfOffice, read_facts

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


def _of_these_clients(case: Case) -> int:
    accounts = {account for account, _ in case.requests}
    return sum(booked.account in accounts for booked in case.facts.bookings.values())


def _people(case: Case) -> int:
    return sum(len(case.requests[name][0].people) for name in case.request_of.values())


def _responses(case: Case) -> int:
    return sum(op.response is not None for op in case.history.ops)


def _repeated(case: Case) -> int:
    return sum(len(ops) - 1 for ops in case.calls.values())


def _repeats(case: Case) -> int:
    return sum(len(ops) - 1 for ops in case.requests.values())


def _refused_as_full(case: Case) -> int:
    return len(case.refused_as_full)


def _numbered(case: Case) -> int:
    return sum(op.response is not None and bool(op.response.numbers) for op in case.history.ops)


_CHECKS: list[tuple[str, str, Callable[[Case], Iterator[Found]], _Count]] = [
    ("P1", "at every ticket the places taken are within the quota", lanes.overbooked, _slots),
    ("P2", "every accepted request has an outcome or is still in its queue", clients.lost, _accepted),
    ("P2", "every outcome belongs to a request", clients.unrequested, _of_these_clients),
    ("P3", "a request answered before another was sent has the smaller ticket", clients.overtaken, _accepted),
    ("P3", "tickets are decided in order", lanes.disordered, _decided),
    ("P3", "replaying the tickets through the rules gives the recorded outcomes", lanes.misjudged, _decided),
    ("P4", "nobody holds two bookings at any time", clients.held_twice, _people),
    ("P5", "all responses to a request name one booking and ticket", clients.contradicted, _responses),
    ("P5", "no accepted request is refused as full when repeated", clients.refused_after_acceptance, _repeats),
    ("P6", "queue numbers are 1, 2, 3 … in ticket order", lanes.misnumbered, _decided),
    ("P7", "no response contradicts an earlier one", clients.reverted, _repeated),
    ("P8", "queue numbers in responses are the recorded ones", clients.misreported, _numbered),
    ("P8", "slots are full when requests are refused for it", clients.refused_despite_places, _refused_as_full),
]


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a history check. lost_undecided: the number of tickets lost to faults that may lose them (P9)."""

    checks: list[Check]
    violations: list[Violation]
    lost_undecided: int


def check_history(history: ClientHistory, facts: Facts) -> Findings:
    """Runs all checks. The time is linear in the history, except for sorting."""
    case, checks, violations = Case(history, facts), [], []
    for promise, what, find, examined in _CHECKS:
        found = [explain(case, promise, what, one) for one in find(case)]
        checks.append(Check(promise, what, examined(case), len(found)))
        violations += found
    return Findings(checks, violations, case.lost_undecided)
