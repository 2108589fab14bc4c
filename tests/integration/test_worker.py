"""The program of the workers: what is in RQ's Redis neither stops the lanes nor executes anything but a shift."""

import json
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from tests.support.marks import VARIABLE, Mark
from tests.support.waiting import until
from tests.support.world import World
from workers import shift
from workers.shift_job import RefusedJobError, ShiftJob, enqueue

MARK = "tests.support.marks.mark"


@contextmanager
def workers(world: World, log: Path | None = None, **more: str) -> Iterator[None]:
    """`python -m workers` with one worker and no key, for this world."""
    settings = {
        "REDIS_URL": world.settings.redis_url, "DATABASE_URL": world.settings.database_url, "EMBEDDED": "1",
        "WORKER_PROCESSES": "1", "AUDIT_SECONDS": "0",
        "POLICY_FILE": str(world.settings.policy_file),
    }  # fmt: skip
    environment = os.environ | {f"ANTRIAN_{name}": value for name, value in settings.items()} | more
    with (
        Path(log or os.devnull).open("w") as output,
        subprocess.Popen([sys.executable, "-m", "workers"], env=environment, stderr=output) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


async def test_lanes_are_drained_while_rq_is_suspended_and_its_queue_does_not_grow(world: World) -> None:
    world.redis.set("rq:suspended", 1)
    request = world.request(1)
    await world.ticket(request)
    with workers(world):
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 60)
        await until(lambda: world.redis.llen("rq:queue:shifts"))
        await world.ticket(world.request(2))
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 60)
        assert world.redis.llen("rq:queue:shifts") == 1


async def test_lanes_are_drained_while_rqs_redis_answers_with_errors(world: World) -> None:
    world.redis.set("rq:queue:shifts", "no list")
    request = world.request(1)
    await world.ticket(request)
    with workers(world):
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 60)


def shifts(redis: "Redis") -> Queue:
    """The queue that workers listen on, as anybody can open it who reaches the Redis."""
    return Queue(shift.QUEUE, connection=redis, serializer=JSONSerializer)


def command(redis: "Redis", mark: Path) -> Job:
    return shifts(redis).enqueue("os.system", f"touch {mark}")


def expression(redis: "Redis", mark: Path) -> Job:
    return shifts(redis).enqueue("builtins.eval", f"open({str(mark)!r}, 'w')")


def callback(redis: "Redis", mark: Path) -> Job:
    return shifts(redis).enqueue(shift.JOB, on_failure=Callback(MARK))


def abandoned(redis: "Redis", mark: Path) -> Job:
    """A job that seems to have been left by a worker that died: maintenance calls its callback."""
    job = shifts(redis).create_job(shift.JOB, on_failure=Callback(MARK), status=JobStatus.STARTED)
    job.save()
    redis.zadd("rq:wip:shifts", {f"{job.id}:execution": 1})
    return job


def pickled(redis: "Redis", mark: Path) -> Job:
    """A shift whose note is unpickled by a worker that uses RQ's default serializer."""
    job = shifts(redis).enqueue(shift.JOB, job_timeout=30, result_ttl=0, failure_ttl=60)
    redis.hset(job.key, mapping={"meta": pickle.dumps(Mark())})
    return job


Attack = Callable[["Redis", Path], Job]
ATTACKS: list[Attack] = [command, expression, callback, abandoned, pickled]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_worker_executes_nothing_but_shifts(world: World, tmp_path: Path, attack: Attack) -> None:
    mark, log = tmp_path / "mark", tmp_path / "log"
    job = attack(world.redis, mark)
    request = world.request(1)
    await world.ticket(request)
    with workers(world, log, **{VARIABLE: str(mark)}):
        await until(lambda: not world.redis.exists(job.key), 60)
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 60)
    assert not mark.exists()
    assert f"refused and removed a job in RQ's Redis that is no shift: '{job.id}'" in log.read_text()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_worker_as_rq_ships_it_executes_the_attack(redis_url: str, tmp_path: Path, attack: Attack) -> None:
    mark = tmp_path / "mark"
    with Redis.from_url(redis_url) as redis:
        attack(redis, mark)
    serializer = "pickle" if attack is pickled else "json"
    subprocess.run(
        [sys.executable, "-m", "rq.cli", "worker", "--burst", "--serializer", serializer, "--worker-class",
         "rq.SimpleWorker", "--url", redis_url, shift.QUEUE],
        env=os.environ | {VARIABLE: str(mark)}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert mark.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", zlib.compress(json.dumps([shift.JOB, None, ["more"], {}]).encode())),
        ("data", zlib.compress(b" " * 100_000_000)),
        ("data", json.dumps([shift.JOB, None, [], {}])),
        ("data", pickle.dumps(Mark())),
        ("timeout", "1"),
        ("origin", "others"),
        ("success_callback_name", MARK),
        ("stopped_callback_name", MARK),
        ("webhooks", '[{"url": "http://127.0.0.1:1/"}]'),
        ("dependency_ids", '["another"]'),
        ("group_id", "group"),
        ("rate_limit_key", "slow"),
        ("repeats_left", "1000"),
        ("result", pickle.dumps(Mark())),
        ("status", "unheard-of"),
        ("what_a_later_rq_may_follow", "1"),
    ],
)
def test_a_job_that_differs_from_a_shift_is_refused_and_removed(redis_url: str, field: str, value: str) -> None:
    with Redis.from_url(redis_url) as redis:
        queue = Queue(shift.QUEUE, connection=redis, serializer=JSONSerializer, job_class=ShiftJob)
        enqueue(queue)
        [job_id] = queue.job_ids
        assert ShiftJob.fetch(job_id, redis, JSONSerializer).func_name == shift.JOB
        redis.hset(f"rq:job:{job_id}", field, value)
        with pytest.raises(RefusedJobError):
            ShiftJob.fetch(job_id, redis, JSONSerializer)
        with pytest.raises(NoSuchJobError):
            Job.fetch(job_id, redis, JSONSerializer)


async def test_a_worker_takes_no_commands_from_redis(world: World) -> None:
    with workers(world):
        await until(lambda: world.redis.smembers("rq:workers"), 60)
        await until(lambda: world.redis.zcard("rq:wip:shifts"), 60)
        assert not world.redis.pubsub_channels("rq:*")
