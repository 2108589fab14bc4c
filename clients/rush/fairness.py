"""What a client can hold against the service when it has seen everything: its records as a history and its facts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from antrian.booking import Slot
from antrian.history import Answer, Booked, ClientHistory, Facts, Findings, Op, Places
from antrian.history import check_history as hold
from clients.rush.record import Record

SlotOfOffice = tuple[str, Slot]

_NOT_BEGUN = datetime.max.replace(tzinfo=UTC)


def check_history(records: Sequence[Record], quotas: Mapping[SlotOfOffice, tuple[int, int]]) -> Findings:
    """All checks, for a store in which only these requests have been made. quotas: quota and places left in the end.

    Nobody may have changed a quota or cancelled meanwhile, and all must have ended before the first day began.
    """
    history, facts = ClientHistory(), Facts()
    for slot, (quota, left) in quotas.items():
        facts.slots[slot] = Places(quota, quota - left, None, _NOT_BEGUN)
    for record in records:
        if record.accepted:
            history.ops += _ops(record)
            if record.state not in {"", "PENDING"}:
                booked = _booked(record)
                facts.bookings[booked.booking_id] = booked
    found = hold(history, facts)
    # Records do not keep what the other checks look at.
    return replace(found, checks=[check for check in found.checks if check.examined])


def _ops(record: Record) -> list[Op]:
    """The request, once for every answer that it got."""
    name = str(record.number)
    day, session = record.slot.service_date.isoformat(), record.slot.session.value
    return [
        Op(
            name, "request", record.sent, name, name, record.office_id, day, session,
            ended=record.answered, event="ok", answer=Answer(booking_id, record.office_id, ticket, "PENDING", ()),
        )
        for booking_id, ticket in sorted(record.answers, key=lambda answer: answer[1])
    ]  # fmt: skip


def _booked(record: Record) -> Booked:
    booking_id, ticket = min(record.answers, key=lambda answer: answer[1])
    return Booked(
        booking_id,
        record.office_id,
        ticket,
        record.slot,
        record.party,
        record.state,
        record.reason,
        record.numbers[0] if record.numbers else None,
        "",
        datetime.fromtimestamp(record.accepted_at, UTC),
        datetime.fromtimestamp(record.decided_at, UTC),
        None,
        record.numbers,
    )
