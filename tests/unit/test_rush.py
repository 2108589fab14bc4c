"""The rush's plan and numbers: the crowd is valid, uneven and the same again; the summary and the verdict say what was."""

import math
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import pytest

from antrian.audit.check import Check
from antrian.audit.history import Response
from antrian.booking import Session, Slot
from antrian.identity import check_full_name, check_nik
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import ProvinceMap, load_provinces
from antrian.policy import load_policy
from antrian.rules import next_window
from clients.rush.judge.fairness import check_from_outside
from clients.rush.judge.result import Generator, ResultError, RushResult, read_result, write_result
from clients.rush.judge.summary import Played, summarise
from clients.rush.judge.verdict import LATE_MS, judge
from clients.rush.load.record import Observation, Record, Share
from clients.rush.load.survey import Quotas, make_town
from clients.rush.load.tally import Tally
from clients.rush.plan.crowd import Crowd, PlannedRequest, submissions
from clients.rush.plan.demand import popularity
from clients.rush.plan.pace import real_of, second_of
from clients.rush.plan.scenario import Scenario, ScenarioError, load_scenario, shipped

POLICY = load_policy()
WINDOW = next_window(POLICY, datetime(2026, 11, 23, tzinfo=UTC))
TOWN = make_town(load_offices(), WINDOW)
NIK_CODES = {province.nik_code for province in load_provinces().values()}
MONDAY = Slot(WINDOW.dates[0], Session.MORNING)
BOGOR = "kanim-bogor"


def crowd(requests: int = 3000, seed: int = 1, scenario: str = "friday") -> Crowd:
    return Crowd(load_scenario(scenario, requests=requests), TOWN, seed)


@pytest.fixture(scope="module")
def asks() -> list[PlannedRequest]:
    return list(crowd().requests())


# -- the plan


def test_a_seed_determines_the_crowd() -> None:
    assert list(crowd(200).requests()) == list(crowd(200).requests()) != list(crowd(200, seed=2).requests())


def test_the_shares_of_all_processes_add_up_to_the_crowd() -> None:
    shares = chain.from_iterable(crowd(300).requests(share, 3) for share in range(3))
    assert sorted(shares, key=lambda ask: ask.number) == list(crowd(300).requests())


def test_the_crowd_has_the_requested_number_of_requests_with_unique_ids(asks: list[PlannedRequest]) -> None:
    assert [ask.number for ask in asks] == list(range(3000))
    ids = Counter(ask.message.request_id for ask in asks if ask.wrong != "malformed request_id")
    assert max(ids.values()) == 1


def test_people_are_valid_and_repeat_only_by_their_habit(asks: list[PlannedRequest]) -> None:
    niks = defaultdict[str, list[PlannedRequest]](list)
    for ask in asks:
        for person in ask.message.applicants:
            check_full_name(person.full_name, "full_name")
            if ask.wrong != "bad NIK":
                check_nik(person.nik, "nik", NIK_CODES)
                niks[person.nik].append(ask)
    for twice in (asks for asks in niks.values() if len(asks) > 1):
        assert all(ask.bot for ask in twice) or len({ask.message.account for ask in twice}) == 1
        assert twice[0].bot or {ask.habit for ask in twice} & {"second phone", "neighbour", "wrong"}


def test_with_a_second_phone_either_request_may_be_refused(asks: list[PlannedRequest]) -> None:
    phones = [ask for ask in asks if ask.habit == "second phone"]
    assert phones
    for phone in phones:
        first = asks[phone.number - 1]
        assert first.message.applicants == phone.message.applicants
        assert first.rival
        assert phone.rival
        assert first.expected == {"ALREADY_BOOKED"}
        assert phone.at > first.at


def test_everyone_is_in_the_offices_province_unless_that_is_the_mistake(asks: list[PlannedRequest]) -> None:
    province_of = {office.office_id: office.province_code for office in load_offices()}
    borders = ProvinceMap()
    for ask in asks[:300]:
        where = ask.message.location
        if ask.wrong in {"", "another province"}:
            found = borders.whereabouts(where.latitude, where.longitude, where.accuracy_m, POLICY)
            assert (province_of[ask.message.office_id] in found) == (not ask.wrong)


