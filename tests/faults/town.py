"""What a site's stores hold before anybody comes: a few offices, one day of which sells out, and a clock that says the window is open."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from antrian.booking import Office, Session
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.migrate import migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from tests.support.window import window_to_come

_PROVINCE = "ID-JK"
_OFFICES = 6
_PLACES = 2000
_FEW = {Session.MORNING: 12, Session.AFTERNOON: 12}  # the first day of the last office: only it sells out
_INTO = timedelta(minutes=5)  # the window: less than a clock may be off


def found(redis_url: str, database_url: str) -> tuple[list[Office], Sequence[date]]:
    """Fills empty stores; the offices, and the days that can be booked there now."""
    window = window_to_come()
    shipped = [office for office in load_offices() if office.province_code == _PROVINCE]
    offices = [replace(office, daily_quota=_PLACES) for office in shipped[:_OFFICES]]
    ahead = window.opens_at + _INTO - datetime.now(UTC)
    migrate(database_url)
    with LedgerRecorder(database_url) as ledger, closing(LaneConsumer(redis_url)) as line:
        ledger.upsert_offices(offices, load_provinces().values())
        ledger.plan_slots(offices[-1].office_id, window.dates[:1], _FEW)
        ledger.set_clock(ahead)
        line.set_clock(ahead)
    return offices, window.dates
