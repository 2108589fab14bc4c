"""Reads and validates policy files, converts them to booking.Policy, and writes them as the ledger stores them."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import holidays
from holidays.countries.indonesia import Indonesia
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from antrian.booking import Policy, RequestLimit, RequestLimits, Session, SessionHours

SHIPPED = Path(__file__).with_name("policy.toml")
HOLIDAY_YEARS = range(2024, 2036)
_ESTIMATE = " (perkiraan)"  # the package's mark of estimated dates, which stays after the decree
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class PolicyError(ValueError):
    """The policy file is invalid. The message names each key and what is wrong with it."""


def load_policy(path: Path | None = None) -> Policy:
    """Returns the policy of a file, by default of the shipped one.

    Holidays come from the installed `holidays` package for HOLIDAY_YEARS, with the file's corrections. The package lacks
    joint leave until the government has decreed it, and estimates lunar holidays of future years. So each autumn's decree
    (SKB 3 Menteri) needs a newer package or corrections, and its year in decreed_through. Names of estimated holidays end
    with "(perkiraan)", except in decreed years.

    Raises:
        PolicyError: the file cannot be read or is invalid.
    """
    path = path or SHIPPED
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    return read_policy(text, str(path))


def read_policy(text: str, source: str) -> Policy:
    """Returns the policy of a file's text. source: the file's name in errors. Raises PolicyError."""
    try:
        return _File.model_validate(tomllib.loads(text)).policy()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise PolicyError(f"{source}: {problems}") from None
    except ValueError as error:
        raise PolicyError(f"{source}: cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule that differs between two policies: its key in the file, and both values in the file's notation.

    A holiday's key is "holiday" and its date. A value is None if that policy lacks the rule.
    """

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.key}: new, {self.after}"
        return f"{self.key}: {self.before}, {'gone' if self.after is None else f'becomes {self.after}'}"


