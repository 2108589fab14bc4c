"""The rules of booking as pure functions: what they need comes in, what they judge comes out.

Days are dates at the office, windows are in the policy's zone (WIB), and moments are aware datetimes of any zone.
"""

import zlib
from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from antrian.booking import Office, Policy, Session, Slot, State, StatusReason, Window
from antrian.errors import AntrianError, Reason

_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_HOUR = timedelta(hours=1)


class Verdict(NamedTuple):
    """What is decided for one ticket, and its slot's counters after it."""

    state: State
    reason: StatusReason | None
    first_number: int | None
    remaining: int
    next_number: int


class Choice(NamedTuple):
    """A slot of an office, with the places left in it."""

    office_id: str
    slot: Slot
    remaining: int


def is_service_day(policy: Policy, day: date) -> bool:
    """Whether offices take people on that day: a service weekday and no holiday."""
    return day.weekday() in policy.service_weekdays and day not in policy.holidays


def next_window(policy: Policy, moment: datetime) -> Window:
    """The window that contains the moment, else the next one to open.

    A window that would be for no day at all, its weeks being all holidays (Lebaran 2025), does not open.
    """
    # From the week before, for a window that opens late in a week and closes early in the next.
    monday = _monday(moment.astimezone(policy.window_zone).date()) - _WEEK
    while True:
        window = _window(policy, monday)
        if window.dates and moment < window.closes_at:
            return window
        monday += _WEEK


def next_opening(policy: Policy, moment: datetime) -> Window:
    """The first window that opens at the moment or later; one that is open then does not count."""
    window = next_window(policy, moment)
    return window if window.opens_at >= moment else next_window(policy, window.closes_at)


def open_moment(policy: Policy, now: datetime) -> datetime:
    """When a demo may begin: now, where a window is open and stays so for an hour, else the next opening."""
    window = next_window(policy, now)
    return now if window.contains(now) and window.contains(now + _HOUR) else next_opening(policy, now).opens_at


def windows_of(policy: Policy, day: date) -> tuple[Window, ...]:
    """All windows that are for that day, in order: as many as the horizon has weeks; none for a day without service."""
    return windows_for(policy, day) if is_service_day(policy, day) else ()


def windows_for(policy: Policy, day: date) -> tuple[Window, ...]:
    """The same, were it a service day: for what was booked before it became one without service."""
    try:
        return tuple(_window(policy, _monday(day) - weeks * _WEEK) for weeks in range(policy.horizon_weeks, 0, -1))
    except (OverflowError, ValueError):  # the first and the last weeks that a date can say
        return ()


def closed_days(policy: Policy, window: Window) -> dict[date, str]:
    """The holidays on service weekdays of the weeks that the window is for, with their names."""
    return {
        day: policy.holidays[day]
        for day in _span(policy, _monday(window.opens_at.date()))
        if day.weekday() in policy.service_weekdays and day in policy.holidays
    }


def refuse_office(office: Office) -> AntrianError | None:
    """OFFICE_RETIRED, where that is so."""
    return AntrianError(Reason.OFFICE_RETIRED, field="office_id") if office.retired else None


def refuse_day(policy: Policy, day: date) -> AntrianError | None:
    """NOT_A_SERVICE_DAY, with the holiday's name if it is one, where offices take nobody. Asks no clock."""
    if is_service_day(policy, day):
        return None
    refusal = AntrianError(Reason.NOT_A_SERVICE_DAY, field="service_date", service_date=day.isoformat())
    if holiday := policy.holidays.get(day):
        refusal.metadata["day"] = holiday
    return refusal


def refuse_window(policy: Policy, day: date, moment: datetime, office_zone: ZoneInfo) -> AntrianError | None:
    """None when the moment lies in a window of the day.

    Else WINDOW_CLOSED when no window is open (open_time, office_open_time and retry_after say until when), or
    DATE_NOT_OFFERED when one is open for other days (first_date to last_date).
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
    """The last service date for which lanes must have counters.

    It is the last one of the window after the current or next one, so that a new week is there when a window closes.
    """
    return next_window(policy, next_window(policy, moment).closes_at).dates[-1]


def calendar_version(policy: Policy) -> str:
    """Eight digits that change when the policy's service days or sessions do."""
    calendar = sorted(policy.service_weekdays), sorted(policy.holidays), sorted(policy.sessions)
    return f"{zlib.crc32(repr(calendar).encode()):08x}"


