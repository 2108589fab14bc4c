"""The rules of booking as pure functions.

Days are dates at the office, windows are in the policy's time zone (WIB), and moments are aware datetimes in any zone.
"""

import zlib
from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from antrian.booking import Office, Policy, Session, Slot, Window
from antrian.errors import AntrianError, Reason

_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_HOUR = timedelta(hours=1)


class Choice(NamedTuple):
    """A slot of an office, with its remaining places."""

    office_id: str
    slot: Slot
    remaining: int


def is_service_day(policy: Policy, day: date) -> bool:
    """Returns whether offices serve people on that day: a service weekday that is no holiday."""
    return day.weekday() in policy.service_weekdays and day not in policy.holidays


def next_window(policy: Policy, moment: datetime) -> Window:
    """Returns the window that contains the moment, else the next one to open.

    A window without any service day, because its weeks are all holidays (Lebaran 2025), does not open.
    """
    # Starts a week early, because a window may open late in one week and close early in the next.
    monday = _monday(moment.astimezone(policy.window_zone).date()) - _WEEK
    while True:
        window = _window(policy, monday)
        if window.dates and moment < window.closes_at:
            return window
        monday += _WEEK


def next_opening(policy: Policy, moment: datetime) -> Window:
    """Returns the first window that opens at the moment or later, so not one that is already open."""
    window = next_window(policy, moment)
    return window if window.opens_at >= moment else next_window(policy, window.closes_at)


def open_moment(policy: Policy, now: datetime) -> datetime:
    """Returns when a demo may begin: now if a window stays open for another hour, else the next opening."""
    window = next_window(policy, now)
    return now if window.contains(now) and window.contains(now + _HOUR) else next_opening(policy, now).opens_at


def windows_of(policy: Policy, day: date) -> tuple[Window, ...]:
    """Returns the windows in which that day can be booked, in order, one per week of the horizon; none unless a service day."""
    return windows_for(policy, day) if is_service_day(policy, day) else ()


def windows_for(policy: Policy, day: date) -> tuple[Window, ...]:
    """Returns the same for any day, for bookings made before it stopped being a service day."""
    try:
        return tuple(_window(policy, _monday(day) - weeks * _WEEK) for weeks in range(policy.horizon_weeks, 0, -1))
    except (OverflowError, ValueError):  # before the first or after the last week of the calendar
        return ()


def closed_days(policy: Policy, window: Window) -> dict[date, str]:
    """Returns the holidays, with their names, on service weekdays of the weeks that the window is for."""
    return {
        day: policy.holidays[day]
        for day in _span(policy, _monday(window.opens_at.date()))
        if day.weekday() in policy.service_weekdays and day in policy.holidays
    }


def refuse_office(office: Office) -> AntrianError | None:
    """Returns OFFICE_RETIRED if the office is retired."""
    return AntrianError(Reason.OFFICE_RETIRED, field="office_id") if office.retired else None


def refuse_day(policy: Policy, day: date) -> AntrianError | None:
    """Returns NOT_A_SERVICE_DAY, with the holiday's name if any, unless it is a service day. Does not depend on the time."""
    if is_service_day(policy, day):
        return None
    refusal = AntrianError(Reason.NOT_A_SERVICE_DAY, field="service_date", service_date=day.isoformat())
    if holiday := policy.holidays.get(day):
        refusal.metadata["day"] = holiday
    return refusal


def refuse_window(policy: Policy, day: date, moment: datetime, office_zone: ZoneInfo) -> AntrianError | None:
    """Returns None if the moment lies in a window of the day.

    Returns WINDOW_CLOSED if no window is open, with the next opening in open_time, office_open_time and retry_after, or
    DATE_NOT_OFFERED if a window is open for other days, with first_date and last_date.
    """
    window = next_window(policy, moment)
    if not window.contains(moment):
        return AntrianError(
            Reason.WINDOW_CLOSED,
            retry_after=window.opens_at - moment,
            open_time=window.opens_at.isoformat(),
            office_open_time=window.opens_at.astimezone(office_zone).isoformat(),
        )
    if day in window.dates:
        return None
    return AntrianError(
        Reason.DATE_NOT_OFFERED,
        field="service_date",
        first_date=window.dates[0].isoformat(),
        last_date=window.dates[-1].isoformat(),
    )


def inventory_until(policy: Policy, moment: datetime) -> date:
    """Returns the last service date for which lanes must have counters.

    This is the last date of the window after the current or next one, so that a new week is ready when a window closes.
    """
    return next_window(policy, next_window(policy, moment).closes_at).dates[-1]


