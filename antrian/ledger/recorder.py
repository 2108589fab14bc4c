"""The workers' and operators' side of the ledger: record turns, open lanes, load offices."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg

from antrian.booking import CommandBatch, Office, Policy, Province, Session, Slot, Turn
from antrian.ledger import arrays, sql
from antrian.ledger.commands import CommandsRecord, SlotRow, record_batch
from antrian.ledger.connection import CONNECT, IDLE, POOL, LimitedConnection, Pool
from antrian.ledger.days import LedgerDays
from antrian.ledger.fence import LedgerBusyError, LedgerFencedError
from antrian.ledger.offices import office_of
from antrian.ledger.policies import UnservedDay, ledger_policy, unserved_days
from antrian.ledger.turns import Recorded, constraint, record_by_halves, record_turns

TURN_LIMIT = timedelta(seconds=1.4)
"""After this long Postgres gives up a statement. Less than half of the lane's lease: a turn may wait for the one before it."""

_LOCK_LIMIT = timedelta(seconds=0.5)
"""After this long it is given up to wait for who holds a row. So short that the other lanes of a go can be recorded after it."""

_TRANSACTION_LIMIT = timedelta(seconds=3)  # as long as a lease: what takes longer would not count
_HAS_TRANSACTION_TIMEOUT = 170000  # this version of Postgres

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane as the ledger has it."""

    token: int
    last_ticket: int
    epoch: int
    last_command: int


class OfficeInUseError(Exception):
    """An office cannot be another province's while it has bookings to serve; the message says which, and what to do."""


