"""The periodic audit: checks the promises against the live stores, and logs violations."""

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping

import psycopg
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from antrian.audit.heads import append_head, read_heads, signing_key
from antrian.audit.verify import verify
from antrian.ledger.chain import extend_chain, has_link
from antrian.ledger.connection import CONNECT
from antrian.redis_primary import connect
from antrian.settings import WorkerSettings

_KEY = "audit"
_log = logging.getLogger(__name__)


class Audit:
    """Audits every audit_seconds. Of several supervisors, one audits in each period.

    show: called after each audit with the number of violations and of examined items, by promise; both are empty when
    another supervisor audits.
    """

    def __init__(self, settings: WorkerSettings, show: Callable[[Mapping[str, int], Mapping[str, int]], None]) -> None:
        self._settings = settings
        self._show = show
        self._clean = False

    def run(self, stop: threading.Event) -> None:
        """Audits until stop is set; returns at once when audit_seconds is 0.

        The first audit runs after a full period, because lanes open only after the workers have started.
        """
        period = self._settings.audit_seconds
        while period and not stop.wait(period * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter
            try:
                self.once()
            except (RedisError, psycopg.Error, PoolTimeout, OSError) as problem:
                _log.warning("audit: a store failed, trying again in %g s: %s", period, problem)
            except Exception:  # a bug in one audit must not end the later ones
                _log.exception("audit failed")

    def once(self) -> None:
        """Audits once, unless another supervisor has done so in this period. Raises what verify raises."""
        if not self._my_turn():
            self._show({}, {})
            return
        self._extend_chain()
        violations, examined = Counter[str](), Counter[str]()
        for check in verify(self._settings, whole=False):
            violations[check.promise] += check.violations
            examined[check.promise] += check.examined
            if check.violations:
                first = f" ({check.first})" if check.first else ""
                _log.error(
                    "violation of %s: %s: %d of %d%s",
                    check.promise, check.what, check.violations, check.examined, first,
                )  # fmt: skip
        self._show(violations, examined)
        if not self._clean and not violations.total():
            _log.info("audit: all promises hold")
        self._clean = not violations.total()

    def _extend_chain(self) -> None:
        """Adds links to the hash chain, and signs the newest one, unless the chain is not the one that was signed before."""
        key, file = signing_key(self._settings), self._settings.heads_file
        with psycopg.connect(self._settings.database_url, autocommit=True, **CONNECT) as ledger:
            heads = list(read_heads(file, key.public_key())) if key and file else []
            if heads and not has_link(ledger, heads[-1].link, heads[-1].hash):
                _log.error(
                    "audit: the hash chain lacks the head that was signed last; signing no other, see antrian verify"
                )
                return
            newest = extend_chain(ledger)
        if key and file and newest and (not heads or heads[-1].link < newest.number):
            append_head(file, key, newest.number, newest.hash)
            _log.info("audit: signed head %d of the hash chain: %s", newest.number, newest.hash.hex())

    def _my_turn(self) -> bool:
        # Shorter than the shortest pause, so that the same supervisor may audit in the next period, too.
        hold_ms = max(1, int(self._settings.audit_seconds * 800))
        with connect(self._settings.redis_url, socket_timeout=5) as redis:
            return bool(redis.set(_KEY, "1", nx=True, px=hold_ms))
