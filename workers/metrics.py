"""The workers' metrics, summed over all processes of a supervisor; docs/metrics.md explains each.

Each worker process counts into files below a folder that the supervisor creates, under its own name; a replacement keeps
the name of the worker that died, and so its counts. The supervisor serves the sums, and reads the lanes on each scrape.
"""

import collections
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from multiprocessing import current_process

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from antrian.booking import (
    DUPLICATE,
    KEPT,
    Cancel,
    CloseDate,
    Command,
    Decision,
    ExcuseNoShow,
    Follow,
    LateAttendance,
    LiftBar,
    SetQuota,
    State,
    StatusReason,
    UndoCheckIn,
)
from antrian.lane.consumer import LaneConsumer
from antrian.ledger import sql
from antrian.metrics_port import metrics_served
from antrian.settings import WorkerSettings

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
if _FOLDER in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: current_process().name)

TURN_TICKETS = Histogram(
    "antrian_turn_tickets",
    "Tickets settled by one step of a worker, over all lanes of the batch.",
    buckets=(0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
TURN_SECONDS = Histogram(
    "antrian_turn_seconds",
    "Duration of one step of a worker, which settles a batch and decides another while Postgres commits the one between.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5),
)
LEASES_LOST = Counter("antrian_leases_lost", "Turns abandoned because a newer consumer leased the lane.")
STORE_FAILURES = Counter("antrian_store_failures", "Failures of Redis or Postgres after which a worker backed off.")
JOBS_REFUSED = Counter("antrian_jobs_refused", "Jobs in RQ's Redis that were no shift: removed, not executed.")
COMMANDS_SETTLED = Counter("antrian_commands_settled", "Lane commands settled, by kind.", ["kind"])
_DECIDED = Counter("antrian_decided", "Tickets settled, by outcome.", ["outcome"])

_decided = {outcome: _DECIDED.labels(outcome) for outcome in (State.CONFIRMED, *StatusReason)}
_KINDS: dict[type[Command], str] = {
    Cancel: "CANCEL",
    SetQuota: "SET_QUOTA",
    CloseDate: "CLOSE_DATE",
    Follow: "FOLLOW",
    LiftBar: "LIFT_BAR",
    ExcuseNoShow: "EXCUSE_NO_SHOW",
    UndoCheckIn: "UNDO_CHECK_IN",
    LateAttendance: "LATE_ATTENDANCE",
}
for _kind in _KINDS.values():
    COMMANDS_SETTLED.labels(_kind)
_log = logging.getLogger(__name__)


def count_commands(entries: Sequence[Command]) -> None:
    """Counts a batch of lane commands by kind."""
    for entry in entries:
        COMMANDS_SETTLED.labels(_KINDS[type(entry)]).inc()


def count_decided(decisions: Sequence[Decision], results: str) -> None:
    """Counts a turn's tickets by the ledger's results; a ticket that a constraint refused counts as INTERNAL."""
    tally = collections.Counter(
        State.CONFIRMED if result == KEPT else decision.reason or StatusReason.INTERNAL
        for decision, result in zip(decisions, results, strict=True)
        if result != DUPLICATE  # its booking is counted at another ticket
    )
    for outcome, count in tally.items():
        _decided[outcome].inc(count)


class Lanes(Collector):
    """Reads the lanes on each scrape, and exports the results of this supervisor's last audit."""

    def __init__(self, settings: WorkerSettings, silent_for: Callable[[], Mapping[str, float]] = dict) -> None:
        self._settings = settings
        self._silent_for = silent_for
        self._offices: list[str] = []
        self._violations: Mapping[str, int] = {}
        self._examined: Mapping[str, int] = {}
        self._audited_at: float | None = None

    def show_audit(self, violations: Mapping[str, int], examined: Mapping[str, int]) -> None:
        """Exports these numbers of violations and examined items, by promise; empty when another supervisor audits."""
        self._violations, self._examined = violations, examined
        self._audited_at = time.time() if violations else None

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges; those of the lanes have no samples while Redis is unreachable."""
        waiting = GaugeMetricFamily("antrian_lane_waiting", "Tickets issued but not yet settled.", labels=["office"])
        oldest = GaugeMetricFamily(
            "antrian_lane_oldest_seconds", "Age of the oldest waiting ticket; 0 when none waits.", labels=["office"]
        )
        for office, (count, age) in self._depths().items():
            waiting.add_metric([office], count)
            oldest.add_metric([office], age.total_seconds())
        violations = GaugeMetricFamily(
            "antrian_violations", "Violations found by the last audit, by promise.", labels=["promise"]
        )
        examined = GaugeMetricFamily(
            "antrian_audit_examined", "Items examined by the last audit, by promise.", labels=["promise"]
        )
        for promise, count in self._violations.items():
            violations.add_metric([promise], count)
            examined.add_metric([promise], self._examined[promise])
        audited = GaugeMetricFamily("antrian_audit_timestamp_seconds", "Unix time at which the last audit ended.")
        if self._audited_at:
            audited.add_metric([], self._audited_at)
        silent = GaugeMetricFamily(
            "antrian_worker_silent_seconds", "Time since a worker process's last heartbeat.", labels=["worker"]
        )
        for worker, seconds in self._silent_for().items():
            silent.add_metric([worker], seconds)
        yield from (waiting, oldest, violations, examined, audited, silent)

    def _depths(self) -> dict[str, tuple[int, timedelta]]:
        try:
            with psycopg.connect(self._settings.database_url, autocommit=True, connect_timeout=2) as ledger:
                ledger.execute("set statement_timeout = '2s'")
                self._offices = [office for (office,) in ledger.execute(sql("lanes"))]
        except psycopg.Error as problem:  # the lanes known from an earlier scrape can still be read
            _log.warning("metrics: Postgres is unreachable: %s", problem)
        try:
            with closing(LaneConsumer(self._settings.redis_url)) as consumer:
                return consumer.depth(self._offices)
        except RedisError as problem:
            _log.warning("metrics: Redis is unreachable: %s", problem)
            return {}


@contextmanager
def served(settings: WorkerSettings, lanes: Lanes) -> Iterator[None]:
    """Serves the metrics of all worker processes that are started in this context; does nothing without metrics_listen.

    Raises RuntimeError when the port is not available.
    """
    with ExitStack() as undo:
        if settings.metrics_listen:
            folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="antrian-metrics-"))
            os.environ[_FOLDER] = folder
            undo.callback(os.environ.pop, _FOLDER)
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)
            registry.register(lanes)
            undo.enter_context(metrics_served(settings.metrics_listen, registry))
        yield
