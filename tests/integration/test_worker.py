"""The program of the workers: what RQ does does not stop the lanes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.waiting import until
from tests.support.world import World


@contextmanager
def workers(world: World) -> Iterator[None]:
    """`python -m workers` with one worker and no key, for this world."""
    settings = {
        "REDIS_URL": world.settings.redis_url, "DATABASE_URL": world.settings.database_url, "EMBEDDED": "1",
        "WORKER_PROCESSES": "1", "AUDIT_SECONDS": "0",
        "POLICY_FILE": str(world.settings.policy_file),
    }  # fmt: skip
    environment = os.environ | {f"ANTRIAN_{name}": value for name, value in settings.items()}
    with subprocess.Popen([sys.executable, "-m", "workers"], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


async def test_lanes_are_drained_while_rq_is_suspended_and_its_queue_does_not_grow(world: World) -> None:
    world.redis.set("rq:suspended", 1)
    request = world.request(1)
    await world.ticket(request)
    with workers(world):
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 15)
        await until(lambda: world.redis.llen("rq:queue:shifts"))
        await world.ticket(world.request(2))
        await until(lambda: world.consumer.audit(request.office_id).waiting == 0, 15)
        assert world.redis.llen("rq:queue:shifts") == 1