def differences(before: str, after: str) -> list[Difference]:
    """Returns the rules that differ between two Policy.content texts, by key."""
    old, new = rules_of(before), rules_of(after)
    return [
        Difference(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def rules_of(content: str) -> dict[str, str]:
    """Returns the rules of a Policy.content: values in the file's notation by the keys of Difference."""
    return dict(_rules(tomllib.loads(content)))


def _rules(table: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        path = f"{name}{key}"
        if isinstance(value, dict):
            yield from _rules(value, "holiday " if path == "service.holidays_added" else f"{path}.")
        else:
            yield path, _toml(value)


def _write(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """Yields the lines of a TOML table, nested tables included."""
    yield from [f"[{name}]"] * bool(name)
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{key} = {_toml(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ("", *_write(value, f"{name}.{key}" if name else key))


def _toml(value: object) -> str:
    # TOML and JSON write a policy's scalars and lists alike, except DEL, which JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _weekday(value: object) -> int:
    if value not in _WEEKDAYS:
        raise ValueError(f"must be one of {' '.join(_WEEKDAYS)}")
    return _WEEKDAYS.index(value)


def _clock(value: object) -> time:
    if not isinstance(value, str) or not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError('must be a time of day like "14:00"')
    return time.fromisoformat(value)


def _moment_of_week(value: object) -> tuple[int, time]:
    weekday, _, clock = value.partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        return _weekday(weekday), _clock(clock)
    except ValueError:
        raise ValueError('must be a weekday and a time like "FRI 14:00"') from None


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (KeyError, ValueError, OSError):  # unknown; not a name; the name of a region
        raise ValueError('must be an IANA time zone like "Asia/Jakarta"') from None


def _write_moment(moment: tuple[int, time]) -> str:
    return f"{_WEEKDAYS[moment[0]]} {moment[1]:%H:%M}"


def _day(value: object) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be a date like 2026-12-24") from None


def _known_categories(value: list[str]) -> list[str]:
    known = Indonesia.supported_categories
    if unknown := sorted(set(value) - set(known)):
        raise ValueError(f"unknown: {', '.join(unknown)}; must be of {', '.join(known)}")
    return value


_Weekday = Annotated[int, BeforeValidator(_weekday), PlainSerializer(_WEEKDAYS.__getitem__)]
_Clock = Annotated[time, BeforeValidator(_clock), PlainSerializer("{:%H:%M}".format)]
_MomentOfWeek = Annotated[tuple[int, time], BeforeValidator(_moment_of_week), PlainSerializer(_write_moment)]
_Dated = dict[Annotated[date, BeforeValidator(_day)], Annotated[str, Field(min_length=1)]]
_Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Radius = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Window(_Table):
    opens: _MomentOfWeek
    closes: _MomentOfWeek
    time_zone: Annotated[ZoneInfo, BeforeValidator(_zone), PlainSerializer(str)]
    horizon_weeks: int = Field(ge=1, le=8)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        # Different moments of a week are less than a week apart, so windows never overlap.
        if self.opens == self.closes:
            raise ValueError("opens and closes must differ")
        return self


class _Service(_Table):
    weekdays: list[_Weekday] = Field(min_length=1)
    holiday_categories: Annotated[list[str], AfterValidator(_known_categories)]
    decreed_through: int = Field(ge=HOLIDAY_YEARS.start, le=HOLIDAY_YEARS.stop - 1)
    holidays_added: _Dated
    holidays_removed: _Dated

    @model_validator(mode="after")
    def _one_correction_per_day(self) -> Self:
        if both := self.holidays_added.keys() & self.holidays_removed.keys():
            raise ValueError(f"holidays_added and holidays_removed both have {', '.join(map(str, sorted(both)))}")
        return self

    def holidays(self) -> Mapping[date, str]:
        # Given no categories, the package would use its default ones.
        known = (
            holidays.country_holidays("ID", categories=self.holiday_categories, language="id", years=HOLIDAY_YEARS)
            if self.holiday_categories
            else {}
        )
        corrected = {day: name for day, name in known.items() if day not in self.holidays_removed} | self.holidays_added
        return {
            day: name.replace(_ESTIMATE, "") if day.year <= self.decreed_through else name
            for day, name in corrected.items()
        }


class _Hours(_Table):
    starts: _Clock
    ends: _Clock

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.starts >= self.ends:
            raise ValueError("starts must be before ends")
        return self


class _Sessions(_Table):
    MORNING: _Hours
    AFTERNOON: _Hours

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.MORNING.ends > self.AFTERNOON.starts:
            raise ValueError("MORNING must end before AFTERNOON starts")
        return self


class _Quota(_Table):
    morning_percent: int = Field(ge=0, le=100)


class _Province(_Table):
    rule: Literal["device_location", "any"]
    border_tolerance_m: _Radius
    coarsest_accuracy_m: _Radius
    coast_km: _Distance
    nearby_km: _Distance

    @model_validator(mode="after")
    def _tolerance_is_accepted(self) -> Self:
        if self.coarsest_accuracy_m < self.border_tolerance_m:
            raise ValueError("coarsest_accuracy_m must be at least border_tolerance_m")
        return self


class _Bar(_Table):
    days: int = Field(ge=0, le=3660)
    who: Literal["all", "verified"]


class _Attendance(_Table):
    late_until: _Clock


class _Party(_Table):
    people: int = Field(ge=1, le=20)
    account_people: int
    tried_people: int = Field(le=1000)
    corrected_letters: int = Field(ge=0, le=100)
    cancelled_people: int = Field(ge=0, le=20)

    @model_validator(mode="after")
    def _an_account_can_book_a_party(self) -> Self:
        if self.account_people < self.people:
            raise ValueError("account_people must be at least people")
        if self.tried_people < self.account_people:
            raise ValueError("tried_people must be at least account_people")
        return self


class _Limit(_Table):
    burst: int = Field(ge=1, le=1_000_000)
    per_hour: int = Field(ge=0, le=1_000_000)


class _Limits(_Table):
    account: _Limit
    device: _Limit
    address: _Limit


class _Lane(_Table):
    bound: int = Field(ge=1, le=1_000_000)


class _Requests(_Table):
    remembered_days: int = Field(ge=1, le=366)


class _Retention(_Table):
    personal_data_days: int = Field(ge=1, le=3660)


class _File(_Table):
    version: Literal[1]
    window: _Window
    service: _Service
    sessions: _Sessions
    quota: _Quota
    province: _Province
    bar: _Bar
    attendance: _Attendance
    party: _Party
    limits: _Limits
    lane: _Lane
    requests: _Requests
    retention: _Retention

    @model_validator(mode="after")
    def _bars_and_retries_outlast_nobody(self) -> Self:
        needed = max(self.bar.days, self.requests.remembered_days + 7 * self.window.horizon_weeks) + 7
        if self.retention.personal_data_days < needed:
            raise ValueError(
                f"retention.personal_data_days must be at least {needed}, since bars (bar.days) and repeated requests "
                "(requests.remembered_days) need the data until then"
            )
        return self

    def content(self) -> str:
        """Returns an equivalent file that depends on no package: all holidays in one table, everything in a fixed order."""
        weekdays = sorted(set(self.service.weekdays))
        holidays = dict(sorted(self.service.holidays().items()))
        service = {"weekdays": weekdays, "holiday_categories": [], "holidays_added": holidays, "holidays_removed": {}}
        resolved = self.model_copy(update={"service": self.service.model_copy(update=service)})
        return "\n".join(_write(resolved.model_dump(mode="json"))) + "\n"

    def policy(self) -> Policy:
        return Policy(
            opens_weekday=self.window.opens[0],
            opens_time=self.window.opens[1],
            closes_weekday=self.window.closes[0],
            closes_time=self.window.closes[1],
            window_zone=self.window.time_zone,
            service_weekdays=frozenset(self.service.weekdays),
            horizon_weeks=self.window.horizon_weeks,
            holidays=self.service.holidays(),
            sessions={
                Session.MORNING: SessionHours(self.sessions.MORNING.starts, self.sessions.MORNING.ends),
                Session.AFTERNOON: SessionHours(self.sessions.AFTERNOON.starts, self.sessions.AFTERNOON.ends),
            },
            morning_percent=self.quota.morning_percent,
            device_location=self.province.rule == "device_location",
            border_tolerance_m=self.province.border_tolerance_m,
            coarsest_accuracy_m=self.province.coarsest_accuracy_m,
            coast_km=self.province.coast_km,
            nearby_km=self.province.nearby_km,
            bar_days=self.bar.days,
            bar_verified_only=self.bar.who == "verified",
            party_people=self.party.people,
            account_people=self.party.account_people,
            tried_people=self.party.tried_people,
            corrected_letters=self.party.corrected_letters,
            cancelled_people=self.party.cancelled_people,
            limits=RequestLimits(**{name: RequestLimit(**limit) for name, limit in self.limits.model_dump().items()}),
            lane_bound=self.lane.bound,
            remembered_days=self.requests.remembered_days,
            personal_data_days=self.retention.personal_data_days,
            late_until=self.attendance.late_until,
            content=self.content(),
        )
