"""Replays each lane's tickets through the oracle, merged with its commands: places, outcomes, numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from antrian.audit.history.case import Case, Found
from antrian.audit.history.facts import Booked, Change, Places, SlotOfOffice
from antrian.audit.history.oracle import decide
from antrian.booking import StatusReason

_REDIS_AHEAD = timedelta(seconds=5)
_CLOCKS = timedelta(milliseconds=5)  # closer times have no order
_TURN = 512  # the most tickets in one turn
_UNKNOWN = Places(0, 0, 0, datetime.max.replace(tzinfo=UTC))


@dataclass(slots=True)
class Standing:
    """A slot at one moment. retired: the bookings whose places the lane may not have returned yet."""

    quota: int
    taken: int = 0
    closed: bool = False
    retired: list[Booked] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """The free places according to the ledger."""
        return self.quota - self.taken

    def held(self, ticket: int) -> int:
        """Returns how many remaining places the lane may still hold when it decides the ticket.

        The lane returns the places of bookings that the ledger rejects once their turn is settled.
        """
        self.retired = [booked for booked in self.retired if ticket < booked.ticket + _TURN]
        return sum(booked.party for booked in self.retired)


def overbooked(case: Case) -> Iterator[Found]:
    """P1: a slot's taken places never exceed its quota, and their final number is that of the ledger."""
    for slot, bookings in case.by_slot.items():
        places, over = case.facts.slots.get(slot, _UNKNOWN), None
        standing = _start(case, slot)
        for booked in _replay(case, slot, bookings, standing):
            if standing.taken + booked.took > standing.quota and over is None:
                over = booked
                words = (
                    f"{standing.taken + booked.took} places of {standing.quota} are taken with ticket {booked.ticket}"
                )
                yield Found(slot[0], f"{slot[1]}: {words}", [booked])
        if (standing.taken, standing.quota) != (places.taken, places.quota):
            words = f"the ledger counts {places.taken} of {places.quota} places taken on {slot[1]}"
            words += f", but its bookings took {standing.taken} of {standing.quota}"
            last = [booked for booked in bookings if booked.took][-1:]
            yield Found(slot[0], words, last)


def misjudged(case: Case) -> Iterator[Found]:
    """P3: every ticket has the outcome that the oracle gives it after the earlier tickets."""
    for slot, bookings in case.by_slot.items():
        begins = case.facts.slots.get(slot, _UNKNOWN).begins
        standing = _start(case, slot)
        gone = 0  # places that only the lane took, since after a contradiction the recorded outcomes count
        for booked in _replay(case, slot, bookings, standing):
            remaining = standing.remaining - gone
            low = remaining - standing.held(booked.ticket)
            right = _outcomes(booked, low, remaining, closed=standing.closed)
            given_reason = None if booked.first_number is not None else booked.reason
            if booked.decided_at >= begins - _REDIS_AHEAD:
                right.add(StatusReason.TOO_LATE)
            if booked.took and booked.decided_at - _CLOCKS >= begins:
                yield Found(slot[0], f"ticket {booked.ticket} got places of {slot[1]} after the day began", [booked])
            elif given_reason not in {*right, StatusReason.INTERNAL, StatusReason.ALREADY_BOOKED} and not _seen_by_p1(
                booked, right
            ):
                words = " or ".join(sorted(str(reason or "places") for reason in right))
                given = "places from its lane, which the ledger refused" if booked.retired else "places"
                yield Found(
                    slot[0], f"ticket {booked.ticket} for {slot[1]} got {given_reason or given}, not {words}, with {remaining} places remaining",
                    [booked],
                )  # fmt: skip
            if given_reason is None:
                gone = max(0, gone - max(0, booked.party - remaining))
            elif given_reason == StatusReason.SLOT_FULL:
                gone += max(0, low - booked.party + 1)


def _seen_by_p1(booked: Booked, right: set[str | None]) -> bool:
    """Returns whether the booking exceeds the quota, which `overbooked` finds."""
    return bool(booked.took) and StatusReason.SLOT_FULL in right


def _outcomes(booked: Booked, low: int, high: int, *, closed: bool) -> set[str | None]:
    """Returns the reasons that the oracle allows with low or high remaining places; None stands for CONFIRMED."""
    if closed:
        return {StatusReason.DAY_CLOSED}
    return {decide(remaining, 1, booked.party, day_begun=False).reason for remaining in (low, high)}


def misnumbered(case: Case) -> Iterator[Found]:
    """P6: the queue numbers of a slot are 1, 2, 3 … by ticket, retired ones included, and its people have them."""
    for (office, slot), bookings in case.by_slot.items():
        number, before = 1, None
        for booked in bookings:
            first = booked.first_number
            own = [] if first is None or booked.retired else [*range(first, first + booked.party)]
            if list(booked.numbers) != own:
                words = (
                    f"the people of ticket {booked.ticket} for {slot} have {_list(booked.numbers)}, not {_list(own)}"
                )
                yield Found(office, words, [booked])
            if first is None:
                continue
            if first != number:
                words = f"ticket {booked.ticket} for {slot} begins at number {first}, not {number}"
                yield Found(office, words, [before, booked] if before else [booked])
            number, before = max(number, first + booked.party), booked
        last = case.facts.slots[office, slot].last_number if (office, slot) in case.facts.slots else 0
        if last is not None and last != number - 1:
            yield Found(
                office, f"the ledger counts {last} numbers of {slot}, not {number - 1}", [before] if before else []
            )


def disordered(case: Case) -> Iterator[Found]:
    """P3: tickets are decided in order."""
    for office, bookings in case.by_office.items():
        latest, named = bookings[0], False
        for booked in bookings:
            if booked.decided_at >= latest.decided_at:
                latest, named = booked, False
            elif booked.decided_at < latest.decided_at - _CLOCKS and not named:
                named = True  # report each late ticket once
                words = f"ticket {booked.ticket} was decided before ticket {latest.ticket}"
                yield Found(office, words, [latest, booked])


def _start(case: Case, slot: SlotOfOffice) -> Standing:
    quotas = [change.before for change in case.facts.changes.get(slot, ()) if not change.closes]
    return Standing(quotas[0] if quotas else case.facts.slots.get(slot, _UNKNOWN).quota)


def _replay(case: Case, slot: SlotOfOffice, bookings: Sequence[Booked], standing: Standing) -> Iterator[Booked]:
    """Yields each booking while `standing` is the slot before its ticket. Afterwards it is the final slot."""
    events: list[tuple[datetime, Change | int]] = [(c.at, c) for c in case.facts.changes.get(slot, ())]
    events += [(at, 1) for b in bookings for at in b.cancelled.values()]
    events += [
        (b.ended_at, b.took - len(b.cancelled)) for b in bookings if b.state == "CANCELLED" and b.ended_at is not None
    ]
    events.sort(key=lambda event: event[0], reverse=True)
    for booked in bookings:
        while events and events[-1][0] < booked.decided_at:
            _apply(events.pop()[1], standing)
        yield booked
        standing.taken += booked.took
        if booked.retired:
            standing.retired.append(booked)
    while events:
        _apply(events.pop()[1], standing)


def _apply(event: Change | int, standing: Standing) -> None:
    """Applies a change of the slot, or a number of returned places."""
    standing.retired.clear()  # commands are served only once all decisions are settled
    if isinstance(event, int):
        standing.taken -= event
    elif event.closes:
        standing.closed = True
    else:
        standing.quota = event.after


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