def test_jakarta_bogor_bekasi_and_monday_mornings_are_most_popular(asks: list[PlannedRequest]) -> None:
    assert Counter(ask.slot for ask in asks).most_common(1)[0][0] == MONDAY
    cities = {office.office_id: office.city for office in load_offices()}
    wanted = Counter(cities.get(ask.message.office_id, "") for ask in asks)
    assert {"Bogor", "Bekasi", "Jakarta Selatan"} <= {city for city, _ in wanted.most_common(5)}
    assert len({ask.message.office_id for ask in asks}) > 120


def test_a_province_with_more_people_has_more_requests(asks: list[PlannedRequest]) -> None:
    province_of = {office.office_id: office.province_code for office in load_offices()}
    wanted = Counter(province_of.get(ask.message.office_id) for ask in asks)
    assert wanted["ID-JT"] > wanted["ID-RI"] > wanted["ID-KU"]


def test_arrivals_peak_at_the_opening_and_in_the_weekends_waves() -> None:
    friday = crowd(4_000)
    moments = [ask.at for ask in friday.requests() if not ask.bot]
    assert min(moments) >= -friday.scenario.arrivals.early_s
    assert max(moments) <= friday.scenario.span + 5
    per_second = Counter(math.floor(moment) for moment in moments)
    assert per_second[0] == max(per_second.values())
    for wave in friday.scenario.arrivals.waves[:4]:
        at = round(friday.scenario.second_of(wave.hour))
        calm = round(friday.scenario.second_of(wave.hour + 4 * wave.hours_wide))
        assert sum(per_second[at + n] for n in range(-2, 3)) > 2 * sum(per_second[calm + n] for n in range(-2, 3))


@pytest.mark.parametrize("second", [-3.0, 0.0, 2.0, 40.0, 150.0])
def test_converting_between_real_and_scenario_time_is_continuous_and_reversible(second: float) -> None:
    assert second_of(real_of(second, 15, 1500), 15, 1500) == pytest.approx(second)
    assert real_of(second + 0.01, 15, 1500) - real_of(second, 15, 1500) <= 0.01 * 1500 * 1.01


def test_brokers_make_72_000_of_100_000_requests_with_200_accounts_one_of_them_4_000() -> None:
    brokers = Crowd(load_scenario("brokers"), TOWN, 1)
    accounts = Counter(brokers._accounts)
    assert (brokers.bots, len(accounts), accounts[0]) == (72_000, 200, 4_000)


def test_some_brokers_repeat_one_nik_and_some_use_many() -> None:
    niks = defaultdict[str, set[str]](set)
    for ask in crowd(4_000, scenario="brokers").requests():
        if ask.bot:
            niks[ask.message.account] |= {person.nik for person in ask.message.applicants}
            assert {"ALREADY_BOOKED", "ACCOUNT_LIMIT", "PEOPLE_LIMIT", "ACCOUNT_RATE_LIMITED"} <= ask.expected
    one = [account for account, of in niks.items() if len(of) == 1]
    assert 0 < len(one) < len(niks)
    assert max(len(of) for of in niks.values()) > 30


def test_invalid_requests_carry_the_expected_refusal_reason(asks: list[PlannedRequest]) -> None:
    wrong = [ask for ask in asks if ask.wrong]
    assert {len(ask.expected) for ask in wrong} == {1}
    assert len({ask.wrong for ask in wrong}) == 9


def test_an_early_submission_is_repeated_after_the_opening(asks: list[PlannedRequest]) -> None:
    early = [list(submissions(ask)) for ask in asks if ask.at < 0 and not ask.wrong]
    assert early
    assert all(moments[1] >= 0 for moments in early)


# -- scenarios


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_can_be_played(name: str) -> None:
    scenario = load_scenario(name, requests=50)
    assert scenario.name == name
    assert len(list(Crowd(scenario, TOWN, 1).requests())) == 50
    assert 20 < scenario.span < 600


