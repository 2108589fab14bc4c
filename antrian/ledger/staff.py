"""The servers' side of the ledger for staff: rosters, check-ins, bars, corrections, and the results of commands."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from antrian import words
from antrian.booking import Session, StaffAction, State
from antrian.errors import AntrianError, Reason, Text, invalid
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, POOL, WRITER_OPTIONS, AsyncPool, LimitedAsyncConnection


@dataclass(frozen=True, slots=True)
class RosterRow:
    """A person with a queue number.

    present_at: when the person was checked in, None if not yet. verified: the caller vouched that the person was identified.
    """

    session: Session
    number: int
    booking_id: UUID
    applicant_key: bytes
    encrypted: bytes
    state: State
    present_at: datetime | None
    verified: bool


@dataclass(frozen=True, slots=True)
class BarRow:
    """A person's bar after a missed day. lifted_at: when staff lifted it, None if it is in force."""

    service_date: date
    session: Session
    number: int
    booking_id: UUID
    applicant_key: bytes
    encrypted: bytes
    last_day: date
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True)
class CodedBooking:
    """A booking found by its code.

    caller, account: its owner. today: the current date at the office. given: all queue numbers of its party. numbers: those
    of people who have not cancelled.
    """

    booking_id: UUID
    caller: str
    account: str
    state: State
    service_date: date
    today: date
    given: Sequence[int]
    numbers: Sequence[int]

    def holds(self, number: int | None) -> bool:
        """Returns whether the booking holds the place of that queue number, or any place if None."""
        return self.state is State.CONFIRMED and (number is None or number in self.numbers)


@dataclass(frozen=True, slots=True)
class ActionRow:
    """The result of a command of staff. refused: why nothing changed, None if it was executed."""

    before: dict[str, Any]
    after: dict[str, Any]
    refused: Reason | None


