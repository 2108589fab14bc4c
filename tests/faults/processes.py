"""Faults of our own processes: killed, stopped, frozen, doubled, off in time; and of what RQ knows of them."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import psutil
import psycopg
from rq import Queue
from rq.serializers import JSONSerializer

from antrian.lane.consumer import LEASE
from tests.faults.dying_worker import STEPS
from tests.faults.fault import fault
from tests.faults.load import Load
from tests.faults.site import SERVERS, WORKERS, Site
from tests.support.waiting import until
from workers import shift

_LEASE = LEASE.total_seconds()
_QUEUE = f"rq:queue:{shift.QUEUE}"
_FENCED = b"a newer consumer has the lane"
_steps = cycle(("record", "desk", *STEPS))  # the two that can do most harm first: the quick half has these
_zombie_steps, _skews = cycle(("decide", "record")), cycle(("10", "-10"))


@fault("worker killed (-9) at each step of a turn", injections=20, quick=2)
async def kill_a_worker_at_a_step(site: Site, load: Load) -> float:
    """Its lease runs out, the sweep marks its lane ready, and the next drainer is handed the same outbox."""
    dying = await site.start("dying", "tests.faults.dying_worker", next(_steps), keep=False)
    try:
        assert await site.ended(dying) == -signal.SIGKILL
        return time.monotonic()
    finally:
        await site.stop("dying")


@fault("all workers killed (-9) at once", injections=5, within=15)
async def kill_all_workers(site: Site, load: Load) -> float:
    """Nothing is decided until they are started again. Then everything continues."""
    everyone = [*(psutil.Process(site.programs[name].child.process.pid) for name in WORKERS), *site.worker_processes()]
    assert len(everyone) >= 2 * len(WORKERS)
    for process in everyone:
        process.kill()
    return time.monotonic()


@fault("workers stopped (SIGTERM)", injections=5, within=15)
async def terminate_workers(site: Site, load: Load) -> float:
    """Each finishes its turn, returns its lane and exits with 0 within ten seconds. No lease has to expire."""
    await _terminate(site, WORKERS)
    return time.monotonic()


@fault("server stopped (SIGTERM)", injections=5, quick=1)
async def terminate_a_server(site: Site, load: Load) -> float:
    """Calls in flight are completed, others are refused so that clients retry. It exits with 0 within ten seconds."""
    await _terminate(site, SERVERS[:1])
    return time.monotonic()


async def _terminate(site: Site, names: tuple[str, ...]) -> None:
    await site.until_open()  # one that has only begun to start is not asked, but ended
    processes = [site.programs[name].child.process for name in names]
    for process in processes:
        process.terminate()
    await until(lambda: all(process.poll() is not None for process in processes), 10)
    assert [process.returncode for process in processes] == [0] * len(processes)


@fault("server killed (-9) between join and response", injections=10)
async def kill_a_server_before_it_answers(site: Site, load: Load) -> float:
    """Redis has the ticket, but the caller got no response. Repeating the request_id returns the same booking."""
    await site.stop("server-2")
    dying = await site.start("server-2", "tests.faults.dying_server", keep=False)
    try:
        assert await site.ended(dying) == -signal.SIGKILL
        return time.monotonic()
    finally:
        await site.stop("server-2")
        await site.start("server-2")


@fault("worker frozen for longer than its lease", injections=6, quick=1)
async def freeze_a_worker(site: Site, load: Load) -> float:
    """Another takes its lane over; when it wakes in the middle of its turn it is fenced off, in Redis or in the ledger."""
    log = site.folder / "log/zombie.log"
    known = log.read_bytes().count(_FENCED) if log.exists() else 0
    zombie = await site.start("zombie", "tests.faults.dying_worker", next(_zombie_steps), "STOP", keep=False)
    try:
        process = psutil.Process(zombie.child.process.pid)
        await until(lambda: process.status() == psutil.STATUS_STOPPED)
        await asyncio.sleep(_LEASE + 2)  # another has had it for a while
        process.send_signal(signal.SIGCONT)
        woken = time.monotonic()
        await until(lambda: log.read_bytes().count(_FENCED) > known)
        return woken
    finally:
        await site.stop("zombie")


@fault("two workers in one lane", injections=3)
async def take_leases_away(site: Site, load: Load) -> float:
    """Leases vanish in the middle of turns: of two that drain a lane the older is fenced off, whatever step it is at."""
    known = _fenced(site)
    with site.redis() as redis, _slow_postgres(site, 0.05):  # so that a turn is long enough to be met
        ends = time.monotonic() + 2
        while time.monotonic() < ends or _fenced(site) < known + 3:
            assert time.monotonic() < ends + 10, "no drainer met another"
            for office in site.offices:
                lane = f"lane:{{{office.office_id}}}"
                if int(redis.hget(lane, "lease") or 0):
                    redis.hset(lane, "lease", 0)
                    redis.zadd("ready", {office.office_id: 0})  # so that the other takes this one next
            await asyncio.sleep(0.02)
    return time.monotonic()


@contextmanager
def _slow_postgres(site: Site, seconds: float) -> Iterator[None]:
    links = [site.links[name, "postgres"] for name in WORKERS]
    for link in links:
        link.delay = seconds
    try:
        yield
    finally:
        for link in links:
            link.delay = 0.0


def _fenced(site: Site) -> int:
    return sum((site.folder / f"log/{name}.log").read_bytes().count(_FENCED) for name in WORKERS)


@fault("RQ loses all its keys, repeatedly", injections=3)
async def delete_rq_keys(site: Site, load: Load) -> float:
    """A worker whose job is gone enqueues a new one, or exits and is restarted, within seconds."""
    with site.redis() as redis:
        ends = time.monotonic() + 1.2 * shift.LENGTH.total_seconds()  # so that every shift ends meanwhile
        while time.monotonic() < ends:
            for key in redis.scan_iter("rq:*", count=1000):
                redis.delete(key)
            await asyncio.sleep(0.2)
    return time.monotonic()


@fault("RQ jobs lost, late and duplicated", injections=3)
async def disturb_shifts(site: Site, load: Load) -> float:
    """Shifts are only chances to work: while there are none the lines wait, and too many of them change nothing."""
    late, lose = [], cycle((False, True))
    with site.redis() as redis:
        ends = time.monotonic() + 1.2 * shift.LENGTH.total_seconds()  # so that those that run end meanwhile
        while time.monotonic() < ends:
            # Who waits for a job gets it before a worker that looks for one.
            taken: Any = await asyncio.to_thread(redis.blpop, [_QUEUE], 1)
            late += [taken[1]] if taken and not next(lose) else []
        assert late, "no shift was to be had"
        redis.rpush(_QUEUE, *late)
        queue = Queue(shift.QUEUE, connection=redis, serializer=JSONSerializer)
        for _ in range(100):
            queue.enqueue(shift.JOB, job_timeout=30, result_ttl=0, failure_ttl=60)
    return time.monotonic()


@fault("server with its clock ten minutes off", injections=4)
async def skew_a_server(site: Site, load: Load) -> float:
    """Nobody notices, though by its clock the window is not open yet: Redis judges that."""
    await site.stop("server-2")
    await site.start("server-2", "tests.faults.skewed_server", next(_skews))
    try:
        await site.until_open()
        for _ in range(20):
            asked = load.begin(service_date=load.dates[-1].isoformat())
            assert (await load.clients[1].send(asked.request)).ticket  # the skewed one's answer
            await load.follow(asked)
    finally:
        await site.stop("server-2")
        await site.start("server-2")
    return time.monotonic()


@fault("ledger rows locked for longer than a lease", injections=3)
async def lock_lanes_in_the_ledger(site: Site, load: Load) -> float:
    """Records give up before their lease does; the other lanes go on, these when the lock is gone."""
    locked = [office.office_id for office in site.offices[:2]]
    async with await psycopg.AsyncConnection.connect(site.stores.database_url) as book:
        await book.execute("select from lane where office_id = any(%s) for update", [locked])
        await asyncio.sleep(_LEASE + 2)
        free = load.begin(site.offices[2].office_id)
        await asyncio.wait_for(load.follow(free), 10)
        await book.rollback()
        return time.monotonic()


@fault("everything killed, stores restarted last", injections=3, within=15)
async def start_stores_last(site: Site, load: Load) -> float:
    """Programs may start before their stores, and wait for them in whatever way; then all goes on where it was."""
    for name in (*SERVERS, *WORKERS):
        site.programs[name].child.process.kill()
    await site.kill_store("redis")
    await site.kill_store("postgres")
    await asyncio.sleep(4)  # until all programs have met that there are none
    await site.start_store("postgres")
    await asyncio.sleep(1)
    await site.start_store("redis")
    return time.monotonic()
