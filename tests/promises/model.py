"""A small pure model of the promises, which compares the responses that clients got with both stores after every step."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from antrian import rules
from antrian.audit.history.oracle import decide
from antrian.booking import EncryptedApplicant, State
from antrian.errors import Reason
from antrian.lane.producer import Joined, JoinRequest, Known, Refused
from tests.promises.sight import Lane, OfficeSlot, Row, Sight
from tests.support.world import JAKARTA

_FORWARD = {
    None: {"CONFIRMED", "REJECTED"},
    "CONFIRMED": {"CONFIRMED", "CANCELLED", "ATTENDED", "NO_SHOW"},
    "ATTENDED": {"CONFIRMED", "CANCELLED"},  # undone, and its day closed with the same batch
    "NO_SHOW": {"ATTENDED", "EXCUSED"},
}
_REFUSALS = {
    "KNOWN": "P5",
    Reason.REQUEST_ID_REUSED: "P5",
    Reason.LANE_CLOSED: "P9",
    "WINDOW": "P11",
    Reason.DAY_CLOSED: "P1",
    Reason.ALREADY_BOOKED: "P4",
    Reason.BARRED: "P10",
    Reason.SLOT_FULL: "P8",
    Reason.ACCOUNT_LIMIT: "P4",
    Reason.LANE_FULL: "P12",
}
"""The promise that a request breaks which should have got this answer, or got it and should have been accepted."""


class BrokenError(AssertionError):
    """A promise was broken."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(f"{promise}: {words}")
        self.promise = promise


def hold(promise: str, held: object, words: object) -> None:
    """Raises BrokenError if the condition is false."""
    if not held:
        raise BrokenError(promise, str(words))


@dataclass
class Accepted:
    """A request with its ticket. lost: Redis was emptied before the ledger recorded it."""

    request: JoinRequest
    ticket: int
    lost: bool = False


