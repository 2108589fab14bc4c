"""antrian.v1.OfficeService: what each rpc does. Every one needs staff of the office that it names."""

import logging
from base64 import b64encode
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from antrian import booking as nouns
from antrian import rules, words
from antrian.booking import Office, Session, Slot, State
from antrian.errors import AntrianError, Reason, Text, invalid
from antrian.identity import Keys, booking_code, check_nik, code_range, mask_nik
from antrian.lane.producer import LaneProducer
from antrian.ledger.staff import ActionRow, BarRow, LedgerStaff, RosterRow, check_numbers
from antrian.text import check_account, check_reason, compact
from antrian.v1 import messages_pb2
from antrian.v1 import office_service_pb2 as wire
from server import convert
from server.auth import CALLER
from server.commands import LaneCommands
from server.middleware import Context
from server.names import Names
from server.office_cache import Catalog
from server.paging import not_a_token, page_size, read_token, write_token
from server.validation import check_session, parse_day

_PAGE = 100
_LARGEST_PAGE = 500
_LARGEST_QUOTA = 10_000
_YEAR = timedelta(days=366)
_RETRY = timedelta(seconds=1)
_Judged = (
    nouns.SetQuota | nouns.CloseDate | nouns.LiftBar | nouns.ExcuseNoShow | nouns.UndoCheckIn | nouns.LateAttendance
)
_log = logging.getLogger(__name__)


