"""Lanes that this process joins and drains itself, on stores of their own: what tests/bench/growth.py measures."""

import secrets
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import repeat
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import psycopg
from redis import Redis

from antrian.audit.verify import verify
from antrian.booking import Office
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.migrate import migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.local.embedded import EmbeddedStores
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from antrian.policy import load_policy
from antrian.settings import Settings
from tests.bench.askers import Askers
from tests.bench.site import BrokenPromiseError
from tests.support.keys import make_keys
from tests.support.window import window_to_come
from workers.drain import MAX_LANES, MAX_TICKETS, LanePipeline
from workers.lane_setup import LaneSetup
from workers.rebuild import Rebuild, Rebuilt

_PLENTY = 1_000_000  # places of an office and day: everybody gets one
_JOIN, _FILL, _FILLS = (
    50,
    256,
    4,
)  # requests per join, requests per join that only fills, and how many of the latter are in flight
_BUSY_LANES = 8  # that a measured part joins and drains, a full turn each
_MEASURED = _BUSY_LANES * MAX_TICKETS


class Cost(NamedTuple):
    """Microseconds of processor time a booking: of Redis, of the Postgres backend, of this process."""

    redis: float
    postgres: float
    here: float

    @property
    def all(self) -> float:
        """All of it."""
        return self.redis + self.postgres + self.here


