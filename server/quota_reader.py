"""GetQuota: the places that remain at an office, with serialized responses cached."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from antrian import rules
from antrian.booking import Office, Slot, Window
from antrian.errors import AntrianError, Reason
from antrian.lane.producer import Counters, LaneProducer
from antrian.v1.booking_service_pb2 import GetQuotaResponse
from antrian.v1.messages_pb2 import ClosedDay
from server import convert
from server.office_cache import Catalog

_RETRY = timedelta(seconds=1)


class QuotaReader:
    """Reads the counters of an office's lane.

    Most responses are the same as the one before except for read_time, so their bytes are cached by what they depend on.
    """

    def __init__(self, catalog: Catalog, producer: LaneProducer) -> None:
        self._catalog = catalog
        self._producer = producer
        self._week = lru_cache(maxsize=16)(self._make_week)
        self._response = lru_cache(maxsize=4096)(self._make_response)

    async def read(self, office_id: str) -> bytes:
        """Returns a serialized GetQuotaResponse. Raises OFFICE_NOT_FOUND, OFFICE_RETIRED and LANE_CLOSED."""
        office = self._catalog.office(office_id)
        if refusal := rules.refuse_office(office):
            raise refusal
        window = self._catalog.last_window
        as_of, counters = await self._read_counters(office, window)
        if (current := self._catalog.window_at(as_of)) != window:  # the cached window has closed
            window = current
            as_of, counters = await self._read_counters(office, window)
        # Concatenating serialized messages merges them. No field is in both: some parsers, such as protobuf.js, do not merge
        # a message field that occurs twice.
        is_open = window.contains(as_of)
        return self._response(office.office_id, office.time_zone, window, is_open, counters) + _read_time(as_of)

    async def _read_counters(self, office: Office, window: Window) -> tuple[datetime, tuple[Counters | None, ...]]:
        return await self._producer.quota((office.office_id, self._week(window, office.time_zone)[0]))

    def _make_response(
        self, office_id: str, zone: ZoneInfo, window: Window, is_open: bool, counters: Sequence[Counters | None]
    ) -> bytes:
        """Returns the serialized response without read_time."""
        response = GetQuotaResponse(office_id=office_id)
        response.MergeFrom(self._week(window, zone)[1])
        response.window.open = is_open
        for slot, places in zip(response.slots, counters, strict=True):
            if places is None:
                raise AntrianError(Reason.LANE_CLOSED, retry_after=_RETRY)
            slot.quota, slot.remaining = places.quota, 0 if places.closed else places.remaining
            slot.closed = places.closed
        return response.SerializeToString()

    def _make_week(self, window: Window, zone: ZoneInfo) -> tuple[tuple[Slot, ...], GetQuotaResponse]:
        """Returns the window's slots in a time zone, and the part of the response that all offices in the zone share."""
        policy = self._catalog.policy
        slots = tuple(Slot(day, session) for day in window.dates for session in policy.sessions)
        response = GetQuotaResponse(
            window=convert.window(window, window.closes_at, zone),  # _make_response sets open
            closed_days=[
                ClosedDay(date=day.isoformat(), name=name) for day, name in rules.closed_days(policy, window).items()
            ],
        )
        for slot in slots:
            starts, ends = rules.session_times(policy, zone, slot)
            response.slots.add(
                service_date=slot.service_date.isoformat(),
                session=convert.session(slot.session),
                start_time=convert.timestamp(starts),
                end_time=convert.timestamp(ends),
            )
        return slots, response


@lru_cache(maxsize=64)
def _read_time(as_of: datetime) -> bytes:
    return GetQuotaResponse(read_time=convert.timestamp(as_of)).SerializeToString()