def test_given_numbers_override_those_of_the_scenario_file() -> None:
    scenario = load_scenario("friday", requests=7, compression=9000)
    assert (scenario.requests, scenario.arrivals.compression) == (7, 9000)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("requests = 20_000", "requests = 0", "requests: Input should be greater than or equal to 1"),
        ("requests = 20_000", "", "requests: Field required"),
        ("early = 0.10", "early = 1.5", "arrivals.early"),
        ("early = 0.10", "eagerly = 0.10", "arrivals.eagerly: Extra inputs are not permitted"),
        ("waiting = 0.20", "waiting = 0.95", "add up to 1.24, more than 1"),
        ("days = [40, 22, 15, 11, 12]", "days = [0, 0]", "demand.days: one to five weights, not all 0"),
        ("[habits]", "[habits", "cannot be read"),
    ],
)
def test_an_invalid_scenario_is_refused_by_name(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = Path("clients/rush/plan/scenarios/friday.toml").read_text()
    assert text.count(old) == 1
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(ScenarioError, match=r"mine\.toml") as caught:
        load_scenario(str(file))
    assert says in str(caught.value)


def test_an_unknown_scenario_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match="brokers, friday, hand-overs, opening, stampede"):
        load_scenario("fridey")


def test_popularity_defaults_for_unlisted_cities() -> None:
    scenario = load_scenario("stampede")
    offices = {office.office_id: office for office in load_offices()}
    assert popularity(scenario, offices["kanim-jakarta-selatan"]) > popularity(scenario, offices[BOGOR]) > 0
    assert popularity(scenario, offices["kanim-ternate"]) == 0


# -- what the live view shows


def test_the_tally_sums_the_counts_of_all_processes() -> None:
    tally = Tally(get_context("spawn"), [BOGOR, "kanim-depok"], 2)
    before = tally.read()
    for process, seconds in ((0, 0.010), (0, 0.010), (1, 1.5)):
        tally.writer(process).accepted(BOGOR, 4, seconds)
    tally.writer(1).count("submitted")
    tally.writer(1).accepted("kanim-of-nowhere", 9, 0.001)
    now = tally.read()
    assert (now.counts["accepted"], now.counts["submitted"]) == (4, 1)
    assert now.waiting == {BOGOR: 5, "kanim-depok": 0}
    assert now.latency_since(now, 0.5) is None
    half, most = now.latency_since(before, 0.5), now.latency_since(before, 0.99)
    assert half == pytest.approx(10, rel=0.25)
    assert most == pytest.approx(1500, rel=0.25)


# -- the summary


def record(ticket: int, answered: float, state: str = "CONFIRMED", *, number: int = 1, **more: object) -> Record:
    name = f"b{ticket}"
    made = Record(ticket, BOGOR, MONDAY, f"a{ticket}", f"r{ticket}", (f"p{ticket}",), due=answered - 0.1)
    made.submissions, made.answered, made.seen, made.watched = [answered - 0.1], answered, answered + 1, True
    made.booking_id, made.ticket, made.state, made.ahead = name, ticket, state, ticket - 1
    made.reason = "SLOT_FULL" if state == "REJECTED" else "UNSPECIFIED"
    made.numbers = (number,) if state == "CONFIRMED" else ()
    made.accepted_at, made.decided_at = answered, answered + 0.5
    made.observations = [
        Observation("request", answered - 0.1, answered, Response(name, BOGOR, ticket, "PENDING", ())),
        Observation("read", answered + 0.9, answered + 1, Response(name, BOGOR, ticket, state, made.numbers)),
    ]
    for key, value in more.items():
        setattr(made, key, value)
    return made


QUOTAS: Quotas = {(BOGOR, MONDAY): (2, 0)}
FRESH: Quotas = {(BOGOR, MONDAY): (2, 2)}


def story() -> list[Record]:
    refused = Record(4, BOGOR, MONDAY, "a4", "r4", ("p4",), "wrong", due=0.2, answered=0.3, refusal="INVALID_FIELD")
    refused.submissions = [0.2]
    return [record(1, 0.1), record(2, 0.2, number=2), record(3, 1.4, "REJECTED"), refused]


def summary(records: list[Record], scenario: Scenario | None = None) -> RushResult:
    offices = [office for office in load_offices() if office.office_id == BOGOR]
    share = Share(records, [0.001, 0.002, 0.003], [(0.0, 0.01)], 1.0)
    readings = [
        (-10.0, {"server": 0.0}),
        (0.0, {"server": 1.0, "generator": 2.0}),
        (5.0, {"server": 6.0, "generator": 2.5}),
    ]
    scenario = scenario or load_scenario("friday")
    return summarise(Played(scenario, [share], offices, QUOTAS, 0.0, readings))


