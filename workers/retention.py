"""The daily erasure of personal data of past days, as the policy's `retention` says."""

import logging
import random
import threading
import uuid

import psycopg
from redis.exceptions import RedisError, ResponseError

from antrian.ledger import sql
from antrian.ledger.connection import CONNECT
from antrian.ledger.policies import ledger_policy
from antrian.policy import PolicyError
from antrian.redis_primary import connect
from antrian.settings import WorkerSettings

_KEY = "retention"
_DAY = 86_400
_LOOK_EVERY = 600.0
_BATCH = 500
_log = logging.getLogger(__name__)


class Retention:
    """Erases once a day. Of several supervisors, one does."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def run(self, stop: threading.Event) -> None:
        """Looks every ten minutes whether it is time, until stop is set."""
        while not stop.wait(_LOOK_EVERY * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter
            try:
                self.once(stop)
            except (RedisError, psycopg.Error, PolicyError, OSError) as problem:
                _log.warning("retention: failed, trying again in %g s: %s", _LOOK_EVERY, problem)
            except Exception:  # a bug must not end the later runs
                _log.exception("retention failed")

    def once(self, stop: threading.Event) -> int:
        """Erases what is due, unless that was done within a day. Returns the number of bookings. Raises what its stores raise.

        Afterwards Redis rewrites its log, which still has requests that were settled or refused since the last time.
        """
        with connect(self._settings.redis_url, socket_timeout=5) as redis:
            if not redis.set(_KEY, "1", nx=True, ex=_DAY):
                return 0
            done = False
            try:
                erased = self._erase(stop)
                done = not stop.is_set()
            finally:
                if not done:
                    redis.delete(_KEY)
            try:
                redis.bgrewriteaof()
            except ResponseError as error:  # it is rewriting it already, or has none
                _log.warning("retention: Redis does not rewrite its log now: %s", error)
        _log.info("retention: erased the personal data of %d bookings", erased)
        return erased

    def _erase(self, stop: threading.Event) -> int:
        total = 0
        with psycopg.connect(self._settings.database_url, autocommit=True, **CONNECT) as ledger:
            policy = ledger_policy(ledger)
            if policy is None:  # nobody has booked yet
                return 0
            for (office,) in ledger.execute(sql("lanes")).fetchall():
                if erased := self._erase_office(ledger, office, policy.personal_data_days, stop):
                    total += erased
                    _log.info("retention: %s is done, %d bookings so far", office, total)
        return total

    @staticmethod
    def _erase_office(ledger: psycopg.Connection, office: str, days: int, stop: threading.Event) -> int:
        total, erased = 0, _BATCH
        while erased == _BATCH and not stop.is_set():
            values = {"office": office, "days": days, "most": _BATCH, "action_id": uuid.uuid4()}
            [(erased,)] = ledger.execute(sql("erase_past"), values).fetchall()
            total += erased
        if total:
            ledger.execute(sql("mark_erased"), {"office": office})
        return total