class LedgerStaff:
    """Reads and writes the ledger for staff. All methods raise psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._pool = AsyncPool(
            database_url,
            min_size=0,
            max_size=4,
            open=False,
            connection_class=LimitedAsyncConnection,
            kwargs=CONNECT | {"options": f"-c statement_timeout=2500 {WRITER_OPTIONS}"},
            **POOL,
        )

    async def start(self) -> None:
        """Starts to open the connections, in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.close()

    async def roster(
        self, office_id: str, day: date, session: Session | None, after: tuple[Session, int] | None, most: int
    ) -> list[RosterRow]:
        """Returns a page of at most `most` people of the day, by session and queue number.

        session: None for both. after: the last person of the previous page.
        """
        values = {
            "office": office_id,
            "service_date": day,
            "session": session,
            "after_session": after and after[0],
            "after_number": after and after[1],
            "most": most,
        }
        return await self._people("roster", values)

    async def check_in(
        self, office_id: str, codes: tuple[UUID, UUID], present: Sequence[int], caller: str, staff: str
    ) -> list[RosterRow]:
        """Checks in people of the party with that code, and returns the whole party.

        present: their queue numbers, all of the party's if empty. Raises CODE_NOT_FOUND, NOT_CONFIRMED, NOT_TODAY or
        INVALID_FIELD, in which case nothing has changed.
        """
        async with self._pool.connection() as connection:
            found = await _find(connection, office_id, codes)
            if found.state not in {State.CONFIRMED, State.ATTENDED}:
                raise AntrianError(Reason.NOT_CONFIRMED, field="code", state=found.state)
            if found.service_date != found.today:
                raise AntrianError(
                    Reason.NOT_TODAY,
                    field="code",
                    problem=_over(found.service_date) if found.service_date < found.today else None,
                    service_date=found.service_date.isoformat(),
                )
            check_numbers("queue_numbers", present, found.numbers)
            await connection.execute(
                sql("check_in"),
                {
                    "office": office_id,
                    "booking_id": found.booking_id,
                    "numbers": list(present or found.numbers),
                    "action_id": uuid4(),
                    "caller": caller,
                    "staff": staff,
                },
            )
        return await self.party(found.booking_id)

    async def find(self, office_id: str, codes: tuple[UUID, UUID]) -> CodedBooking:
        """Returns the office's booking with that code. Raises CODE_NOT_FOUND."""
        async with self._pool.connection() as connection:
            return await _find(connection, office_id, codes)

    async def party(self, booking_id: UUID) -> list[RosterRow]:
        """Returns the people of a booking who have not cancelled, by queue number. A rejected booking has none."""
        return await self._people("party", {"booking_id": booking_id})

    async def bars(
        self,
        office_id: str,
        since: date,
        most: int,
        *,
        applicant_key: bytes | None = None,
        person: tuple[UUID, int] | None = None,
        after: tuple[date, Session, int] | None = None,
    ) -> list[BarRow]:
        """Returns a page of at most `most` bars from days missed at the office since that date, the newest day first.

        applicant_key, person (booking and queue number): only this person's. after: the last bar of the previous page.
        """
        values = {
            "office": office_id,
            "since": since,
            "applicant_key": applicant_key,
            "booking_id": person and person[0],
            "number": person and person[1],
            "after_day": after and after[0],
            "after_session": after and after[1],
            "after_number": after and after[2],
            "most": most,
        }
        rows = await self._pool.rows(sql("bars"), **values)
        return [BarRow(day, Session(session), *rest) for day, session, *rest in rows]

    async def note_read(
        self,
        kind: Literal["READ_ROSTER", "READ_BARS"],
        office_id: str,
        day: date,
        *,
        caller: str,
        staff: str,
        people: int,
        session: Session | None = None,
        by_nik: bool = False,
    ) -> None:
        """Records that staff read personal data of the office. people: how many were shown. by_nik: looked up by NIK."""
        values = {
            "action_id": uuid4(),
            "kind": kind,
            "office": office_id,
            "service_date": day,
            "session": session,
            "caller": caller,
            "staff": staff,
            "people": people,
            "by_nik": by_nik,
        }
        async with self._pool.connection() as connection:
            await connection.execute(sql("note_read"), values)

    async def action(self, action_id: UUID) -> ActionRow | None:
        """Returns the result of a command, None if it is not recorded."""
        rows = await self._pool.rows(sql("action"), action_id=action_id)
        return next((ActionRow(before, after, refused and Reason(refused)) for before, after, refused in rows), None)

    async def has_slots(self, office_id: str, day: date) -> bool:
        """Returns whether the office has slots on that day, and so may have bookings."""
        return bool(await self._pool.rows(sql("slots_of_day"), office=office_id, service_date=day))

    async def correct_name(
        self, booking_id: UUID, person: RosterRow, encrypted: bytes, by: StaffAction | None, before: str, after: str
    ) -> tuple[State, bool, bool, bool]:
        """Replaces a person's encrypted data if they are still what was read and the name may be corrected.

        by: the action of staff, None for the booking's account. before, after: JSON for the record of staff actions. Returns
        the booking's state, whether its day has begun (for staff: is over), whether the account has corrected this name
        before, and whether the data were written. Raises BOOKING_NOT_FOUND.
        """
        nobody = {"action_id": None, "caller": None, "staff": None, "why": None}
        values = {
            "booking_id": booking_id,
            "number": person.number,
            "encrypted_before": person.encrypted,
            "encrypted": encrypted,
            "before": before,
            "after": after,
        } | (asdict(by) if by else nobody)
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql("correct_name"), values)).fetchone()
        if row is None:
            raise AntrianError(Reason.BOOKING_NOT_FOUND, field="booking_id")
        return (State(row[0]), *row[1:])

    async def set_retired(self, office_id: str, action: StaffAction, *, retired: bool) -> int:
        """Retires or reopens an office, and records the action if that changes it. Returns the number of its live bookings."""
        values = {"office": office_id, "retired": retired} | asdict(action)
        async with self._pool.connection() as connection:
            await connection.execute(sql("retire_office"), values)
            row = await (await connection.execute(sql("live_bookings"), values)).fetchone()
        return int(row[0]) if row else 0

    async def closed_bookings(self, office_id: str, day: date) -> int:
        """Returns how many bookings were cancelled because the day was closed."""
        [(count,)] = await self._pool.rows(sql("closed_bookings"), office=office_id, service_date=day)
        return int(count)

    async def _people(self, statement: str, values: dict[str, Any]) -> list[RosterRow]:
        rows = await self._pool.rows(sql(statement), **values)
        return [
            RosterRow(Session(session), number, booking_id, key, encrypted, State(state), present_at, verified)
            for session, number, booking_id, key, encrypted, state, present_at, verified in rows
        ]


def check_numbers(field: str, requested: Sequence[int], numbers: Sequence[int]) -> None:
    """Raises INVALID_FIELD for that field unless all requested queue numbers are among the party's."""
    if not set(requested) <= set(numbers):
        listed = ", ".join(map(str, numbers)) or "-"
        raise invalid(field, f"rombongan ini memiliki nomor {listed}", f"this party's queue numbers are {listed}")


async def _find(connection: LimitedAsyncConnection, office_id: str, codes: tuple[UUID, UUID]) -> CodedBooking:
    values = {"office": office_id, "low": codes[0], "high": codes[1]}
    row = await (await connection.execute(sql("find_booking"), values)).fetchone()
    if row is None:
        raise AntrianError(Reason.CODE_NOT_FOUND, field="code")
    booking_id, caller, account, state, day, first, size, today = row
    # A separate statement, so that after a wait for the booking's lock it sees what changed meanwhile.
    people = await (await connection.execute(sql("party"), {"booking_id": booking_id})).fetchall()
    given = () if state == State.REJECTED else range(first, first + size)
    numbers = [number for _, number, *_ in people]
    return CodedBooking(booking_id, caller, account, State(state), day, today, given, numbers)


def _over(day: date) -> Text:
    on = words.day(day)
    return Text(
        f"Pendaftaran ini untuk {on.indonesian}, yang sudah lewat. Catat yang hadir sebagai kehadiran susulan.",
        f"This booking was for {on.english}, which is over. Note who came as a late attendance.",
    )
