"""The Python SDK for the staff of an office, with the same deadlines, retries and refusals as booking_client."""

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from antrian.v1 import office_service_pb2 as wire
from antrian.v1.messages_pb2 import SESSION_AFTERNOON, SESSION_MORNING, SESSION_UNSPECIFIED, Session
from antrian.v1.office_service_pb2 import (
    Bar,
    CloseDateResponse,
    ReopenOfficeResponse,
    RetireOfficeResponse,
    RosterEntry,
    SetQuotaResponse,
)
from antrian.v1.office_service_pb2_grpc import OfficeServiceStub
from clients.sdk.calls import COMMAND_EXTRA, Client, RefusedError

if TYPE_CHECKING:
    from antrian.v1.office_service_pb2_grpc import OfficeServiceAsyncStub

__all__ = ["SESSION_AFTERNOON", "SESSION_MORNING", "Bar", "OfficeClient", "RefusedError", "RosterEntry"]


class OfficeClient(Client):
    """Makes the calls of OfficeService. The token must belong to a caller with the role staff for the office.

    staff: the id of the person who makes a change or reads people's names, which is recorded. reason: why, recorded with the
    change. Every change is safe to repeat.
    """

    @cached_property
    def stub(self) -> "OfficeServiceAsyncStub":
        """The generated stub, for calls that need no retry."""
        return OfficeServiceStub(self.channel)

    async def day_roster(
        self,
        office_id: str,
        service_date: date | None = None,
        session: Session.ValueType | None = None,
        *,
        staff: str,
    ) -> list[RosterEntry]:
        """Returns the people with a queue number on the day (default: today at the office), by session and number.

        It is recorded that staff has read them.
        """
        request = wire.ListRosterEntriesRequest(
            office_id=office_id,
            service_date=service_date.isoformat() if service_date else None,
            session=session or SESSION_UNSPECIFIED,
            page_size=500,
            staff=staff,
        )
        return [
            entry async for page in self._pages(lambda: self.stub.ListRosterEntries, request) for entry in page.entries
        ]

    async def check_in(
        self, office_id: str, code: str, *, staff: str, present: Sequence[int] = ()
    ) -> list[RosterEntry]:
        """Checks in these queue numbers of the code's party, by default the whole party. Returns the party."""
        request = wire.CheckInRequest(office_id=office_id, code=code, queue_numbers=present, staff=staff)
        return list((await self._call(lambda: self.stub.CheckIn, request)).entries)

    async def set_quota(
        self,
        office_id: str,
        service_date: date,
        session: Session.ValueType,
        quota: int,
        *,
        staff: str,
        reason: str,
        expected_quota: int | None = None,
    ) -> SetQuotaResponse:
        """Sets the quota of a session. With expected_quota, refused unless the quota is that, or has the new value already."""
        request = wire.SetQuotaRequest(
            office_id=office_id,
            service_date=service_date.isoformat(),
            session=session,
            quota=quota,
            expected_quota=expected_quota,
            staff=staff,
            reason=reason,
        )
        return await self._call(lambda: self.stub.SetQuota, request, extra=COMMAND_EXTRA)

    async def close_date(self, office_id: str, service_date: date, *, staff: str, reason: str) -> CloseDateResponse:
        """Closes the day for good and cancels its bookings. Returns their number."""
        request = wire.CloseDateRequest(
            office_id=office_id, service_date=service_date.isoformat(), staff=staff, reason=reason
        )
        return await self._call(lambda: self.stub.CloseDate, request, extra=COMMAND_EXTRA)

    async def release_booking(self, office_id: str, code: str, *, staff: str, reason: str) -> list[RosterEntry]:
        """Cancels the code's booking, so that its people may book again at once. Returns its party."""
        request = wire.ReleaseBookingRequest(office_id=office_id, code=code, staff=staff, reason=reason)
        return list((await self._call(lambda: self.stub.ReleaseBooking, request, extra=COMMAND_EXTRA)).entries)

    async def cancel_person(
        self, office_id: str, code: str, queue_number: int, *, staff: str, reason: str
    ) -> list[RosterEntry]:
        """Removes the person with that number from the code's party. Returns the remaining party."""
        request = wire.OfficeServiceCancelPersonRequest(
            office_id=office_id, code=code, queue_number=queue_number, staff=staff, reason=reason
        )
        return list((await self._call(lambda: self.stub.CancelPerson, request, extra=COMMAND_EXTRA)).entries)

    async def correct_name(
        self, office_id: str, code: str, queue_number: int, full_name: str, *, staff: str, reason: str
    ) -> list[RosterEntry]:
        """Corrects the name of the person with that number. Returns the party."""
        request = wire.OfficeServiceCorrectNameRequest(
            office_id=office_id, code=code, queue_number=queue_number, full_name=full_name, staff=staff, reason=reason
        )
        return list((await self._call(lambda: self.stub.CorrectName, request)).entries)

    async def retire_office(self, office_id: str, *, staff: str, reason: str) -> RetireOfficeResponse:
        """Stops the office from taking bookings. Its existing bookings are still served."""
        request = wire.RetireOfficeRequest(office_id=office_id, staff=staff, reason=reason)
        return await self._call(lambda: self.stub.RetireOffice, request)

    async def reopen_office(self, office_id: str, *, staff: str, reason: str) -> ReopenOfficeResponse:
        """Lets a retired office take bookings again."""
        request = wire.ReopenOfficeRequest(office_id=office_id, staff=staff, reason=reason)
        return await self._call(lambda: self.stub.ReopenOffice, request)

    async def bars(self, office_id: str, nik: str = "", *, staff: str) -> list[Bar]:
        """Returns the bars of people who missed a day at the office, with a NIK only those of that person.

        It is recorded that staff has read them.
        """
        request = wire.ListBarsRequest(office_id=office_id, nik=nik or None, page_size=500, staff=staff)
        return [bar async for page in self._pages(lambda: self.stub.ListBars, request) for bar in page.bars]

    async def lift_bar(self, office_id: str, code: str, queue_number: int, *, staff: str, reason: str) -> Bar:
        """Lifts the bar of one person for one missed booking. Returns the bar."""
        request = wire.LiftBarRequest(
            office_id=office_id, code=code, queue_number=queue_number, staff=staff, reason=reason
        )
        return (await self._call(lambda: self.stub.LiftBar, request, extra=COMMAND_EXTRA)).bar

    async def excuse_no_show(self, office_id: str, code: str, *, staff: str, reason: str) -> list[RosterEntry]:
        """Excuses a booking for which nobody came, and ends its bars. Returns the party."""
        request = wire.ExcuseNoShowRequest(office_id=office_id, code=code, staff=staff, reason=reason)
        return list((await self._call(lambda: self.stub.ExcuseNoShow, request, extra=COMMAND_EXTRA)).entries)

    async def undo_check_in(
        self, office_id: str, code: str, *, staff: str, reason: str, numbers: Sequence[int] = ()
    ) -> list[RosterEntry]:
        """Undoes the check-in of these queue numbers, by default of the whole party, on the same day. Returns the party."""
        request = wire.UndoCheckInRequest(
            office_id=office_id, code=code, queue_numbers=numbers, staff=staff, reason=reason
        )
        return list((await self._call(lambda: self.stub.UndoCheckIn, request, extra=COMMAND_EXTRA)).entries)

    async def late_attendance(
        self, office_id: str, code: str, *, staff: str, reason: str, present: Sequence[int] = ()
    ) -> list[RosterEntry]:
        """Records after the day that these queue numbers, by default the whole party, had come. Returns the party."""
        request = wire.LateAttendanceRequest(
            office_id=office_id, code=code, queue_numbers=present, staff=staff, reason=reason
        )
        return list((await self._call(lambda: self.stub.LateAttendance, request, extra=COMMAND_EXTRA)).entries)
