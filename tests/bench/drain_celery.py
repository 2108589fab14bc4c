"""The Celery of tests/bench/drain.py: `celery --app tests.bench.drain_celery worker`; run as a program it fills the queue."""

import json
import os
import sys

from celery import Celery

from tests.bench.drain_job import REDIS, book

app = Celery(broker=os.environ.get(REDIS, "").replace("unix://", "redis+socket://").replace("?db=", "?virtual_host="))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
task = app.task(name="book")(book)

if __name__ == "__main__":
    for job in json.load(sys.stdin):
        task.delay(job)
