"""What a server keeps in memory: the offices, the policy, the map, and the service's time. Refreshed as it changes."""

import asyncio
import logging
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import psycopg
import psycopg_pool
from redis.exceptions import RedisError

from antrian import rules
from antrian.booking import Office, Policy, Window
from antrian.errors import AntrianError, Reason
from antrian.lane.front import LaneFront
from antrian.ledger.reader import LedgerReader
from antrian.provinces import ProvinceMap, distance_km, load_provinces

_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_REFRESH = 2.0
_log = logging.getLogger(__name__)


class Catalog:
    """Offices by id (as the ledger had them at as_of), provinces by code, and the clock.

    ready tells whether both stores answered lately.
    """

    def __init__(self, policy: Policy, front: LaneFront, ledger: LedgerReader) -> None:
        self.policy = policy
        self.provinces = load_provinces()
        self.map = ProvinceMap()
        self._offices: dict[str, Office] = {}
        self.ready = False
        self.as_of = datetime.fromtimestamp(0, UTC)
        self._neighbours: dict[str, list[str]] = {}
        self._front = front
        self._ledger = ledger
        self._ahead = timedelta(0)
        self._window: Window | None = None
        self.windows_of = lru_cache(maxsize=1024)(lambda day: rules.windows_of(policy, day))
        self.refuse_day = lru_cache(maxsize=1024)(lambda day: rules.refuse_day(policy, day))

    def now(self) -> datetime:
        """The service's time, in UTC."""
        return datetime.now(UTC) + self._ahead

    @property
    def offices(self) -> dict[str, Office]:
        """The offices by id. Raises STORE_UNAVAILABLE before they were read for the first time."""
        if not self._offices:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
        return self._offices

    def office(self, office_id: str) -> Office:
        """The office; raises OFFICE_NOT_FOUND."""
        office = self.offices.get(office_id)
        if office is None:
            raise AntrianError(Reason.OFFICE_NOT_FOUND, field="office_id")
        return office

    def neighbours(self, office: Office, most: int) -> list[str]:
        """The ids of the nearest other offices of the office's province."""
        near = self._neighbours.get(office.office_id)
        if near is None:
            others = [o for o in self.offices.values() if o.province_code == office.province_code and o != office]
            others.sort(key=lambda o: distance_km(office.latitude, office.longitude, o.latitude, o.longitude))
            near = self._neighbours[office.office_id] = [o.office_id for o in others]
        return near[:most]

    def window(self) -> tuple[Window, datetime]:
        """The window that is open, or the next one, and now."""
        now = self.now()
        if self._window is None or now >= self._window.closes_at:
            self._window = rules.next_window(self.policy, now)
        return self._window, now

    async def refresh(self) -> None:
        """Reads the stores once."""
        await self._front.ping()
        self._ahead = await self._front.clock_ahead()
        offices = {office.office_id: office for office in await self._ledger.offices()}
        if offices != self._offices:
            self._offices, self._neighbours = offices, {}
        self.as_of = self.now()

    async def keep_fresh(self, changed: Callable[[bool], object]) -> None:
        """Refreshes until cancelled; calls changed when the stores go away or come back.

        Raises UnfitRedis when the Redis that came may not hold the lanes.
        """
        while True:
            try:
                async with asyncio.timeout(3):
                    await self.refresh()
                    if self._offices and not self.ready:
                        await self._front.check_fitness(len(self._offices))
                ready = bool(self._offices)
            except (RedisError, psycopg.Error, psycopg_pool.PoolTimeout, OSError, TimeoutError) as error:
                _log.warning("a store does not answer: %s", error)
                ready = False
            if ready != self.ready:
                self.ready = ready
                changed(ready)
            await asyncio.sleep((_REFRESH if ready else 0.3) * random.uniform(0.8, 1.2))  # noqa: S311 - jitter


def parse_day(text: str) -> date | None:
    """The date of a strict "YYYY-MM-DD"; None for anything else."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None