class OfficeService:
    """Rosters, check-ins, quotas, closed days, ways back, retirement. Refusals are AntrianErrors; the gate turns them into statuses."""

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
        self._nik_codes = frozenset(province.nik_code for province in catalog.provinces.values())

    async def ListRosterEntries(  # noqa: N802 - the rpc's name
        self, request: wire.ListRosterEntriesRequest, context: Context
    ) -> wire.ListRosterEntriesResponse:
        """Who has queue numbers on a day."""
        office = self._office(request.office_id)
        as_of = await self._producer.now()
        day = (
            parse_day(request.service_date)
            if request.HasField("service_date")
            else as_of.astimezone(office.time_zone).date()
        )
        session = check_session(request.session) if request.session else None
        size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        after = _read_token(request.page_token)
        rows = await self._ledger.roster(office.office_id, day, session, after, size + 1)
        response = wire.ListRosterEntriesResponse(
            entries=self._entries(rows[:size]), service_date=day.isoformat(), read_time=convert.timestamp(as_of)
        )
        if len(rows) > size:
            response.next_page_token = write_token(rows[size - 1].session, str(rows[size - 1].number))
        return response

    async def CheckIn(self, request: wire.CheckInRequest, context: Context) -> wire.CheckInResponse:  # noqa: N802
        """Notes who of a party has come."""
        office = self._office(request.office_id)
        staff, codes = check_account(request.staff, "staff"), code_range(request.code)
        party = await self._ledger.check_in(office.office_id, codes, request.queue_numbers, CALLER.get().name, staff)
        try:
            await self._producer.send_command(office.office_id, nouns.Follow(party[0].booking_id))
        except AntrianError as problem:  # the ledger has it; a rebuild or the end of the day makes Redis follow
            _log.warning("who was checked in at %s may book again later: %s", office.office_id, problem)
        return wire.CheckInResponse(entries=self._entries(party))

    async def SetQuota(self, request: wire.SetQuotaRequest, context: Context) -> wire.SetQuotaResponse:  # noqa: N802
        """Changes the places of a slot."""
        office = self._office(request.office_id)
        day = await self._service_day(office, request.service_date, begun=False)
        if not (request.HasField("quota") and 0 <= request.quota <= _LARGEST_QUOTA):
            raise invalid("quota", f"harus disebut, 0 sampai {_LARGEST_QUOTA}", f"must be given, 0 to {_LARGEST_QUOTA}")
        entry = nouns.SetQuota(
            **_by(request.staff, request.reason),
            slot=Slot(day, check_session(request.session)),
            quota=request.quota,
            expected=request.expected_quota if request.HasField("expected_quota") else None,
        )
        done = await self._judged(office, entry)
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
        """Closes a day."""
        office = self._office(request.office_id)
        day = await self._service_day(office, request.service_date, begun=True)
        entry = nouns.CloseDate(
            **_by(request.staff, request.reason),
            service_date=day,
        )
        done = await self._judged(office, entry)
        if done.refused:
            raise AntrianError(done.refused, field="service_date")
        return wire.CloseDateResponse(cancelled_bookings=await self._ledger.closed_bookings(office.office_id, day))

    async def ReleaseBooking(  # noqa: N802
        self, request: wire.ReleaseBookingRequest, context: Context
    ) -> wire.ReleaseBookingResponse:
        """Ends a booking."""
        party = await self._release(request, None)
        return wire.ReleaseBookingResponse(entries=self._entries(party))

    async def CancelPerson(  # noqa: N802
        self, request: wire.OfficeServiceCancelPersonRequest, context: Context
    ) -> wire.OfficeServiceCancelPersonResponse:
        """Takes one person out of a party."""
        party = await self._release(request, request.queue_number)
        return wire.OfficeServiceCancelPersonResponse(entries=self._entries(party))

    async def _release(
        self, request: wire.ReleaseBookingRequest | wire.OfficeServiceCancelPersonRequest, number: int | None
    ) -> list[RosterRow]:
        """The party after all of it, or the one with that number, was let go."""
        office = self._office(request.office_id)
        by, codes = nouns.StaffAction(**_by(request.staff, request.reason)), code_range(request.code)
        found = await self._ledger.find(office.office_id, codes)
        if number is not None and found.given:
            check_numbers("queue_number", [number], found.given)
        if found.holds(number):
            await self._commands.submit(office.office_id, nouns.Cancel(found.booking_id, number, by))
            found = await self._ledger.find(office.office_id, codes)
        if found.holds(number):
            if found.service_date < found.today:
                raise AntrianError(Reason.DAY_BEGUN, field="code")
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)  # the desk was lost with its Redis
        if found.state is not State.CANCELLED and number not in {*found.given} - {*found.numbers}:
            raise AntrianError(Reason.NOT_CANCELLABLE, field="code", state=found.state)
        return await self._ledger.party(found.booking_id)

    async def CorrectName(  # noqa: N802
        self, request: wire.OfficeServiceCorrectNameRequest, context: Context
    ) -> wire.OfficeServiceCorrectNameResponse:
        """Corrects a person's name."""
        office = self._office(request.office_id)
        by = nouns.StaffAction(**_by(request.staff, request.reason))
        found = await self._ledger.find(office.office_id, code_range(request.code))
        if found.state not in {State.CONFIRMED, State.ATTENDED}:
            raise AntrianError(Reason.NOT_CONFIRMED, field="code", state=found.state)
        await self._names.correct(found.booking_id, request.queue_number, request.full_name, by)
        party = await self._ledger.party(found.booking_id)
        return wire.OfficeServiceCorrectNameResponse(entries=self._entries(party))

    async def RetireOffice(  # noqa: N802
        self, request: wire.RetireOfficeRequest, context: Context
    ) -> wire.RetireOfficeResponse:
        """Ends an office's taking of bookings."""
        return wire.RetireOfficeResponse(live_bookings=await self._set_retired(request, retired=True))

    async def ReopenOffice(  # noqa: N802
        self, request: wire.ReopenOfficeRequest, context: Context
    ) -> wire.ReopenOfficeResponse:
        """Lets a retired office take bookings again."""
        return wire.ReopenOfficeResponse(live_bookings=await self._set_retired(request, retired=False))

    async def _set_retired(self, request: wire.RetireOfficeRequest | wire.ReopenOfficeRequest, *, retired: bool) -> int:
        office = self._office(request.office_id)
        action = nouns.StaffAction(**_by(request.staff, request.reason))
        live = await self._ledger.set_retired(office.office_id, action, retired=retired)
        await self._catalog.refresh()  # this server follows at once
        return live

    async def ListBars(self, request: wire.ListBarsRequest, context: Context) -> wire.ListBarsResponse:  # noqa: N802
        """Who may not book since they missed a day here."""
        office = self._office(request.office_id)
        key = None
        if request.HasField("nik"):
            nik = compact(request.nik)
            check_nik(nik, "nik", self._nik_codes)
            key = self._keys.applicant_key(nik)
        size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        after = _read_bar_token(request.page_token)
        as_of = await self._producer.now()
        rows = await self._ledger.bars(
            office.office_id, self._bars_since(as_of), size + 1, applicant_key=key, after=after
        )
        response = wire.ListBarsResponse(bars=map(self._bar, rows[:size]), read_time=convert.timestamp(as_of))
        if len(rows) > size:
            last = rows[size - 1]
            response.next_page_token = write_token(last.service_date.isoformat(), last.session, str(last.number))
        return response

    async def LiftBar(self, request: wire.LiftBarRequest, context: Context) -> wire.LiftBarResponse:  # noqa: N802
        """Ends one person's bar."""
        office = self._office(request.office_id)
        by = _by(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_number", [request.queue_number], found.numbers)
        entry = nouns.LiftBar(**by, booking_id=found.booking_id, number=request.queue_number)
        done = await self._judged(office, entry)
        if done.refused:
            raise AntrianError(done.refused, field="queue_number")
        since = self._bars_since(await self._producer.now())
        bars = await self._ledger.bars(office.office_id, since, 1, person=(found.booking_id, request.queue_number))
        if not bars:  # its time ended just now
            raise AntrianError(Reason.BAR_NOT_FOUND, field="queue_number")
        return wire.LiftBarResponse(bar=self._bar(bars[0]))

    async def ExcuseNoShow(  # noqa: N802
        self, request: wire.ExcuseNoShowRequest, context: Context
    ) -> wire.ExcuseNoShowResponse:
        """Excuses a booking of which nobody came."""
        office = self._office(request.office_id)
        by = _by(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        entry = nouns.ExcuseNoShow(**by, booking_id=found.booking_id)
        done = await self._judged(office, entry)
        if done.refused:
            raise AntrianError(done.refused, field="code", state=done.before["state"])
        return wire.ExcuseNoShowResponse(entries=self._entries(await self._ledger.party(found.booking_id)))

    async def UndoCheckIn(  # noqa: N802
        self, request: wire.UndoCheckInRequest, context: Context
    ) -> wire.UndoCheckInResponse:
        """Takes a wrong check-in back."""
        office = self._office(request.office_id)
        by = _by(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_numbers", request.queue_numbers, found.numbers)
        numbers, party = request.queue_numbers or found.numbers, await self._ledger.party(found.booking_id)
        entry = nouns.UndoCheckIn(
            **by,
            booking_id=found.booking_id,
            owner=b64encode(self._keys.owner(found.caller, found.account)).decode(),
            people={row.number: UUID(bytes=row.applicant_key) for row in party if row.number in numbers},
        )
        done = await self._judged(office, entry)
        if done.refused is Reason.BOOKED_AGAIN:
            raise AntrianError(done.refused, field="queue_numbers", queue_number=str(done.after["taken"]))
        if done.refused:
            on = found.service_date
            problem = _undone_on(on) if done.refused is Reason.NOT_TODAY else None
            state = done.before["state"]
            raise AntrianError(done.refused, field="code", problem=problem, state=state, service_date=on.isoformat())
        return wire.UndoCheckInResponse(entries=self._entries(await self._ledger.party(found.booking_id)))

    async def LateAttendance(  # noqa: N802
        self, request: wire.LateAttendanceRequest, context: Context
    ) -> wire.LateAttendanceResponse:
        """Notes after the day who did come."""
        office = self._office(request.office_id)
        by = _by(request.staff, request.reason)
        found = await self._ledger.find(office.office_id, code_range(request.code))
        check_numbers("queue_numbers", request.queue_numbers, found.numbers)
        until = rules.attendance_ends(self._catalog.policy, office.time_zone, found.service_date)
        entry = nouns.LateAttendance(
            **by,
            booking_id=found.booking_id,
            numbers=tuple(request.queue_numbers or found.numbers),
            until=until,
        )
        done = await self._judged(office, entry)
        if done.refused is Reason.ATTENDANCE_CLOSED:
            raise AntrianError(done.refused, field="code", close_time=until.isoformat())
        if done.refused:
            raise AntrianError(done.refused, field="code", state=done.before["state"])
        return wire.LateAttendanceResponse(entries=self._entries(await self._ledger.party(found.booking_id)))

    async def _judged(self, office: Office, entry: _Judged) -> ActionRow:
        await self._commands.submit(office.office_id, entry)
        done = await self._ledger.action(entry.action_id)
        if done is None:  # the desk was lost with its Redis
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=_RETRY)
        return done

    def _office(self, office_id: str) -> Office:
        """The office, of which the caller is staff. Who may not is not told whether there is such an office."""
        CALLER.get().check_office(office_id)
        return self._catalog.office(office_id)

    async def _service_day(self, office: Office, text: str, *, begun: bool) -> date:
        """A day that the office serves, or for which it has slots, at most a year ahead; begun: today will do. The ledger judges it again."""
        day = parse_day(text)
        # What holds new bookings off must not keep staff from those of a day that became one without service.
        refusal = rules.refuse_day(self._catalog.policy, day)
        if refusal and not await self._ledger.has_slots(office.office_id, day):
            raise refusal
        today = (await self._producer.now()).astimezone(office.time_zone).date()
        if day < today or (day == today and not begun):
            raise AntrianError(Reason.DAY_BEGUN, field="service_date")
        if day > today + _YEAR:
            raise invalid("service_date", "paling lama setahun dari sekarang", "must be within a year from now")
        return day

    def _bars_since(self, moment: datetime) -> date:
        """The earliest day that may bar somebody at that moment, whatever the office's zone."""
        return (moment - timedelta(days=self._catalog.policy.bar_days + 2)).date()

    def _bar(self, row: BarRow) -> wire.Bar:
        person = self._keys.person(row.booking_id, row.applicant_key, row.encrypted)
        return wire.Bar(
            service_date=row.service_date.isoformat(),
            session=convert.session(row.session),
            queue_number=row.number,
            code=booking_code(row.booking_id),
            full_name=person.full_name or None,
            masked_nik=mask_nik(person.nik),
            last_barred_date=row.last_day.isoformat(),
            lifted=row.lifted_at is not None,
            lift_time=convert.timestamp(row.lifted_at) if row.lifted_at else None,
        )

    def _entries(self, rows: Iterable[RosterRow]) -> list[wire.RosterEntry]:
        entries = []
        for row in rows:
            person = self._keys.person(row.booking_id, row.applicant_key, row.encrypted)
            entries.append(
                wire.RosterEntry(
                    session=convert.session(row.session),
                    queue_number=row.number,
                    code=booking_code(row.booking_id),
                    full_name=person.full_name or None,
                    masked_nik=mask_nik(person.nik),
                    state=messages_pb2.BookingState.Value(f"BOOKING_STATE_{row.state}"),
                    present=row.present_at is not None,
                    check_in_time=convert.timestamp(row.present_at) if row.present_at else None,
                )
            )
        return entries


def _by(staff: str, reason: str) -> dict[str, Any]:
    """The fields of a StaffAction of this call's. Raises INVALID_FIELD."""
    return {
        "action_id": uuid4(),
        "caller": CALLER.get().name,
        "staff": check_account(staff, "staff"),
        "why": check_reason(reason),
    }


def _undone_on(day: date) -> Text:
    on = words.day(day)
    return Text(
        f"Check-in hanya dapat dibatalkan pada hari kunjungannya: {on.indonesian}.",
        f"A check-in can only be undone on the day of the visit: {on.english}.",
    )


def _read_bar_token(token: str) -> tuple[date, Session, int] | None:
    where = read_token(token, 3)
    try:
        return (date.fromisoformat(where[0]), Session(where[1]), int(where[2])) if where else None
    except ValueError:
        raise not_a_token() from None


def _read_token(token: str) -> tuple[Session, int] | None:
    where = read_token(token, 2)
    try:
        return (Session(where[0]), int(where[1])) if where else None
    except ValueError:
        raise not_a_token() from None
