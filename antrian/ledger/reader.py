"""The servers' side of the ledger: reads bookings, offices and the policy, and checks keys and policy at the start."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.conninfo import make_conninfo

from antrian.batching import Batcher
from antrian.booking import EncryptedApplicant, Office, Policy, Session, Slot, State, StatusReason
from antrian.encryption import pair_id
from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, POOL, AsyncPool, LimitedAsyncConnection
from antrian.ledger.keys import WrongKeysError, claim_keys
from antrian.ledger.offices import office_of
from antrian.ledger.policies import claim_policy, read_version
from antrian.ledger.standby import warn_without_standby
from antrian.ledger.statement import Statement

_OPTIONS = "-c statement_timeout=2500 -c default_transaction_read_only=on"
_STATES = {state.value: state for state in State}
_REASONS: dict[str | None, StatusReason | None] = {reason.value: reason for reason in StatusReason} | {None: None}
_slot = lru_cache(maxsize=1024)(lambda day, session: Slot(day, Session(session)))


class RecordedBooking(NamedTuple):
    """A booking in the ledger at the moment `as_of`.

    cancelled: the queue numbers of people who cancelled. people: the others, by queue number.
    """

    booking_id: UUID
    office_id: str
    ticket: int
    slot: Slot
    party_size: int
    state: State
    reason: StatusReason | None
    first_number: int | None
    cancelled: Sequence[int]
    people: Sequence[EncryptedApplicant]
    caller: str
    account: str
    accepted_at: datetime
    decided_at: datetime
    ended_at: datetime | None
    as_of: datetime


class LedgerReader:
    """Reads the ledger. All methods raise psycopg.Error.

    Reads of bookings are batched: one statement reads all bookings requested within `batch_window`.
    """

    def __init__(self, database_url: str, *, batch_window: timedelta) -> None:
        self._database_url = database_url
        # Not read-write, which would refuse these sessions, because they are read-only by their own option.
        primary = make_conninfo(database_url, target_session_attrs="primary")
        self._pool = AsyncPool(
            primary,
            min_size=1,
            max_size=8,
            open=False,
            connection_class=LimitedAsyncConnection,
            kwargs=CONNECT | {"options": _OPTIONS, "autocommit": True},
            **POOL,
        )
        self._bookings = Statement(primary, sql("bookings"), _OPTIONS)
        self.booking: Batcher[UUID, RecordedBooking | None] = Batcher(self._read_bookings, batch_window)
        """Returns the booking, None if it is not recorded: `await reader.booking(booking_id)`."""

    async def start(self) -> None:
        """Starts to open the connections, in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Closes the connections."""
        await self.booking.close()
        await self._bookings.close()
        await self._pool.close()

    async def claim_keys(self, keys: Keys) -> None:
        """Runs keys.claim_keys in a thread: see there."""
        await asyncio.to_thread(claim_keys, self._database_url, keys)

    async def check_key_pair(self, keys: Keys) -> None:
        """Raises WrongKeysError if the key pair to which these keys encrypt was retired."""
        rows = await self._pool.rows(sql("key_pairs"))
        if any(bytes(public_key) == keys.public_key and retired_at for _, public_key, _, retired_at in rows):
            raise WrongKeysError(
                f"the public key (ANTRIAN_PUBLIC_KEY, key pair {pair_id(keys.public_key).hex()}) was retired: give this server "
                'the newest one, see "Change the key pair" in docs/runbook.md'
            )

    async def claim_policy(self, policy: Policy) -> Policy:
        """Runs policies.claim_policy in a thread: see there."""
        return await asyncio.to_thread(claim_policy, self._database_url, policy)

    async def warn_without_standby(self) -> None:
        """Runs standby.warn_without_standby in a thread: see there."""
        await asyncio.to_thread(warn_without_standby, self._database_url)

    async def other_policy(self, version: int) -> Policy | None:
        """Returns the policy in force, None if it is that version. Raises PolicyError if it cannot be read."""
        rows = await self._pool.rows(sql("newest_policy"))
        return next((read_version(*row) for row in rows if row[0] != version), None)

    async def _read_bookings(self, booking_ids: Sequence[UUID]) -> list[RecordedBooking | None]:
        ids = ",".join([booking_id.hex for booking_id in booking_ids])
        rows = await self._bookings(f"{{{ids}}}")
        found = {row[0]: _recorded(*row) for row in rows}
        return [found.get(booking_id) for booking_id in booking_ids]

    async def account_bookings(
        self,
        caller: str,
        account: str,
        most: int,
        *,
        state: State | None = None,
        service_date: date | None = None,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[RecordedBooking]:
        """Returns a page of at most `most` recorded bookings of the account, the newest first.

        before: decided_at and id of the last booking of the previous page.
        """
        values = {
            "caller": caller,
            "account": account,
            "state": state,
            "service_date": service_date,
            "before_at": before and before[0],
            "before_id": before and before[1],
            "most": most,
        }
        return [_recorded(*row) for row in await self._pool.rows(sql("account_bookings"), **values)]

    async def offices(self) -> list[Office]:
        """Returns all offices, by id."""
        return [office_of(row) for row in await self._pool.rows(sql("offices"))]


def _recorded(
    booking_id: UUID,
    office_id: str,
    ticket: int,
    day: date,
    session: str,
    party_size: int,
    state: str,
    reason: str | None,
    first_number: int | None,
    cancelled: Sequence[int] | None,
    people: Sequence[bytes],
    *rest: Any,
) -> RecordedBooking:
    return RecordedBooking(
        booking_id, office_id, ticket, _slot(day, session), party_size, _STATES[state], _REASONS[reason], first_number,
        cancelled or (), [EncryptedApplicant(person[:16], person[16:]) for person in people], *rest,
    )  # fmt: skip