def split_quota(daily: int, morning_percent: int) -> dict[Session, int]:
    """A day's places by session: the morning's percentage rounded up, the rest the afternoon's."""
    morning = -(-daily * morning_percent // 100)
    return {Session.MORNING: morning, Session.AFTERNOON: daily - morning}


def day_begins(office_zone: ZoneInfo, day: date) -> datetime:
    """Midnight at the office, with which the day begins and from which on a ticket for it is TOO_LATE."""
    return datetime.combine(day, time.min, office_zone)


def session_times(policy: Policy, office_zone: ZoneInfo, slot: Slot) -> tuple[datetime, datetime]:
    """When the slot's session begins and ends at the office."""
    hours = policy.sessions[slot.session]
    return (
        datetime.combine(slot.service_date, hours.starts, office_zone),
        datetime.combine(slot.service_date, hours.ends, office_zone),
    )


def bar_ends(policy: Policy, office_zone: ZoneInfo, missed: date) -> tuple[date, datetime]:
    """The last barred day after a no-show, and the moment after it: midnight at the office."""
    last = missed + policy.bar_days * _DAY
    return last, day_begins(office_zone, last + _DAY)


def attendance_ends(policy: Policy, office_zone: ZoneInfo, day: date) -> datetime:
    """Until when staff may note that somebody came on a day that is over: a time of the day after, at the office."""
    return datetime.combine(day + _DAY, policy.late_until, office_zone)


def judge_province(policy: Policy, office_province: str, whereabouts: Collection[str]) -> AntrianError | None:
    """OFFICE_OUTSIDE_PROVINCE when the office is in none of the provinces where the person is.

    Provinces are ISO 3166-2 codes. Under the rule "any" every office may be used from everywhere.
    """
    if not policy.device_location or office_province in whereabouts:
        return None
    return AntrianError(
        Reason.OFFICE_OUTSIDE_PROVINCE,
        field="office_id",
        office_province=office_province,
        provinces=",".join(sorted(whereabouts)),
    )


def decide(remaining: int, next_number: int, party_size: int, *, day_begun: bool) -> Verdict:
    """What decide.lua does to one ticket of a slot with so many places left, as a pure function.

    day_begun says that the service day had begun at the office (moment >= day_begins). All of the party get consecutive
    queue numbers, or none does; a refusal leaves the counters as they were, so a smaller party behind may still fit.
    """
    if day_begun:
        return Verdict(State.REJECTED, StatusReason.TOO_LATE, None, remaining, next_number)
    if remaining < party_size:
        return Verdict(State.REJECTED, StatusReason.SLOT_FULL, None, remaining, next_number)
    return Verdict(State.CONFIRMED, None, next_number, remaining - party_size, next_number + party_size)


def alternatives(office_id: str, slot: Slot, party_size: int, choices: Iterable[Choice], most: int = 5) -> list[Choice]:
    """Where a party that found its slot full still fits: the office's other slots first, then other offices'.

    The nearest day comes first, the same session before the other. choices name other offices in the order in which
    they are to be offered; each of them is offered once.
    """

    def distance(choice: Choice) -> tuple[int, bool]:
        return abs((choice.slot.service_date - slot.service_date).days), choice.slot.session is not slot.session

    with_room: dict[str, list[Choice]] = {}
    for choice in choices:
        if choice.remaining >= party_size and (choice.office_id, choice.slot) != (office_id, slot):
            with_room.setdefault(choice.office_id, []).append(choice)
    own = sorted(with_room.pop(office_id, []), key=distance)
    return (own + [min(slots, key=distance) for slots in with_room.values()])[:most]


def _window(policy: Policy, monday: date) -> Window:
    """The window that opens in the ISO week of that Monday."""
    opens = policy.opens_weekday, policy.opens_time
    closes = policy.closes_weekday, policy.closes_time
    closes_monday = monday if closes > opens else monday + _WEEK
    return Window(
        datetime.combine(monday + policy.opens_weekday * _DAY, policy.opens_time, policy.window_zone),
        datetime.combine(closes_monday + policy.closes_weekday * _DAY, policy.closes_time, policy.window_zone),
        tuple(day for day in _span(policy, monday) if is_service_day(policy, day)),
    )


def _span(policy: Policy, monday: date) -> list[date]:
    """All days of the weeks that the window of that week is for, the first being the week after it."""
    first = monday.toordinal() + 7
    return [date.fromordinal(day) for day in range(first, first + 7 * policy.horizon_weeks)]


def _monday(day: date) -> date:
    return day - day.weekday() * _DAY


def edits(one: str, other: str) -> int:
    """How many letters to put in, take out or replace make one text of the other, whatever their case (Levenshtein 1965)."""
    one, other = one.casefold(), other.casefold()
    row = list(range(len(other) + 1))
    for n, letter in enumerate(one, 1):
        before, row = row, [n]
        for m, its in enumerate(other, 1):
            row.append(min(row[-1] + 1, before[m] + 1, before[m - 1] + (letter != its)))
    return row[-1]