def test_every_request_is_counted_in_the_summary() -> None:
    result = summary(story())
    assert (result.requests, result.submissions, result.accepted, result.confirmed) == (4, 4, 3, 2)
    assert (result.rejected, result.refused) == ({"SLOT_FULL": 1}, {"INVALID_FIELD": 1})
    assert (result.unanswered, result.undecided, result.people_confirmed) == (0, 0, 2)
    assert [(slot.office_id, slot.seconds) for slot in result.sold_out] == [(BOGOR, 0.7)]


def test_ticks_have_rates_queue_lengths_and_latencies() -> None:
    ticks = {tick.second: tick for tick in summary(story()).ticks}
    assert (ticks[0].offered, ticks[0].accepted, ticks[0].refused, ticks[0].decided) == (3, 2, 1, 2)
    assert (ticks[1].offered, ticks[1].accepted, ticks[1].waiting) == (1, 1, 0 if ticks[1].decided else 1)
    assert ticks[0].accept_p50 == pytest.approx(100)


def test_cpu_seconds_are_counted_by_program_since_the_first_reading() -> None:
    assert summary(story()).cpu == {"server": 6.0, "generator": 2.5}


def test_queue_numbers_are_summarised_by_arrival() -> None:
    arrivals = summary(story()).arrivals
    assert arrivals
    assert (arrivals.office_id, arrivals.points) == (BOGOR, [(0.1, 1), (0.2, 2)])


def test_brokers_have_an_account_for_every_five_people_and_hand_over_some_of_their_bookings() -> None:
    planned = [ask for ask in crowd(2_000, scenario="hand-overs").requests() if ask.habit == "broker"]
    assert len({ask.message.account for ask in planned}) == len(planned) == 180
    assert len({person.nik for ask in planned for person in ask.message.applicants}) == 900
    assert len({ask.message.origin.device_key for ask in planned}) in {3, 4}
    assert all(ask.expected >= {"DEVICE_RATE_LIMITED", "ADDRESS_RATE_LIMITED"} for ask in planned)
    handed = [(ask, ask.buyer) for ask in planned if ask.buyer]
    assert 10 < len(handed) < 70
    for ask, buyer in handed:
        one, other = ask.message, buyer.message
        assert (one.office_id, one.service_date, one.session) == (other.office_id, other.service_date, other.session)
        assert {one.account, one.request_id, one.origin.device_key}.isdisjoint(
            {other.account, other.request_id, other.origin.device_key}
        )
        assert {p.nik for p in one.applicants}.isdisjoint(p.nik for p in other.applicants)
        assert ask.cancels is not None


def test_a_citizen_is_expected_to_meet_no_limit() -> None:
    citizens = [ask for ask in crowd(2_000, scenario="hand-overs").requests() if not ask.bot]
    assert not {reason for ask in citizens for reason in ask.expected if "RATE_LIMITED" in reason}
    assert max(Counter(ask.message.origin.device_key for ask in citizens).values()) <= 2
    networks = Counter(ask.message.origin.address.rpartition(".")[0] for ask in citizens)
    assert max(networks.values()) < POLICY.limits.address.burst


def test_the_share_of_brokers_is_that_of_the_places_at_their_offices() -> None:
    records = [
        record(1, 0.1, habit="broker", account="calo-1"),
        record(2, 0.2, "CANCELLED", number=2, habit="broker", account="calo-2"),
        record(3, 0.3, number=3, habit="buyer", account="pembeli-2"),
        record(4, 0.4, number=4, account="warga"),
    ]
    got = summary(records).brokers
    assert got
    assert (got.accounts, got.requests, got.places, got.of, got.hand_overs, got.reached) == (2, 2, 2, 3, 1, 1)
    assert summary([record(4, 0.4)]).brokers is None


