"""Reads offices, remaining places, the window and the clock of an Antrian, and builds the town for a crowd there."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from random import Random
from zoneinfo import ZoneInfo

from antrian.booking import Office, Policy, Session, Slot, Window
from antrian.errors import AntrianError
from antrian.offices.provinces import ProvinceMap, load_provinces
from antrian.policy import load_policy
from antrian.rules import next_window
from antrian.v1 import messages_pb2
from antrian.v1.booking_service_pb2 import GetQuotaResponse
from clients.rush.plan.crowd import Town
from clients.sdk.booking_client import BookingClient
from clients.sdk.calls import Target

_JITTER = 0.012
_SPOTS = 8
_AT_ONCE = 16
_CLOCK_LOOKS = 5
# Lanes that are not open yet may take this long.
_PATIENCE = timedelta(minutes=2)


SlotOfOffice = tuple[str, Slot]
Quotas = Mapping[SlotOfOffice, tuple[int, int]]
"""Quota and remaining places, by office and slot."""


@dataclass(frozen=True)
class Survey:
    """The state of an Antrian. quotas: for every slot of the window. open: whether booking is open now."""

    offices: Sequence[Office]
    quotas: Quotas
    window: Window
    open: bool


def survey(service: Target) -> Survey:
    """Reads all offices and their places. Raises RefusedError, or ValueError if there is no office."""
    return asyncio.run(_survey(service))


def read_clock(service: Target, office_id: str) -> float:
    """Returns the service's clock minus time.monotonic(), in seconds, from the fastest of five responses."""
    return asyncio.run(_read_clock(service, office_id))


def has_bookings(service: Target, accounts: Collection[str]) -> bool:
    """Returns whether any of the accounts has a booking. Raises RefusedError."""
    return asyncio.run(_has_bookings(service, accounts))


def make_town(offices: Sequence[Office], window: Window) -> Town:
    """Returns the town for a window."""
    policy = load_policy()
    codes = {code: province.nik_code for code, province in load_provinces().items()}
    later = next_window(policy, window.closes_at).dates[0]
    return Town(offices, window.dates, later, codes, _spots(offices, policy))


async def _has_bookings(service: Target, accounts: Collection[str]) -> bool:
    async with BookingClient(service.target, token=service.token, credentials=service.credentials) as client:
        return any([await client.list_bookings(account) for account in accounts])


async def _survey(service: Target) -> Survey:
    async with BookingClient(
        service.target, token=service.token, patience=_PATIENCE, credentials=service.credentials
    ) as client:
        pages = [await client.list_offices(code) for code in load_provinces()]
        offices = [_office(office) for page in pages for office in page.offices]
        if not offices:
            raise ValueError(f"the Antrian at {service.target} has no offices")
        limit = asyncio.Semaphore(_AT_ONCE)

        async def quota(office: Office) -> tuple[Office, GetQuotaResponse]:
            async with limit:
                return office, await client.get_quota(office.office_id)

        responses = await asyncio.gather(*map(quota, offices))
    quotas: dict[tuple[str, Slot], tuple[int, int]] = {}
    for office, response in responses:
        for slot in response.slots:
            session = Session.MORNING if slot.session == messages_pb2.SESSION_MORNING else Session.AFTERNOON
            quotas[office.office_id, Slot(date.fromisoformat(slot.service_date), session)] = slot.quota, slot.remaining
    window = responses[0][1].window
    dates = tuple(sorted({slot.service_date for _, slot in quotas}))
    opens_at, closes_at = window.open_time.ToDatetime(UTC), window.close_time.ToDatetime(UTC)
    return Survey(offices, quotas, Window(opens_at, closes_at, dates), window.open)


async def _read_clock(service: Target, office_id: str) -> float:
    looks = []
    async with BookingClient(service.target, token=service.token, credentials=service.credentials) as client:
        for _ in range(_CLOCK_LOOKS):
            sent = time.monotonic()
            response = await client.get_quota(office_id)
            answered = time.monotonic()
            looks.append((answered - sent, response.read_time.ToNanoseconds() / 1e9 - (sent + answered) / 2))
    return min(looks)[1]


def _office(office: messages_pb2.Office) -> Office:
    return Office(
        office.office_id, office.name, office.office_class, office.city, office.province_code,
        ZoneInfo(office.time_zone), office.latitude, office.longitude, office.daily_quota, office.address,
    )  # fmt: skip


def _spots(offices: Sequence[Office], policy: Policy) -> Mapping[str, list[tuple[float, float]]]:
    """Returns points around each office that are in its province and in no other."""
    borders, rng = ProvinceMap(), Random(0)  # noqa: S311 - the same places every time

    def inside(office: Office, latitude: float, longitude: float) -> bool:
        try:
            return list(borders.whereabouts(latitude, longitude, None, policy)) == [office.province_code]
        except AntrianError:
            return False

    spots = {}
    for office in offices:
        near = (
            (office.latitude + rng.uniform(-_JITTER, _JITTER), office.longitude + rng.uniform(-_JITTER, _JITTER))
            for _ in range(_SPOTS)
        )
        spots[office.office_id] = [spot for spot in near if inside(office, *spot)] or [
            (office.latitude, office.longitude)
        ]
    return spots
