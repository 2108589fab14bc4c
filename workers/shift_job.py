"""The only job that workers take from RQ. Whoever can write to RQ's Redis must not get code of theirs executed."""

import json
import logging
import zlib
from collections.abc import Mapping

from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.queue import Queue

from workers import shift
from workers.metrics import JOBS_REFUSED

_CALL: list[object] = [shift.JOB, None, [], {}]  # function, instance, arguments, named arguments
_MOST_BYTES = 200
_OPTIONS = {
    "job_timeout": int(shift.LENGTH.total_seconds()) + 20,  # the watchdog
    "result_ttl": 0,
    "failure_ttl": 60,
}
_FIXED = {
    b"origin": shift.QUEUE.encode(),
    b"timeout": b"%d" % _OPTIONS["job_timeout"],
    b"result_ttl": b"%d" % _OPTIONS["result_ttl"],
    b"failure_ttl": b"%d" % _OPTIONS["failure_ttl"],
}
# What RQ only shows, or writes itself while the job runs.
_NOTES = {
    b"data", b"status", b"description", b"worker_name",
    b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat",
}  # fmt: skip
_log = logging.getLogger(__name__)


class RefusedJobError(NoSuchJobError):
    """The job in Redis is no shift. RQ goes on as if it did not exist."""


class ShiftJob(Job):
    """A job that is refused when it is read from Redis, unless it is exactly what `enqueue` writes.

    RQ calls any function that a job names, also as a callback, posts to its webhooks and follows its dependencies. So a
    field that shifts do not have is as unacceptable as another function. A refused job is counted, logged and removed.
    """

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Overrides how RQ reads a job. Raises RefusedJobError, or NoSuchJobError when there is none."""
        if b"data" in raw_data and not _is_shift(raw_data):
            self._refuse()
        try:
            super().restore(raw_data)
        except ValueError:  # one of the notes is none that RQ can read
            self._refuse()

    def _refuse(self) -> None:
        JOBS_REFUSED.inc()
        _log.error("refused and removed a job in RQ's Redis that is no shift: %.64r", self.id)
        self.connection.delete(self.key)
        raise RefusedJobError(self.id)


def enqueue(queue: Queue) -> None:
    """Adds a shift to the queue. Raises redis.RedisError."""
    queue.enqueue(shift.JOB, **_OPTIONS)


def _is_shift(fields: Mapping[bytes, bytes]) -> bool:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(fields[b"data"], _MOST_BYTES)  # never more, however much it holds
        call = json.loads(data) if stream.eof else None
    except (zlib.error, ValueError, RecursionError):
        return False
    given = {name: value for name, value in fields.items() if value and name not in _NOTES}
    return call == _CALL and given == _FIXED
