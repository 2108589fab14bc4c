"""What a client can hold against the service when it has seen everything: order, numbers, places, repeats."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antrian.booking import Slot
from antrian.verify import Check
from clients.rush.record import Record

SlotOfOffice = tuple[str, Slot]


def check_history(records: Sequence[Record], quotas: Mapping[SlotOfOffice, tuple[int, int]]) -> list[Check]:
    """All checks, for a store in which only these requests have been made. quotas: quota and places left in the end."""
    accepted = [record for record in records if record.accepted]
    by_office = defaultdict(list)
    by_slot = defaultdict(list)
    for record in sorted(accepted, key=lambda record: record.ticket):
        by_office[record.office_id].append(record)
        by_slot[record.office_id, record.slot].append(record)
    repeated = sum(record.repeats for record in records)
    confirmed = sum(record.confirmed for record in records)
    return [
        Check("P2", "every accepted request has its outcome", len(accepted), sum(map(_undecided, accepted))),
        Check("P1", "places sold are what is missing from the quota", len(quotas), _oversold(by_slot, quotas)),
        Check("P3", "who was answered before another asked is before him", len(accepted), _each(_overtaken, by_office)),
        Check("P3", "no one was told full while a later one got the places", len(accepted), _each(_passed, by_slot)),
        Check("P5", "pressing again names the same booking", repeated, sum(len(r.answers) > 1 for r in records)),
        Check("P6", "queue numbers are 1, 2, 3 … in arrival order", confirmed, _each(_misnumbered, by_slot)),
    ]


def _each(check: Callable[[list[Record]], int], groups: Mapping[Any, list[Record]]) -> int:
    return sum(check(group) for group in groups.values())


def _undecided(record: Record) -> bool:
    return record.state in {"", "PENDING"}


def _oversold(by_slot: Mapping[SlotOfOffice, list[Record]], quotas: Mapping[SlotOfOffice, tuple[int, int]]) -> int:
    wrong = len(by_slot.keys() - quotas.keys())
    for slot, (quota, left) in quotas.items():
        records = by_slot.get(slot, [])
        sold = sum(record.party for record in records if record.confirmed)
        # Of a request without an outcome nobody knows whether it took places; that is counted under P2.
        wrong += sold > quota - left or (sold < quota - left and not any(map(_undecided, records)))
    return wrong


def _overtaken(lane: list[Record]) -> int:
    """Tickets of a lane, in order, that were first asked for after a later ticket had been answered."""
    breaches, answered = 0, float("inf")
    for record in reversed(lane):
        breaches += record.sent > answered
        answered = min(answered, record.answered)
    return breaches


def _passed(slot: list[Record]) -> int:
    """Tickets of a slot, in order, refused for lack of places though a later one of at least their size got them."""
    breaches, largest = 0, 0
    for record in reversed(slot):
        if record.confirmed:
            largest = max(largest, record.party)
        elif record.reason == "SLOT_FULL":
            breaches += record.party <= largest
    return breaches


def _misnumbered(slot: list[Record]) -> int:
    if any(map(_undecided, slot)):  # whose numbers nobody knows; counted under P2
        return 0
    breaches, number = 0, 1
    for record in slot:
        if record.confirmed:
            breaches += record.numbers != tuple(range(number, number + record.party))
            number = max((number, *(last + 1 for last in record.numbers)))
    return breaches