class LedgerRecorder:
    """The writing statements. Raises psycopg.Error when Postgres cannot be reached."""

    def __init__(self, database_url: str) -> None:
        # The same few statements again and again: planned once, from the first time on.
        limit = TURN_LIMIT // timedelta(milliseconds=1)
        lock = _LOCK_LIMIT // timedelta(milliseconds=1)
        options = f"-c statement_timeout={limit} -c lock_timeout={lock} -c plan_cache_mode=force_generic_plan {IDLE}"
        self._pool = Pool(
            database_url,
            min_size=1,
            max_size=2,
            connection_class=LimitedConnection,
            kwargs=CONNECT | {"options": options, "prepare_threshold": 0, "autocommit": True},
            configure=_configure,
            open=True,
            **POOL,
        )
        self._database_url = database_url
        self.days = LedgerDays(self._pool)
        """Days that are over, and their no-shows."""

    def __enter__(self) -> "LedgerRecorder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def record(self, turns: Sequence[Turn], policy_version: int | None = None) -> list[Recorded]:
        """Writes turns of different lanes and answers what the ledger now says of each, one letter a decision.

        K: its places are taken. R: it is rejected. D: the booking stands at another ticket. A decision that meets a
        constraint, or that Postgres cannot take, is recorded as rejected, alone, and the others go on. Safe to repeat.
        LedgerFencedError, LedgerGapError, LedgerBusyError: nothing of that turn was written. policy_version: the one by which they were
        decided.
        """
        written = [turn for turn in turns if turn.decisions]
        ask = partial(self._record, turns=written, policy_version=policy_version)
        said = iter(self._pool.ask(ask) if written else [])
        return [next(said) if turn.decisions else "" for turn in turns]

    @staticmethod
    def _record(connection: psycopg.Connection, turns: Sequence[Turn], policy_version: int | None) -> list[Recorded]:
        try:
            return record_turns(connection, turns, policy_version)
        except psycopg.errors.LockNotAvailable:  # of one lane: the others must not wait for it
            if len(turns) == 1:
                return [LedgerBusyError(turns[0].office_id)]
            return [said for turn in turns for said in LedgerRecorder._record(connection, [turn], policy_version)]
        except psycopg.OperationalError:  # of the store, not of what we write
            raise
        except psycopg.Error as error:
            _log.warning("turns of %d lanes met %s: halving them", len(turns), constraint(error))
        return [record_by_halves(connection, turn, policy_version) for turn in turns]

    def record_commands(self, office_id: str, token: int, batch: CommandBatch) -> CommandsRecord:
        """Writes a batch of a desk in one transaction and answers what the ledger now says. Safe to repeat.

        An entry that meets a constraint is left out, alone. Raises LedgerFencedError, LedgerGapError, LedgerBusyError.
        """
        try:
            return self._pool.ask(lambda connection: record_batch(connection, office_id, token, batch))
        except psycopg.errors.LockNotAvailable as problem:
            raise LedgerBusyError(office_id) from problem

    def any_ticket(self) -> bool:
        """Whether any lane ever recorded a ticket."""
        row = self._pool.ask(lambda connection: connection.execute(sql("any_ticket")).fetchone())
        return bool(row and row[0])

    def epoch(self, office_id: str) -> int:
        """How often the lane was opened."""
        row = self._pool.ask(lambda connection: connection.execute(sql("lane"), {"office": office_id}).fetchone())
        if row is None:
            raise LookupError(f"the ledger has no office {office_id}")
        return int(row[4])

    def open_lane(self, office_id: str, epoch: int, skip: int = 0) -> LaneRow:
        """Raises the lane's token above every one issued before, and commits it.

        epoch is what the lane's was when this opening began; raises LedgerFencedError when somebody else has opened it since.
        skip leaves out so many tickets: those that a lost Redis may have issued. Raises LedgerBusyError.
        """
        values = {"office": office_id, "epoch": epoch, "skip": skip}
        try:
            with self._pool.connection() as connection:
                row = connection.execute(sql("open_lane"), values).fetchone()
        except psycopg.errors.LockNotAvailable as problem:
            raise LedgerBusyError(office_id) from problem
        if row is None:
            raise LedgerFencedError(office_id)
        return LaneRow(*row)

    def plan_slots(self, office_id: str, days: Sequence[date], places: dict[Session, int]) -> None:
        """Creates the slots that the office lacks on those days; those that exist keep their quota."""
        morning, afternoon = places[Session.MORNING], places[Session.AFTERNOON]
        values = {"office": office_id, "days": list(days), "morning": morning, "afternoon": afternoon}
        self._pool.ask(lambda connection: connection.execute(sql("plan_slots"), values))

    def slots(self, office_id: str, since: date) -> list[SlotRow]:
        """The slots of the office from that day on."""
        values = {"office": office_id, "since": since}
        rows = self._pool.ask(lambda connection: connection.execute(sql("slots"), values).fetchall())
        return [SlotRow(Slot(day, Session(session)), *counts) for day, session, *counts in rows]

    def known_bookings(self, since: date) -> Iterator[tuple[Any, ...]]:
        """What a rebuilt Redis has to know of bookings, in pieces: the rows of rebuild_bookings.sql."""
        # Not of the pool: this may take Postgres a while.
        with (
            psycopg.connect(self._database_url, **CONNECT) as connection,
            connection.cursor("known_bookings") as cursor,
        ):
            cursor.itersize = 2000
            cursor.execute(sql("rebuild_bookings"), {"since": since})
            yield from cursor

    def bars(self) -> list[tuple[bytes, UUID, datetime, date]]:
        """Bars that have not ended and were not lifted: applicant key, missed booking, end, last day."""
        return self._pool.ask(lambda connection: connection.execute(sql("rebuild_bars")).fetchall())

    def policy(self) -> Policy | None:
        """The policy in force; None in a ledger that has none yet. Raises PolicyError when it cannot be read."""
        return self._pool.ask(ledger_policy)

    def unserved_days(self, policy: Policy) -> list[UnservedDay]:
        """The days that the policy's calendar still has to be carried to, by day and office."""
        return self._pool.ask(lambda connection: unserved_days(connection, policy))

    def offices(self) -> list[Office]:
        """All offices, by id."""
        rows = self._pool.ask(lambda connection: connection.execute(sql("offices")).fetchall())
        return [office_of(row) for row in rows]

    def count_offices(self) -> int:
        """How many offices there are."""
        return len(self.offices())

    def planned_until(self) -> dict[str, date]:
        """Until which day each office's slots are made: with the quota that it had then."""
        return dict(self._pool.ask(lambda connection: connection.execute(sql("planned_until")).fetchall()))

    def upsert_offices(
        self, offices: Collection[Office], provinces: Iterable[Province], *, dry_run: bool = False
    ) -> None:
        """Adds or changes offices and provinces, all of them or none; none in a dry run, which raises the same.

        Raises OfficeInUseError when one would change its province or time zone while it has bookings to serve.
        """
        with (
            self._pool.connection() as connection,
            connection.transaction(force_rollback=dry_run),
            connection.cursor() as cursor,
        ):
            before = {row[0]: office_of(row) for row in cursor.execute(sql("offices"))}
            for office in offices:
                if _is_elsewhere(before.get(office.office_id, office), office):
                    _check_free(connection, office)
            cursor.executemany(sql("upsert_province"), [_named_zone(asdict(p), p.time_zone) for p in provinces])
            cursor.executemany(sql("upsert_office"), [_named_zone(asdict(o), o.time_zone) for o in offices])

    def set_clock(self, ahead: timedelta) -> None:
        """Moves the service's time, forward only; for embedded stores. Raises ValueError when it would go back."""
        with self._pool.connection() as connection:
            done = connection.execute(sql("set_clock"), {"ahead": ahead})
            if done.rowcount == 0:
                raise ValueError("the service's clock only moves forward; a fresh folder begins anew")

    def clock_ahead(self) -> timedelta:
        """How far the service's time is ahead of real time."""
        row = self._pool.ask(lambda connection: connection.execute(sql("clock")).fetchone())
        return row[0] if row else timedelta(0)


def _is_elsewhere(before: Office, after: Office) -> bool:
    return (before.province_code, before.time_zone) != (after.province_code, after.time_zone)


def _check_free(connection: LimitedConnection, office: Office) -> None:
    values = {"office": office.office_id}
    connection.execute(sql("lock_lane"), values)  # no turn is recorded before this is over
    row = connection.execute(sql("live_bookings"), values).fetchone()
    if row and row[0]:
        raise OfficeInUseError(
            f"{office.office_id} has bookings to serve ({row[0]}), so its province and time zone must stay: retire it, and move "
            "it once they are over, or import it as another office"
        )


def _configure(connection: LimitedConnection) -> None:
    arrays.register(connection.adapters)
    # Who is cut off between two statements of a pipeline is not idle in a transaction, and holds the lane's row lock, too.
    if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
        connection.execute(f"set transaction_timeout = {_TRANSACTION_LIMIT // timedelta(milliseconds=1)}".encode())


def _named_zone(values: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    return values | {"time_zone": zone.key}
