"""The policy file is read strictly, and what is wrong with it is said by key."""

from datetime import date, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from antrian.booking import Policy, RequestLimit, Session, SessionHours
from antrian.policy import SHIPPED, PolicyError, differences, load_policy, read_policy


def load_with(folder: Path, old: str, new: str) -> Policy:
    text = SHIPPED.read_text("utf-8")
    assert text.count(old) == 1, old
    file = folder / "policy.toml"
    file.write_text(text.replace(old, new), "utf-8")
    return load_policy(file)


def test_the_shipped_policy_matches_the_design() -> None:
    policy = load_policy()
    assert (policy.opens_weekday, policy.opens_time) == (4, time(14))
    assert (policy.closes_weekday, policy.closes_time) == (6, time(16))
    assert policy.window_zone == ZoneInfo("Asia/Jakarta")
    assert policy.service_weekdays == {0, 1, 2, 3, 4}
    assert policy.horizon_weeks == 1
    assert policy.sessions == {
        Session.MORNING: SessionHours(time(8), time(12)),
        Session.AFTERNOON: SessionHours(time(13), time(15)),
    }
    assert policy.morning_percent == 60
    assert policy.device_location
    assert (policy.border_tolerance_m, policy.coarsest_accuracy_m) == (300, 2000)
    assert (policy.bar_days, policy.party_people, policy.account_people) == (30, 5, 5)
    assert (policy.lane_bound, policy.remembered.days) == (20_000, 7)
    limits = policy.limits
    assert (limits.account, limits.device) == (RequestLimit(20, 20), RequestLimit(10, 10))
    assert limits.address == RequestLimit(500, 2000)


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2026, 12, 24), "Cuti Bersama Hari Raya Natal"),
        (date(2026, 12, 25), "Hari Raya Natal"),
        (date(2027, 1, 1), "Tahun Baru Masehi"),
        (date(2026, 3, 20), "Cuti Bersama Hari Raya Idul Fitri"),
        (date(2035, 12, 25), "Hari Raya Natal"),
        (date(2027, 3, 10), "Hari Raya Idul Fitri"),
        (date(2027, 5, 17), "Hari Raya Idul Adha"),
        (date(2028, 2, 27), "Hari Raya Idul Fitri (perkiraan)"),
    ],
)
def test_national_holidays_and_joint_leave_have_their_indonesian_names(day: date, name: str) -> None:
    assert load_policy().holidays[day] == name


def test_only_years_without_a_decree_are_marked_as_estimates(tmp_path: Path) -> None:
    shipped = load_policy().holidays
    assert {day.year > 2027 for day, name in shipped.items() if "perkiraan" in name} == {True}
    file = tmp_path / "policy.toml"
    text = SHIPPED.read_text().replace("decreed_through = 2027", "decreed_through = 2028")
    file.write_text(
        text.replace("[service.holidays_removed]", '2029-01-02 = "Cuti (perkiraan)"\n[service.holidays_removed]')
    )
    decreed = load_policy(file).holidays
    assert decreed[date(2028, 2, 27)] == "Hari Raya Idul Fitri"
    assert decreed[date(2029, 1, 2)] == "Cuti (perkiraan)"
    assert decreed.keys() == shipped.keys() | {date(2029, 1, 2)}


def test_holidays_are_a_plain_dict_that_lookups_do_not_extend() -> None:
    known = load_policy().holidays
    assert type(known) is dict
    assert date(1999, 12, 25) not in known  # the package's own mapping would now compute that year
    assert all(type(day) is date for day in known)


