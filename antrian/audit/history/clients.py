"""Checks what clients observed, against each other and the stores: nothing is lost, overtaken, doubled or contradicted."""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from math import inf

from antrian.audit.history.case import Case, Found
from antrian.audit.history.events import Op
from antrian.audit.history.facts import Booked

_RANK = {"PENDING": 0, "CONFIRMED": 1, "REJECTED": 2, "CANCELLED": 2, "ATTENDED": 2, "NO_SHOW": 2, "EXCUSED": 3}
"""How far along its life a booking is in each state."""
_STEPS = {
    ("PENDING", "CONFIRMED"),
    ("PENDING", "REJECTED"),
    *(("CONFIRMED", end) for end in ("CANCELLED", "ATTENDED", "NO_SHOW")),
}
"""The transitions that every booking may make. Staff may add others to one booking: Facts.ways_back."""
_CLOCKS = timedelta(milliseconds=5)  # closer times have no order, because Redis's clock has milliseconds
_NEVER = datetime.max.replace(tzinfo=UTC)


def lost(case: Case) -> Iterator[Found]:
    """P2: every accepted request has an outcome or still waits. Counts those that a fault was allowed to lose."""
    for ops in case.requests.values():
        for booking_id in dict.fromkeys(op.response.booking_id for op in ops if op.response is not None):
            observed = _last_of_each_ticket(case, booking_id)
            case.lost_undecided += sum(_may_be_lost(case, op) for op in observed)
            if observed and case.ticket_of(booking_id) is None and not _may_be_lost(case, observed[-1]):
                ticket = observed[-1].response.ticket if observed[-1].response else 0
                yield Found(
                    ops[0].office, f"ticket {ticket} was accepted and has no outcome", ops=[ops[0], observed[-1]]
                )


def unrequested(case: Case) -> Iterator[Found]:
    """P2: every booking of the accounts in the history was requested."""
    accounts = {account for account, _ in case.requests}
    maybe = Counter(
        _content(ops[0])
        for ops in case.requests.values()
        if not any(op.response for op in ops) and any(op.event in {"", "unknown"} for op in ops)
    )
    for booked in case.facts.bookings.values():
        if booked.account in accounts and booked.booking_id not in case.calls:
            slot = str(booked.slot.service_date), booked.slot.session.value
            content = booked.account, booked.office, *slot, booked.party
            maybe[content] -= 1
            if maybe[content] < 0:
                yield Found(
                    booked.office, f"no client requested ticket {booked.ticket}, which is {booked.state}", [booked]
                )


def _content(op: Op) -> tuple[str, str, str, str, int]:
    return op.account, op.office, op.date, op.session, len(op.people)


def overtaken(case: Case) -> Iterator[Found]:
    """P3: a request that got its response before another was sent has the smaller ticket."""
    for office, bookings in case.by_office.items():
        first: Booked | None = None  # of the later tickets, the first with a response
        answered, named = inf, False
        for booked in reversed(bookings):
            if (name := case.request_of.get(booked.booking_id)) is None:
                continue
            if case.requests[name][0].started > answered and first is not None and not named:
                named = True  # report each overtaking ticket once
                words = f"ticket {first.ticket} was answered before ticket {booked.ticket} was requested"
                yield Found(office, words, [first, booked])
            moments = [
                op.ended for op in case.calls[booked.booking_id] if op.response and op.response.ticket == booked.ticket
            ]
            if moments and moments[0] < answered:
                first, answered, named = booked, moments[0], False


