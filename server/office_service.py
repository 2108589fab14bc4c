"""antrian.v1.OfficeService. Every rpc requires a caller who is staff of the office that it names."""

import logging
from base64 import b64encode
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

from antrian import booking as nouns
from antrian import rules, words
from antrian.booking import Office, Slot, State
from antrian.errors import AntrianError, Reason, Text, invalid
from antrian.identity import Keys, code_range
from antrian.lane.producer import LaneProducer
from antrian.ledger.staff import ActionRow, LedgerStaff, check_numbers
from antrian.text import check_reason
from antrian.v1 import office_service_pb2 as wire
from server import convert
from server.bar_list import first_barring_day, list_bars
from server.caller import CALLER
from server.commands import LaneCommands
from server.middleware import Context
from server.names import Names
from server.office_cache import Catalog
from server.roster_list import list_roster_entries
from server.validation import check_session, parse_day

_LARGEST_QUOTA = 10_000
_YEAR = timedelta(days=366)
_RETRY = timedelta(seconds=1)
_StaffCommand = (
    nouns.SetQuota | nouns.CloseDate | nouns.LiftBar | nouns.ExcuseNoShow | nouns.UndoCheckIn | nouns.LateAttendance
)
_log = logging.getLogger(__name__)


class OfficeService:
    """Rosters, check-ins, quotas, closed days, bars and retirement. Raises AntrianError, which the middleware makes a status."""

    def __init__(
        self,
        catalog: Catalog,
        producer: LaneProducer,
        ledger: LedgerStaff,
        keys: Keys,
        commands: LaneCommands,
        names: Names,
    ) -> None:
        self._catalog = catalog
        self._producer = producer
        self._ledger = ledger
        self._keys = keys
        self._commands = commands
        self._names = names

    async def ListRosterEntries(  # noqa: N802 - the rpc's name
        self, request: wire.ListRosterEntriesRequest, context: Context
    ) -> wire.ListRosterEntriesResponse:
        """Returns the people who have queue numbers on a day."""
        office = self._office(request.office_id)
        return await list_roster_entries(request, office, self._producer, self._ledger, self._keys)

    async def CheckIn(self, request: wire.CheckInRequest, context: Context) -> wire.CheckInResponse:  # noqa: N802
        """Records which people of a party have come."""
        office = self._office(request.office_id)
        staff, codes = CALLER.get().acting_staff(request.staff), code_range(request.code)
        party = await self._ledger.check_in(office.office_id, codes, request.queue_numbers, CALLER.get().name, staff)
        try:
            await self._producer.send_command(office.office_id, nouns.Follow(party[0].booking_id))
        except AntrianError as error:  # it is in the ledger: a rebuild or the end of the day updates Redis
            _log.warning("people checked in at %s can book again only later: %s", office.office_id, error)
        return wire.CheckInResponse(entries=convert.roster_entries(party, self._keys))

    async def SetQuota(self, request: wire.SetQuotaRequest, context: Context) -> wire.SetQuotaResponse:  # noqa: N802
        """Changes the quota of a slot."""
        office = self._office(request.office_id)
        day = await self._service_day(office, request.service_date, begun=False)
        if not (request.HasField("quota") and 0 <= request.quota <= _LARGEST_QUOTA):
            raise invalid("quota", f"harus disebut, 0 sampai {_LARGEST_QUOTA}", f"must be given, 0 to {_LARGEST_QUOTA}")
        command = nouns.SetQuota(
            **_action(request.staff, request.reason),
            slot=Slot(day, check_session(request.session)),
            quota=request.quota,
            expected=request.expected_quota if request.HasField("expected_quota") else None,
        )
        done = await self._execute(office, command)
        if done.refused is Reason.QUOTA_BELOW_TAKEN:
            raise AntrianError(done.refused, field="quota", taken=str(done.before["taken"]))
        if done.refused is Reason.QUOTA_CHANGED:
            raise AntrianError(done.refused, field="expected_quota", quota=str(done.before["quota"]))
        if done.refused:
            raise AntrianError(done.refused, field="service_date")
        return wire.SetQuotaResponse(
            previous_quota=done.before["quota"], quota=done.after["quota"], taken=done.after["taken"]
        )

    async def CloseDate(self, request: wire.CloseDateRequest, context: Context) -> wire.CloseDateResponse:  # noqa: N802
        """Closes a day of the office."""
        office = self._office(request.office_id)
        day = await self._service_day(office, request.service_date, begun=True)
        command = nouns.CloseDate(
            **_action(request.staff, request.reason),
            service_date=day,
        )
        done = await self._execute(office, command)
        if done.refused:
            raise AntrianError(done.refused, field="service_date")
        return wire.CloseDateResponse(cancelled_bookings=await self._ledger.closed_bookings(office.office_id, day))

    async def ReleaseBooking(  # noqa: N802
        self, request: wire.ReleaseBookingRequest, context: Context
    ) -> wire.ReleaseBookingResponse:
        """Cancels a booking."""
        return wire.ReleaseBookingResponse(entries=await self._release(request, None))

    async def CancelPerson(  # noqa: N802
        self, request: wire.OfficeServiceCancelPersonRequest, context: Context
    ) -> wire.OfficeServiceCancelPersonResponse:
        """Removes one person from a party."""
        return wire.OfficeServiceCancelPersonResponse(entries=await self._release(request, request.queue_number))

    async def _release(
        self, request: wire.ReleaseBookingRequest | wire.OfficeServiceCancelPersonRequest, number: int | None
    ) -> list[wire.RosterEntry]:
        """Cancels the whole party, or the person with that queue number. Returns the party afterwards."""
        office = self._office(request.office_id)
        action, codes = nouns.StaffAction(**_action(request.staff, request.reason)), code_range(request.code)
        found = await self._ledger.find(office.office_id, codes)
        if number is not None and found.given:
            check_numbers("queue_number", [number], found.given)
        if found.holds(number):
            await self._commands.submit(office.office_id, nouns.Cancel(found.booking_id, number, action))
            found = await self._ledger.find(office.office_id, codes)
        if found.holds(number):
            if found.service_date < found.today:
                raise AntrianError(Reason.DAY_BEGUN, field="code")
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)  # the command was lost with its Redis
        if found.state is not State.CANCELLED and number not in {*found.given} - {*found.numbers}:
            raise AntrianError(Reason.NOT_CANCELLABLE, field="code", state=found.state)
        return await self._party(found.booking_id)

    async def CorrectName(  # noqa: N802
        self, request: wire.OfficeServiceCorrectNameRequest, context: Context
    ) -> wire.OfficeServiceCorrectNameResponse:
        """Corrects a person's name."""
        office = self._office(request.office_id)
        action = nouns.StaffAction(**_action(request.staff, request.reason))
        found = await self._ledger.find(office.office_id, code_range(request.code))
        if found.state not in {State.CONFIRMED, State.ATTENDED}:
            raise AntrianError(Reason.NOT_CONFIRMED, field="code", state=found.state)
        await self._names.correct(found.booking_id, request.queue_number, request.full_name, action)
        return wire.OfficeServiceCorrectNameResponse(entries=await self._party(found.booking_id))

    async def RetireOffice(  # noqa: N802
        self, request: wire.RetireOfficeRequest, context: Context
    ) -> wire.RetireOfficeResponse:
        """Stops an office from taking bookings."""
        return wire.RetireOfficeResponse(live_bookings=await self._set_retired(request, retired=True))

    async def ReopenOffice(  # noqa: N802
        self, request: wire.ReopenOfficeRequest, context: Context
    ) -> wire.ReopenOfficeResponse:
        """Lets a retired office take bookings again."""
        return wire.ReopenOfficeResponse(live_bookings=await self._set_retired(request, retired=False))

    async def _set_retired(self, request: wire.RetireOfficeRequest | wire.ReopenOfficeRequest, *, retired: bool) -> int:
        office = self._office(request.office_id)
        action = nouns.StaffAction(**_action(request.staff, request.reason))
        live = await self._ledger.set_retired(office.office_id, action, retired=retired)
        await self._catalog.refresh()  # so that this server sees it at once
        return live

    async def ListBars(self, request: wire.ListBarsRequest, context: Context) -> wire.ListBarsResponse:  # noqa: N802
        """Returns the bars of people who missed a day at this office."""
        office = self._office(request.office_id)
        return await list_bars(request, office, self._catalog, self._producer, self._ledger, self._keys)

    async def LiftBar(self, request: wire.LiftBarRequest, context: Context) -> wire.LiftBarResponse:  # noqa: N802
        """Lifts one person's bar."""
        office = self._office(request.office_id)
        action = _action(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_number", [request.queue_number], found.numbers)
        command = nouns.LiftBar(**action, booking_id=found.booking_id, number=request.queue_number)
        done = await self._execute(office, command)
        if done.refused:
            raise AntrianError(done.refused, field="queue_number")
        since = first_barring_day(self._catalog.policy, await self._producer.now())
        bars = await self._ledger.bars(office.office_id, since, 1, person=(found.booking_id, request.queue_number))
        if not bars:  # it has just expired
            raise AntrianError(Reason.BAR_NOT_FOUND, field="queue_number")
        return wire.LiftBarResponse(bar=convert.bar(bars[0], self._keys))

    async def ExcuseNoShow(  # noqa: N802
        self, request: wire.ExcuseNoShowRequest, context: Context
    ) -> wire.ExcuseNoShowResponse:
        """Excuses a no-show."""
        office = self._office(request.office_id)
        action = _action(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        command = nouns.ExcuseNoShow(**action, booking_id=found.booking_id)
        done = await self._execute(office, command)
        if done.refused:
            raise AntrianError(done.refused, field="code", state=done.before["state"])
        return wire.ExcuseNoShowResponse(entries=await self._party(found.booking_id))

    async def UndoCheckIn(  # noqa: N802
        self, request: wire.UndoCheckInRequest, context: Context
    ) -> wire.UndoCheckInResponse:
        """Undoes a mistaken check-in."""
        office = self._office(request.office_id)
        action = _action(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_numbers", request.queue_numbers, found.numbers)
        numbers, party = request.queue_numbers or found.numbers, await self._ledger.party(found.booking_id)
        command = nouns.UndoCheckIn(
            **action,
            booking_id=found.booking_id,
            owner=b64encode(self._keys.owner(found.caller, found.account)).decode(),
            people={row.number: UUID(bytes=row.applicant_key) for row in party if row.number in numbers},
            verified=tuple(row.number for row in party if row.verified),
        )
        done = await self._execute(office, command)
        if done.refused is Reason.BOOKED_AGAIN:
            raise AntrianError(done.refused, field="queue_numbers", queue_number=str(done.after["taken"]))
        if done.refused:
            on = found.service_date
            problem = _undo_only_on(on) if done.refused is Reason.NOT_TODAY else None
            state = done.before["state"]
            raise AntrianError(done.refused, field="code", problem=problem, state=state, service_date=on.isoformat())
        return wire.UndoCheckInResponse(entries=await self._party(found.booking_id))

    async def LateAttendance(  # noqa: N802
        self, request: wire.LateAttendanceRequest, context: Context
    ) -> wire.LateAttendanceResponse:
        """Records after the day that people did come."""
        office = self._office(request.office_id)
        action = _action(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_numbers", request.queue_numbers, found.numbers)
        until = rules.attendance_ends(self._catalog.policy, office.time_zone, found.service_date)
        command = nouns.LateAttendance(
            **action,
            booking_id=found.booking_id,
            numbers=tuple(request.queue_numbers or found.numbers),
            until=until,
        )
        done = await self._execute(office, command)
        if done.refused is Reason.ATTENDANCE_CLOSED:
            raise AntrianError(done.refused, field="code", close_time=until.isoformat())
        if done.refused:
            raise AntrianError(done.refused, field="code", state=done.before["state"])
        return wire.LateAttendanceResponse(entries=await self._party(found.booking_id))

    async def _execute(self, office: Office, command: _StaffCommand) -> ActionRow:
        await self._commands.submit(office.office_id, command)
        done = await self._ledger.action(command.action_id)
        if done is None:  # the command was lost with its Redis
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
        return done

    async def _party(self, booking_id: UUID) -> list[wire.RosterEntry]:
        return convert.roster_entries(await self._ledger.party(booking_id), self._keys)

    def _office(self, office_id: str) -> Office:
        """Returns the office. Raises PERMISSION_DENIED first: only its staff learn whether an office exists."""
        CALLER.get().check_office(office_id)
        return self._catalog.office(office_id)

    async def _service_day(self, office: Office, text: str, *, begun: bool) -> date:
        """Returns a day, at most a year ahead, that the office serves or has slots for. The ledger checks it again.

        begun: whether today is allowed.
        """
        day = parse_day(text)
        # Staff must reach the bookings of a day that stopped being a service day.
        refusal = rules.refuse_day(self._catalog.policy, day)
        if refusal and not await self._ledger.has_slots(office.office_id, day):
            raise refusal
        today = (await self._producer.now()).astimezone(office.time_zone).date()
        if day < today or (day == today and not begun):
            raise AntrianError(Reason.DAY_BEGUN, field="service_date")
        if day > today + _YEAR:
            raise invalid("service_date", "paling lama setahun dari sekarang", "must be within a year from now")
        return day


def _action(staff: str, reason: str) -> dict[str, Any]:
    """Returns the fields of a new StaffAction of this caller. Raises INVALID_FIELD."""
    return {
        "action_id": uuid4(),
        "caller": CALLER.get().name,
        "staff": CALLER.get().acting_staff(staff),
        "why": check_reason(reason),
    }


def _undo_only_on(day: date) -> Text:
    on = words.day(day)
    return Text(
        f"Check-in hanya dapat dibatalkan pada hari kunjungannya: {on.indonesian}.",
        f"A check-in can only be undone on the day of the visit: {on.english}.",
    )
