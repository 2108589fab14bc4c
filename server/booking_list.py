"""ListBookings: an account's bookings in its lanes, then those in the ledger, one page at a time."""

from datetime import datetime
from uuid import UUID

from antrian.booking import State
from antrian.errors import invalid
from antrian.text import check_account
from antrian.v1 import messages_pb2
from antrian.v1.booking_service_pb2 import ListBookingsRequest, ListBookingsResponse
from server import convert
from server.booking_reader import Bookings
from server.paging import not_a_token, page_size, read_token, write_token
from server.validation import parse_day

_PAGE = 20
_LARGEST_PAGE = 100


async def list_bookings(request: ListBookingsRequest, caller: str, bookings: Bookings) -> ListBookingsResponse:
    """Returns one page. Raises INVALID_FIELD."""
    account = check_account(request.account)
    size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
    state = _state(request.state)
    day = parse_day(request.service_date) if request.HasField("service_date") else None
    before = _read_token(request.page_token)

    pending: list[messages_pb2.Booking] = []
    if before is None and state in {None, State.PENDING}:
        # Lanes first: a booking that is decided in between is then in the ledger, and none is missed.
        pending = [b for b in await bookings.waiting(caller, account) if day is None or b.service_date == str(day)]
    if state is State.PENDING:
        return ListBookingsResponse(bookings=pending)
    found = await bookings.recorded(caller, account, size + 1, state=state, service_date=day, before=before)
    response = ListBookingsResponse()
    decided = {str(booking.booking_id) for booking in found}
    response.bookings.extend(booking for booking in pending if booking.booking_id not in decided)
    for recorded in found[:size]:
        convert.fill(response.bookings.add(), recorded, bookings.keys)
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = write_token(last.decided_at.isoformat(), str(last.booking_id))
    return response


def _state(value: messages_pb2.BookingState.ValueType) -> State | None:
    if value == messages_pb2.BOOKING_STATE_UNSPECIFIED:
        return None
    try:
        return State(messages_pb2.BookingState.Name(value).removeprefix("BOOKING_STATE_"))
    except ValueError:
        raise invalid("state", "tidak dikenal", "is not a state of a booking") from None


def _read_token(token: str) -> tuple[datetime, UUID] | None:
    parts = read_token(token, 2)
    try:
        return (datetime.fromisoformat(parts[0]), UUID(parts[1])) if parts else None
    except ValueError:
        raise not_a_token() from None