def held_twice(case: Case) -> Iterator[Found]:
    """P4: nobody has two live bookings at the same time."""
    people: defaultdict[str, list[tuple[Booked, datetime]]] = defaultdict(list)
    for booking_id, name in case.request_of.items():
        if booked := case.facts.bookings.get(booking_id):
            for number, person in enumerate(case.requests[name][0].people, booked.first_number or 1):
                people[person].append((booked, booked.cancelled.get(number) or _end(booked)))
    for bookings in people.values():
        bookings.sort(key=lambda held: held[0].accepted_at)
        for (one, ends), (other, _) in pairwise(bookings):
            if other.accepted_at < ends - _CLOCKS:
                words = f"an applicant of ticket {one.ticket} also has ticket {other.ticket} of {other.office}"
                yield Found(one.office, words, [one, other])


def _end(booked: Booked) -> datetime:
    """Returns when the people of a booking could book again, unless they had cancelled before."""
    return (booked.decided_at if booked.state == "REJECTED" else booked.ended_at) or _NEVER


def contradicted(case: Case) -> Iterator[Found]:
    """P5: all responses to a request name one booking, office and ticket, the same as in the stores."""
    for name, ops in case.requests.items():
        observed = [
            op
            for booking_id in dict.fromkeys(op.response.booking_id for op in ops if op.response is not None)
            for op in _last_of_each_ticket(case, booking_id)
        ]
        observed.sort(key=lambda op: op.ended)
        if not observed or observed[-1].response is None:
            continue
        last = observed[-1].response
        office, ticket = case.ticket_of(last.booking_id) or (last.office, last.ticket)
        for op in observed:
            response = op.response
            if response is None or (response.booking_id, response.office, response.ticket) == (
                last.booking_id,
                office,
                ticket,
            ):
                continue
            if response.booking_id == last.booking_id and _may_be_lost(case, op):
                continue
            words = f"a response named ticket {response.ticket} of {response.office}, but the request has {ticket} of {office}"
            yield Found(office, words, ops=[op, observed[-1]] if op is not observed[-1] else [op], tickets=[ticket])
        if case.request_of[last.booking_id] != name:
            yield Found(office, f"two requests have ticket {ticket}", ops=[ops[0], observed[-1]])


def _last_of_each_ticket(case: Case, booking_id: str) -> list[Op]:
    """Returns the last call that observed each ticket of a booking, by end time."""
    latest = {op.response[:3]: op for op in case.calls[booking_id] if op.response is not None}
    return sorted(latest.values(), key=lambda op: op.ended)


def _may_be_lost(case: Case, op: Op) -> bool:
    """Returns whether a fault may have lost the observed ticket: it was undecided, and no store has it (P9)."""
    response = op.response
    if response is None or response.state != "PENDING":
        return False
    if case.ticket_of(response.booking_id) == (response.office, response.ticket):
        return False
    others = (o for o in case.calls[response.booking_id] if o.response and o.response.ticket != response.ticket)
    later = (other.ended for other in others if other.ended > op.ended)
    return case.history.lost_between(op.started, min(later, default=inf))


def reverted(case: Case) -> Iterator[Found]:
    """P7: no later call, and not the ledger, has a booking in an earlier state or with people who had cancelled."""
    for booking_id, ops in case.calls.items():
        booked = case.facts.bookings.get(booking_id)
        known: Op | None = None  # the furthest response received before the next call started
        ended = iter(ops)
        due = next(ended, None)
        for op in sorted(ops, key=lambda op: op.started):
            while due is not None and due.ended < op.started:
                if due.response and (known is None or _rank(due) >= _rank(known)):
                    known = due
                due = next(ended, None)
            if known is not None and _contradicts(case, known, op):
                words = f"{op.response.state if op.response else op.reason} after {known.response.state if known.response else ''}"
                yield Found(
                    known.response.office if known.response else "", f"a booking was read as {words}", ops=[known, op]
                )
                break
        for op in ops if booked else ():
            if booked and op.response and not _reachable(case, booking_id, op.response.state, booked.state):
                words = f"ticket {booked.ticket} was reported as {op.response.state}, but is {booked.state}"
                yield Found(booked.office, words, [booked], ops=[op])
                break


