"""The rush: its crowd is valid, uneven and the same again; its checks see what is wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from antrian.booking import Session, Slot
from antrian.identity import check_full_name, check_nik
from antrian.offices import load_offices
from antrian.policy import load_policy
from antrian.provinces import ProvinceMap, load_provinces
from antrian.rules import next_window
from clients.rush.crowd import Ask, Scenario, popularity, presses
from clients.rush.fairness import SlotOfOffice, check_history
from clients.rush.record import Record, Share
from clients.rush.result import summarise
from clients.rush.rush import make_crowd

POLICY = load_policy()
WINDOW = next_window(POLICY, datetime(2026, 11, 23, tzinfo=UTC))
NIK_CODES = {province.nik_code for province in load_provinces().values()}


def _asks(requests: int = 3000, seed: int = 1) -> list[Ask]:
    return make_crowd(Scenario(requests, seed), WINDOW, POLICY).asks()


@pytest.fixture(scope="module")
def asks() -> list[Ask]:
    return _asks()


def test_the_same_seed_makes_the_same_crowd_and_another_seed_another() -> None:
    assert _asks(200) == _asks(200) != _asks(200, seed=2)


def test_there_are_as_many_requests_as_asked_for_each_with_its_own_id(asks: list[Ask]) -> None:
    assert [ask.number for ask in asks] == list(range(3000))
    ids = Counter(ask.message.request_id for ask in asks if ask.wrong != "malformed request_id")
    assert max(ids.values()) == 1


def test_people_are_valid_and_nobody_comes_twice_but_with_a_second_phone(asks: list[Ask]) -> None:
    niks = Counter[str]()
    for ask in asks:
        for person in ask.message.applicants:
            check_full_name(person.full_name, "full_name")
            if ask.wrong == "bad NIK":
                continue
            check_nik(person.nik, "nik", NIK_CODES)
            if not ask.rival:
                niks[person.nik] += 1
    assert max(niks.values()) == 1
    accounts = Counter(ask.message.account for ask in asks if ask.rival)
    assert set(accounts.values()) == {2}


def test_everyone_is_in_the_province_of_the_office_unless_that_is_what_is_wrong(asks: list[Ask]) -> None:
    province_of = {office.office_id: office.province_code for office in load_offices()}
    borders = ProvinceMap()
    for ask in asks[:500]:
        if not ask.wrong:
            where = ask.message.location
            found = borders.whereabouts(where.latitude, where.longitude, where.accuracy_m, POLICY)
            assert province_of[ask.message.office_id] in found


def test_popular_offices_and_monday_mornings_are_wanted_most(asks: list[Ask]) -> None:
    mornings = Counter(ask.slot for ask in asks)
    assert mornings.most_common(1)[0][0] == Slot(WINDOW.dates[0], Session.MORNING)
    popular = {o.office_id for o in load_offices() if popularity(o) > 5}
    assert sum(ask.message.office_id in popular for ask in asks) > len(asks) / 3
    assert len({ask.message.office_id for ask in asks}) > 150


def test_some_press_early_and_most_at_the_opening(asks: list[Ask]) -> None:
    moments = [moment for ask in asks for moment in presses(ask)]
    assert 0 < sum(moment < 0 for moment in moments) < 0.1 * len(moments)
    per_second = Counter(int(moment) for moment in moments if moment >= 0)
    assert per_second[0] == max(per_second.values())
    assert per_second[0] > 3 * per_second[15]


def test_what_is_wrong_has_the_reason_with_which_it_must_be_refused(asks: list[Ask]) -> None:
    wrong = [ask for ask in asks if ask.wrong]
    assert {len(ask.expected) for ask in wrong} == {1}
    assert len({ask.wrong for ask in wrong}) == 9
    assert all(ask.expected == {"ALREADY_BOOKED"} for ask in asks if ask.rival)


SLOT = Slot(WINDOW.dates[0], Session.MORNING)


def _record(ticket: int, *numbers: int, party: int = 1, sent: float = 0, answered: float = 0) -> Record:
    return Record(
        ticket,
        "kanim-a",
        SLOT,
        party,
        sent=sent or ticket,
        answered=answered or ticket + 0.5,
        presses=[ticket],
        answers={(f"booking-{ticket}", ticket)},
        state="CONFIRMED" if numbers else "REJECTED",
        reason="" if numbers else "SLOT_FULL",
        numbers=numbers,
        seen=ticket + 1,
        accepted_at=ticket,
        decided_at=ticket + 0.5,
    )


def _history() -> list[Record]:
    return [_record(1, 1, 2, party=2), _record(2, 3), _record(3, party=3), _record(4, 4), _record(5)]


QUOTAS: dict[SlotOfOffice, tuple[int, int]] = {("kanim-a", SLOT): (4, 0)}


def _breaches(records: list[Record], quotas: dict[SlotOfOffice, tuple[int, int]] = QUOTAS) -> dict[str, int]:
    return {check.what: check.breaches for check in check_history(records, quotas).checks if check.breaches}


def test_a_fair_history_has_no_breaches() -> None:
    assert _breaches(_history()) == {}


def _overtake(records: list[Record]) -> None:
    records[0].sent = 3.0


def _pass_over(records: list[Record]) -> None:
    records[1].numbers, records[1].state, records[1].reason = (), "REJECTED", "SLOT_FULL"
    records[3].numbers = (3,)


def _skip_a_number(records: list[Record]) -> None:
    records[3].numbers = (5,)


def _give_a_number_twice(records: list[Record]) -> None:
    records[3].numbers = (3,)


def _lose(records: list[Record]) -> None:
    records[4].state = "PENDING"


def _rename(records: list[Record]) -> None:
    records[1].answers.add(("another-booking", 9))


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (_overtake, "who was answered before another asked is before him"),
        (_pass_over, "tickets in order through the rules give the recorded outcomes"),
        (_skip_a_number, "queue numbers are 1, 2, 3 … in ticket order"),
        (_give_a_number_twice, "queue numbers are 1, 2, 3 … in ticket order"),
        (_lose, "every accepted request has its outcome or waits"),
        (_rename, "all answers to a request name one booking and ticket"),
    ],
)
def test_a_tampered_history_is_seen(tamper: Callable[[list[Record]], None], what: str) -> None:
    records = _history()
    tamper(records)
    assert _breaches(records)[what] == 1


@pytest.mark.parametrize("quota", [(3, 0), (4, 1), (5, 0)])
def test_places_that_do_not_add_up_are_seen(quota: tuple[int, int]) -> None:
    assert "at every ticket the places taken are within the quota" in _breaches(_history(), {("kanim-a", SLOT): quota})


def test_the_result_accounts_for_every_request() -> None:
    office = replace(load_offices()[0], office_id="kanim-a")
    refused = Record(6, "kanim-a", SLOT, 1, refusal="ALREADY_BOOKED", presses=[6.0], answered=6.1)
    share = Share([*_history(), refused], [0.001], 0, 0, 1.0)
    result = summarise([share], QUOTAS, [office], load_provinces(), 0)
    assert (result.requests, result.accepted, result.confirmed, result.people_confirmed) == (6, 5, 3, 4)
    assert (result.rejected, result.refused, result.undecided) == ({"SLOT_FULL": 2}, {"ALREADY_BOOKED": 1}, 0)
    assert [slot.office_id for slot in result.sold_out] == ["kanim-a"]
    assert result.accept is not None
    assert result.accept.count == 5
