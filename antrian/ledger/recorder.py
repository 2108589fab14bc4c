"""The workers' and operators' side of the ledger: records turns and commands, opens lanes, writes offices."""

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
from antrian.ledger.connection import CONNECT, POOL, WRITER_OPTIONS, LimitedConnection, Pool
from antrian.ledger.days import LedgerDays
from antrian.ledger.fence import LedgerBusyError, LedgerFencedError
from antrian.ledger.offices import office_of
from antrian.ledger.policies import UnservedDay, ledger_policy, unserved_days
from antrian.ledger.turns import Recorded, constraint, record_by_halves, record_turns

TURN_LIMIT = timedelta(seconds=1.4)
"""The timeout of a statement. Less than half of a lease, since a turn may have to wait for the turn before it."""

_LOCK_LIMIT = timedelta(seconds=0.5)
"""The timeout of a wait for a row lock. Short, so that the other lanes of the batch can be recorded in time."""

_TRANSACTION_LIMIT = timedelta(seconds=3)  # as long as a lease: later results would be fenced
_HAS_TRANSACTION_TIMEOUT = 170000  # the first version of Postgres that has it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane in the ledger: its newest token, the last recorded ticket and command, and its epoch."""

    token: int
    last_ticket: int
    epoch: int
    last_command: int


class OfficeInUseError(Exception):
    """An office with live bookings cannot change its province or time zone. The message says what to do instead."""


