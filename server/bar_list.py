"""ListBars: the bars of people who missed a day at an office, one page at a time."""

from datetime import date, datetime, timedelta

from antrian.booking import Office, Policy, Session
from antrian.identity import Keys, check_nik
from antrian.lane.producer import LaneProducer
from antrian.ledger.staff import LedgerStaff
from antrian.text import compact
from antrian.v1.office_service_pb2 import ListBarsRequest, ListBarsResponse
from server import convert
from server.caller import CALLER
from server.office_cache import Catalog
from server.paging import not_a_token, page_size, read_token, write_token

_PAGE = 100
_LARGEST_PAGE = 500


async def list_bars(
    request: ListBarsRequest, office: Office, catalog: Catalog, producer: LaneProducer, ledger: LedgerStaff, keys: Keys
) -> ListBarsResponse:
    """Returns one page of the office's bars, and records who read it. Raises INVALID_FIELD or PERMISSION_DENIED."""
    caller = CALLER.get()
    staff = caller.acting_staff(request.staff)
    key = None
    if request.HasField("nik"):
        nik = compact(request.nik)
        check_nik(nik, "nik", catalog.nik_codes)
        key = keys.applicant_key(nik)
    size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
    after = _read_token(request.page_token)
    as_of = await producer.now()
    since = first_barring_day(catalog.policy, as_of)
    rows = await ledger.bars(office.office_id, since, size + 1, applicant_key=key, after=after)
    today = as_of.astimezone(office.time_zone).date()
    shown = len(rows[:size])
    await ledger.note_read(
        "READ_BARS", office.office_id, today, caller=caller.name, staff=staff, people=shown, by_nik=key is not None
    )
    response = ListBarsResponse(
        bars=[convert.bar(row, keys) for row in rows[:size]], read_time=convert.timestamp(as_of)
    )
    if len(rows) > size:
        last = rows[size - 1]
        response.next_page_token = write_token(last.service_date.isoformat(), last.session, str(last.number))
    return response


def first_barring_day(policy: Policy, moment: datetime) -> date:
    """Returns the earliest missed day whose bars may still hold at that moment, in any time zone."""
    return (moment - timedelta(days=policy.bar_days + 2)).date()


def _read_token(token: str) -> tuple[date, Session, int] | None:
    parts = read_token(token, 3)
    try:
        return (date.fromisoformat(parts[0]), Session(parts[1]), int(parts[2])) if parts else None
    except ValueError:
        raise not_a_token() from None