def test_corrections_add_and_remove_days(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    text = SHIPPED.read_text("utf-8")
    text = text.replace("[service.holidays_added]", '[service.holidays_added]\n2026-12-02 = "Pemilihan Umum"\n')
    text = text.replace("[service.holidays_removed]", '[service.holidays_removed]\n2026-12-24 = "dicabut"\n')
    file.write_text(text, "utf-8")
    corrected, shipped = load_policy(file).holidays, load_policy().holidays
    assert corrected[date(2026, 12, 2)] == "Pemilihan Umum"
    assert date(2026, 12, 24) not in corrected
    assert corrected.keys() ^ shipped.keys() == {date(2026, 12, 2), date(2026, 12, 24)}


def test_without_categories_only_the_corrections_are_holidays(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    text = SHIPPED.read_text("utf-8").replace('["public", "government"]', "[]")
    file.write_text(text.replace("[service.holidays_added]", '[service.holidays_added]\n2026-12-02 = "x"\n'), "utf-8")
    assert load_policy(file).holidays == {date(2026, 12, 2): "x"}


@pytest.mark.parametrize(
    ("old", "new", "key", "what"),
    [
        ("version = 1", "version = 2", "version:", "1"),
        ("version = 1", 'version = "1"', "version:", "1"),
        ("version = 1", "", "version:", "required"),
        ("version = 1", "version = 1\nspeed = 3", "speed:", "not permitted"),
        ('opens = "FRI 14:00"', 'opens = "FRI 14.00"', "window.opens:", "FRI 14:00"),
        ('opens = "FRI 14:00"', 'opens = "JUM 14:00"', "window.opens:", "FRI 14:00"),
        ('opens = "FRI 14:00"', 'opens = "FRI 24:00"', "window.opens:", "FRI 14:00"),
        ('opens = "FRI 14:00"', 'opens = "FRI  14:00"', "window.opens:", "FRI 14:00"),
        ('opens = "FRI 14:00"', 'opens = "FRI 14:00+07:00"', "window.opens:", "FRI 14:00"),
        ('opens = "FRI 14:00"', "opens = 14", "window.opens:", "FRI 14:00"),
        ('closes = "SUN 16:00"', 'closes = "FRI 14:00"', "window:", "must differ"),
        ('time_zone = "Asia/Jakarta"', 'time_zone = "Asia/Bogor"', "window.time_zone:", "IANA"),
        ('time_zone = "Asia/Jakarta"', 'time_zone = "Asia"', "window.time_zone:", "IANA"),
        ('time_zone = "Asia/Jakarta"', 'time_zone = "../etc/passwd"', "window.time_zone:", "IANA"),
        ('time_zone = "Asia/Jakarta"', "time_zone = 7", "window.time_zone:", "IANA"),
        ("horizon_weeks = 1", "horizon_weeks = 0", "window.horizon_weeks:", "greater than or equal to 1"),
        ("horizon_weeks = 1", "horizon_weeks = 9", "window.horizon_weeks:", "less than or equal to 8"),
        ("horizon_weeks = 1", "horizon_weeks = true", "window.horizon_weeks:", "integer"),
        ("horizon_weeks = 1", "horizon_weeks = 1.0", "window.horizon_weeks:", "integer"),
        ('"MON", "TUE", "WED", "THU", "FRI"', "", "service.weekdays:", "at least 1"),
        ('"THU", "FRI"]', '"KAMIS"]', "service.weekdays.3:", "MON TUE"),
        ('"government"]', '"school"]', "service.holiday_categories:", "unknown: school"),
        (
            "[service.holidays_added]",
            "[service.holidays_added]\n2026-02-30 = 'x'\n",
            "service.holidays_added.2026-02-30.[key]:",
            "a date",
        ),
        (
            "[service.holidays_added]",
            "[service.holidays_added]\n2026-02-20 = ''\n",
            "holidays_added.2026-02-20",
            "1 char",
        ),
        ("[service.holidays_added]", "[service.holidays_plus]", "service.holidays_plus:", "not permitted"),
        ("decreed_through = 2027", "decreed_through = 1999", "service.decreed_through:", "2024"),
        ('starts = "08:00"', 'starts = "8:00"', "sessions.MORNING.starts:", "14:00"),
        ('starts = "08:00"', 'starts = "12:00"', "sessions.MORNING:", "before"),
        ('starts = "13:00"', 'starts = "11:59"', "sessions:", "MORNING must end before AFTERNOON"),
        ("AFTERNOON = {", "EVENING = {", "sessions.AFTERNOON:", "required"),
        ('who = "all"', "", "bar.who:", "required"),
        ('who = "all"', 'who = "some"', "bar.who:", "'all' or 'verified'"),
        ("morning_percent = 60", "morning_percent = 101", "quota.morning_percent:", "100"),
        ("morning_percent = 60", "morning_percent = -1", "quota.morning_percent:", "0"),
        ('rule = "device_location"', 'rule = "home"', "province.rule:", "'any'"),
        ("border_tolerance_m = 300", "border_tolerance_m = 0", "province.border_tolerance_m:", "greater than 0"),
        ("border_tolerance_m = 300", "border_tolerance_m = 2001", "province:", "at least border_tolerance_m"),
        ("coarsest_accuracy_m = 2000", "coarsest_accuracy_m = nan", "province.coarsest_accuracy_m:", "finite"),
        ("coast_km = 5", "coast_km = -1", "province.coast_km:", "0"),
        ("days = 30 ", "days = -1 ", "bar.days:", "0"),
        ("\npeople = 5", "\npeople = 0", "party.people:", "1"),
        ("\npeople = 5", "\npeople = 21", "party.people:", "20"),
        ("account_people = 5", "account_people = 4", "party:", "at least people"),
        ("account = { burst = 20,", "account = { burst = 0,", "limits.account.burst:", "1"),
        ("device = { burst = 10, per_hour = 10 }", "device = { burst = 10 }", "limits.device.per_hour:", "required"),
        ("per_hour = 2000", "per_hour = 1000001", "limits.address.per_hour:", "1000000"),
        ("[limits]", "[limit]", "limits:", "required"),
        ("bound = 20000", "bound = 0", "lane.bound:", "1"),
        ("bound = 20000", "bound = 1000001", "lane.bound:", "1000000"),
        ("personal_data_days = 90", "personal_data_days = 36", "retention.personal_data_days must be at least 37", ""),
        ("remembered_days = 7", "remembered_days = 0", "requests.remembered_days:", "1"),
        ("[lane]", "[line]", "lane:", "required"),
        ("[lane]", "[lane", "cannot be read", "line"),
    ],
)
def test_an_invalid_file_is_refused_with_key_and_cause(tmp_path: Path, old: str, new: str, key: str, what: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        load_with(tmp_path, old, new)
    assert key in str(refusal.value)
    assert what in str(refusal.value)
    assert "policy.toml" in str(refusal.value)


def test_a_day_cannot_be_both_added_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    text = SHIPPED.read_text("utf-8")
    for table in ("[service.holidays_added]", "[service.holidays_removed]"):
        text = text.replace(table, f'{table}\n2026-12-02 = "x"\n')
    file.write_text(text, "utf-8")
    with pytest.raises(PolicyError, match=r"service: .*both have 2026-12-02"):
        load_policy(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.toml: cannot be read"):
        load_policy(tmp_path / "nowhere.toml")


def test_a_policys_content_is_an_equivalent_file() -> None:
    shipped = load_policy()
    read = read_policy(shipped.content, "content")
    assert read == shipped
    assert read.content == shipped.content


def test_the_content_does_not_depend_on_formatting(tmp_path: Path) -> None:
    ordered, other = SHIPPED.read_text("utf-8"), tmp_path / "policy.toml"
    tables = ordered.split("\n[")
    other.write_text("\n[".join([tables[0], *reversed(tables[1:])]).replace('"MON", "TUE"', '"TUE", "MON"'), "utf-8")
    assert load_policy(other).content == load_policy().content


@pytest.mark.parametrize(
    "name", ['"Cuti" bersama', "Idul Fitri\\t\\u007f 1447 H", "dua\\nbaris", "Hari Raya – “Natal” \\\\ 𝒩"]
)
def test_holidays_with_any_name_round_trip(tmp_path: Path, name: str) -> None:
    quoted = name.replace('"', '\\"')
    policy = load_with(tmp_path, "[service.holidays_added]", f'[service.holidays_added]\n2026-12-02 = "{quoted}"')
    assert read_policy(policy.content, "content") == policy


def test_differences_name_each_rule_as_the_file_has_it(tmp_path: Path) -> None:
    shipped = load_policy()
    changed = load_with(tmp_path, 'closes = "SUN 16:00"', 'closes = "MON 01:00"')
    removed = load_with(tmp_path, "[service.holidays_removed]", '[service.holidays_removed]\n2026-12-25 = "x"')
    assert differences(shipped.content, shipped.content) == []
    assert [str(one) for one in differences(shipped.content, changed.content)] == [
        'window.closes: "SUN 16:00", becomes "MON 01:00"'
    ]
    [gone], [new] = differences(shipped.content, removed.content), differences(removed.content, shipped.content)
    assert str(gone) == 'holiday 2026-12-25: "Hari Raya Natal", gone'
    assert str(new) == 'holiday 2026-12-25: new, "Hari Raya Natal"'
