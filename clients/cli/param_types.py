"""The types of options and arguments: days, sessions, times, locations, applicants."""

from datetime import datetime
from typing import Any

import click

from antrian.local.stack import OPEN, Open, check_clock
from clients.sdk.booking_client import SESSION_AFTERNOON, SESSION_MORNING, Applicant

SESSIONS = {"morning": SESSION_MORNING, "afternoon": SESSION_AFTERNOON}
"""The sessions by their names on the command line."""
DAY = click.DateTime(["%Y-%m-%d"])
"""A service date; the value is a datetime."""


class Point(click.ParamType[tuple[float, float]]):
    """A location in degrees: "LAT,LON"."""

    name = "lat,lon"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Returns latitude and longitude. The service checks their range."""
        try:
            latitude, longitude = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f'{value!r} is not LAT,LON in degrees, like "-6.1862,106.8296"', param, ctx)
        return latitude, longitude


class Moment(click.ParamType[datetime | Open]):
    """A time to which the service's clock may be moved: ISO 8601 with an offset. With or_open also "open"."""

    def __init__(self, *, or_open: bool = False) -> None:
        self.name = "iso|open" if or_open else "iso"
        self._or_open = or_open

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | Open:
        """Returns a datetime with a time zone, or OPEN."""
        if self._or_open and value == OPEN:
            return OPEN
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f'{value!r} is not a time like "2026-11-27T13:59:50+07:00"', param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; for Jakarta time write {moment.isoformat()}+07:00", param, ctx)
        try:
            check_clock(moment)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return moment


class Person(click.ParamType[Applicant]):
    """An applicant: "NIK:Full Name"."""

    name = "nik:name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Applicant:
        """Returns the applicant. The service validates the NIK."""
        if isinstance(value, Applicant):
            return value
        nik, colon, name = str(value).partition(":")
        if not (nik.strip() and colon and name.strip()):
            # Without the value: it may contain a NIK, and errors end up in logs.
            self.fail('expected "NIK:Full Name", like "3173054107900001:Siti Aminah"', param, ctx)
        return Applicant(nik=nik.strip(), full_name=name.strip())
