"""The server's cache of offices, policy, provinces and the current window, refreshed every two seconds."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import psycopg
import psycopg_pool
from redis.exceptions import RedisError

from antrian import rules
from antrian.booking import Office, Policy, Window
from antrian.errors import AntrianError, Reason
from antrian.identity import Keys
from antrian.lane.producer import LaneProducer
from antrian.ledger.reader import LedgerReader
from antrian.offices.provinces import ProvinceMap, distance_km, load_provinces
from antrian.policy import PolicyError

_REFRESH = 2.0
_WITHIN, _READY_WITHIN = 3.0, 10.0  # seconds: each of the first connections may try a host first that is away
_log = logging.getLogger(__name__)


class Catalog:
    """Offices by id, as the ledger had them at as_of, and provinces by code.

    ready: whether both stores responded to the last refresh. A catalog has no clock of its own: every response of a lane has
    Redis's time, so that all times of one response come from a single reading.
    """

    def __init__(self, policy: Policy, producer: LaneProducer, ledger: LedgerReader, keys: Keys) -> None:
        self.provinces = load_provinces()
        self.nik_codes = frozenset(province.nik_code for province in self.provinces.values())
        self.map = ProvinceMap()
        self._offices: dict[str, Office] = {}
        self.ready = False
        self.as_of = datetime.fromtimestamp(0, UTC)
        self._neighbours: dict[str, list[str]] = {}
        self._producer = producer
        self._ledger = ledger
        self._keys = keys
        self._follow(policy)

    def _follow(self, policy: Policy) -> None:
        self.policy = policy
        self._since = self.as_of
        self._window = rules.next_window(policy, self._since)
        self.windows_of = lru_cache(maxsize=1024)(lambda day: rules.windows_of(policy, day))
        self.refuse_day = lru_cache(maxsize=1024)(lambda day: rules.refuse_day(policy, day))
        self._producer.set_bounds(
            lane_bound=policy.lane_bound,
            account_people=policy.account_people,
            tried_people=policy.tried_people,
            limits=policy.limits,
            remembered=policy.remembered,
        )

    @property
    def offices(self) -> dict[str, Office]:
        """The offices by id, including retired ones. Raises STORE_UNAVAILABLE until they have been read once."""
        if not self._offices:
            raise AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
        return self._offices

    @property
    def in_use(self) -> list[Office]:
        """The offices that are not retired. Raises STORE_UNAVAILABLE until they have been read once."""
        return [office for office in self.offices.values() if not office.retired]

    def office(self, office_id: str) -> Office:
        """Returns the office, even if it is retired. Raises OFFICE_NOT_FOUND."""
        office = self.offices.get(office_id)
        if office is None:
            raise AntrianError(Reason.OFFICE_NOT_FOUND, field="office_id")
        return office

    def neighbours(self, office: Office, limit: int) -> list[str]:
        """Returns the ids of the nearest other offices in use in the office's province, at most limit of them."""
        near = self._neighbours.get(office.office_id)
        if near is None:
            others = [o for o in self.in_use if o.province_code == office.province_code and o != office]
            others.sort(key=lambda o: distance_km(office.latitude, office.longitude, o.latitude, o.longitude))
            near = self._neighbours[office.office_id] = [o.office_id for o in others]
        return near[:limit]

    def window_at(self, moment: datetime) -> Window:
        """Returns the window that is open at that moment of Redis's time, or the next one."""
        if not self._since <= moment < self._window.closes_at:
            self._window, self._since = rules.next_window(self.policy, moment), moment
        return self._window

    @property
    def last_window(self) -> Window:
        """The last result of window_at. It is nearly always still current: check it with the time of the next response."""
        return self._window

    async def refresh(self) -> None:
        """Reads the stores once.

        Raises WrongKeysError if the ledger was written with other keys, or the key pair was retired. Raises WrongPolicyError if the ledger's policy differs
        from the policy file at the first refresh; later, a newer policy in the ledger replaces this one.
        """
        now = await self._producer.now()
        if self.ready:
            await self._ledger.check_key_pair(self._keys)
        else:  # before the first call, and again when the ledger is back
            await self._ledger.claim_keys(self._keys)
        await self._refresh_policy()
        self.window_at(now)
        offices = {office.office_id: office for office in await self._ledger.offices()}
        if offices != self._offices:
            self._offices, self._neighbours = offices, {}
        self.as_of = now

    async def _refresh_policy(self) -> None:
        if not self.policy.version:
            self._follow(await self._ledger.claim_policy(self.policy))
        try:
            other = await self._ledger.other_policy(self.policy.version)
        except PolicyError as error:  # written by a newer Antrian: keeping the old policy is better than failing
            _log.error("keeping version %d of the policy: %s", self.policy.version, error)
        else:
            if other:
                _log.info("following version %d of the policy", other.version)
                self._follow(other)

    async def keep_fresh(self, changed: Callable[[bool], object]) -> None:
        """Refreshes until cancelled, and calls changed whenever readiness changes.

        Raises UnsupportedRedisError if Redis's configuration cannot hold the lanes, and WrongKeysError and WrongPolicyError as
        refresh does.
        """
        while True:
            try:
                async with asyncio.timeout(_WITHIN if self.ready else _READY_WITHIN):
                    await self.refresh()
                    if self._offices and not self.ready:
                        await self._producer.check_config(len(self._offices))
                        await self._ledger.warn_without_standby()
                ready = bool(self._offices)
            except (RedisError, psycopg.Error, psycopg_pool.PoolTimeout, OSError, TimeoutError) as error:
                _log.warning("a store does not respond: %s", error)
                ready = False
            if ready != self.ready:
                self.ready = ready
                changed(ready)
            await asyncio.sleep((_REFRESH if ready else 0.3) * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
