"""Finishes days that are over: people who did not come are barred, once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from antrian.ledger import sql
from antrian.ledger.connection import LimitedConnection, Pool


@dataclass(frozen=True, slots=True)
class DayPerson:
    """A person of a finished day. ends_at, last_day: of the person's bar; None if the person came or the bar was lifted."""

    booking_id: bytes
    applicant_key: bytes
    ends_at: datetime | None
    last_day: date | None


class LedgerDays:
    """The statements with which workers finish days. All methods raise psycopg.Error."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def over(self, waiting: Collection[str] = ()) -> list[tuple[str, date, ZoneInfo]]:
        """Returns some of the days that are over at their office and not finished, in order. waiting: offices to skip."""
        rows = self._rows("days_over", waiting=list(waiting))
        return [(office_id, day, ZoneInfo(zone)) for office_id, day, zone in rows]

    def finish(
        self, office_id: str, day: date, last_day: date, ends_at: datetime, *, verified_only: bool = False
    ) -> None:
        """Finishes a day: CONFIRMED bookings become NO_SHOW, and absent people are barred until ends_at. Idempotent.

        verified_only: whether absent people who were not verified are not barred.
        """
        values: dict[str, object] = {"office": office_id, "service_date": day, "last_day": last_day, "ends_at": ends_at}
        values["verified_only"] = verified_only

        def end(connection: LimitedConnection) -> None:
            with connection.transaction():
                connection.execute(sql("lock_lane"), values)
                connection.execute(sql("finish_day"), values)

        self._pool.run(end)

    def unsynced(self) -> list[tuple[str, date, datetime]]:
        """Returns some of the finished days that are not synced to Redis, with the times at which they were finished."""
        return [(office_id, day, done_at) for office_id, day, done_at in self._rows("days_unsynced")]

    def people(self, office_id: str, day: date) -> list[DayPerson]:
        """Returns everybody who had a queue number on that day."""
        rows = self._rows("day_people", office=office_id, service_date=day)
        return [DayPerson(booking_id.bytes, key, ends_at, last_day) for booking_id, key, ends_at, last_day in rows]

    def last_synced(self, grace: timedelta) -> datetime | None:
        """Returns when the latest synced day was finished or the latest bar lifted, without lifts within `grace`."""
        moment: datetime | None = self._rows("last_synced", grace=grace)[0][0]
        return moment

    def mark_unsynced(self, since: date) -> None:
        """Marks the days since that date as not synced."""
        self._pool.run(lambda connection: connection.execute(sql("mark_days_unsynced"), {"since": since}))

    def mark_synced(self, office_id: str, day: date) -> None:
        """Marks a day as synced to Redis."""
        values = {"office": office_id, "service_date": day}
        self._pool.run(lambda connection: connection.execute(sql("mark_day_synced"), values))

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._pool.run(lambda connection: connection.execute(sql(statement), values).fetchall())
