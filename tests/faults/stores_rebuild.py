"""Faults after which Redis lacks what the ledger knows, and of the rebuild that heals them."""

import asyncio
import json
import random
import shutil
import signal
import time
from contextlib import closing
from itertools import cycle
from typing import Any

import psutil

from antrian.lane.consumer import LaneConsumer
from antrian.v1.messages_pb2 import BOOKING_STATE_CANCELLED, BOOKING_STATE_CONFIRMED
from clients.sdk.booking_client import RefusedError
from clients.sdk.calls import UNKNOWN
from tests.faults.fault import fault
from tests.faults.load import Asked, Load
from tests.faults.site import Program, Site
from tests.support.waiting import until

_FAR = 0.01
_FENCED = b"a newer consumer has the lane"
_zombie_steps = cycle(("decide", "record", "desk"))
_rebuild_steps = cycle(
    (b"lanes closed", b"bars restored", b"")
)  # as it logs them; b"": when it has closed the last lane


@fault("Redis emptied (FLUSHALL), then rebuilt", injections=5, loses_undecided=True)
async def empty_redis(site: Site, load: Load) -> float:
    """No lane opens by itself; a rebuild brings back all that the ledger has, and only what was undecided is lost."""
    await _empty(site)
    began = time.monotonic()
    await _rebuild(site)
    return began


@fault(
    "a worker frozen in its turn resumes after Redis was emptied and rebuilt",
    injections=8,
    quick=1,
    loses_undecided=True,
)
async def wake_a_drainer_after_a_rebuild(site: Site, load: Load) -> float:
    """It has decided or recorded tickets of a Redis that is no more, and is fenced off, in Redis or in the ledger."""
    log = site.folder / "log/zombie.log"
    known = log.read_bytes().count(_FENCED) if log.exists() else 0
    zombie = await site.start("zombie", "tests.faults.dying_worker", next(_zombie_steps), "STOP", keep=False)
    process = psutil.Process(zombie.child.process.pid)
    try:
        await until(lambda: process.status() == psutil.STATUS_STOPPED)
        await _empty(site)
        began = time.monotonic()
        await _rebuild(site)
        process.resume()
        await until(lambda: log.read_bytes().count(_FENCED) > known)
        return began
    finally:
        process.resume()
        await site.stop("zombie")


@fault("Redis restored from an older log, then rebuilt", injections=5, loses_undecided=True)
async def restore_an_older_log(site: Site, load: Load) -> float:
    """Every lane closes with the first turn that does not follow the ledger, rather than guess; a rebuild heals them."""
    log, older = site.folder / "redis/appendonlydir", site.folder / "older"
    await asyncio.to_thread(shutil.copytree, log, older)
    ended = len(load.ended)
    await until(lambda: len(load.ended) > ended + 200)
    await site.kill_store("redis")
    shutil.rmtree(log)
    older.rename(log)
    await site.start_store("redis")
    asked = [asyncio.create_task(load.follow(load.begin(office.office_id))) for office in site.offices]
    await until(lambda: not _open_lanes(site))
    began = time.monotonic()
    await _rebuild(site)
    await asyncio.gather(*asked)
    return began


@fault("bookings cancelled during a rebuild", injections=5)
async def cancel_during_a_rebuild(site: Site, load: Load) -> float:
    """Each is cancelled once, before or after. With a whole Redis a rebuild finishes what waits, and loses nothing."""
    confirmed = [a for a in load.ended if a.outcome and a.outcome.state == BOOKING_STATE_CONFIRMED][-40:]
    assert len(confirmed) == 40
    rebuild = await _start(site, delay=_FAR)
    cancels = [asyncio.create_task(_cancel(load, asked, random.uniform(0, 2))) for asked in confirmed[:20]]
    await until(lambda: _open_lanes(site) < len(site.offices))
    cancels += [asyncio.create_task(_cancel(load, asked, random.uniform(0, 0.5))) for asked in confirmed[20:]]
    await asyncio.sleep(0.5)
    assert rebuild.child.process.poll() is None, "it was done before"
    _move(site, "rebuild", 0)
    began = time.monotonic()
    assert await site.ended(rebuild) == 0
    await asyncio.gather(*cancels)
    assert _done(site, "rebuild")["lost"] == 0
    return began


