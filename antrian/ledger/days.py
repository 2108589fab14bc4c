"""Days that are over: who did not come is barred, once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from antrian.ledger import sql
from antrian.ledger.connection import LimitedConnection, Pool


@dataclass(frozen=True, slots=True)
class DayPerson:
    """A person of a day that is done; ends_at and last_day are of the bar, None for who came or whose bar was lifted."""

    booking_id: bytes
    applicant_key: bytes
    ends_at: datetime | None
    last_day: date | None


class LedgerDays:
    """The statements of the nightly work. Raises psycopg.Error when Postgres cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def over(self, waiting: Collection[str] = ()) -> list[tuple[str, date, ZoneInfo]]:
        """Days that are over at their office and not done, some at a time, the earliest first; not of the waiting offices."""
        rows = self._rows("days_over", waiting=list(waiting))
        return [(office_id, day, ZoneInfo(zone)) for office_id, day, zone in rows]

    def finish(self, office_id: str, day: date, last_day: date, ends_at: datetime) -> None:
        """Ends a day: CONFIRMED becomes NO_SHOW, who did not come is barred until ends_at. Once; safe to repeat."""
        values = {"office": office_id, "service_date": day, "last_day": last_day, "ends_at": ends_at}

        def end(connection: LimitedConnection) -> None:
            with connection.transaction():
                connection.execute(sql("lock_lane"), values)
                connection.execute(sql("finish_day"), values)

        self._pool.ask(end)

    def unsynced(self) -> list[tuple[str, date, datetime]]:
        """Days that are done and whose people Redis has not been told of, some at a time, and when they were done."""
        return [(office_id, day, done_at) for office_id, day, done_at in self._rows("days_unsynced")]

    def people(self, office_id: str, day: date) -> list[DayPerson]:
        """Everybody who had a queue number on that day."""
        rows = self._rows("day_people", office=office_id, service_date=day)
        return [DayPerson(booking_id.bytes, key, ends_at, last_day) for booking_id, key, ends_at, last_day in rows]

    def last_synced(self, grace: timedelta) -> datetime | None:
        """The latest of what Redis has been told of: when a day was done, or a bar lifted longer ago than grace."""
        moment: datetime | None = self._rows("last_synced", grace=grace)[0][0]
        return moment

    def mark_unsynced(self, since: date) -> None:
        """Makes the days from that one on untold."""
        self._pool.ask(lambda connection: connection.execute(sql("mark_days_unsynced"), {"since": since}))

    def told(self, office_id: str, day: date) -> None:
        """Notes that Redis knows of the day's people."""
        values = {"office": office_id, "service_date": day}
        self._pool.ask(lambda connection: connection.execute(sql("mark_day_synced"), values))

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._pool.ask(lambda connection: connection.execute(sql(statement), values).fetchall())
