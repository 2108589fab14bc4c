"""The staff's side of the ledger: rosters, check-ins, bars, and what became of commands."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from antrian import words
from antrian.booking import Session, StaffAction, State
from antrian.errors import AntrianError, Reason, Text, invalid
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, IDLE, POOL, AsyncPool, LimitedAsyncConnection


@dataclass(frozen=True, slots=True)
class RosterRow:
    """A person with a queue number; the personal data are encrypted."""

    session: Session
    number: int
    booking_id: UUID
    applicant_key: bytes
    encrypted: bytes
    state: State
    present_at: datetime | None


@dataclass(frozen=True, slots=True)
class BarRow:
    """A person's bar from a missed day; the personal data are encrypted. lifted_at is None while it holds."""

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
    """The booking that a code names.

    caller, account: whose it is. today: the office's day. given: the queue numbers that its party was given; numbers: those
    of who has not given up.
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
        """Whether it has a place that could be given back: that of the number, or, with None, any."""
        return self.state is State.CONFIRMED and (number is None or number in self.numbers)


@dataclass(frozen=True, slots=True)
class ActionRow:
    """What became of a staff's command; refused is the reason why nothing changed."""

    before: dict[str, Any]
    after: dict[str, Any]
    refused: Reason | None


class LedgerStaff:
    """What the server asks and writes for staff. Raises psycopg.Error when Postgres cannot be reached."""

    def __init__(self, database_url: str) -> None:
        self._pool = AsyncPool(
            database_url,
            min_size=0,
            max_size=4,
            open=False,
            connection_class=LimitedAsyncConnection,
            kwargs=CONNECT | {"options": f"-c statement_timeout=2500 {IDLE}"},
            **POOL,
        )

    async def start(self) -> None:
        """Readies the connections."""
        await self._pool.open()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.close()

    async def roster(
        self, office_id: str, day: date, session: Session | None, after: tuple[Session, int] | None, most: int
    ) -> list[RosterRow]:
        """At most so many people of the day, by session and number, those after a page's last one."""
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
        """Notes who of the party with that code has come (nobody named: all); answers the whole party.

        Raises CODE_NOT_FOUND, NOT_CONFIRMED, NOT_TODAY, INVALID_FIELD; nothing has changed then.
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
        """The office's booking with that code. Raises CODE_NOT_FOUND."""
        async with self._pool.connection() as connection:
            return await _find(connection, office_id, codes)

    async def party(self, booking_id: UUID) -> list[RosterRow]:
        """The people of a booking who have not given up, by number; nobody when it never had places."""
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
        """At most so many bars of days missed at the office since then, the newest day first, those after a page's last one.

        Of all people, or of one: by applicant key, or by booking and queue number.
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

    async def action(self, action_id: UUID) -> ActionRow | None:
        """What became of a command; None when it was not recorded."""
        rows = await self._pool.rows(sql("action"), action_id=action_id)
        return next((ActionRow(before, after, refused and Reason(refused)) for before, after, refused in rows), None)

    async def has_slots(self, office_id: str, day: date) -> bool:
        """Whether the office has slots on that day, and so may have bookings."""
        return bool(await self._pool.rows(sql("slots_of_day"), office=office_id, service_date=day))

    async def correct_name(
        self, booking_id: UUID, person: RosterRow, encrypted: bytes, by: StaffAction | None, before: str, after: str
    ) -> tuple[State, bool, bool, bool]:
        """Writes a person's data with another name, if they are still what was read and it may be corrected.

        before, after: JSON for the record of what staff do. Answers the booking's state; whether its day has begun (for staff:
        is over); whether its account has corrected this name before; and whether this was written.
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
        """Retires an office or reopens it, and notes who wanted it unless it is so already; answers its live bookings."""
        values = {"office": office_id, "retired": retired} | asdict(action)
        async with self._pool.connection() as connection:
            await connection.execute(sql("retire_office"), values)
            row = await (await connection.execute(sql("live_bookings"), values)).fetchone()
        return int(row[0]) if row else 0

    async def closed_bookings(self, office_id: str, day: date) -> int:
        """How many bookings of the day its closing cancelled."""
        [(count,)] = await self._pool.rows(sql("closed_bookings"), office=office_id, service_date=day)
        return int(count)

    async def _people(self, statement: str, values: dict[str, Any]) -> list[RosterRow]:
        rows = await self._pool.rows(sql(statement), **values)
        return [
            RosterRow(Session(session), number, booking_id, key, encrypted, State(state), present_at)
            for session, number, booking_id, key, encrypted, state, present_at in rows
        ]


def check_numbers(field: str, asked: Sequence[int], numbers: Sequence[int]) -> None:
    """Raises INVALID_FIELD for that field unless all that were asked for are among a party's numbers."""
    if not set(asked) <= set(numbers):
        listed = ", ".join(map(str, numbers)) or "-"
        raise invalid(field, f"rombongan ini memiliki nomor {listed}", f"this party's queue numbers are {listed}")


async def _find(connection: LimitedAsyncConnection, office_id: str, codes: tuple[UUID, UUID]) -> CodedBooking:
    values = {"office": office_id, "low": codes[0], "high": codes[1]}
    row = await (await connection.execute(sql("find_booking"), values)).fetchone()
    if row is None:
        raise AntrianError(Reason.CODE_NOT_FOUND, field="code")
    booking_id, caller, account, state, day, first, size, today = row
    # A statement of its own: who waited for the booking's lock sees what became of its people meanwhile.
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
