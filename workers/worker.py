"""One RQ worker process: puts a shift in and works in burst mode, again and again, until it is told to stop."""

import logging
import sys
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized

from redis import Redis
from redis.exceptions import OutOfMemoryError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from antrian.booking import Policy
from antrian.logs import log_to_stderr
from antrian.process import die_with_parent, freeze_heap
from antrian.settings import Settings
from workers import shift

_log = logging.getLogger(__name__)


class ShiftWorker(SimpleWorker):
    """A worker whose running shift ends after its turn when SIGTERM or SIGINT comes."""

    stopping = False
    connection_timeout = 2  # RQ would wait for minutes for a network that swallows what is sent

    def handle_warm_shutdown_request(self) -> None:
        """RQ waits for the job; this tells the job."""
        ShiftWorker.stopping = True


def run(settings: Settings, policy: Policy, heartbeat: Callable[[], None] = lambda: None) -> None:
    """Works shifts until SIGTERM. Raises redis.RedisError when RQ's Redis fails: the supervisor starts it again."""
    shift.init_worker(settings, policy, lambda: ShiftWorker.stopping, heartbeat)
    freeze_heap()
    queue = Queue(
        shift.QUEUE, connection=Redis.from_url(settings.rq_redis_url, socket_timeout=2), serializer=JSONSerializer
    )
    watchdog = int(shift.LENGTH.total_seconds()) + 20
    try:
        while not ShiftWorker.stopping:
            try:
                if queue.is_empty():
                    queue.enqueue(shift.JOB, job_timeout=watchdog, result_ttl=0, failure_ttl=60)
                worker = ShiftWorker([queue], connection=queue.connection, serializer=JSONSerializer)
                if not worker.work(burst=True, logging_level="WARNING") and not ShiftWorker.stopping:
                    _log.info("RQ has given no job (another worker took it, or RQ is suspended), working without it")
                    shift.work()
            except OutOfMemoryError as problem:
                # A full Redis takes no jobs, but lanes can be drained, which makes room.
                _log.warning("RQ has no room, working without it: %s", problem)
                shift.work()
    except StopRequested:
        pass


def main(settings: Settings, policy: Policy, last_beat: "Synchronized[float]") -> None:
    """The whole life of a worker process; exits 1 when something ended it, so that it is started again.

    last_beat: where it writes the time (time.monotonic) while it gets on.
    """
    die_with_parent()
    log_to_stderr(settings.log_level)

    def heartbeat() -> None:
        last_beat.value = time.monotonic()

    try:
        run(settings, policy, heartbeat)
    except Exception:
        _log.exception("worker died")
        sys.exit(1)
