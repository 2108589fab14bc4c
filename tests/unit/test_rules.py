"""The rules at their edges: windows, service days, quotas, bars, provinces, and what becomes of one ticket."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrian.audit.history.oracle import Outcome, decide
from antrian.booking import Policy, Session, Slot, State, StatusReason, Window
from antrian.errors import AntrianError, Reason
from antrian.policy import load_policy
from antrian.rules import (
    bar_ends,
    closed_days,
    day_begins,
    edits,
    inventory_until,
    is_service_day,
    judge_province,
    next_opening,
    next_window,
    open_moment,
    refuse_day,
    refuse_window,
    session_times,
    split_quota,
    windows_of,
)

WIB, WITA, WIT = ZoneInfo("Asia/Jakarta"), ZoneInfo("Asia/Makassar"), ZoneInfo("Asia/Jayapura")
POLICY = load_policy()
TWO_WEEKS = replace(POLICY, horizon_weeks=2)
OVER_SUNDAY = replace(POLICY, opens_weekday=6, closes_weekday=1)  # opens SUN 14:00, closes TUE 16:00

OPENS = datetime(2026, 11, 27, 14, tzinfo=WIB)
CLOSES = datetime(2026, 11, 29, 16, tzinfo=WIB)
MONDAY, FRIDAY = date(2026, 11, 30), date(2026, 12, 4)
INSTANT = timedelta(microseconds=1)

days = st.dates(date(2024, 1, 1), date(2035, 12, 31))
moments = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis puts the zone on
    datetime(2035, 11, 30),  # noqa: DTZ001
    timezones=st.sampled_from([WIB, WITA, WIT, ZoneInfo("UTC"), ZoneInfo("America/New_York")]),
)
policies = st.sampled_from([POLICY, TWO_WEEKS, replace(POLICY, horizon_weeks=8), OVER_SUNDAY])


def days_from(first: date, count: int) -> tuple[date, ...]:
    return tuple(first + timedelta(days=number) for number in range(count))


def refused(policy: Policy, day: date, moment: datetime) -> AntrianError:
    refusal = refuse_window(policy, day, moment, WIT)
    assert refusal is not None
    return refusal


# The window


def test_the_window_is_friday_14_to_sunday_16_for_the_working_days_of_the_next_week() -> None:
    assert next_window(POLICY, OPENS) == Window(OPENS, CLOSES, days_from(MONDAY, 5))


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        (OPENS - INSTANT, False),
        (OPENS, True),
        (OPENS + INSTANT, True),
        (CLOSES - INSTANT, True),
        (CLOSES, False),
        (CLOSES + INSTANT, False),
    ],
)
@pytest.mark.parametrize("zone", [WIB, WIT, UTC, ZoneInfo("America/New_York")])
def test_the_window_is_half_open_whatever_the_zone_of_the_clock(
    moment: datetime, zone: ZoneInfo, open_then: bool
) -> None:
    moment = moment.astimezone(zone)
    refusal = refuse_window(POLICY, MONDAY, moment, WIT)
    assert (refusal is None) is open_then
    assert next_window(POLICY, moment).contains(moment) is open_then
    if refusal:
        assert refusal.reason is Reason.WINDOW_CLOSED


def test_the_window_is_judged_by_the_clock_of_jakarta_not_by_wall_time_elsewhere() -> None:
    assert refused(POLICY, MONDAY, datetime(2026, 11, 27, 14, tzinfo=WIT)).reason is Reason.WINDOW_CLOSED
    assert refuse_window(POLICY, MONDAY, datetime(2026, 11, 27, 16, tzinfo=WIT), WIT) is None


def test_a_closed_window_reports_when_it_opens_and_the_time_until_then() -> None:
    refusal = refused(POLICY, MONDAY, datetime(2026, 11, 27, 6, 59, 30, tzinfo=UTC))
    assert refusal.reason is Reason.WINDOW_CLOSED
    opens_at, at_office = "2026-11-27T14:00:00+07:00", "2026-11-27T16:00:00+09:00"
    assert refusal.metadata == {"open_time": opens_at, "office_open_time": at_office}
    assert refusal.retry_after == timedelta(seconds=30)


def test_after_the_window_the_next_one_is_a_week_later() -> None:
    refusal = refused(POLICY, MONDAY, CLOSES)
    assert refusal.metadata["open_time"] == "2026-12-04T14:00:00+07:00"
    assert refusal.retry_after == timedelta(days=4, hours=22)


@pytest.mark.parametrize("day", [MONDAY - timedelta(days=3), FRIDAY + timedelta(days=3), date(9999, 12, 31), date.min])
def test_an_open_window_offers_only_its_own_dates(day: date) -> None:
    refusal = refused(POLICY, day, OPENS)
    assert refusal.reason is Reason.DATE_NOT_OFFERED
    assert refusal.field == "service_date"
    assert refusal.metadata == {"first_date": "2026-11-30", "last_date": "2026-12-04"}
    assert refusal.retry_after is None


def test_a_window_of_two_weeks_offers_each_day_twice() -> None:
    assert next_window(TWO_WEEKS, OPENS).dates == days_from(MONDAY, 5) + days_from(date(2026, 12, 7), 5)
    early, late = windows_of(TWO_WEEKS, date(2026, 12, 7))
    assert (early.opens_at, late.opens_at) == (OPENS, OPENS + timedelta(weeks=1))
    assert [refuse_window(TWO_WEEKS, date(2026, 12, 7), window.opens_at, WIB) for window in (early, late)] == [
        None,
        None,
    ]


def test_a_window_may_cross_the_end_of_its_week() -> None:
    window = next_window(OVER_SUNDAY, datetime(2026, 12, 1, 15, 59, tzinfo=WIB))
    assert window.opens_at == datetime(2026, 11, 29, 14, tzinfo=WIB)
    assert window.closes_at == datetime(2026, 12, 1, 16, tzinfo=WIB)
    assert window.dates == days_from(MONDAY, 5)


# Holidays and the ends of years


def test_the_window_of_christmas_2026_is_for_the_days_before_new_year() -> None:
    window = next_window(POLICY, datetime(2026, 12, 25, 14, tzinfo=WIB))
    assert window.opens_at == datetime(2026, 12, 25, 14, tzinfo=WIB)
    assert window.dates == days_from(date(2026, 12, 28), 4)
    assert closed_days(POLICY, window) == {date(2027, 1, 1): "Tahun Baru Masehi"}


def test_the_window_of_new_year_2027_is_for_a_week_with_a_holiday_inside() -> None:
    window = next_window(POLICY, datetime(2027, 1, 1, 14, tzinfo=WIB))
    assert [day.day for day in window.dates] == [4, 6, 7, 8]
    assert closed_days(POLICY, window) == {date(2027, 1, 5): "Isra Mikraj Nabi Muhammad"}


def test_lebaran_2026_closes_the_ends_of_two_weeks() -> None:
    before = next_window(POLICY, datetime(2026, 3, 13, 14, tzinfo=WIB))
    assert before.dates == days_from(date(2026, 3, 16), 2)
    assert [day.day for day in closed_days(POLICY, before)] == [18, 19, 20]
    during = next_window(POLICY, datetime(2026, 3, 20, 14, tzinfo=WIB))
    assert during.dates == days_from(date(2026, 3, 25), 3)
    assert list(closed_days(POLICY, during)) == [date(2026, 3, 23), date(2026, 3, 24)]


def test_a_window_for_a_week_of_holidays_does_not_open() -> None:
    friday = datetime(2025, 3, 28, 14, tzinfo=WIB)  # the week after, 31 March to 4 April, is Lebaran
    assert not any(is_service_day(POLICY, day) for day in days_from(date(2025, 3, 31), 7))
    refusal = refused(POLICY, date(2025, 4, 8), friday)
    assert refusal.reason is Reason.WINDOW_CLOSED
    assert refusal.metadata["open_time"] == "2025-04-04T14:00:00+07:00"


def test_closed_days_exclude_weekends() -> None:
    window = next_window(POLICY, datetime(2026, 3, 13, 14, tzinfo=WIB))
    assert date(2026, 3, 21) in POLICY.holidays
    assert all(day.weekday() < 5 for day in closed_days(POLICY, window))


def test_a_correction_closes_a_day_and_another_opens_one() -> None:
    election, leave = date(2026, 12, 2), date(2026, 12, 24)
    holidays = {day: name for day, name in POLICY.holidays.items() if day != leave} | {election: "Pemilihan Umum"}
    corrected = replace(POLICY, holidays=holidays)
    assert election not in next_window(corrected, OPENS).dates
    assert windows_of(corrected, election) == ()
    assert closed_days(corrected, next_window(corrected, OPENS)) == {election: "Pemilihan Umum"}
    assert leave in next_window(corrected, datetime(2026, 12, 18, 14, tzinfo=WIB)).dates
    assert leave not in next_window(POLICY, datetime(2026, 12, 18, 14, tzinfo=WIB)).dates


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2026, 12, 25), "Hari Raya Natal"),
        (date(2026, 12, 5), None),
        (date(2026, 12, 6), None),
        (date(2026, 3, 21), "Hari Raya Idul Fitri"),  # a Saturday too
    ],
)
def test_a_day_without_service_is_refused_with_its_name(day: date, name: str | None) -> None:
    refusal = refuse_day(POLICY, day)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.NOT_A_SERVICE_DAY, "service_date")
    assert refusal.metadata == {"service_date": str(day)} | ({"day": name} if name else {})
    assert windows_of(POLICY, day) == ()


def test_a_service_day_is_not_refused() -> None:
    assert refuse_day(POLICY, MONDAY) is None


def test_the_ends_of_the_calendar_have_no_windows_and_raise_nothing() -> None:
    assert is_service_day(POLICY, date.min)
    assert windows_of(POLICY, date.min) == ()
    assert windows_of(POLICY, date.max) == ()
    assert windows_of(replace(POLICY, horizon_weeks=8), date(1, 1, 29)) == ()


@given(policies, days)
def test_every_service_day_has_as_many_windows_as_the_horizon_has_weeks(policy: Policy, day: date) -> None:
    windows = windows_of(policy, day)
    assert len(windows) == (policy.horizon_weeks if is_service_day(policy, day) else 0)
    assert all(day in window.dates for window in windows)
    assert list(windows) == sorted(windows, key=lambda window: window.opens_at)
    assert all(window == next_window(policy, window.opens_at) for window in windows)
    assert all(window == next_window(policy, window.closes_at - INSTANT) for window in windows)


@given(policies, moments)
def test_every_moment_has_a_window_that_contains_it_or_opens_later(policy: Policy, moment: datetime) -> None:
    window = next_window(policy, moment)
    assert window.contains(moment) or window.opens_at > moment
    assert window.dates
    assert window.closes_at - window.opens_at < timedelta(weeks=1)


@given(policies, moments, st.integers(-3, 70))
def test_refuse_window_agrees_with_windows_of(policy: Policy, moment: datetime, ahead: int) -> None:
    day = moment.date() + timedelta(days=ahead)
    inside = any(window.contains(moment) for window in windows_of(policy, day))
    assert (refuse_window(policy, day, moment, WITA) is None) is inside


# What lanes must have counters for


def test_counters_cover_the_week_after_the_window() -> None:
    assert inventory_until(POLICY, OPENS) == date(2026, 12, 11)
    assert inventory_until(POLICY, CLOSES - INSTANT) == date(2026, 12, 11)
    assert inventory_until(POLICY, CLOSES) == date(2026, 12, 18)
    assert inventory_until(TWO_WEEKS, OPENS) == date(2026, 12, 18)


def test_counters_cover_the_week_after_a_week_of_holidays() -> None:
    assert inventory_until(POLICY, datetime(2025, 3, 21, 14, tzinfo=WIB)) == date(2025, 4, 11)


# Places, days and sessions


@pytest.mark.parametrize(
    ("daily", "percent", "morning"),
    [(1, 60, 1), (5, 60, 3), (50, 60, 30), (101, 60, 61), (0, 60, 0), (7, 0, 0), (7, 100, 7), (3, 1, 1)],
)
def test_the_morning_is_rounded_up_and_the_afternoon_gets_the_rest(daily: int, percent: int, morning: int) -> None:
    assert split_quota(daily, percent) == {Session.MORNING: morning, Session.AFTERNOON: daily - morning}


@given(st.integers(0, 100_000), st.integers(0, 100))
def test_the_split_neither_loses_nor_adds_places(daily: int, percent: int) -> None:
    split = split_quota(daily, percent)
    assert sum(split.values()) == daily
    assert min(split.values()) >= 0


@pytest.mark.parametrize(("zone", "hour"), [(WIB, 17), (WITA, 16), (WIT, 15)])
def test_a_day_begins_at_midnight_in_the_offices_zone(zone: ZoneInfo, hour: int) -> None:
    assert day_begins(zone, MONDAY) == datetime(2026, 11, 29, hour, tzinfo=UTC)


@pytest.mark.parametrize(("zone", "offset"), [(WIB, 7), (WITA, 8), (WIT, 9)])
def test_sessions_are_in_the_offices_zone(zone: ZoneInfo, offset: int) -> None:
    starts, ends = session_times(POLICY, zone, Slot(MONDAY, Session.MORNING))
    noon_utc = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert ends == noon_utc - timedelta(hours=offset)
    assert ends - starts == timedelta(hours=4)
    starts, ends = session_times(POLICY, zone, Slot(MONDAY, Session.AFTERNOON))
    assert (starts.time(), ends.time()) == (time(13), time(15))


# The bar


@pytest.mark.parametrize("zone", [WIB, WITA, WIT])
def test_the_bar_holds_through_the_30th_day_and_is_over_on_the_31st(zone: ZoneInfo) -> None:
    missed = date(2026, 11, 26)  # a Thursday
    last, over = bar_ends(POLICY, zone, missed)
    assert last == date(2026, 12, 26)
    assert over == datetime(2026, 12, 27, tzinfo=zone)
    assert (over - INSTANT).astimezone(zone).date() == missed + timedelta(days=30)
    # Both days are within the window that opens on Friday the 25th.
    assert next_window(POLICY, over).contains(over)
    assert next_window(POLICY, over).contains(over - INSTANT)


def test_a_bar_may_cross_the_end_of_a_year() -> None:
    assert bar_ends(POLICY, WIB, date(2026, 12, 10))[0] == date(2027, 1, 9)


# The province


@pytest.mark.parametrize("whereabouts", [["ID-JK"], ["ID-JB", "ID-JK"]])
def test_an_office_may_be_used_within_its_province_and_near_its_border(whereabouts: list[str]) -> None:
    assert judge_province(POLICY, "ID-JK", whereabouts) is None


def test_an_office_of_another_province_is_refused_naming_both_provinces() -> None:
    refusal = judge_province(POLICY, "ID-JB", {"ID-JK", "ID-BT"})
    assert refusal is not None
    assert refusal.reason is Reason.OFFICE_OUTSIDE_PROVINCE
    assert refusal.metadata == {"office_province": "ID-JB", "provinces": "ID-BT,ID-JK"}


def test_under_the_rule_any_every_office_may_be_used_from_everywhere() -> None:
    assert judge_province(replace(POLICY, device_location=False), "ID-JB", ["ID-PE"]) is None


# One ticket


def test_a_party_that_fits_gets_consecutive_numbers() -> None:
    assert decide(5, 1, 3, day_begun=False) == Outcome(State.CONFIRMED, None, 1, 2, 4)
    assert decide(2, 4, 2, day_begun=False) == Outcome(State.CONFIRMED, None, 4, 0, 6)


def test_a_smaller_party_may_take_the_places_that_a_larger_one_did_not_fit() -> None:
    outcome = decide(2, 4, 3, day_begun=False)
    assert outcome == Outcome(State.REJECTED, StatusReason.SLOT_FULL, None, 2, 4)
    assert decide(outcome.remaining, outcome.next_number, 1, day_begun=False).state is State.CONFIRMED


def test_a_ticket_is_too_late_once_its_day_has_begun_even_if_places_remain() -> None:
    assert decide(5, 1, 1, day_begun=True) == Outcome(State.REJECTED, StatusReason.TOO_LATE, None, 5, 1)
    assert decide(0, 1, 1, day_begun=True).reason is StatusReason.TOO_LATE


@given(st.integers(0, 60), st.lists(st.integers(1, 5), max_size=60))
def test_a_slot_is_never_oversold_and_its_numbers_have_no_gaps(quota: int, parties: list[int]) -> None:
    remaining, number, given_out = quota, 1, list[int]()
    for party in parties:
        outcome = decide(remaining, number, party, day_begun=False)
        if outcome.first_number is not None:
            given_out += range(outcome.first_number, outcome.first_number + party)
        remaining, number = outcome.remaining, outcome.next_number
    assert given_out == list(range(1, len(given_out) + 1))
    assert quota - remaining == len(given_out) <= quota


@pytest.mark.parametrize(
    ("now", "moment"),
    [
        (OPENS - timedelta(days=4, hours=5), OPENS),
        (OPENS - INSTANT, OPENS),
        (OPENS, OPENS),
        (OPENS + timedelta(hours=12), OPENS + timedelta(hours=12)),
        (CLOSES - timedelta(hours=1), OPENS + timedelta(weeks=1)),
        (CLOSES, OPENS + timedelta(weeks=1)),
        (datetime(2027, 3, 5, 14, 0, 1, tzinfo=WIB), datetime(2027, 3, 12, 14, tzinfo=WIB)),  # Lebaran
        (datetime(2027, 12, 31, 14, 0, 1, tzinfo=WIB), datetime(2027, 12, 31, 14, 0, 1, tzinfo=WIB)),
        (datetime(2028, 2, 29, 12, tzinfo=WIB), datetime(2028, 3, 3, 14, tzinfo=WIB)),
    ],
)
def test_a_demo_begins_while_booking_is_open_and_stays_so_for_an_hour(now: datetime, moment: datetime) -> None:
    assert open_moment(POLICY, now) == moment


@given(moments)
def test_the_next_opening_is_the_first_that_is_not_over(moment: datetime) -> None:
    opening = next_opening(POLICY, moment)
    assert opening.opens_at >= moment
    assert next_opening(POLICY, opening.opens_at) == opening


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("Rina Lestri", "Rina Lestari", 1),
        ("RINA", "rina", 0),
        ("", "Ani", 3),
        ("Ani", "", 3),
        ("Dewi", "Deiw", 2),
        ("kitten", "sitting", 3),
        ("Budi Santoso", "Santoso Budi", 10),
    ],
)
def test_edits_count_the_letters_that_differ(one: str, other: str, count: int) -> None:
    assert edits(one, other) == count
