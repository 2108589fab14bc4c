"""Our nouns as messages of antrian.v1."""

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
from antrian.rules import Choice
from antrian.text import compact, plain
from antrian.v1 import messages_pb2 as wire
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from server.booking_status import STATUS_MESSAGES

_STATES = {state: wire.BookingState.Value(f"BOOKING_STATE_{state}") for state in nouns.State}
_REASONS = {reason: wire.StatusReason.Value(f"STATUS_REASON_{reason}") for reason in nouns.StatusReason}


@lru_cache(maxsize=64)  # what is asked together has one moment
def timestamp(moment: datetime) -> Timestamp:
    """A moment on the wire; not to be changed."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def session(value: nouns.Session) -> wire.Session.ValueType:
    """A session on the wire."""
    return wire.SESSION_MORNING if value is nouns.Session.MORNING else wire.SESSION_AFTERNOON


def office(value: nouns.Office, distance_km: float | None = None) -> wire.Office:
    """An office on the wire."""
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
    """A province on the wire."""
    return wire.Province(province_code=value.code, name_id=value.name_id, name_en=value.name_en)


def window(value: nouns.Window, now: datetime, office_zone: ZoneInfo) -> wire.Window:
    """A window on the wire, for an office in that zone."""
    return wire.Window(
        open_time=timestamp(value.opens_at),
        close_time=timestamp(value.closes_at),
        open=value.contains(now),
        first_date=value.dates[0].isoformat(),
        last_date=value.dates[-1].isoformat(),
        office_open_time=value.opens_at.astimezone(office_zone).isoformat(),
        office_close_time=value.closes_at.astimezone(office_zone).isoformat(),
    )


def tell_joined(booking: wire.Booking, request: RequestBookingRequest, booking_id: UUID, joined: Joined) -> None:
    """Fills in the booking of a request that just got its ticket."""
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


def tell(booking: wire.Booking, found: Waiting | RecordedBooking, keys: Keys) -> None:
    """Fills in a booking as its lane or the ledger has it; alternatives are for the caller to add."""
    # Field by field: what the constructor's keywords take is half of what such a read costs.
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
        _tell_people(booking, found, keys)
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
    _tell_people(booking, found, keys)
    if found.reason:
        booking.status_reason = _REASONS[found.reason]
        booking.status_message_id, booking.status_message_en = STATUS_MESSAGES[found.reason]
    _set(booking.decide_time, found.decided_at)
    if found.ended_at:
        _set(booking.end_time, found.ended_at)


def _tell_people(booking: wire.Booking, found: Waiting | RecordedBooking, keys: Keys) -> None:
    numbers = booking.queue_numbers or repeat(None)
    for number, one in zip(numbers, found.people, strict=False):
        person = keys.person(found.booking_id, one.key, one.encrypted)
        booking.people.add(
            queue_number=number, masked_name=mask_name(person.full_name) or None, masked_nik=mask_nik(person.nik)
        )


def alternative(choice: Choice) -> wire.Alternative:
    """A slot that would have room, on the wire."""
    return wire.Alternative(
        office_id=choice.office_id,
        service_date=choice.slot.service_date.isoformat(),
        session=session(choice.slot.session),
        remaining=choice.remaining,
    )


def _set(stamp: Timestamp, moment: datetime) -> None:
    stamp.seconds = int(moment.timestamp())
    stamp.nanos = moment.microsecond * 1000
