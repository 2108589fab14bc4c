"""Corrects names, for the account of a booking and for the staff of its office."""

import json
from uuid import UUID

from antrian import rules
from antrian.booking import Person, StaffAction, State
from antrian.errors import AntrianError, Reason
from antrian.identity import Keys, check_full_name, mask_name
from antrian.ledger.staff import LedgerStaff, check_numbers
from antrian.text import plain
from server.office_cache import Catalog


class Names:
    """The names of people with bookings."""

    def __init__(self, catalog: Catalog, ledger: LedgerStaff, keys: Keys) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._keys = keys

    async def correct(self, booking_id: UUID, number: int, text: str, action: StaffAction | None) -> None:
        """Gives the person with that queue number this name. Does nothing if the person already has it.

        action: the action of staff, or None for the booking's account, which may change a few letters of a name, once.
        Raises INVALID_FIELD, NAME_TOO_DIFFERENT, NAME_CORRECTED_BEFORE, NOT_CONFIRMED and DAY_BEGUN.
        """
        name = plain(text)
        check_full_name(name, "full_name")
        field = "code" if action else "booking_id"  # the request's field that names the booking
        while True:
            party = {row.number: row for row in await self._ledger.party(booking_id)}
            check_numbers("queue_number", [number], sorted(party))
            row = party[number]
            person = self._keys.decrypt(booking_id, row.applicant_key, row.encrypted)
            if person.full_name == name:
                return
            limit = self._catalog.policy.corrected_letters
            if action is None and rules.edits(person.full_name, name) > limit:
                raise AntrianError(Reason.NAME_TOO_DIFFERENT, field="full_name", limit=str(limit))
            encrypted = self._keys.encrypt(booking_id, row.applicant_key, Person(person.nik, name))
            before, after = (json.dumps({"number": number, "name": mask_name(one)}) for one in (person.full_name, name))
            state, begun, corrected, written = await self._ledger.correct_name(
                booking_id, row, encrypted, action, before, after
            )
            if written:
                return
            if state not in {State.CONFIRMED, State.ATTENDED} or (action is None and state is not State.CONFIRMED):
                raise AntrianError(Reason.NOT_CONFIRMED, field=field, state=state)
            if begun:
                raise AntrianError(Reason.DAY_BEGUN, field=field)
            if action is None and corrected:
                raise AntrianError(Reason.NAME_CORRECTED_BEFORE, field="full_name")
            # Otherwise the row has changed since it was read: try again.
