"""Our nouns as messages of antrian.v1."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from antrian import booking as nouns
from antrian.identity import booking_code
from antrian.lane.entry import Entry
from antrian.lane.front import Joined, Waiting
from antrian.ledger.reader import RecordedBooking
from antrian.rules import Choice
from antrian.v1 import messages_pb2 as wire
from antrian.v1.booking_service_pb2 import RequestBookingRequest


@lru_cache(maxsize=1024)  # what is asked together has one moment
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
        office_class=value.office_class,
        city=value.city,
        province_code=value.province_code,
        time_zone=value.time_zone.key,
        latitude=value.latitude,
        longitude=value.longitude,
        address=value.address,
        daily_quota=value.daily_quota,
        distance_km=None if distance_km is None else round(distance_km, 1),
    )


def province(value: nouns.Province) -> wire.Province:
    """A province on the wire."""
    return wire.Province(code=value.code, name_id=value.name_id, name_en=value.name_en)


def window(value: nouns.Window, now: datetime) -> wire.Window:
    """A window on the wire."""
    return wire.Window(
        opens_at=timestamp(value.opens_at),
        closes_at=timestamp(value.closes_at),
        open=value.contains(now),
        first_date=value.dates[0].isoformat(),
        last_date=value.dates[-1].isoformat(),
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
    booking.places_left = joined.left
    at = timestamp(joined.at)
    booking.accept_time.CopyFrom(at)
    booking.as_of.CopyFrom(at)


def waiting_booking(waiting: Waiting, as_of: datetime) -> wire.Booking:
    """A booking that waits in its lane."""
    entry: Entry = waiting.entry
    return wire.Booking(
        booking_id=str(entry.booking_id),
        state=wire.BOOKING_STATE_PENDING,
        office_id=waiting.office_id,
        service_date=entry.slot.service_date.isoformat(),
        session=session(entry.slot.session),
        party_size=len(entry.applicants),
        ticket=waiting.ticket,
        ahead=waiting.ahead,
        places_left=waiting.left,
        accept_time=timestamp(entry.accepted_at),
        as_of=timestamp(as_of),
    )


def recorded_booking(recorded: RecordedBooking, alternatives: Sequence[Choice]) -> wire.Booking:
    """A booking as the ledger has it."""
    confirmed = recorded.state is not nouns.State.REJECTED and recorded.first_number is not None
    first = recorded.first_number or 0
    return wire.Booking(
        booking_id=str(recorded.booking_id),
        state=wire.BookingState.Value(f"BOOKING_STATE_{recorded.state}"),
        office_id=recorded.office_id,
        service_date=recorded.slot.service_date.isoformat(),
        session=session(recorded.slot.session),
        party_size=recorded.party_size,
        ticket=recorded.ticket,
        queue_numbers=range(first, first + recorded.party_size) if confirmed else (),
        code=booking_code(recorded.booking_id) if confirmed else "",
        outcome_reason=wire.OutcomeReason.Value(f"OUTCOME_REASON_{recorded.reason or 'UNSPECIFIED'}"),
        alternatives=[
            wire.Alternative(
                office_id=choice.office_id,
                service_date=choice.slot.service_date.isoformat(),
                session=session(choice.slot.session),
                left=choice.left,
            )
            for choice in alternatives
        ],
        accept_time=timestamp(recorded.accepted_at),
        decide_time=timestamp(recorded.decided_at),
        end_time=timestamp(recorded.ended_at) if recorded.ended_at else None,
        as_of=timestamp(recorded.as_of),
    )