class LedgerRecorder:
    """Reads and writes the ledger. All methods raise psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        # The same few statements run repeatedly: each is prepared and planned once, on its first use.
        limit = TURN_LIMIT // timedelta(milliseconds=1)
        lock = _LOCK_LIMIT // timedelta(milliseconds=1)
        options = f"-c statement_timeout={limit} -c lock_timeout={lock} -c plan_cache_mode=force_generic_plan {WRITER_OPTIONS}"
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
        """The statements about days that are over."""

    def __enter__(self) -> "LedgerRecorder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def record(self, turns: Sequence[Turn], policy_version: int | None = None) -> list[Recorded]:
        """Records turns of different lanes in one commit. Returns the result of each turn, in order. Idempotent.

        A result has one letter per decision, KEPT, REJECTED or DUPLICATE, or is the error for which nothing of the turn was
        written. A decision that violates a constraint, or that Postgres cannot store, is recorded as rejected, without an
        effect on the others. policy_version: the policy by which the turns were decided, None if it is not in the ledger.
        """
        written = [turn for turn in turns if turn.decisions]
        record = partial(self._record, turns=written, policy_version=policy_version)
        results = iter(self._pool.run(record) if written else [])
        return [next(results) if turn.decisions else "" for turn in turns]

    @staticmethod
    def _record(connection: psycopg.Connection, turns: Sequence[Turn], policy_version: int | None) -> list[Recorded]:
        try:
            return record_turns(connection, turns, policy_version)
        except psycopg.errors.LockNotAvailable:  # one lane is locked: the others must not wait for it
            if len(turns) == 1:
                return [LedgerBusyError(turns[0].office_id)]
            return [result for turn in turns for result in LedgerRecorder._record(connection, [turn], policy_version)]
        except psycopg.OperationalError:  # caused by the store, not by a decision
            raise
        except psycopg.Error as error:
            _log.warning(
                "turns of %d lanes cannot be recorded (%s): recording them by halves", len(turns), constraint(error)
            )
        return [record_by_halves(connection, turn, policy_version) for turn in turns]

    def record_commands(self, office_id: str, token: int, batch: CommandBatch) -> CommandsRecord:
        """Records a batch of a lane's commands in one transaction. Returns the ledger's state after it. Idempotent.

        A command that violates a constraint is skipped, without an effect on the others. Raises LedgerFencedError,
        LedgerGapError or LedgerBusyError if nothing was written.
        """
        try:
            return self._pool.run(lambda connection: record_batch(connection, office_id, token, batch))
        except psycopg.errors.LockNotAvailable as problem:
            raise LedgerBusyError(office_id) from problem

    def any_ticket(self) -> bool:
        """Returns whether the ledger has a ticket of any lane."""
        row = self._pool.run(lambda connection: connection.execute(sql("any_ticket")).fetchone())
        return bool(row and row[0])

    def epoch(self, office_id: str) -> int:
        """Returns how often the lane was opened."""
        row = self._pool.run(lambda connection: connection.execute(sql("lane"), {"office": office_id}).fetchone())
        if row is None:
            raise LookupError(f"the ledger has no office {office_id}")
        return int(row[4])

    def last_token(self, office_id: str) -> int:
        """Returns the token under which the lane was last written to."""
        row = self._pool.run(lambda connection: connection.execute(sql("lane"), {"office": office_id}).fetchone())
        return int(row[0]) if row else 0

    def open_lane(self, office_id: str, epoch: int, skip: int = 0) -> LaneRow:
        """Begins a new epoch of the lane, whose tokens are higher than all earlier ones. Returns the lane.

        epoch: the lane's epoch when the caller began to open it. skip: the number of tickets to skip, which a lost Redis may
        have issued. Raises LedgerFencedError if the lane was opened by another consumer since, and LedgerBusyError.
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

    def tickets_since(self, office_id: str, first: int) -> dict[int, UUID]:
        """Returns the office's recorded tickets from that one on, with their booking ids. Duplicates have none."""
        values = {"office": office_id, "first": first}
        return dict(self._pool.run(lambda connection: connection.execute(sql("tickets_since"), values).fetchall()))

    def plan_slots(self, office_id: str, days: Sequence[date], places: dict[Session, int]) -> None:
        """Creates the slots that the office lacks on those days. Existing slots keep their quota."""
        morning, afternoon = places[Session.MORNING], places[Session.AFTERNOON]
        values = {"office": office_id, "days": list(days), "morning": morning, "afternoon": afternoon}
        self._pool.run(lambda connection: connection.execute(sql("plan_slots"), values))

    def slots(self, office_id: str, since: date) -> list[SlotRow]:
        """Returns the slots of the office since that day."""
        values = {"office": office_id, "since": since}
        rows = self._pool.run(lambda connection: connection.execute(sql("slots"), values).fetchall())
        return [SlotRow(Slot(day, Session(session)), *counts) for day, session, *counts in rows]

    def known_bookings(self, since: date) -> Iterator[tuple[Any, ...]]:
        """Yields the bookings that a rebuilt Redis must have: the rows of rebuild_bookings.sql."""
        # Not from the pool, whose statement timeout is too short for this.
        with (
            psycopg.connect(self._database_url, **CONNECT) as connection,
            connection.cursor("known_bookings") as cursor,
        ):
            cursor.itersize = 2000
            cursor.execute(sql("rebuild_bookings"), {"since": since})
            yield from cursor

    def bars(self) -> list[tuple[bytes, UUID, datetime, date]]:
        """Returns the bars in force: applicant key, missed booking, end and last day of each."""
        return self._pool.run(lambda connection: connection.execute(sql("rebuild_bars")).fetchall())

    def policy(self) -> Policy | None:
        """Returns the policy in force, None if the ledger has none yet. Raises PolicyError if it cannot be read."""
        return self._pool.run(ledger_policy)

    def unserved_days(self, policy: Policy) -> list[UnservedDay]:
        """Returns the days that have to be closed because the policy does not serve them, by day and office."""
        return self._pool.run(lambda connection: unserved_days(connection, policy))

    def offices(self) -> list[Office]:
        """Returns all offices, by id."""
        rows = self._pool.run(lambda connection: connection.execute(sql("offices")).fetchall())
        return [office_of(row) for row in rows]

    def count_offices(self) -> int:
        """Returns the number of offices."""
        return len(self.offices())

    def planned_until(self) -> dict[str, date]:
        """Returns the last day for which each office has slots. Later changes of its daily quota do not affect these slots."""
        return dict(self._pool.run(lambda connection: connection.execute(sql("planned_until")).fetchall()))

    def upsert_offices(
        self, offices: Collection[Office], provinces: Iterable[Province], *, dry_run: bool = False
    ) -> None:
        """Adds or changes offices and provinces, all or none. dry_run: checks everything and writes nothing.

        Raises OfficeInUseError if an office with live bookings would change its province or time zone.
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
        """Moves the service's clock forward, in embedded stores. Raises ValueError if it would go back."""
        with self._pool.connection() as connection:
            done = connection.execute(sql("set_clock"), {"ahead": ahead})
            if done.rowcount == 0:
                raise ValueError("the service's clock only moves forward; a fresh folder begins anew")

    def clock_ahead(self) -> timedelta:
        """Returns how far the service's clock is ahead of real time."""
        row = self._pool.run(lambda connection: connection.execute(sql("clock")).fetchone())
        return row[0] if row else timedelta(0)


def _is_elsewhere(before: Office, after: Office) -> bool:
    return (before.province_code, before.time_zone) != (after.province_code, after.time_zone)


def _check_free(connection: LimitedConnection, office: Office) -> None:
    values = {"office": office.office_id}
    connection.execute(sql("lock_lane"), values)  # no turn is recorded until this transaction ends
    row = connection.execute(sql("live_bookings"), values).fetchone()
    if row and row[0]:
        raise OfficeInUseError(
            f"{office.office_id} has bookings to serve ({row[0]}), so its province and time zone must stay: retire it, and move "
            "it once they are over, or import it as another office"
        )


def _configure(connection: LimitedConnection) -> None:
    arrays.register(connection.adapters)
    # A client that is cut off between two statements of a pipeline keeps the lane's row lock, but does not count as idle.
    if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
        connection.execute(f"set transaction_timeout = {_TRANSACTION_LIMIT // timedelta(milliseconds=1)}".encode())


def _named_zone(values: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    return values | {"time_zone": zone.key}