def test_people_and_bots_are_counted_separately() -> None:
    bots = [record(1, 0.1, habit="bot", account="calo-1"), record(2, 0.2, number=2, habit="bot", account="calo-1")]
    result = summary([*bots, record(3, 0.4, "REJECTED")])
    people, brokers = result.groups
    assert (people.requests, people.places, brokers.requests, brokers.places) == (1, 0, 2, 2)
    assert [(account.name, account.requests, account.places) for account in result.bot_accounts] == [("calo-1", 2, 2)]


def test_a_rush_without_requests_has_a_summary() -> None:
    result = summary([])
    assert (result.requests, result.ticks, set(result.latencies)) == (0, [], {"look"})


def test_results_round_trip(tmp_path: Path) -> None:
    result = summary(story())
    write_result(result, tmp_path / "r.json")
    assert read_result(tmp_path / "r.json") == result
    (tmp_path / "r.json").write_text("{}[")
    with pytest.raises(ResultError, match=r"r\.json is not a result"):
        read_result(tmp_path / "r.json")


# -- promises, as far as clients can see them


def broken(records: list[Record], before: Quotas = FRESH) -> set[str]:
    found = check_from_outside(records, before, QUOTAS)
    return {check.promise for check in found.checks if check.violations}


def test_a_correct_history_breaks_no_promise() -> None:
    assert broken(story()) == set()


def test_overselling_by_one_place_is_detected() -> None:
    assert "P1" in broken([record(1, 0.1), record(2, 0.2, number=2), record(3, 0.3, number=3)])


def test_overtaking_is_detected() -> None:
    late = record(1, 5.0)
    assert "P3" in broken([record(2, 0.2, number=2), late])


def test_a_missing_outcome_is_undecided_and_no_violation() -> None:
    waiting = record(3, 0.3, "PENDING")
    waiting.observations.pop()
    assert broken([*story()[:2], waiting]) == set()
    assert summary([*story()[:2], waiting]).undecided == 1


def test_two_bookings_for_one_request_are_detected() -> None:
    twice = record(1, 0.1)
    twice.observations.append(Observation("request", 0.2, 0.3, Response("b9", BOGOR, 9, "PENDING", ())))
    assert "P5" in broken([twice, record(2, 0.2, number=2)])


def test_stores_with_earlier_bookings_limit_the_checks() -> None:
    later = [record(11, 0.1, number=7), record(12, 0.2, number=8)]
    assert broken(later, {(BOGOR, MONDAY): (10, 4)}) == set()
    assert "P6" in broken(later)


# -- the verdict


def judged(**facts: object) -> RushResult:
    result = summary(story())
    for name, value in facts.items():
        setattr(result, name, value)
    judge(result)
    return result


def test_a_rush_that_keeps_all_promises_passes() -> None:
    assert judged().verdict == "PASS"


@pytest.mark.parametrize("facts", [{"undecided": 1}, {"unanswered": 1}, {"surprises": 1}])
def test_an_unaccounted_request_fails_the_rush(facts: dict[str, int]) -> None:
    assert judged(**facts).verdict == "FAIL"


def test_a_broken_promise_fails_the_rush_and_is_named() -> None:
    result = judged(promises=[Check("P1", "places sold are within the quota", 10, 2)])
    assert (result.verdict, result.failures) == ("FAIL", ["P1: places sold are within the quota: 2 of 10"])


def test_a_load_generator_that_fell_behind_makes_the_rush_invalid() -> None:
    result = judged(generator=Generator(2, 1.0, LATE_MS + 1, 900))
    assert result.verdict == "INVALID"
    assert "fell behind" in result.doubts[0]


def test_a_broken_promise_fails_the_rush_even_if_the_load_generator_fell_behind() -> None:
    assert judged(generator=Generator(2, 1.0, LATE_MS + 1, 900), undecided=1).verdict == "FAIL"


def test_a_rush_without_accepted_requests_is_invalid() -> None:
    assert judged(accepted=0).verdict == "INVALID"


def test_unchecked_promises_make_the_rush_invalid_and_hide_no_violation() -> None:
    assert judged(unchecked=["the stores could not be checked"]).verdict == "INVALID"
    assert judged(stopped=True, undecided=1, unanswered=1).verdict == "INVALID"
    assert judged(stopped=True, undecided=1, promises=[Check("P1", "within the quota", 10, 2)]).verdict == "FAIL"
