"""One RQ worker process: enqueues a shift and works in burst mode, repeatedly, until it is signalled to stop.

RQ's Redis is not trusted: what is written there can neither execute anything but a shift nor stop a worker.
"""

import logging
import sys
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized

from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from antrian.booking import Policy
from antrian.logs import log_to_stderr
from antrian.process import die_with_parent, freeze_heap, hide_memory
from antrian.redis_primary import connect
from antrian.settings import WorkerSettings
from workers import shift
from workers.shift_job import ShiftJob, enqueue

_log = logging.getLogger(__name__)


class ShiftWorker(SimpleWorker):
    """An RQ worker whose running shift ends after its current step on SIGTERM or SIGINT. It executes shifts only."""

    job_class = ShiftJob
    stopping = False
    connection_timeout = 2  # RQ's default lets a black-holed network block the worker for minutes

    def handle_warm_shutdown_request(self) -> None:
        """Signals the running shift to end; RQ then waits for it."""
        ShiftWorker.stopping = True

    def subscribe(self) -> None:
        """Overrides how RQ takes commands from Redis (shutdown, kill-horse, stop-job): it takes none."""


def run(settings: WorkerSettings, policy: Policy, heartbeat: Callable[[], None] = lambda: None) -> None:
    """Works shifts until SIGTERM, without RQ while RQ's Redis fails."""
    shift.init_worker(settings, policy, lambda: ShiftWorker.stopping, heartbeat)
    freeze_heap()
    queue = Queue(
        shift.QUEUE,
        connection=connect(settings.rq_redis_url, socket_timeout=2),
        serializer=JSONSerializer,
        job_class=ShiftJob,
    )
    try:
        while not ShiftWorker.stopping:
            try:
                if queue.is_empty():
                    enqueue(queue)
                worker = ShiftWorker([queue], connection=queue.connection, serializer=JSONSerializer)
                if not worker.work(burst=True, logging_level="WARNING") and not ShiftWorker.stopping:
                    _log.info("no job from RQ (another worker took it, or RQ is suspended), working without RQ")
                    shift.work()
            except RedisError as problem:
                # A full Redis accepts no jobs, but lanes can be drained, which frees memory.
                _log.warning("RQ's Redis failed, working without RQ: %s", problem)
                shift.work()
    except StopRequested:
        pass


def main(settings: WorkerSettings, policy: Policy, last_heartbeat: "Synchronized[float]") -> None:
    """Runs a worker process; exits with 1 when an error ended it, so that the supervisor starts another.

    last_heartbeat: receives the time (time.monotonic) of each heartbeat.
    """
    die_with_parent()
    hide_memory()
    log_to_stderr(settings.log_level)

    def heartbeat() -> None:
        last_heartbeat.value = time.monotonic()

    try:
        run(settings, policy, heartbeat)
    except Exception:
        _log.exception("worker died")
        sys.exit(1)