def _contradicts(case: Case, known: Op, op: Op) -> bool:
    if known.response is None or op.account != known.account:
        return False
    if op.response is not None:
        resurrected = not set(known.response.cancelled) <= set(op.response.cancelled)
        return resurrected or not _reachable(case, known.response.booking_id, known.response.state, op.response.state)
    if op.reason != "BOOKING_NOT_FOUND":
        return False
    return known.response.state != "PENDING" or not case.history.lost_between(known.started, op.ended)


def _rank(op: Op) -> tuple[int, int]:
    return (_RANK[op.response.state], len(op.response.cancelled)) if op.response else (-1, 0)


def _reachable(case: Case, booking_id: str, before: str, after: str) -> bool:
    """Returns whether the booking's possible transitions lead from one state to the other."""
    steps = _STEPS | case.facts.ways_back.get(booking_id, set())
    reached, found = set[str](), {before}
    while found - reached:
        reached |= found
        found = {end for begin, end in steps if begin in reached}
    return after in reached


def misreported(case: Case) -> Iterator[Found]:
    """P8: observed queue numbers are the recorded ones, and so are observed cancellations of people."""
    for booking_id, ops in case.calls.items():
        booked = case.facts.bookings.get(booking_id)
        for op in ops if booked else ():
            numbers = op.response.numbers if op.response else []
            cancelled = op.response.cancelled if op.response else []
            if booked and (
                ((numbers or cancelled) and sorted([*numbers, *cancelled]) != [*booked.numbers])
                or not set(cancelled) <= booked.cancelled.keys()
            ):
                words = f"ticket {booked.ticket} was reported with numbers {numbers}, but has {booked.numbers}"
                yield Found(booked.office, words, [booked], ops=[op])
                break


def refused_after_acceptance(case: Case) -> Iterator[Found]:
    """P5: a request that was accepted is not refused as SLOT_FULL when it is repeated, unless a fault may have lost it."""
    for ops in case.requests.values():
        accepted = next((op for op in ops if op.response is not None), None)
        for op in ops:
            if (
                accepted is None
                or accepted.response is None
                or op.reason != "SLOT_FULL"
                or op.started <= accepted.ended
            ):
                continue
            known = [
                seen for seen in case.calls[accepted.response.booking_id] if seen.response and seen.ended < op.started
            ]
            pending = all(seen.response and seen.response.state == "PENDING" for seen in known)
            if not (pending and case.history.lost_between(accepted.started, op.ended)):
                yield Found(op.office, "an accepted request was refused as SLOT_FULL when repeated", ops=[accepted, op])


def refused_despite_places(case: Case) -> Iterator[Found]:
    """P8: a request is refused as SLOT_FULL only if the requests sent before its refusal can have taken the places."""
    refusals: defaultdict[tuple[str, str, str], list[Op]] = defaultdict(list)
    for op in case.refused_as_full:
        refusals[op.office, op.date, op.session].append(op)
    for (office, slot), places in case.facts.slots.items():
        changes = case.facts.changes.get((office, slot), [])
        refused = refusals.get((office, slot.service_date.isoformat(), slot.session.value), [])
        if not refused or any(change.closes for change in changes):
            continue
        quota = min([places.quota, *(n for change in changes for n in (change.before, change.after))])
        sent = sorted((_sent(case, b), b.party) for b in case.by_slot[office, slot] if b.first_number is not None)
        taken = [0, *accumulate(party for _, party in sent)]
        for op in refused:
            most = taken[bisect(sent, (op.ended, inf))]
            if most + len(op.people) <= quota:
                words = f"{len(op.people)} people were refused as SLOT_FULL, but at most {most} of {quota} places were taken"
                yield Found(office, words, ops=[op])


def _sent(case: Case, booked: Booked) -> float:
    """Returns when the booking's request was sent first; before everything if other clients sent it."""
    name = case.request_of.get(booked.booking_id)
    return case.requests[name][0].started if name else -inf
