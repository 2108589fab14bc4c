"""Converts domain objects to messages of antrian.v1."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from uuid import UUID
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from antrian import booking as nouns
from antrian.identity import Keys, booking_code, mask_name, mask_nik
from antrian.lane.producer import Joined, Waiting
from antrian.ledger.reader import RecordedBooking
from antrian.ledger.staff import BarRow, RosterRow
from antrian.rules import Choice
from antrian.text import compact, plain
from antrian.v1 import messages_pb2 as wire
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.office_service_pb2 import Bar, RosterEntry
from server.booking_status import STATUS_MESSAGES

_STATES = {state: wire.BookingState.Value(f"BOOKING_STATE_{state}") for state in nouns.State}
_REASONS = {reason: wire.StatusReason.Value(f"STATUS_REASON_{reason}") for reason in nouns.StatusReason}


@lru_cache(maxsize=64)  # all of a batch was read at the same moment
def timestamp(moment: datetime) -> Timestamp:
    """Returns the moment as a Timestamp that is shared: do not change it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def session(value: nouns.Session) -> wire.Session.ValueType:
    """Returns the session as an enum value."""
    return wire.SESSION_MORNING if value is nouns.Session.MORNING else wire.SESSION_AFTERNOON


def office(value: nouns.Office, distance_km: float | None = None) -> wire.Office:
    """Returns the office, with its distance from the device if that is known."""
    return wire.Office(
        office_id=value.office_id,
        name=value.name,
        office_class=value.office_class or None,
        city=value.city,
        province_code=value.province_code,
        time_zone=value.time_zone.key,
        latitude=value.latitude,
        longitude=value.longitude,
        address=value.address or None,
        daily_quota=value.daily_quota,
        distance_km=None if distance_km is None else round(distance_km, 1),
    )


def province(value: nouns.Province) -> wire.Province:
    """Returns the province."""
    return wire.Province(province_code=value.code, name_id=value.name_id, name_en=value.name_en)


def window(value: nouns.Window, now: datetime, office_zone: ZoneInfo) -> wire.Window:
    """Returns the window, for an office in that time zone."""
    return wire.Window(
        open_time=timestamp(value.opens_at),
        close_time=timestamp(value.closes_at),
        open=value.contains(now),
        first_date=value.dates[0].isoformat(),
        last_date=value.dates[-1].isoformat(),
        office_open_time=value.opens_at.astimezone(office_zone).isoformat(),
        office_close_time=value.closes_at.astimezone(office_zone).isoformat(),
    )


def fill_joined(booking: wire.Booking, request: RequestBookingRequest, booking_id: UUID, joined: Joined) -> None:
    """Fills in the booking of a request that has just got its ticket."""
    booking.booking_id = str(booking_id)
    booking.state = wire.BOOKING_STATE_PENDING
    booking.office_id = request.office_id
    booking.service_date = request.service_date
    booking.session = request.session
    booking.party_size = len(request.applicants)
    booking.ticket = joined.ticket
    booking.ahead = joined.ahead
    booking.remaining = joined.remaining
    at = timestamp(joined.at)
    booking.accept_time.CopyFrom(at)
    booking.read_time.CopyFrom(at)
    for applicant in request.applicants:
        booking.people.add(
            masked_name=mask_name(plain(applicant.full_name)), masked_nik=mask_nik(compact(applicant.nik))
        )


def fill(booking: wire.Booking, found: Waiting | RecordedBooking, keys: Keys) -> None:
    """Fills in a booking from its lane or the ledger, without alternatives."""
    # Field by field: keyword arguments of the constructor would double the cost of a read.
    booking.booking_id = str(found.booking_id)
    booking.office_id = found.office_id
    booking.service_date = str(found.slot)[:10]
    booking.session = session(found.slot.session)
    booking.party_size = len(found.people) if isinstance(found, Waiting) else found.party_size
    booking.ticket = found.ticket
    _set(booking.accept_time, found.accepted_at)
    booking.read_time.CopyFrom(timestamp(found.as_of))
    if isinstance(found, Waiting):
        booking.state = wire.BOOKING_STATE_PENDING
        booking.ahead = found.ahead
        if found.remaining is not None:
            booking.remaining = found.remaining
        _add_people(booking, found, keys)
        return
    booking.state, first = _STATES[found.state], found.first_number
    if found.state is not nouns.State.REJECTED and first is not None:
        booking.queue_numbers.extend(range(first, first + found.party_size))
        booking.code = booking_code(found.booking_id)
    if found.cancelled:
        booking.party_size -= len(found.cancelled)
        booking.cancelled_queue_numbers.extend(found.cancelled)
        for number in found.cancelled:
            booking.queue_numbers.remove(number)
    _add_people(booking, found, keys)
    if found.reason:
        booking.status_reason = _REASONS[found.reason]
        booking.status_message_id, booking.status_message_en = STATUS_MESSAGES[found.reason]
    _set(booking.decide_time, found.decided_at)
    if found.ended_at:
        _set(booking.end_time, found.ended_at)


def _add_people(booking: wire.Booking, found: Waiting | RecordedBooking, keys: Keys) -> None:
    numbers = booking.queue_numbers or repeat(None)
    for number, applicant in zip(numbers, found.people, strict=False):
        person = keys.masked(found.booking_id, applicant.key, applicant.encrypted)
        booking.people.add(queue_number=number, masked_name=person.full_name or None, masked_nik=person.nik)


def alternative(choice: Choice) -> wire.Alternative:
    """Returns a slot that has room."""
    return wire.Alternative(
        office_id=choice.office_id,
        service_date=choice.slot.service_date.isoformat(),
        session=session(choice.slot.session),
        remaining=choice.remaining,
    )


def bar(row: BarRow, keys: Keys) -> Bar:
    """Returns a person's bar, with the name in clear and the NIK masked."""
    person = keys.person(row.booking_id, row.applicant_key, row.encrypted)
    return Bar(
        service_date=row.service_date.isoformat(),
        session=session(row.session),
        queue_number=row.number,
        code=booking_code(row.booking_id),
        full_name=person.full_name or None,
        masked_nik=mask_nik(person.nik),
        last_barred_date=row.last_day.isoformat(),
        lifted=row.lifted_at is not None,
        lift_time=timestamp(row.lifted_at) if row.lifted_at else None,
    )


def roster_entries(rows: Iterable[RosterRow], keys: Keys) -> list[RosterEntry]:
    """Returns people of a roster, with names in clear and NIKs masked."""
    entries = []
    for row in rows:
        person = keys.person(row.booking_id, row.applicant_key, row.encrypted)
        entries.append(
            RosterEntry(
                session=session(row.session),
                queue_number=row.number,
                code=booking_code(row.booking_id),
                full_name=person.full_name or None,
                masked_nik=mask_nik(person.nik),
                state=_STATES[row.state],
                present=row.present_at is not None,
                check_in_time=timestamp(row.present_at) if row.present_at else None,
            )
        )
    return entries


def _set(stamp: Timestamp, moment: datetime) -> None:
    stamp.seconds = int(moment.timestamp())
    stamp.nanos = moment.microsecond * 1000