class Model:
    """The responses so far. sight is the state of the stores after the last step."""

    def __init__(self, sight: Sight, lane_bound: int, account_people: int) -> None:
        self.sight = sight
        self.lane_bound = lane_bound
        self.account_people = account_people
        self.accepted: dict[UUID, Accepted] = {}
        self.emptied = False  # Redis lost everything, and nobody has rebuilt it yet
        self.asked_to_cancel: set[UUID] = set()
        self.asked_to_cancel_person: set[tuple[UUID, int]] = set()
        self.asked_to_close: set[OfficeSlot] = set()
        self.asked_to_note: set[tuple[bytes, UUID]] = set()  # who has come
        self.asked_to_undo: set[UUID] = set()
        self.asked_to_excuse: set[UUID] = set()
        self.asked_to_lift: set[tuple[bytes, UUID]] = set()
        self.unsynced: set[UUID] = set()  # checked in, and the second step was lost
        self._decided: dict[tuple[str, int], str] = {}
        self._last_decided = dict.fromkeys(sight.lanes, 0)
        self._waits_since: dict[str, int] = {}
        self._given_back = ""
        self._steps = 0

    def answered(self, request: JoinRequest, response: Joined | Known | Refused, now: datetime) -> None:
        """Checks a response against what it should have been, in the order of join.lua; now is Redis's time."""
        right = next(self._refusals(request, response.at if not isinstance(response, Known) else now), "JOINED")
        said = (
            response.reason if isinstance(response, Refused) else "KNOWN" if isinstance(response, Known) else "JOINED"
        )
        promise = _REFUSALS.get(said if right == "JOINED" else right, "P8")
        hold(promise, said == right, f"{request.account} at {request.office_id} was answered {said}, not {right}")
        if isinstance(response, Joined):
            last = self._last_ticket(request.office_id)
            ahead = last - self.sight.lanes[request.office_id].settled
            hold("P3", response.ticket == last + 1, f"ticket {response.ticket} came after ticket {last}")
            hold("P8", response.ahead == ahead, f"{ahead}, not {response.ahead} are ahead of ticket {response.ticket}")
            self.accepted[request.booking_id] = Accepted(request, response.ticket)
            for applicant in request.applicants:
                self.sight.claims[applicant.key] = b"B" + request.booking_id.bytes + request.owner

    def _refusals(self, request: JoinRequest, at: datetime) -> Iterator[str]:
        """The refusal that the response must be, if any."""
        known = self.accepted.get(request.booking_id)
        if known and not self.emptied:
            yield "KNOWN" if known.request.fingerprint == request.fingerprint else Reason.REQUEST_ID_REUSED
        lane, party = self.sight.lanes[request.office_id], len(request.applicants)
        if not lane.opened:
            yield Reason.LANE_CLOSED
        if not any(window.contains(at) for window in request.windows):
            yield "WINDOW"
        if lane.counters[request.slot].closed:
            yield Reason.DAY_CLOSED
        claims = [self.sight.claims.get(applicant.key, b"") for applicant in request.applicants]
        if any(claim[:1] == b"B" and claim[17:] == request.owner for claim in claims):
            yield Reason.ALREADY_BOOKED
        if lane.counters[request.slot].remaining < party:
            yield Reason.SLOT_FULL
        if sum(claim[17:] == request.owner for claim in self.sight.claims.values()) + party > self.account_people:
            yield Reason.ACCOUNT_LIMIT
        if self._last_ticket(request.office_id) - lane.settled >= self.lane_bound:
            yield Reason.LANE_FULL
        for claim in claims:
            if claim[:1] == b"B":
                yield Reason.ALREADY_BOOKED
            elif claim and at.timestamp() * 1000 < max(int(claim[n + 17 : n + 30]) for n in range(1, len(claim), 41)):
                yield Reason.BARRED

    def _last_ticket(self, office_id: str) -> int:
        tickets = (a.ticket for a in self.accepted.values() if a.request.office_id == office_id)
        return max([self.sight.lanes[office_id].ticket, *tickets])

    def taken(self, office_id: str) -> None:
        """Notes that the lane was leased: its wait begins again."""
        self._waits_since.pop(office_id, None)

    def given_back(self, office_id: str) -> None:
        """Notes that a lease was returned. A lane with more work goes to the end; else a ready mark stays."""
        self._given_back = office_id

    def longest_waiting(self) -> set[str]:
        """The lanes of which one must be leased next."""
        free = [
            name for name in self.sight.ready if not self.sight.lanes[name].leased and not self._is_quarantined(name)
        ]
        since = {name: self._waits_since[name] for name in free}
        return {name for name in free if since[name] == min(since.values())}

    def _is_quarantined(self, office_id: str) -> bool:
        lane = self.sight.lanes[office_id]
        return lane.known and not lane.opened

    def emptied_redis(self) -> None:
        """Notes that Redis was emptied: tickets that are not in the ledger may be lost, or be recorded late."""
        self.emptied = True
        self._waits_since.clear()
        for booking_id, accepted in self.accepted.items():
            accepted.lost = booking_id not in self.sight.rows

    def rebuilt(self, sight: Sight, now: datetime) -> None:
        """Notes a rebuild: requests that the ledger does not have are gone."""
        self._waits_since.clear()  # it took every lane
        self.compare(sight, now, rebuilding=True)
        for booking_id in [name for name, accepted in self.accepted.items() if accepted.lost]:
            lost = self.accepted.pop(booking_id)
            self._decided.pop((lost.request.office_id, lost.ticket), None)
        self.emptied = False
        for office_id, lane in sight.lanes.items():
            hold("P9", lane.opened, f"{office_id} is closed after the rebuild")
            told = [a.ticket for a in self.accepted.values() if a.request.office_id == office_id]
            hold("P9", lane.ticket >= max(told, default=0), f"{office_id} will issue its tickets again")
            self._last_decided[office_id] = lane.ticket
        self.compare(sight, now)

    def compare(self, sight: Sight, now: datetime, *, rebuilding: bool = False) -> None:
        """Checks the stores against the promises."""
        before, self.sight, self._steps = self.sight, sight, self._steps + 1
        for name in set(self._waits_since) - set(sight.ready):
            del self._waits_since[name]
        if sight.ready[-1:] == [self._given_back]:
            self._waits_since[self._given_back] = self._steps
        self._given_back = ""
        for name in sight.ready:
            self._waits_since.setdefault(name, self._steps)
        hold("P13", len(sight.ready) == len(set(sight.ready)), f"ready holds an office twice: {sight.ready}")
        since = [self._waits_since[name] for name in sight.ready]
        hold("P13", since == sorted(since), f"{sight.ready} are not in the order in which they wait")
        for row in sight.rows.values():
            self._recorded(row, before.rows.get(row.booking_id))
            self._gave_up(row, before.cancelled.get(row.booking_id, set()))
        hold("P2", before.rows.keys() <= sight.rows.keys(), "a recorded outcome is gone")
        if not rebuilding:
            for office_id, lane in sight.lanes.items():
                self._in_queue(office_id, lane)
        for office_id, lane in sight.lanes.items():
            self._decisions(office_id, lane, now)
        for slot in sight.slots:
            self._numbers(slot)
            self._places(slot)
        self._people()

    def _recorded(self, row: Row, before: Row | None) -> None:
        told = self.accepted.get(row.booking_id)
        if told is None:
            raise BrokenError("P9", f"{row.office_id}: ticket {row.ticket} was recorded after the rebuild that lost it")
        hold(
            "P3",
            (row.office_id, row.ticket) == (told.request.office_id, told.ticket),
            f"{row} had ticket {told.ticket}",
        )
        told.lost = False
        if before is None or before.state != row.state:
            moves = _FORWARD.get(before.state if before else None, set[str]())
            hold("P7", row.state in moves, f"{row} was {before}")
            undone = before and before.state == State.ATTENDED
            hold("P7", not undone or row.booking_id in self.asked_to_undo, f"{row}: nobody asked to undo {before}")
            hold(
                "P7",
                row.state != State.EXCUSED or row.booking_id in self.asked_to_excuse,
                f"{row}: nobody asked for that",
            )
        if row.state == State.CANCELLED:
            asked = row.booking_id in self.asked_to_cancel or (row.office_id, row.slot) in self.asked_to_close
            hold("P10", asked or row.cancelled_people == row.party, f"{row}: nobody asked for that")

    def _gave_up(self, row: Row, before: set[int]) -> None:
        gone = self.sight.cancelled.get(row.booking_id, set())
        hold("P10", len(gone) == row.cancelled_people, f"{row}: {gone} cancelled")
        hold("P7", gone >= before, f"{row}: of {before} who gave up {gone} are left")
        for number in gone - before:
            hold(
                "P10",
                (row.booking_id, number) in self.asked_to_cancel_person,
                f"{row}: number {number} did not give up",
            )
        everybody = row.cancelled_people == row.party
        hold("P7", not everybody or row.state == State.CANCELLED, f"{row} is there for nobody")

    def _in_queue(self, office_id: str, lane: Lane) -> None:
        hold("P12", len(lane.queue) <= self.lane_bound, f"{len(lane.queue)} wait at {office_id}")
        hold("P5", len(set(lane.queue.values())) == len(lane.queue), f"a booking waits twice at {office_id}")
        tickets = {booking_id: ticket for ticket, booking_id in lane.queue.items()}
        for booking_id, told in self.accepted.items():
            if told.request.office_id != office_id or told.lost or booking_id in self.sight.rows:
                continue
            at = tickets.get(booking_id)
            hold("P2", at, f"{office_id}: ticket {told.ticket} is neither in line nor recorded")
            hold("P3", at == told.ticket, f"{office_id}: ticket {told.ticket} is at ticket {at} now")
            hold("P2", at is None or at > lane.settled, f"{office_id}: ticket {at} was settled and not recorded")
        hold("P15", lane.opened or self.emptied, f"{office_id} is closed though Redis lost nothing")

    def _decisions(self, office_id: str, lane: Lane, now: datetime) -> None:
        """Replays the decisions since the last step by the pure rules, on the previous state."""
        said = {row.ticket: row.decision for row in self.sight.rows.values() if row.office_id == office_id}
        for ticket, decision in lane.outbox.items():
            hold("P2", said.setdefault(ticket, decision) == decision, f"{office_id}: ticket {ticket} has two outcomes")
        told = {a.ticket: a for a in self.accepted.values() if a.request.office_id == office_id}
        for ticket in sorted(said):
            before, decision = self._decided.get((office_id, ticket)), said[ticket]
            if before is not None:
                hold("P2", before == decision, f"{office_id}: ticket {ticket} was {before}, now {decision}")
                continue
            last = self._last_decided[office_id]
            hold("P3", ticket == last + 1, f"{office_id}: ticket {ticket} was decided after ticket {last}")
            hold("P3", ticket in told, f"{office_id}: ticket {ticket} was decided, and nobody has it")
            request = told[ticket].request
            right = self._replay((office_id, request.slot), ticket, len(request.applicants), now)
            hold("P3", decision == right, f"{office_id}: ticket {ticket} was decided {decision}, not {right}")
            self._decided[office_id, ticket] = decision
            self._last_decided[office_id] = ticket
        for row in self.sight.rows.values():
            if row.first_number and row.state == State.REJECTED:  # the lane had confirmed it
                begun = now >= self._begins((row.office_id, row.slot))
                hold("P4", row.reason == "TOO_LATE" and begun, f"the ledger had to refuse {row}")

    def _replay(self, slot: OfficeSlot, ticket: int, party: int, now: datetime) -> str:
        count = self.sight.slots[slot]
        begun = now >= self._begins(slot)
        if count.closed and not begun:
            return str(Reason.DAY_CLOSED)
        remaining, number = count.quota, 1
        for booking_id, told in self.accepted.items():
            at, row = (told.request.office_id, told.ticket), self.sight.rows.get(booking_id)
            confirmed = self._decided.get(at, "").startswith("CONFIRMED") and told.ticket < ticket
            if confirmed and (told.request.office_id, told.request.slot) == slot:
                size = len(told.request.applicants)
                remaining, number = remaining - (row.takes if row else size), number + size
        outcome = decide(remaining, number, party, day_begun=begun)
        return f"CONFIRMED {outcome.first_number}" if outcome.first_number else str(outcome.reason)

    def _begins(self, slot: OfficeSlot) -> datetime:
        return rules.day_begins(JAKARTA, slot[1].service_date)

    def _numbers(self, slot: OfficeSlot) -> None:
        number = 1
        for row in self._rows_of(slot):
            if row.first_number is None:
                continue
            hold("P6", row.first_number == number, f"{row} should begin at number {number}")
            number += row.party
            own = list(range(row.first_number, number)) if row.state != State.REJECTED else []
            hold("P6", self.sight.numbers.get(row.booking_id, []) == own, f"the people of {row} have other numbers")
        hold("P6", self.sight.slots[slot].last_number == number - 1, f"{slot} does not say that {number} is next")

    def _places(self, slot: OfficeSlot) -> None:
        office_id, lane, count = slot[0], self.sight.lanes[slot[0]], self.sight.slots[slot]
        rows = self._rows_of(slot)
        taken = sum(row.takes for row in rows)
        came_back = any(row.first_number and row.takes < row.party for row in rows)
        promise = "P10" if came_back else "P1"
        hold("P1", taken <= count.quota, f"{slot}: {taken} places of {count.quota} are taken")
        hold(promise, taken == count.taken, f"{slot} counts {count.taken} places taken, not {taken}")
        settled_command = self.sight.ledger_lanes[office_id].last_command == lane.settled_command
        if not (lane.opened and settled_command and slot[1] in lane.counters):
            return
        quota, remaining, next_number, closed = lane.counters[slot[1]]
        unrecorded = held = 0
        for ticket, decision in lane.outbox.items():
            booking_id = lane.queue.get(ticket)
            if booking_id and decision.startswith("CONFIRMED") and self.accepted[booking_id].request.slot == slot[1]:
                size, row = len(self.accepted[booking_id].request.applicants), self.sight.rows.get(booking_id)
                unrecorded += 0 if row else size
                held += size if row is None or row.state == State.REJECTED else 0
        hold(promise, (quota, closed) == (count.quota, count.closed), f"{slot}: the lane has quota {quota}: {count}")
        hold(
            promise,
            remaining + taken + held == quota,
            f"{slot}: {remaining} left, {taken} taken and {held} held are not {quota}",
        )
        hold("P6", next_number == count.last_number + unrecorded + 1, f"{slot}: number {next_number} is next: {count}")

    def _people(self) -> None:
        rows, holders = self.sight.rows, dict[bytes, UUID]()
        for booking_id, told in self.accepted.items():
            row = rows.get(booking_id)
            if told.lost:
                continue
            for applicant in self._still_in(told, row):
                if row and not self._is_expected(row, applicant.key):
                    continue
                other = holders.setdefault(applicant.key, booking_id)
                hold("P4", other == booking_id, f"one of {told.request.account} has two live bookings")
        live = {(key, booking_id) for key, booking_id in holders.items() if booking_id in rows}
        hold("P4", set(self.sight.live) == live and len(self.sight.live) == len(live), "live people of the ledger")
        hold("P10", self.sight.present <= self.asked_to_note, "somebody is noted who did not come")
        self._bars()
        if not self.emptied:
            self._claims(holders)

    def _still_in(self, told: Accepted, row: Row | None) -> list[EncryptedApplicant]:
        """The people of a request who have not cancelled."""
        gone = self.sight.cancelled.get(row.booking_id, set()) if row else set[int]()
        first = (row.first_number if row else None) or 1
        return [one for number, one in enumerate(told.request.applicants, first) if number not in gone]

    def _is_expected(self, row: Row, key: bytes) -> bool:
        """Whether a person still holds it: absent people of an ATTENDED party do until the day is over or closed."""
        if row.state == State.CONFIRMED:
            return True
        over = (row.office_id, row.slot.service_date) in self.sight.days or self.sight.slots[
            row.office_id, row.slot
        ].closed
        return row.state == State.ATTENDED and not over and (key, row.booking_id) not in self.sight.present

    def _bars(self) -> None:
        """No-shows are barred once, unless staff excused them, and nobody else is."""
        missed, excused = set[tuple[bytes, UUID]](), set[tuple[bytes, UUID]]()
        for booking_id, row in self.sight.rows.items():
            people = {(applicant.key, booking_id) for applicant in self._still_in(self.accepted[booking_id], row)}
            if row.state == State.NO_SHOW:
                missed |= people
            elif row.state == State.EXCUSED:
                excused |= people
            elif row.state == State.ATTENDED and not self.sight.slots[row.office_id, row.slot].closed:
                over = (row.office_id, row.slot.service_date) in self.sight.days
                missed |= people - self.sight.present if over else set()
        bars, lifted = self.sight.bars.keys(), self.sight.lifted
        hold("P10", missed | excused <= bars, "somebody who did not come is not barred")
        hold("P10", bars - lifted <= missed, "somebody is barred who came or was excused")
        hold("P10", lifted & missed <= self.asked_to_lift, "a bar was lifted, and nobody asked for that")

    def _claims(self, holders: dict[bytes, UUID]) -> None:
        """Checks the people in Redis, who may be held or barred a little longer, until their lane is settled."""
        for key, booking_id in holders.items():
            claim = self.sight.claims.get(key, b"")
            hold("P4", claim[:17] == b"B" + booking_id.bytes, "somebody with a live booking could book again")
        for key, claim in self.sight.claims.items():
            if claim[:1] == b"B" and key not in holders:
                told = self.accepted.get(UUID(bytes=claim[1:17]))
                if told is None:
                    raise BrokenError("P4", "somebody is held by a booking that nobody knows")
                hold("P4", self._is_unsettled(told), "somebody without a live booking cannot book")
            for n in range(1, len(claim) if claim[:1] == b"X" else 0, 41):
                bar = key, UUID(bytes=claim[n : n + 16])
                holds = bar in self.sight.bars and bar not in self.sight.lifted
                hold("P10", holds or self._is_unsettled(self.accepted[bar[1]]), "Redis bars whose bar was lifted")
        for (key, booking_id), ends in self.sight.bars.items():
            row = self.sight.rows[booking_id]
            if (key, booking_id) not in self.sight.lifted and self.sight.days[row.office_id, row.slot.service_date]:
                said = booking_id.bytes + b" %013d " % (ends.timestamp() * 1000)
                hold("P10", said in self.sight.claims.get(key, b""), "Redis does not know of a bar")

    def _is_unsettled(self, told: Accepted) -> bool:
        """Whether Redis may differ from the ledger for a booking's people, because its lane is not settled yet."""
        request = told.request
        lane, ledger = self.sight.lanes[request.office_id], self.sight.ledger_lanes[request.office_id]
        if told.ticket > lane.settled or not lane.commands == lane.settled_command == ledger.last_command:
            return True
        day = request.office_id, request.slot.service_date
        return (request.booking_id in self.unsynced and not self.sight.days.get(day, False)) or self.sight.days.get(
            day
        ) is False

    def _rows_of(self, slot: OfficeSlot) -> list[Row]:
        rows = [row for row in self.sight.rows.values() if (row.office_id, row.slot) == slot]
        return sorted(rows, key=lambda row: row.ticket)
