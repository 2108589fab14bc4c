"""The server's side of the ledger: it reads."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from antrian.booking import Office, OutcomeReason, Session, Slot, State
from antrian.ledger import sql
from antrian.ledger.recorder import office_of


@dataclass(frozen=True, slots=True)
class RecordedBooking:
    """A booking as the ledger has it, and the moment for which that is so."""

    booking_id: UUID
    office_id: str
    ticket: int
    slot: Slot
    party_size: int
    state: State
    reason: OutcomeReason | None
    first_number: int | None
    caller: str
    account: str
    accepted_at: datetime
    decided_at: datetime
    as_of: datetime


class LedgerReader:
    """The reading statements. Raises psycopg.Error when Postgres cannot be reached."""

    def __init__(self, database_url: str) -> None:
        self._pool = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=8,
            timeout=5,
            open=False,
            kwargs={"options": "-c statement_timeout=5000 -c default_transaction_read_only=on", "autocommit": True},
        )
        self._booking_sql = sql("booking")

    async def start(self) -> None:
        """Opens the connections, in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.close()

    async def booking(self, booking_id: UUID) -> RecordedBooking | None:
        """The booking, if it was recorded."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(self._booking_sql, {"booking_id": booking_id}, binary=True)
            row = await cursor.fetchone()
        if row is None:
            return None
        office, ticket, day, session, size, state, reason, *rest = row
        return RecordedBooking(
            booking_id,
            office,
            ticket,
            Slot(day, Session(session)),
            size,
            State(state),
            OutcomeReason(reason) if reason else None,
            *rest,
        )

    async def offices(self) -> list[Office]:
        """All offices, by id."""
        async with self._pool.connection() as connection:
            return [office_of(row) for row in await (await connection.execute(sql("offices"))).fetchall()]
