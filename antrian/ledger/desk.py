"""Recording a batch of a desk: cancels, quotas and closures, judged by the ledger alone."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from antrian.booking import Cancel, CloseDate, DeskEntry, Session, SetQuota, Slot
from antrian.lane.drainer import DeskBatch
from antrian.ledger import sql
from antrian.ledger.fence import LedgerFenced, LedgerGap

_NOBODY = dict.fromkeys(("action_id", "caller", "staff", "why"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot as the ledger has it."""

    slot: Slot
    quota: int
    taken: int
    last_number: int
    closed: bool


@dataclass(frozen=True, slots=True)
class DeskRecord:
    """What the ledger says after a batch.

    slots: those that it may have changed. freed: booking id and applicant key of the people who hold their booking no
    more.
    """

    slots: list[SlotRow]
    freed: list[tuple[bytes, bytes]]


def record_batch(connection: psycopg.Connection, office_id: str, token: int, batch: DeskBatch) -> DeskRecord:
    """Writes a batch in one transaction; see LedgerRecorder.record_desk."""
    try:
        with connection.pipeline() as pipeline, connection.transaction():
            fence = connection.execute(sql("fence_desk"), _lane(office_id, token, batch))
            pipeline.sync()
            _check_fence(connection, fence.rowcount, office_id, token, batch)
            for entry in batch.entries:
                connection.execute(*_statement(office_id, entry))
            said = _look(connection, office_id, batch)
    except psycopg.OperationalError:  # of the store, not of what we write
        raise
    except psycopg.Error:
        return _record_one_by_one(connection, office_id, token, batch)
    return _record(*said)


def _record_one_by_one(connection: psycopg.Connection, office_id: str, token: int, batch: DeskBatch) -> DeskRecord:
    with connection.transaction():
        fence = connection.execute(sql("fence_desk"), _lane(office_id, token, batch))
        _check_fence(connection, fence.rowcount, office_id, token, batch)
        for entry in batch.entries:
            try:
                with connection.transaction():
                    connection.execute(*_statement(office_id, entry))
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                why = error.diag.constraint_name or type(error).__name__
                _log.error("%s: %s at the desk refused by %s", office_id, type(entry).__name__, why)
        said = _look(connection, office_id, batch)
    return _record(*said)


def _lane(office_id: str, token: int, batch: DeskBatch) -> dict[str, Any]:
    return {"office": office_id, "token": token, "first": batch.first, "last": batch.last}


def _check_fence(connection: psycopg.Connection, moved: int, office_id: str, token: int, batch: DeskBatch) -> None:
    if moved == 0:
        row = connection.execute(sql("lane"), {"office": office_id}).fetchone()
        if row is None or row[0] > token:
            raise LedgerFenced(office_id)
        raise LedgerGap(f"{office_id}: desk entries {batch.first} to {batch.last} after {row[2]}")


_Cursor = psycopg.Cursor[tuple[Any, ...]]


def _look(connection: psycopg.Connection, office_id: str, batch: DeskBatch) -> tuple[_Cursor, _Cursor]:
    """The slots that the batch may have changed, and the people who hold their booking no more."""
    touched = {
        "office": office_id,
        "booking_ids": [entry.booking_id for entry in batch.entries if isinstance(entry, Cancel)],
        "days": days_of(batch.entries),
    }
    return connection.execute(sql("desk_slots"), touched), connection.execute(sql("desk_freed"), touched)


def _record(slots: _Cursor, freed: _Cursor) -> DeskRecord:
    return DeskRecord(
        [SlotRow(Slot(day, Session(session)), *counts) for day, session, *counts in slots],
        [(booking_id.bytes, key) for booking_id, key in freed],
    )


def days_of(entries: Sequence[DeskEntry]) -> list[Any]:
    """The service dates whose slots the entries name."""
    return [
        entry.slot.service_date if isinstance(entry, SetQuota) else entry.service_date
        for entry in entries
        if isinstance(entry, SetQuota | CloseDate)
    ]


def _statement(office_id: str, entry: DeskEntry) -> tuple[str, dict[str, Any]]:
    values = {"office": office_id} | asdict(entry)
    match entry:
        case Cancel():
            return sql("cancel"), values | (values.pop("by") or _NOBODY)
        case SetQuota():
            day, session = entry.slot.service_date, entry.slot.session.value
            return sql("set_quota"), values | {"service_date": day, "session": session}
        case CloseDate():
            return sql("close_date"), values
