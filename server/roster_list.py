"""ListRosterEntries: the people with queue numbers on a day of an office, one page at a time."""

from antrian.booking import Office, Session
from antrian.identity import Keys
from antrian.lane.producer import LaneProducer
from antrian.ledger.staff import LedgerStaff
from antrian.v1.office_service_pb2 import ListRosterEntriesRequest, ListRosterEntriesResponse
from server import convert
from server.caller import CALLER
from server.paging import not_a_token, page_size, read_token, write_token
from server.validation import check_session, parse_day

_PAGE = 100
_LARGEST_PAGE = 500


async def list_roster_entries(
    request: ListRosterEntriesRequest, office: Office, producer: LaneProducer, ledger: LedgerStaff, keys: Keys
) -> ListRosterEntriesResponse:
    """Returns one page of the office's roster, and records who read it. Raises INVALID_FIELD or PERMISSION_DENIED."""
    caller = CALLER.get()
    staff = caller.acting_staff(request.staff)
    as_of = await producer.now()
    day = (
        parse_day(request.service_date)
        if request.HasField("service_date")
        else as_of.astimezone(office.time_zone).date()
    )
    session = check_session(request.session) if request.session else None
    size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
    after = _read_token(request.page_token)
    rows = await ledger.roster(office.office_id, day, session, after, size + 1)
    shown = len(rows[:size])
    await ledger.note_read(
        "READ_ROSTER", office.office_id, day, caller=caller.name, staff=staff, people=shown, session=session
    )
    response = ListRosterEntriesResponse(
        entries=convert.roster_entries(rows[:size], keys),
        service_date=day.isoformat(),
        read_time=convert.timestamp(as_of),
    )
    if len(rows) > size:
        response.next_page_token = write_token(rows[size - 1].session, str(rows[size - 1].number))
    return response


def _read_token(token: str) -> tuple[Session, int] | None:
    parts = read_token(token, 2)
    try:
        return (Session(parts[0]), int(parts[1])) if parts else None
    except ValueError:
        raise not_a_token() from None
