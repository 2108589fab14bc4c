"""Lanes with a backlog, and real workers who drain it: what tests/bench/drain.py measures of Antrian."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
from redis import Redis

from antrian.lane.consumer import LaneConsumer
from antrian.ledger.migrate import migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.local.child import Child
from antrian.local.embedded import EmbeddedStores
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from antrian.policy import load_policy
from antrian.settings import Settings
from tests.bench.askers import Askers
from tests.bench.site import BrokenPromiseError, check_stores
from tests.support.keys import key_variables, make_keys
from tests.support.window import window_to_come

WORKERS = 2
_PLENTY = 1_000_000  # places of an office and day: everybody gets one
_RQ = 1  # the database of the workers' RQ: what empties the lanes leaves it alone
_PACK, _PACKS = 256, 4  # requests of a join, joins under way
_LOOK_EVERY = 0.02
_WITHIN = 120.0


class Lanes:
    """All offices' lanes on these stores, with places for everybody, and two worker processes; a context manager.

    offices are their ids; settings say where the stores are.
    """

    def __init__(self, stores: EmbeddedStores) -> None:
        window = window_to_come()
        self._clock = window.opens_at + timedelta(minutes=1)
        self._offices = [replace(office, daily_quota=_PLENTY) for office in load_offices()]
        self.offices = [office.office_id for office in self._offices]
        self._environment = {
            "ANTRIAN_REDIS_URL": stores.redis_url,
            "ANTRIAN_RQ_REDIS_URL": f"{stores.redis_url}?db={_RQ}",
            "ANTRIAN_DATABASE_URL": stores.database_url,
            **key_variables(make_keys(secrets.token_bytes(32), secrets.token_bytes(32))),
            "ANTRIAN_EMBEDDED": "1",
            "ANTRIAN_WORKER_PROCESSES": "1",
            "ANTRIAN_AUDIT_SECONDS": "0",
            "ANTRIAN_LOG_LEVEL": "WARNING",
        }
        plain = {name.removeprefix("ANTRIAN_").lower(): value for name, value in self._environment.items()}
        self.settings = Settings.model_validate(plain)
        self._askers, self._recorded = Askers(self.settings, load_policy(), window), 0
        self._stores = stores
        self._workers: list[Child] = []
        self._undo = ExitStack()

    def __enter__(self) -> "Lanes":
        migrate(self._stores.database_url)
        with ExitStack() as undo:
            self._ledger = undo.enter_context(LedgerRecorder(self._stores.database_url))
            self._line = undo.enter_context(closing(LaneConsumer(self._stores.redis_url)))
            self._redis = undo.enter_context(closing(Redis.from_url(self._stores.redis_url)))
            self._ledger.upsert_offices(self._offices, load_provinces().values())
            self._ledger.set_clock(self._clock - datetime.now(UTC))
            for n in range(WORKERS):  # a supervisor each, so that each can be told to stand still
                self._workers.append(self._worker(n))
                undo.callback(self._workers[-1].stop)
                undo.callback(_go_on, self._workers[-1])  # who stands still cannot stop
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def empty(self) -> None:
        """Both stores as they were before anybody asked; returns when all lanes are open."""
        self._tell(self._workers, signal.SIGSTOP)
        with psycopg.connect(self._stores.database_url, autocommit=True) as ledger:
            # Not delete: a vacuum would note that the tables have no rows, and the workers plan by that.
            ledger.execute("truncate lane, slot, booking, applicant, bar, day_done restart identity cascade")
        self._redis.flushdb()
        self._line.set_clock(self._ledger.clock_ahead())
        self._ledger.upsert_offices(self._offices, load_provinces().values())
        self._recorded = 0
        self._tell(self._workers, signal.SIGCONT)
        ends = time.monotonic() + _WITHIN
        while not all(self._line.audit(office).opened for office in self.offices):
            if time.monotonic() > ends:
                raise TimeoutError(f"lanes were not open within {_WITHIN:g} s")
            time.sleep(_LOOK_EVERY)

    def drain(self, lanes: int, workers: int, tickets: int) -> float:
        """Returns the bookings per second that the workers decide and commit, of a backlog in that number of lanes."""
        offices = self.offices[:lanes]
        time.sleep(0.1)  # who has opened a lane gives it back
        self._tell(self._workers, signal.SIGSTOP)
        time.sleep(0.3)  # longer than they wait at Redis for a lane: nobody is handed one while he stands still
        self._askers.join(self._askers.requests(offices, tickets), _PACK, _PACKS)
        self._tell(self._workers[:workers], signal.SIGCONT)
        rate = paced(lambda: tickets - sum(waiting for waiting, _ in self._line.depth(offices).values()), tickets)
        self._tell(self._workers, signal.SIGCONT)
        self._recorded += tickets
        return rate

    def check(self) -> None:
        """That all since it was empty are CONFIRMED, and `antrian verify`. Raises BrokenPromise."""
        with psycopg.connect(self._stores.database_url) as ledger:
            query = "select count(*) from booking join applicant using (booking_id) where state = 'CONFIRMED' and live"
            recorded = ledger.execute(query).fetchone()
        if recorded != (self._recorded,):
            raise BrokenPromiseError(f"{self._recorded} were to be confirmed, of the ledger's are {recorded}")
        check_stores(self.settings)

    def _worker(self, n: int) -> Child:
        command = [sys.executable, "-P", "-m", "workers"]
        log = self._stores.folder / f"log/worker-{n}.log"
        environment = os.environ | self._environment
        return Child(f"worker {n}", command, log=log, lock=self._stores.lock, environment=environment, dies_by="TERM")

    @staticmethod
    def _tell(workers: Sequence[Child], what: signal.Signals) -> None:
        for worker in workers:
            worker.check()
            os.killpg(worker.process.pid, what)


def _go_on(worker: Child) -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGCONT)


def paced(done: Callable[[], int], of: int, still: Callable[[], object] = lambda: None) -> float:
    """How many are done a second between the first twentieth of them and the last: neither start nor end counts.

    done says how many there are by now, still raises when there will be no more.
    """
    looks, ends = [(0.0, 0)], time.monotonic() + _WITHIN
    while looks[-1][1] < of:
        if time.monotonic() > ends:
            raise TimeoutError(f"{looks[-1][1]} of {of} were done within {_WITHIN:g} s")
        time.sleep(_LOOK_EVERY)
        still()
        count = done()
        looks.append((time.monotonic(), count))
    middle = [look for look in looks if 0.05 * of <= look[1] <= 0.95 * of]
    (begins, first), (ended, last) = middle[0], middle[-1]
    return (last - first) / (ended - begins)
