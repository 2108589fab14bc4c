"""Records a lane's commands. The ledger alone decides on each of them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

from antrian.booking import (
    Cancel,
    CloseDate,
    Command,
    CommandBatch,
    ExcuseNoShow,
    Follow,
    LateAttendance,
    LiftBar,
    Session,
    SetQuota,
    Slot,
    UndoCheckIn,
)
from antrian.ledger import sql
from antrian.ledger.fence import LedgerFencedError, LedgerGapError

_NOBODY = dict.fromkeys(("action_id", "caller", "staff", "why"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot in the ledger. taken: places that are held. last_number: the highest queue number given, 0 if none."""

    slot: Slot
    quota: int
    taken: int
    last_number: int
    closed: bool


@dataclass(frozen=True, slots=True)
class CommandsRecord:
    """The ledger's state after a batch of commands.

    slots: those that the batch may have changed. freed: booking id and applicant key of the people who no longer hold their
    booking. lifted_at: when the latest bar of the batch's bookings was lifted, None if none was.
    """

    slots: list[SlotRow]
    freed: list[tuple[bytes, bytes]]
    lifted_at: datetime | None


def record_batch(connection: psycopg.Connection, office_id: str, token: int, batch: CommandBatch) -> CommandsRecord:
    """Writes a batch of commands in one transaction; see LedgerRecorder.record_commands."""
    try:
        with connection.pipeline() as pipeline, connection.transaction():
            fence = connection.execute(sql("fence_commands"), _lane(office_id, token, batch))
            pipeline.sync()
            _check_fence(connection, fence.rowcount, office_id, token, batch)
            for entry in batch.entries:
                for statement in _statements(office_id, entry):
                    connection.execute(*statement)
            state = _read_state(connection, office_id, batch)
    except psycopg.OperationalError:  # caused by the store, not by a command
        raise
    except psycopg.Error:
        return _record_one_by_one(connection, office_id, token, batch)
    return _record(*state)


def _record_one_by_one(
    connection: psycopg.Connection, office_id: str, token: int, batch: CommandBatch
) -> CommandsRecord:
    with connection.transaction():
        fence = connection.execute(sql("fence_commands"), _lane(office_id, token, batch))
        _check_fence(connection, fence.rowcount, office_id, token, batch)
        for entry in batch.entries:
            try:
                with connection.transaction():
                    for statement in _statements(office_id, entry):
                        connection.execute(*statement)
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                why = error.diag.constraint_name or type(error).__name__
                _log.error("%s: command %s refused by %s", office_id, type(entry).__name__, why)
        state = _read_state(connection, office_id, batch)
    return _record(*state)


def _lane(office_id: str, token: int, batch: CommandBatch) -> dict[str, Any]:
    return {"office": office_id, "token": token, "first": batch.first, "last": batch.last}


def _check_fence(connection: psycopg.Connection, moved: int, office_id: str, token: int, batch: CommandBatch) -> None:
    if moved == 0:
        row = connection.execute(sql("lane"), {"office": office_id}).fetchone()
        if row is None or row[0] > token:
            raise LedgerFencedError(office_id)
        raise LedgerGapError(f"{office_id}: commands {batch.first} to {batch.last} after {row[2]}")


_Cursor = psycopg.Cursor[tuple[Any, ...]]


def _read_state(connection: psycopg.Connection, office_id: str, batch: CommandBatch) -> tuple[_Cursor, ...]:
    """Reads what CommandsRecord contains."""
    touched = {
        "office": office_id,
        "booking_ids": [entry.booking_id for entry in batch.entries if not isinstance(entry, SetQuota | CloseDate)],
        "days": days_of(batch.entries),
    }
    return tuple(
        connection.execute(sql(name), touched) for name in ("command_slots", "command_freed", "command_lifted")
    )


def _record(slots: _Cursor, freed: _Cursor, lifted: _Cursor) -> CommandsRecord:
    return CommandsRecord(
        [SlotRow(Slot(day, Session(session)), *counts) for day, session, *counts in slots],
        [(booking_id.bytes, key) for booking_id, key in freed],
        lifted.fetchall()[0][0],
    )


def days_of(entries: Sequence[Command]) -> list[Any]:
    """Returns the service dates of the commands that change slots."""
    return [
        entry.slot.service_date if isinstance(entry, SetQuota) else entry.service_date
        for entry in entries
        if isinstance(entry, SetQuota | CloseDate)
    ]


def _statements(office_id: str, entry: Command) -> Iterator[tuple[str, dict[str, Any]]]:
    values = {"office": office_id} | asdict(entry)
    match entry:
        case Cancel():
            yield sql("cancel"), values | (values.pop("by") or _NOBODY)
        case SetQuota():
            day, session = entry.slot.service_date, entry.slot.session.value
            yield sql("set_quota"), values | {"service_date": day, "session": session}
        case CloseDate():
            yield sql("close_date"), values
        case Follow():
            pass  # reading the booking is enough
        case LiftBar():
            yield sql("lift_bar"), values
        case ExcuseNoShow():
            yield sql("excuse_no_show"), values
        case UndoCheckIn():
            yield sql("lock_booking"), values
            yield sql("undo_check_in"), values | {"numbers": list(entry.people)}
        case LateAttendance():
            yield sql("lock_booking"), values
            yield sql("late_attendance"), values | {"numbers": list(entry.numbers)}
