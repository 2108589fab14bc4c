"""Records turns in one statement. If a constraint refuses that, records each lane by halves, down to the decision at fault."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg

from antrian.booking import DUPLICATE, KEPT, REJECTED, Decision, State, StatusReason, Turn
from antrian.ledger import sql
from antrian.ledger.arrays import bigints, blobs, bools, ints, texts, uuids
from antrian.ledger.fence import LedgerBusyError, LedgerFencedError, LedgerGapError

Recorded = str | LedgerFencedError | LedgerGapError | LedgerBusyError
"""The result of a turn: one letter per decision, or why nothing of it was written."""

_log = logging.getLogger(__name__)


def record_turns(connection: psycopg.Connection, turns: Sequence[Turn], policy_version: int | None) -> list[Recorded]:
    """Records turns of different lanes; see LedgerRecorder.record. Raises psycopg.Error, in which case nothing was written."""
    moved = {office: (fresh, late) for office, fresh, late in _execute(connection, turns, policy_version)}
    results: list[Recorded] = []
    for turn in turns:
        fresh, late = moved.get(turn.office_id, (None, None))
        if fresh is None:
            results.append(_refusal(connection, turn))
        elif fresh == len(turn.decisions):
            results.append("".join([_letter(decision, late) for decision in turn.decisions]))
        else:
            results.append(_read_results(connection, turn))
    return results


def record_by_halves(connection: psycopg.Connection, turn: Turn, policy_version: int | None) -> Recorded:
    """Records a turn with decisions that cannot be written, which are recorded as rejected."""

    def write(decisions: Sequence[Decision]) -> None:
        try:
            with connection.transaction():
                _write_piece(connection, turn, decisions, policy_version)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            if len(decisions) == 1:
                _log.error("%s ticket %d refused by %s", turn.office_id, decisions[0].ticket, constraint(error))
                refuse(decisions[0], error)
            else:
                write(decisions[: len(decisions) // 2])
                write(decisions[len(decisions) // 2 :])

    def refuse(decision: Decision, why: psycopg.Error) -> None:
        try:
            with connection.transaction():
                _write_piece(connection, turn, [_refused(decision, why)], policy_version)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise LedgerGapError(
                f"{turn.office_id}: ticket {decision.ticket} cannot be recorded: {constraint(error)}"
            ) from error

    try:
        with connection.transaction():
            _write_piece(connection, turn, [], policy_version)
            write(turn.decisions)
    except (LedgerFencedError, LedgerGapError) as refusal:
        return refusal
    return _read_results(connection, turn)


def constraint(error: psycopg.Error) -> str:
    """Returns the name of the violated constraint, else that of the error."""
    return error.diag.constraint_name or type(error).__name__


def _write_piece(
    connection: psycopg.Connection, turn: Turn, decisions: Sequence[Decision], policy_version: int | None
) -> None:
    if not _execute(connection, [replace(turn, decisions=decisions)], policy_version, turn.decisions):
        raise _refusal(connection, turn)


def _execute(
    connection: psycopg.Connection, turns: Sequence[Turn], policy_version: int | None, complete: Sequence[Decision] = ()
) -> list[tuple[Any, ...]]:
    """Runs record.sql. complete: all decisions of the turn, if `turns` is a piece of one."""
    values = _columns(turns, complete) | {"policy_version": policy_version}
    return connection.execute(sql("record"), values, binary=True).fetchall()


def _columns(turns: Sequence[Turn], complete: Sequence[Decision]) -> dict[str, Any]:
    """Returns the parameters of record.sql."""
    slots = {(n, d.entry.slot): None for n, turn in enumerate(turns, 1) for d in turn.decisions}
    numbers = {slot: number for number, slot in enumerate(slots, 1)}
    decisions = [d for turn in turns for d in turn.decisions]
    entries = [d.entry for d in decisions]
    people = [(d, n, p) for d in decisions if d.reason is None for n, p in enumerate(d.entry.applicants)]
    return {
        "office": texts([turn.office_id.encode() for turn in turns]),
        "token": bigints([turn.token for turn in turns]),
        "first": bigints([(complete or turn.decisions)[0].ticket for turn in turns]),
        "last": bigints([(complete or turn.decisions)[-1].ticket for turn in turns]),
        "s_turn": ints([turn for turn, _ in slots]),
        "s_date": [slot.service_date for _, slot in slots],
        "s_session": texts([slot.session.encode() for _, slot in slots]),
        "slot": ints([numbers[n, d.entry.slot] for n, turn in enumerate(turns, 1) for d in turn.decisions]),
        "booking_id": uuids([e.booking_id for e in entries]),
        "ticket": bigints([d.ticket for d in decisions]),
        "party_size": ints([len(e.applicants) for e in entries]),
        "reason": texts([d.reason.encode() if d.reason else None for d in decisions]),
        "first_number": ints([d.first_number for d in decisions]),
        "fingerprint": texts([e.fingerprint for e in entries]),
        "caller": texts([e.caller for e in entries]),
        "account": texts([e.account for e in entries]),
        "accepted": bigints([e.accepted_ms for e in entries]),
        "a_booking_id": uuids([d.entry.booking_id for d, _, _ in people]),
        "a_number": ints([(d.first_number or 0) + n for d, n, _ in people]),
        "a_key": blobs([p.key for _, _, p in people]),
        "a_encrypted": blobs([p.encrypted for _, _, p in people]),
        "a_verified": bools([p.verified for _, _, p in people]),
    }


def _letter(decision: Decision, late: Sequence[int] | None) -> str:
    return KEPT if decision.reason is None and not (late and decision.ticket in late) else REJECTED


def _refusal(connection: psycopg.Connection, turn: Turn) -> LedgerFencedError | LedgerGapError:
    row = connection.execute(sql("lane"), {"office": turn.office_id}).fetchone()
    if row is None or row[0] > turn.token:
        return LedgerFencedError(turn.office_id)
    first, last = turn.decisions[0].ticket, turn.decisions[-1].ticket
    return LedgerGapError(f"{turn.office_id}: tickets {first} to {last} after {row[1]}, or a missing slot")


def _read_results(connection: psycopg.Connection, turn: Turn) -> Recorded:
    """Reads the results of a turn that was recorded before, or by halves."""
    booking_ids = [UUID(bytes=d.entry.booking_id) for d in turn.decisions]
    rows = connection.execute(sql("outcomes"), {"booking_ids": booking_ids})
    recorded = {row[0]: row[1:] for row in rows}
    results = ""
    for booking_id, decision in zip(booking_ids, turn.decisions, strict=True):
        if booking_id not in recorded:
            return LedgerGapError(f"{turn.office_id}: the ledger lacks ticket {decision.ticket}")
        office, ticket, state = recorded[booking_id][:3]
        if (office, ticket) != (turn.office_id, decision.ticket):
            results += DUPLICATE
        else:
            results += REJECTED if state == State.REJECTED else KEPT
    return results


def _refused(decision: Decision, error: psycopg.Error) -> Decision:
    """Returns the decision as it can be recorded: rejected, its queue numbers retired."""
    reason = decision.reason or {
        "slot_taken_within_quota": StatusReason.SLOT_FULL,
        "applicant_one_live_booking": StatusReason.ALREADY_BOOKED,
    }.get(constraint(error), StatusReason.INTERNAL)
    entry = decision.entry
    entry = entry._replace(caller=entry.caller.replace(b"\0", b"?"), account=entry.account.replace(b"\0", b"?"))
    return replace(decision, entry=entry, reason=reason)
