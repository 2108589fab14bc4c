"""Histories: what a client writes is read again, and plays of pure rules are whole in the eyes of the checker."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest

from antrian.audit.history import (
    Booked,
    Change,
    ClientHistory,
    Facts,
    HistoryError,
    Op,
    Places,
    Response,
    check_history,
    read_history,
)
from antrian.audit.history.oracle import decide
from antrian.booking import Session, Slot
from clients.sdk.history import History

START = datetime(2026, 11, 27, 7, tzinfo=UTC)
BEGINS = datetime(2026, 11, 29, 17, tzinfo=UTC)
SLOTS = [Slot(date(2026, 11, 30), session) for session in Session]
OFFICE = "kanim-a"


class Play:
    """One office's lane played by the pure rules, a turn a second; every call is answered at once."""

    def __init__(self, seed: int, requests: int, quota: int = 40) -> None:
        self.rng = Random(seed)
        self.history, self.facts = ClientHistory(), Facts()
        self.counters = {slot: [quota, 1] for slot in SLOTS}
        self.closed = set[Slot]()
        for slot in SLOTS:
            self.facts.slots[OFFICE, slot] = Places(quota, 0, 0, BEGINS)
        self.second, self.ticket = 0, 0
        while self.ticket < requests:
            self.second += 1
            self._turn(self.rng.randint(1, 9))
            self._commands()

    def _now(self) -> datetime:
        return START + timedelta(seconds=self.second)

    def _op(self, call: str, booked: Booked, state: str, moment: float, **asked: Any) -> None:
        numbers = booked.numbers if state == "CONFIRMED" else ()
        response = Response(booked.booking_id, OFFICE, booked.ticket, state, numbers)
        moment += self.second
        name = f"{len(self.history.ops)}"
        self.history.ops.append(
            Op(name, call, moment, booked.account, ended=moment + 0.0001, event="ok", response=response, **asked)
        )

    def _turn(self, size: int) -> None:
        back = dict.fromkeys(SLOTS, 0)
        for n in range(size):
            self.ticket += 1
            slot, party = self.rng.choice(SLOTS), self.rng.choice([1, 1, 2, 3, 4])
            remaining, number = self.counters[slot]
            outcome = decide(remaining, number, party, day_begun=False)
            first, state, reason = outcome.first_number, outcome.state.value, outcome.reason or ""
            if slot in self.closed:
                first, state, reason = None, "REJECTED", "DAY_CLOSED"
            elif first:
                self.counters[slot] = [outcome.remaining, outcome.next_number]
                self.facts.slots[OFFICE, slot].last_number = outcome.next_number - 1
                if self.rng.random() < 0.1:  # the ledger refuses it, and the lane learns that after the turn
                    state, reason = "REJECTED", "ALREADY_BOOKED"
                    back[slot] += party
                else:
                    self.facts.slots[OFFICE, slot].taken += party
            numbers = range(first, first + party) if first and state == "CONFIRMED" else ()
            account, accepted = str(self.ticket), self._now() - timedelta(seconds=1) + timedelta(milliseconds=n)
            booked = Booked(
                f"booking-{account}", OFFICE, self.ticket, slot, party, state, reason, first, account, accepted,
                self._now(), None, tuple(numbers),
            )  # fmt: skip
            self.facts.bookings[booked.booking_id] = booked
            asked = {"date": str(slot.service_date), "session": slot.session.value, "office": OFFICE}
            people = tuple(f"{account}-{n}" for n in range(party))
            self._op("request", booked, "PENDING", n / 1000 - 1, request_id=account, people=people, **asked)
            self._op("read", booked, state, 0.01, booking_id=booked.booking_id)
        for slot, places in back.items():
            self.counters[slot][0] += places

    def _commands(self) -> None:
        live = [b for b in islice(reversed(self.facts.bookings.values()), 20) if b.state == "CONFIRMED"]
        moment, slot = self._now() + timedelta(milliseconds=500), self.rng.choice(SLOTS)
        places, chance = self.facts.slots[OFFICE, slot], self.rng.random()
        if live and chance < 0.5:
            booked = self.rng.choice(live)
            self._cancel(booked, moment)
            self._op("cancel", booked, "CANCELLED", 0.6, booking_id=booked.booking_id)
        elif chance < 0.6 and slot not in self.closed:
            change = Change(moment, places.quota, max(places.taken, places.quota + self.rng.randint(-2, 5)), False)
            self.facts.changes.setdefault((OFFICE, slot), []).append(change)
            self.counters[slot][0] += change.after - change.before
            places.quota = change.after
        elif chance < 0.61 and self.ticket > 300 and slot not in self.closed:
            self.closed.add(slot)
            self.facts.changes.setdefault((OFFICE, slot), []).append(Change(moment, 0, 0, True))
            for booked in [b for b in self.facts.bookings.values() if b.slot == slot and b.state == "CONFIRMED"]:
                self._cancel(booked, moment)

    def _cancel(self, booked: Booked, moment: datetime) -> None:
        booked.state, booked.ended_at = "CANCELLED", moment
        self.facts.slots[OFFICE, booked.slot].taken -= booked.party
        self.counters[booked.slot][0] += booked.party

    def violations(self) -> list[tuple[str, str, list[int]]]:
        """What the checker finds: promise, office, tickets."""
        return [(b.promise, b.office, b.tickets) for b in check_history(self.history, self.facts).violations]