def calendar_version(policy: Policy) -> str:
    """Returns eight hex digits that change with the policy's service days or sessions."""
    calendar = sorted(policy.service_weekdays), sorted(policy.holidays), sorted(policy.sessions)
    return f"{zlib.crc32(repr(calendar).encode()):08x}"


def split_quota(daily: int, morning_percent: int) -> dict[Session, int]:
    """Returns a day's places by session: the morning's percentage rounded up, the rest for the afternoon."""
    morning = -(-daily * morning_percent // 100)
    return {Session.MORNING: morning, Session.AFTERNOON: daily - morning}


def day_begins(office_zone: ZoneInfo, day: date) -> datetime:
    """Returns midnight at the office, when the day begins. From then on, tickets for the day are TOO_LATE."""
    return datetime.combine(day, time.min, office_zone)


def session_times(policy: Policy, office_zone: ZoneInfo, slot: Slot) -> tuple[datetime, datetime]:
    """Returns when the slot's session begins and ends, in the office's zone."""
    hours = policy.sessions[slot.session]
    return (
        datetime.combine(slot.service_date, hours.starts, office_zone),
        datetime.combine(slot.service_date, hours.ends, office_zone),
    )


def bar_ends(policy: Policy, office_zone: ZoneInfo, missed: date) -> tuple[date, datetime]:
    """Returns the last barred day after a no-show, and the end of the bar: the midnight after it at the office."""
    last = missed + policy.bar_days * _DAY
    return last, day_begins(office_zone, last + _DAY)


def attendance_ends(policy: Policy, office_zone: ZoneInfo, day: date) -> datetime:
    """Returns until when staff may record attendance of a past day: a time of the day after, at the office."""
    return datetime.combine(day + _DAY, policy.late_until, office_zone)


def judge_province(policy: Policy, office_province: str, whereabouts: Collection[str]) -> AntrianError | None:
    """Returns OFFICE_OUTSIDE_PROVINCE if the office's province is none of `whereabouts`, the provinces of the device.

    Provinces are ISO 3166-2 codes. Under the rule "any", every office may be used from everywhere.
    """
    if not policy.device_location or office_province in whereabouts:
        return None
    return AntrianError(
        Reason.OFFICE_OUTSIDE_PROVINCE,
        field="office_id",
        office_province=office_province,
        provinces=",".join(sorted(whereabouts)),
    )


def alternatives(office_id: str, slot: Slot, party_size: int, choices: Iterable[Choice], most: int = 5) -> list[Choice]:
    """Returns where a party whose slot is full still fits: the office's other slots first, then other offices'.

    The nearest day comes first, the same session before the other. Each other office appears once, in the order of
    `choices`.
    """

    def distance(choice: Choice) -> tuple[int, bool]:
        return abs((choice.slot.service_date - slot.service_date).days), choice.slot.session is not slot.session

    fitting: dict[str, list[Choice]] = {}
    for choice in choices:
        if choice.remaining >= party_size and (choice.office_id, choice.slot) != (office_id, slot):
            fitting.setdefault(choice.office_id, []).append(choice)
    own = sorted(fitting.pop(office_id, []), key=distance)
    return (own + [min(slots, key=distance) for slots in fitting.values()])[:most]


def _window(policy: Policy, monday: date) -> Window:
    """Returns the window that opens in the ISO week of that Monday."""
    opens = policy.opens_weekday, policy.opens_time
    closes = policy.closes_weekday, policy.closes_time
    closes_monday = monday if closes > opens else monday + _WEEK
    return Window(
        datetime.combine(monday + policy.opens_weekday * _DAY, policy.opens_time, policy.window_zone),
        datetime.combine(closes_monday + policy.closes_weekday * _DAY, policy.closes_time, policy.window_zone),
        tuple(day for day in _span(policy, monday) if is_service_day(policy, day)),
    )


def _span(policy: Policy, monday: date) -> list[date]:
    """Returns all days of the weeks that the window of that Monday's week is for, from the week after it."""
    first = monday.toordinal() + 7
    return [date.fromordinal(day) for day in range(first, first + 7 * policy.horizon_weeks)]


def _monday(day: date) -> date:
    return day - day.weekday() * _DAY


def edits(one: str, other: str) -> int:
    """Returns the Levenshtein distance of two texts, ignoring case."""
    one, other = one.casefold(), other.casefold()
    row = list(range(len(other) + 1))
    for n, letter in enumerate(one, 1):
        before, row = row, [n]
        for m, other_letter in enumerate(other, 1):
            row.append(min(row[-1] + 1, before[m] + 1, before[m - 1] + (letter != other_letter)))
    return row[-1]
