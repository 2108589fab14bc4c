"""The workers' and operators' side of the ledger: record turns, open lanes, load offices."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg_pool import ConnectionPool

from antrian.booking import Decision, Office, OutcomeReason, Province, Session, Slot, State
from antrian.lane.drainer import DeskBatch
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, IDLE, POOL, LimitedConnection
from antrian.ledger.days import LedgerDays
from antrian.ledger.desk import DeskRecord, SlotRow, record_batch
from antrian.ledger.fence import LedgerFenced, LedgerGap

TURN_LIMIT = timedelta(seconds=2)
"""After this long Postgres gives up a statement. Shorter than the lane's lease."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane as the ledger has it."""

    token: int
    last_ticket: int
    epoch: int
    last_desk: int


class LedgerRecorder:
    """The writing statements. Raises psycopg.Error when Postgres cannot be reached."""

    def __init__(self, database_url: str) -> None:
        # The same few statements again and again: planned once, from the first time on.
        limit = TURN_LIMIT // timedelta(milliseconds=1)
        options = f"-c statement_timeout={limit} -c plan_cache_mode=force_generic_plan {IDLE}"
        self._pool = ConnectionPool(
            database_url,
            min_size=1,
            max_size=2,
            connection_class=LimitedConnection,
            kwargs=CONNECT | {"options": options, "prepare_threshold": 0, "autocommit": True},
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

    def record(self, office_id: str, token: int, decisions: Sequence[Decision]) -> str:
        """Writes a turn in one transaction and answers what the ledger now says, one letter a decision.

        K: its places are taken. R: it is rejected. D: the booking stands at another ticket. A decision that meets a
        constraint, or that Postgres cannot take, is recorded as rejected, alone, and the others go on. Safe to repeat.
        Raises LedgerFenced, LedgerGap.
        """
        with self._pool.connection() as connection:
            try:
                return _record_turn(connection, office_id, token, decisions)
            except psycopg.OperationalError:  # of the store, not of what we write
                raise
            except psycopg.Error as error:
                _log.warning("turn of %s met %s: halving it", office_id, _constraint(error))
                connection.rollback()
            return _record_by_halves(connection, office_id, token, decisions)

    def record_desk(self, office_id: str, token: int, batch: DeskBatch) -> DeskRecord:
        """Writes a batch of a desk in one transaction and answers what the ledger now says. Safe to repeat.

        An entry that meets a constraint is left out, alone. Raises LedgerFenced, LedgerGap.
        """
        with self._pool.connection() as connection:
            return record_batch(connection, office_id, token, batch)

    def any_ticket(self) -> bool:
        """Whether any lane ever recorded a ticket."""
        with self._pool.connection() as connection:
            row = connection.execute(sql("any_ticket")).fetchone()
        return bool(row and row[0])

    def epoch(self, office_id: str) -> int:
        """How often the lane was opened."""
        with self._pool.connection() as connection:
            row = connection.execute(sql("lane"), {"office": office_id}).fetchone()
        if row is None:
            raise LookupError(f"the ledger has no office {office_id}")
        return int(row[4])

    def open_lane(self, office_id: str, epoch: int, skip: int = 0) -> LaneRow:
        """Raises the lane's token above every one issued before, and commits it.

        epoch is what the lane's was when this opening began; raises LedgerFenced when somebody else has opened it since.
        skip leaves out so many tickets: those that a lost Redis may have issued.
        """
        with self._pool.connection() as connection:
            values = {"office": office_id, "epoch": epoch, "skip": skip}
            row = connection.execute(sql("open_lane"), values).fetchone()
        if row is None:
            raise LedgerFenced(office_id)
        return LaneRow(*row)

    def plan_slots(self, office_id: str, days: Sequence[date], places: dict[Session, int]) -> None:
        """Creates the slots that the office lacks on those days; those that exist keep their quota."""
        morning, afternoon = places[Session.MORNING], places[Session.AFTERNOON]
        with self._pool.connection() as connection:
            connection.execute(
                sql("plan_slots"),
                {"office": office_id, "days": list(days), "morning": morning, "afternoon": afternoon},
            )

    def slots(self, office_id: str, since: date) -> list[SlotRow]:
        """The slots of the office from that day on."""
        with self._pool.connection() as connection:
            rows = connection.execute(sql("slots"), {"office": office_id, "since": since}).fetchall()
        return [SlotRow(Slot(day, Session(session)), *counts) for day, session, *counts in rows]

    def known_bookings(self, since: date) -> Iterator[tuple[Any, ...]]:
        """What a rebuilt Redis has to know of bookings, in pieces: the rows of rebuild_bookings.sql."""
        # Not of the pool: this may take Postgres a while.
        with psycopg.connect(self._database_url) as connection, connection.cursor("known_bookings") as cursor:
            cursor.itersize = 2000
            cursor.execute(sql("rebuild_bookings"), {"since": since})
            yield from cursor

    def bars(self) -> list[tuple[bytes, datetime, date]]:
        """Bars that have not ended: applicant key, end, last day."""
        with self._pool.connection() as connection:
            return connection.execute(sql("rebuild_bars")).fetchall()

    def offices(self) -> list[Office]:
        """All offices, by id."""
        with self._pool.connection() as connection:
            return [office_of(row) for row in connection.execute(sql("offices"))]

    def count_offices(self) -> int:
        """How many offices there are."""
        with self._pool.connection() as connection:
            return len(connection.execute(sql("offices")).fetchall())

    def upsert_offices(self, offices: Iterable[Office], provinces: Iterable[Province]) -> None:
        """Adds or changes offices and provinces, all of them or none."""
        with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
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
        with self._pool.connection() as connection:
            row = connection.execute(sql("clock")).fetchone()
        return row[0] if row else timedelta(0)


def office_of(row: Sequence[Any]) -> Office:
    """The office of a row of offices.sql."""
    values = list(row)
    values[5] = ZoneInfo(values[5])
    return Office(*values)


def _named_zone(values: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    return values | {"time_zone": zone.key}


def _record_turn(connection: psycopg.Connection, office_id: str, token: int, decisions: Sequence[Decision]) -> str:
    ids = [d.booking_id for d in decisions]
    lane = {"office": office_id, "token": token, "first": decisions[0].ticket, "last": decisions[-1].ticket}
    with connection.pipeline() as pipeline, connection.transaction():
        connection.execute(sql("fence"), lane)
        pipeline.sync()  # see IDLE: Postgres only ends who is idle, and in a pipeline nobody is before a sync
        connection.execute(sql("record"), lane | _columns(decisions))
        outcomes = connection.execute(sql("outcomes"), {"booking_ids": ids})
        state = connection.execute(sql("lane"), lane)
    _check_fence(office_id, lane, state.fetchone())
    return _verdicts(office_id, decisions, outcomes.fetchall())


def _record_by_halves(connection: psycopg.Connection, office_id: str, token: int, decisions: Sequence[Decision]) -> str:
    ids = [d.booking_id for d in decisions]
    lane = {"office": office_id, "token": token, "first": decisions[0].ticket, "last": decisions[-1].ticket}

    def write(piece: Sequence[Decision]) -> None:
        try:
            with connection.transaction():
                connection.execute(sql("record"), lane | _columns(piece))
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            if len(piece) == 1:
                _log.error("%s ticket %d refused by %s", office_id, piece[0].ticket, _constraint(error))
                refuse(piece[0], error)
            else:
                write(piece[: len(piece) // 2])
                write(piece[len(piece) // 2 :])

    def refuse(decision: Decision, why: psycopg.Error) -> None:
        try:
            with connection.transaction():
                connection.execute(sql("record"), lane | _columns([_refused(decision, why)]))
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise LedgerGap(
                f"{office_id}: ticket {decision.ticket} cannot be recorded: {_constraint(error)}"
            ) from error

    with connection.transaction():
        connection.execute(sql("fence"), lane)
        write(decisions)
        outcomes = connection.execute(sql("outcomes"), {"booking_ids": ids}).fetchall()
        state = connection.execute(sql("lane"), lane).fetchone()
    _check_fence(office_id, lane, state)
    return _verdicts(office_id, decisions, outcomes)


def _check_fence(office_id: str, lane: dict[str, Any], row: tuple[Any, ...] | None) -> None:
    if row is None or row[0] > lane["token"]:
        raise LedgerFenced(office_id)
    if row[:2] != (lane["token"], lane["last"]):
        raise LedgerGap(f"{office_id}: tickets {lane['first']} to {lane['last']} after {row[1]}")


def _verdicts(office_id: str, decisions: Sequence[Decision], outcomes: Sequence[tuple[Any, ...]]) -> str:
    said = {row[0]: row[1:] for row in outcomes}
    verdicts = ""
    for decision in decisions:
        if decision.booking_id not in said:
            raise LedgerGap(f"{office_id}: the ledger lacks ticket {decision.ticket} or its slot {decision.slot}")
        office, ticket, state = said[decision.booking_id][:3]
        if (office, ticket) != (office_id, decision.ticket):
            verdicts += "D"
        else:
            verdicts += "R" if state == State.REJECTED else "K"
    return verdicts


def _columns(decisions: Sequence[Decision]) -> dict[str, list[Any]]:
    """The arrays of record.sql."""
    people = [(d, n, p) for d in decisions if d.state is State.CONFIRMED for n, p in enumerate(d.applicants)]
    return {
        "booking_id": [d.booking_id for d in decisions],
        "ticket": [d.ticket for d in decisions],
        "service_date": [d.slot.service_date for d in decisions],
        "session": [d.slot.session.value for d in decisions],
        "party_size": [d.party_size for d in decisions],
        "state": [d.state.value for d in decisions],
        "reason": [d.reason.value if d.reason else None for d in decisions],
        "first_number": [d.first_number for d in decisions],
        "fingerprint": [d.fingerprint for d in decisions],
        "caller": [d.caller for d in decisions],
        "account": [d.account for d in decisions],
        "accepted_at": [d.accepted_at for d in decisions],
        "a_booking_id": [d.booking_id for d, _, _ in people],
        "a_number": [(d.first_number or 0) + n for d, n, _ in people],
        "a_key": [p.key for _, _, p in people],
        "a_sealed": [p.sealed for _, _, p in people],
    }


def _constraint(error: psycopg.Error) -> str:
    return error.diag.constraint_name or type(error).__name__


def _refused(decision: Decision, error: psycopg.Error) -> Decision:
    """The decision as it can be recorded: rejected, its numbers retired."""
    reason = decision.reason or {
        "slot_taken_within_quota": OutcomeReason.SLOT_FULL,
        "applicant_one_live_booking": OutcomeReason.ALREADY_BOOKED,
    }.get(_constraint(error), OutcomeReason.INTERNAL)
    caller, account = (text.replace("\0", "?") for text in (decision.caller, decision.account))
    return replace(decision, state=State.REJECTED, reason=reason, caller=caller, account=account)