@pytest.mark.parametrize("seed", range(12))
def test_a_history_played_by_the_rules_has_no_violation(seed: int) -> None:
    play = Play(seed, 400)
    assert play.violations() == []
    assert {b.reason for b in play.facts.bookings.values()} >= {"", "SLOT_FULL", "ALREADY_BOOKED"}


def _delete(play: Play, booked: Booked) -> None:
    del play.facts.bookings[booked.booking_id]


def _refuse(_: Play, booked: Booked) -> None:
    booked.state, booked.reason, booked.numbers = "REJECTED", "INTERNAL", ()


def _decide_early(_: Play, booked: Booked) -> None:
    booked.decided_at -= timedelta(hours=1)


def _decide_late(_: Play, booked: Booked) -> None:
    booked.decided_at = BEGINS + timedelta(minutes=1)


def _ask_unanswered(play: Play, booked: Booked) -> None:
    play.history.ops = [op for op in play.history.ops if op.account != booked.account]
    play.history.ops.append(Op("x", "request", 0.0, booked.account, "other", OFFICE))


@pytest.mark.parametrize(
    ("tamper", "promises"),
    [
        (_delete, {"P2", "P6"}),
        (_refuse, {"P1", "P7", "P8"}),
        (_decide_early, {"P3"}),
        (_decide_late, {"P3"}),
        (_ask_unanswered, {"P2"}),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_single_fault_is_named_and_causes_few_violations(
    tamper: Callable[[Play, Booked], None], promises: set[str], seed: int
) -> None:
    play = Play(seed, 400)
    confirmed = [b for b in play.facts.bookings.values() if b.state == "CONFIRMED"]
    booked = confirmed[len(confirmed) // 2]
    tamper(play, booked)
    found = play.violations()
    assert promises <= {promise for promise, _, tickets in found if booked.ticket in tickets or promise in {"P1", "P6"}}
    assert len(found) < 12


def test_a_call_with_unknown_outcome_may_be_accepted_and_a_refused_call_may_not() -> None:
    play = Play(1, 20)
    booked = next(b for b in play.facts.bookings.values() if b.state == "CONFIRMED")
    op = next(op for op in play.history.ops if op.account == booked.account)
    play.history.ops = [other for other in play.history.ops if other.account != booked.account] + [op]
    op.response, op.event, op.ended = None, "", inf
    assert play.violations() == []
    op.event, op.ended = "refused", op.started + 1
    assert play.violations() == [("P2", OFFICE, [booked.ticket])]


@pytest.mark.parametrize("loses", [True, False])
def test_only_a_fault_that_loses_undecided_tickets_excuses_a_second_ticket(tmp_path: Path, *, loses: bool) -> None:
    with History(tmp_path / "a") as history:
        ask = {"request_id": "r", "account": "a", "office": OFFICE, "date": "2026-11-30", "session": "MORNING"}
        response = {"booking_id": "b", "office": OFFICE, "state": "PENDING", "numbers": []}
        history.end(history.begin("request", people=["p"], **ask), "ok", ticket=3, **response)
        with history.fault("disk", loses_undecided=loses):
            history.end(history.begin("read", booking_id="b", account="a"), "refused", reason="BOOKING_NOT_FOUND")
        history.end(history.begin("request", people=["p"], **ask), "ok", ticket=9, **response)
    facts = Facts(waiting={"b": (OFFICE, 9)})
    found = check_history(read_history([tmp_path / "a"]), facts)
    assert found.lost_undecided == loses
    assert [(b.promise, b.tickets, b.faults) for b in found.violations] == (
        [] if loses else [("P5", [3, 9], []), ("P7", [3], ["disk"])]
    )


UNDONE, LATE, EXCUSED = ("ATTENDED", "CONFIRMED"), ("NO_SHOW", "ATTENDED"), ("NO_SHOW", "EXCUSED")


@pytest.mark.parametrize(
    ("states", "by_staff"),
    [
        (["PENDING", "CONFIRMED", "ATTENDED"], []),
        (["PENDING", "NO_SHOW"], []),
        (["CONFIRMED", "ATTENDED", "CONFIRMED", "NO_SHOW", "EXCUSED"], [UNDONE, EXCUSED]),
        (["CONFIRMED", "NO_SHOW", "ATTENDED"], [LATE]),
        (["ATTENDED", "NO_SHOW"], [UNDONE]),
        (["ATTENDED", "CANCELLED"], [UNDONE]),
        (["ATTENDED", "EXCUSED"], [UNDONE, EXCUSED]),
    ],
    ids=str,
)
def test_a_booking_returns_to_an_earlier_state_only_by_staff_action(
    tmp_path: Path, states: list[str], by_staff: list[tuple[str, str]]
) -> None:
    assert _violations_of_reads(tmp_path, states, by_staff) == []
    for step in by_staff:
        without = [other for other in by_staff if other != step]
        assert _violations_of_reads(tmp_path, states, without) == ["P7"], f"without {step}"


@pytest.mark.parametrize(
    "states",
    [
        ["NO_SHOW", "CONFIRMED"],
        ["EXCUSED", "NO_SHOW"],
        ["CANCELLED", "ATTENDED"],
        ["CANCELLED", "EXCUSED"],
        ["CONFIRMED", "REJECTED"],
        ["ATTENDED", "PENDING"],
        ["NO_SHOW", "ATTENDED", "NO_SHOW"],
    ],
    ids=str,
)
def test_all_other_backward_transitions_are_violations(tmp_path: Path, states: list[str]) -> None:
    assert _violations_of_reads(tmp_path, states, [LATE, EXCUSED]) == ["P7"]


def _violations_of_reads(tmp_path: Path, states: list[str], by_staff: list[tuple[str, str]]) -> list[str]:
    """The promises that are broken when a booking is read in these states, one after the other."""
    path = tmp_path / f"{len([*tmp_path.iterdir()])}"
    with History(path) as history:
        for state in states:
            response = {"booking_id": "b", "office": OFFICE, "state": state, "numbers": [], "ticket": 3}
            history.end(history.begin("read", booking_id="b", account="a"), "ok", **response)
    facts = Facts(waiting={"b": (OFFICE, 3)}, ways_back={"b": set(by_staff), "another": {UNDONE, LATE, EXCUSED}})
    return [violation.promise for violation in check_history(read_history([path]), facts).violations]


def test_several_files_form_one_history_and_a_truncated_line_is_skipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with History(tmp_path / name) as history, history.fault(f"fault {name}"):
            history.end(history.begin("read", booking_id=name, account="x"), "unknown", reason="UNAVAILABLE")
            history.begin("cancel", booking_id=name, account="x")
    cut = (tmp_path / "a").read_bytes()[:-20]
    (tmp_path / "a").write_bytes(cut)
    read = read_history([tmp_path / "a", tmp_path / "b"])
    assert [(op.booking_id, op.call, op.event) for op in read.ops] == [
        (name, call, event) for name in "ab" for call, event in (("read", "unknown"), ("cancel", ""))
    ]
    assert [(fault.name, fault.ends == inf) for fault in read.faults] == [("fault a", True), ("fault b", False)]


@pytest.mark.parametrize("text", ["no json", '{"event": "ok", "op": "x-1", "t": 1}', "[]", '{"t": 1}'])
def test_an_invalid_history_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(f'{{"t": 1, "event": "invoke", "op": "y", "call": "read", "account": "x"}}\n{text}\n')
    with pytest.raises(HistoryError, match=r"a:2: not an event of a history"):
        read_history([tmp_path / "a"])
