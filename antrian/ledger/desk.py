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
    lane = {"office": office_id, "token": token, "first": batch.first, "last": batch.last}
    touched = {
        "office": office_id,
        "booking_ids": [entry.booking_id for entry in batch.entries if isinstance(entry, Cancel)],
        "days": [day for entry in batch.entries for day in days_of([entry])],
    }
    with connection.transaction():
        if connection.execute(sql("fence_desk"), lane).rowcount == 0:
            row = connection.execute(sql("lane"), lane).fetchone()
            if row is None or row[0] > token:
                raise LedgerFenced(office_id)
            raise LedgerGap(f"{office_id}: desk entries {batch.first} to {batch.last} after {row[2]}")
        for entry in batch.entries:
            try:
                with connection.transaction():
                    connection.execute(*_statement(office_id, entry))
            except (psycopg.IntegrityError, psycopg.DataError) as error:
                _log.error(
                    "%s: %s at the desk refused by %s", office_id, type(entry).__name__, error.diag.constraint_name
                )
        slots = connection.execute(sql("desk_slots"), touched).fetchall()
        freed = connection.execute(sql("desk_freed"), touched).fetchall()
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
            return sql("cancel"), values
        case SetQuota():
            day, session = entry.slot.service_date, entry.slot.session.value
            return sql("set_quota"), values | {"service_date": day, "session": session}
        case CloseDate():
            return sql("close_date"), values