async def _cancel(load: Load, asked: Asked, after: float) -> None:
    assert asked.outcome is not None
    await asyncio.sleep(after)
    while True:
        try:
            booking = await random.choice(load.clients).cancel_booking(asked.outcome.booking_id, asked.request.account)
        except RefusedError as error:
            if error.code not in UNKNOWN:
                raise
        else:
            assert booking.state == BOOKING_STATE_CANCELLED
            return


@fault("a rebuild killed (-9) halfway, then run again", injections=8)
async def kill_a_rebuild(site: Site, load: Load) -> float:
    """Lanes that it had closed stay closed; the next one opens all, and with a whole Redis nothing is lost."""
    rebuild = await _start_to_the_middle(site)
    rebuild.child.process.kill()
    assert await site.ended(rebuild) == -signal.SIGKILL
    assert _open_lanes(site) < len(site.offices)
    began = time.monotonic()
    assert (await _rebuild(site))["lost"] == 0
    return began


@fault("two rebuilds at once", injections=5)
async def run_two_rebuilds(site: Site, load: Load) -> float:
    """At most one gets to the end, the other is fenced off; when each has fenced off the other, one is run again."""
    both = [await _start(site, name, _FAR) for name in ("rebuild", "rebuild-2")]
    codes = [await site.ended(rebuild, 30) for rebuild in both]
    assert set(codes) <= {0, 1}
    began = time.monotonic()
    if 0 not in codes:
        await _rebuild(site)
    return began


@fault("a rebuild frozen halfway resumes after another one", injections=8)
async def wake_a_rebuild_after_another(site: Site, load: Load) -> float:
    """It is fenced off and changes nothing: what was accepted since stays.

    One that froze between two words to Postgres may hold a row against the other, which says so and is run again.
    """
    frozen = await _start_to_the_middle(site)
    process = psutil.Process(frozen.child.process.pid)
    try:
        process.suspend()
        other = await _start(site, "rebuild-2")
        done = await site.ended(other, 30) == 0
        if done:
            assert _done(site, "rebuild-2")["lost"] == 0
            ended = len(load.ended)
            await until(lambda: len(load.ended) > ended + 100)
    finally:
        process.resume()
    woken = time.monotonic()
    assert await site.ended(frozen) == 1
    if not done:
        await _rebuild(site)
    return woken


async def _empty(site: Site) -> None:
    """Empties Redis; returns when the workers have closed every lane."""
    with site.redis() as redis:
        redis.flushall()
    with closing(LaneConsumer(site.stores.redis_url)) as consumer:

        def closed(office_id: str) -> bool:
            lane = consumer.audit(office_id)
            return lane.known and not lane.opened

        await until(lambda: all(closed(office.office_id) for office in site.offices))


def _open_lanes(site: Site) -> int:
    with closing(LaneConsumer(site.stores.redis_url)) as consumer:
        return sum(consumer.audit(office.office_id).opened for office in site.offices)


async def _rebuild(site: Site, name: str = "rebuild") -> dict[str, Any]:
    """Rebuilds; answers what it says of it."""
    assert await site.ended(await _start(site, name), 30) == 0
    return _done(site, name)


async def _start(site: Site, name: str = "rebuild", delay: float = 0) -> Program:
    """Starts a rebuild; with a delay, so far from its stores that it can be met at each of its steps."""
    rebuild = await site.start(name, "workers.rebuild", "--json", keep=False)
    _move(site, name, delay)
    return rebuild


async def _start_to_the_middle(site: Site) -> Program:
    """Starts a rebuild and returns a moment after one of its steps."""
    log, step = site.folder / "log/rebuild.log", next(_rebuild_steps)
    known = log.read_bytes().count(step) if log.exists() else 0
    rebuild = await _start(site, delay=_FAR)
    await until(lambda: not _open_lanes(site) and (not step or log.read_bytes().count(step) > known))
    await asyncio.sleep(random.choice((0, 0, 0.2)))
    assert rebuild.child.process.poll() is None, "it was done before"
    return rebuild


def _move(site: Site, name: str, delay: float) -> None:
    for store in ("redis", "postgres"):
        site.links[name, store].delay = delay


def _done(site: Site, name: str) -> dict[str, Any]:
    done: dict[str, Any] = json.loads((site.folder / f"log/{name}.log").read_text().splitlines()[-1])
    return done
