"""Checks the promises on what the clients observed, with the content of the stores if it is accessible."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

from antrian.audit.check import Check
from antrian.audit.history import Booked, ClientHistory, Facts, Findings, Op, Places, check_history, read_facts
from antrian.audit.verify import verify
from antrian.booking import Window
from antrian.settings import Settings
from clients.rush.load.record import Record
from clients.rush.load.survey import Quotas, SlotOfOffice

OVERTAKING = "a request answered before another was sent has the smaller ticket"
"""The check of P3 whose violations are overtakings."""
_NOT_BEGUN = datetime.max.replace(tzinfo=UTC)
# These checks need every booking of a lane, but clients outside the rush may have made some.
_OF_WHOLE_LANES = {
    "at every ticket the places taken are within the quota",
    "replaying the tickets through the rules gives the recorded outcomes",
    "queue numbers are 1, 2, 3 … in ticket order",
    "slots are full when requests are refused for it",
}


def check_with_stores(records: Sequence[Record], settings: Settings) -> Findings:
    """Runs the checks of a history and those of `antrian verify`. Raises the errors of the stores."""
    found = check_history(_history(records), read_facts(settings))
    return replace(found, checks=_examined(found.checks) + verify(settings))


def check_stores(settings: Settings) -> Findings:
    """Runs only the checks of `antrian verify`, for an incomplete history. Raises the errors of the stores."""
    return Findings(verify(settings), [], 0)


def check_from_outside(records: Sequence[Record], before: Quotas, after: Quotas) -> Findings:
    """Runs the checks that need only what the clients observed, before the first service day begins.

    If there were bookings before the rush, checks that need every booking of a lane are omitted.
    """
    facts = Facts()
    for slot, (quota, remaining) in after.items():
        facts.slots[slot] = Places(quota, quota - remaining, None, _NOT_BEGUN)
    for record in records:
        if record.decided:
            facts.bookings[record.booking_id] = _booked(record)
        elif record.accepted:
            facts.waiting[record.booking_id] = record.office_id, record.ticket
    found = check_history(_history(records), facts)
    checks, violations = [*_examined(found.checks), _within_quota(records, after)], found.violations
    if any(quota != remaining for quota, remaining in before.values()):
        checks = [check for check in checks if check.what not in _OF_WHOLE_LANES]
        kept = {(check.promise, check.what) for check in checks}
        violations = [violation for violation in violations if (violation.promise, violation.what) in kept]
    return Findings(checks, violations, found.lost_undecided)


def within_window(records: Sequence[Record], window: Window) -> Check:
    """Checks P11, by the times at which the service accepted."""
    opens, closes = window.opens_at.timestamp(), window.closes_at.timestamp()
    accepted = [record.accepted_at for record in records if record.accepted]
    outside = sum(not opens <= moment < closes for moment in accepted)
    return Check("P11", "requests were accepted only while booking was open", len(accepted), outside)


def _examined(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.examined]


def _within_quota(records: Sequence[Record], after: Quotas) -> Check:
    """Checks P1 as far as clients can observe it."""
    held: Counter[SlotOfOffice] = Counter()
    for record in records:
        if record.state == "CONFIRMED":
            held[record.office_id, record.slot] += record.party
    over = sum(places > after[slot][0] for slot, places in held.items())
    return Check("P1", "the people with places in this rush are within the quota", len(held), over)


def _history(records: Sequence[Record]) -> ClientHistory:
    history = ClientHistory()
    for record in records:
        history.ops += _ops(record)
    return history


def _ops(record: Record) -> Iterator[Op]:
    day, session = record.slot.service_date.isoformat(), record.slot.session.value
    for n, seen in enumerate(record.observations):
        # Its end was not observed, so it cannot prove an overtaking.
        ended = inf if seen.reason == "UNHEARD" else seen.ended
        event = "ok" if seen.response else "unknown" if seen.uncertain else "refused"
        op = Op(
            f"{record.number}-{n}",
            seen.call,
            seen.started,
            record.account,
            record.request_id,
            record.office_id,
            day,
            session,
            record.people,
            ended=ended,
            event=event,
            reason=seen.reason,
            response=seen.response,
        )
        if seen.call != "request":
            op.booking_id = record.booking_id
        yield op


def _booked(record: Record) -> Booked:
    return Booked(
        record.booking_id,
        record.office_id,
        record.ticket,
        record.slot,
        record.party,
        record.state,
        record.reason,
        record.numbers[0] if record.numbers else None,
        record.account,
        datetime.fromtimestamp(record.accepted_at, UTC),
        datetime.fromtimestamp(record.decided_at, UTC),
        datetime.fromtimestamp(record.ended_at, UTC) if record.ended_at else None,
        record.numbers,
    )