class Lanes:
    """Yields stores with that many offices, real and made-up ones, and places for everybody.

    The lanes are closed until open or rebuild. waiting says how many tickets fill has left in line, used how many bytes of
    Redis they have taken.
    """

    def __init__(self, offices: int) -> None:
        real, self._policy = load_offices(), load_policy()
        self._offices = [_office(real[n % len(real)], n // len(real)) for n in range(offices)]
        self._by_id = {office.office_id: office for office in self._offices}
        self._window = window_to_come()
        self._turn = 0
        self.waiting = self.used = 0
        self._undo = ExitStack()

    def __enter__(self) -> "Lanes":
        with ExitStack() as undo:
            folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="antrian-bench"))
            self._stores = undo.enter_context(EmbeddedStores(Path(folder)))
            migrate(self._stores.database_url)
            where = {"redis_url": self._stores.redis_url, "database_url": self._stores.database_url, "embedded": True}
            keys = make_keys(secrets.token_bytes(32), secrets.token_bytes(32))
            self.settings = Settings.model_validate(where | {"hash_key": keys.hash_key, "public_key": keys.public_key})
            self._askers = Askers(self.settings, self._policy, self._window)
            self.recorder = undo.enter_context(LedgerRecorder(self._stores.database_url))
            self.ledger = undo.enter_context(psycopg.connect(self._stores.database_url, autocommit=True))
            self._consumer = undo.enter_context(closing(LaneConsumer(self._stores.redis_url)))
            self._redis = undo.enter_context(Redis.from_url(self._stores.redis_url))
            self._drain = LanePipeline(LaneSetup(self._consumer, self.recorder, self._policy))
            # A rewrite of the log comes when it has doubled, so it costs every booking the same; here it would meet one round.
            self._redis.config_set("auto-aof-rewrite-percentage", 0)
            self.recorder.upsert_offices(self._offices, load_provinces().values())
            self.recorder.set_clock(self._window.opens_at + timedelta(minutes=1) - datetime.now(UTC))
            self._consumer.set_clock(self.recorder.clock_ahead())
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    @property
    def offices(self) -> list[str]:
        """Their ids."""
        return [office.office_id for office in self._offices]

    @property
    def encrypted(self) -> int:
        """How many bytes a person's encrypted data has on average."""
        return round(mean(len(one.applicants[0].encrypted) for one in self._askers.requests(self.offices, 1000)))

    @property
    def dates(self) -> list[date]:
        """The days that can be booked now."""
        return list(self._window.dates)

    def open(self) -> None:
        """Opens all lanes of an empty ledger."""
        for office in self.offices:
            self._drain.step(self._by_id, office, max_lanes=0)
        self._drain.flush(self._by_id)

    def rebuild(self) -> Rebuilt:
        """Closes all lanes, empties Redis and fills it again from the ledger, and opens them."""
        return Rebuild(self.settings, self._consumer, self.recorder, self._redis).run()

    def fill(self, tickets: int) -> None:
        """Adds requests of one person each to all lanes alike until that many wait."""
        before = self._used_memory()
        self._redis.config_set("appendfsync", "no")
        requests = self._askers.requests(self.offices, tickets - self.waiting)
        self._askers.join(requests, _FILL, _FILLS)
        self._redis.config_set("appendfsync", "always")
        self.waiting, self.used = tickets, self.used + self._used_memory() - before

    def cost_of_full_turns(self) -> Cost:
        """What a booking costs when a few lanes get a full turn's tickets each, behind those that wait, and serve one."""
        offices = self.offices
        some = [offices[(self._turn + n) % len(offices)] for n in range(_BUSY_LANES)]
        self._turn += _BUSY_LANES
        return self._cost(some, some, lanes=0)

    def cost_of_all_lanes(self) -> Cost:
        """What a booking costs when all lanes get tickets alike, and those serve theirs that have been ready longest."""
        return self._cost(self.offices, repeat(""), lanes=MAX_LANES)

    def check(self, *, made_up: bool = False) -> None:
        """That everybody got a place, and `antrian verify`, but for how long tickets wait. Raises BrokenPromise.

        made_up: there are bookings whose people no key has encrypted, and who cannot be read.
        """
        rejected = self.ledger.execute("select count(*) from booking where state = 'REJECTED'").fetchone()
        if rejected != (0,):
            raise BrokenPromiseError(f"there were places for all, rejected are {rejected}")
        passed_over = ("minute", "applicant's NIK") if made_up else ("minute",)
        broken = [one for one in verify(self.settings) if one.violations]
        found = [one for one in broken if not any(words in one.what for words in passed_over)]
        if found:
            raise BrokenPromiseError("; ".join(f"{one.promise} {one.what}: {one.violations}" for one in found))

    def _cost(self, offices: Sequence[str], turns: Iterable[str], lanes: int) -> Cost:
        """Joins tickets for these offices, then serves those lanes, as far as it takes to decide as many."""
        redis, backends = _clock(self._stores.pids["redis"]), [_clock(pid) for pid in self._backends()]

        def spent() -> tuple[float, ...]:
            return tuple(
                sum(map(time.clock_gettime, of)) for of in ([redis], backends, [time.CLOCK_PROCESS_CPUTIME_ID])
            )

        # What a server does before, checks, hashes and seals, asks no store.
        requests, decided = list(self._askers.requests(offices, _MEASURED)), 0
        began = spent()
        self._askers.join(iter(requests), _JOIN)
        joined = spent()
        for office_id in turns:
            decided += self._drain.step(self._by_id, office_id, max_lanes=lanes)
            if decided >= _MEASURED:
                break
        decided += self._drain.flush(self._by_id)
        drained = spent()
        self.waiting += _MEASURED - decided
        parts = zip(began, joined, drained, strict=True)
        return Cost(*(1e6 * ((join - begin) / _MEASURED + (drain - join) / decided) for begin, join, drain in parts))

    def _backends(self) -> list[int]:
        """The Postgres processes that record."""
        query = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        return [pid for (pid,) in self.ledger.execute(query)]

    def _used_memory(self) -> int:
        memory: Any = self._redis.info("memory")
        return int(memory["used_memory"])


def _office(real: Office, copy: int) -> Office:
    return replace(real, daily_quota=_PLENTY, office_id=f"{real.office_id}-{copy}" if copy else real.office_id)


def _clock(pid: int) -> int:
    """The clock of the processor time of a process, as clock_getcpuclockid makes it: to the nanosecond, unlike /proc."""
    return (~pid << 3) | 2
