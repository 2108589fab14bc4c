"""One rush from start to end: the crowd for the offices, the places before and after, the result."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from random import Random

from antrian.booking import Office, Policy, Session, Slot, Window
from antrian.errors import AntrianError
from antrian.offices import load_offices
from antrian.policy import load_policy
from antrian.provinces import ProvinceMap, load_provinces
from antrian.rules import next_window
from antrian.v1.messages_pb2 import SESSION_MORNING
from clients.booking_client import BookingClient
from clients.rush.crowd import Crowd, Scenario
from clients.rush.fairness import SlotOfOffice, check_history
from clients.rush.generator import Progress, play
from clients.rush.result import RushResult, summarise

_JITTER = 0.012
_SPOTS = 8


def make_crowd(scenario: Scenario, window: Window, policy: Policy | None = None) -> Crowd:
    """The crowd for that window and the offices that are shipped."""
    policy = policy or load_policy()
    offices = load_offices()
    codes = {code: province.nik_code for code, province in load_provinces().items()}
    later = next_window(policy, window.closes_at).dates[0]
    return Crowd(scenario, offices, window.dates, later, codes, _spots(offices, policy))


def _spots(offices: Sequence[Office], policy: Policy) -> dict[str, list[tuple[float, float]]]:
    """Points around each office that are in its province and in no other."""
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


async def _quotas(target: str, token: str, offices: Sequence[Office]) -> dict[SlotOfOffice, tuple[int, int]]:
    quotas = {}
    async with BookingClient(target, token=token, patience=timedelta(minutes=2)) as client:
        for office in offices:
            for slot in (await client.get_quota(office.office_id)).slots:
                session = Session.MORNING if slot.session == SESSION_MORNING else Session.AFTERNOON
                key = office.office_id, Slot(date.fromisoformat(slot.service_date), session)
                quotas[key] = slot.quota, slot.left
    return quotas


def read_quotas(target: str, offices: Sequence[Office], token: str = "") -> dict[SlotOfOffice, tuple[int, int]]:
    """Places and places left of every slot of the window. Waits for offices whose lanes are not open yet."""
    return asyncio.run(_quotas(target, token, offices))


def rush(
    crowd: Crowd, window: Window, target: str, start: Callable[[], float], progress: Progress, *, token: str = ""
) -> RushResult:
    """Plays the crowd on a store that has no bookings yet; start says when booking opens (time.monotonic())."""
    began = time.monotonic()
    shares = play(crowd, target, start, progress, token=token)
    quotas = read_quotas(target, crowd.offices, token)
    result = summarise(shares, quotas, crowd.offices, load_provinces(), window.opens_at.timestamp())
    found = check_history([record for share in shares for record in share.records], quotas)
    result.promises, result.breaches = found.checks, found.breaches
    result.about["seconds"] = f"{time.monotonic() - began:.1f}"
    return result
