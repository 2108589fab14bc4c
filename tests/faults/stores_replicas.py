"""Faults of a Redis with replicas and sentinels: what was accepted survives the loss of any one of its machines."""

import asyncio
import signal
import time
from collections.abc import Sequence
from itertools import cycle, product

import psutil
import psycopg
import pytest

from clients.sdk.booking_client import RefusedError
from clients.sdk.calls import UNKNOWN
from tests.faults.fault import fault
from tests.faults.load import Load
from tests.faults.site import Site
from tests.support.waiting import until

_CUT = 5.0  # seconds: a failover and a while with two primaries
_LAG, _SECONDS = 0.2, 4.0
_steps = cycle(product(("decide", "record", "settle"), (False, True)))


@fault("Redis's primary killed (-9), a replica takes over", injections=5, replicas=2)
async def kill_the_primary(site: Site, load: Load) -> float:
    """Its clients find the new primary by the sentinels, and ask again for what was under way."""
    return await _kill(site, await site.mend_redis())


async def _kill(site: Site, name: str) -> float:
    site.redis_nodes.kill(name)
    return time.monotonic()


@fault("Redis's primary frozen, it wakes after the failover", injections=3, replicas=2)
async def freeze_the_primary(site: Site, load: Load) -> float:
    """When it wakes it takes itself for the primary, until the sentinels tell it otherwise: no replica acknowledges that."""
    old = await site.mend_redis()
    site.redis_nodes.freeze(old)
    began = time.monotonic()
    await asyncio.to_thread(site.redis_nodes.wait_for_failover, old)
    site.redis_nodes.resume(old)
    return began


@fault("Redis's primary cut off, with a server and a worker on its side", injections=3, quick=1, replicas=2)
async def cut_the_primary_off(site: Site, load: Load) -> float:
    """There are two primaries for a while. What is written to the old one is neither acknowledged nor recorded."""
    return await cut_off(site)


async def cut_off(site: Site, hasty: Sequence[str] = ()) -> float:
    """Cuts the primary off, with server-2 and worker-2 where the network is real. Returns when it did so.

    hasty: those of the two that have ANTRIAN_REPLICAS=0.
    """
    assert site.network
    old = await site.mend_redis()
    host = site.redis_nodes.host(old)
    if host.enter:
        for name in ("server-2", "worker-2"):
            await site.stop(name)
            site.hosts[name] = host
            await site.start(name, ANTRIAN_REPLICAS=str(int(name not in hasty)))
        await site.until_open()
    await asyncio.sleep(1)  # until people use that server again, too
    site.network.cut(host)
    began = time.monotonic()
    try:
        await asyncio.to_thread(site.redis_nodes.wait_for_failover, old)
        await asyncio.sleep(max(0.0, began + _CUT - time.monotonic()))
    finally:
        site.network.heal(host)
    return began


@fault("Redis's replicas late, again and again", injections=3, replicas=2)
async def delay_the_replicas(site: Site, load: Load) -> float:
    """Both are 0.2 s late at a time, less than scripts wait for them: everything takes longer and nothing is refused."""
    primary = await site.mend_redis()
    ends = time.monotonic() + _SECONDS
    while time.monotonic() < ends:
        _freeze_replicas(site, primary)
        await asyncio.sleep(_LAG)
        _resume(site)
        await asyncio.sleep(_LAG / 2)
    return time.monotonic()


def _freeze_replicas(site: Site, primary: str, most: int = 2) -> None:
    for name in [name for name in site.redis_nodes.children if name.startswith("redis") and name != primary][:most]:
        site.redis_nodes.freeze(name)


def _resume(site: Site) -> None:
    for name in site.redis_nodes.children:
        site.redis_nodes.resume(name)


@fault("one of Redis's replicas frozen", injections=3, replicas=2)
async def freeze_one_replica(site: Site, load: Load) -> float:
    """The other one is enough: everything goes on as before."""
    _freeze_replicas(site, await site.mend_redis(), most=1)
    ends = time.monotonic() + _SECONDS
    while time.monotonic() < ends:
        await asyncio.wait_for(load.follow(load.begin()), 3)
    _resume(site)
    return time.monotonic()


@fault("all of Redis's replicas frozen", injections=3, replicas=2)
async def freeze_all_replicas(site: Site, load: Load) -> float:
    """Nothing is accepted for certain and nothing is recorded, until one is back: then everything goes on where it was."""
    _freeze_replicas(site, await site.mend_redis())
    try:
        await asyncio.sleep(1)  # what replicas had acknowledged before is still recorded
        recorded = await _recorded(site)
        for client in load.clients:
            with pytest.raises(RefusedError) as refused:
                await client.send(load.begin().request)
            assert refused.value.code in UNKNOWN
        assert await _recorded(site) == recorded
    finally:
        _resume(site)
    mended = time.monotonic()
    await until(lambda: any(asked.ended > mended for asked in load.ended))
    for asked in [asked for asked in load.under_way if not asked.accepted]:
        await load.follow(asked)
    return mended


async def _recorded(site: Site) -> int:
    async with await psycopg.AsyncConnection.connect(site.stores.database_url) as ledger:
        found = await (await ledger.execute("select coalesce(sum(last_ticket), 0) from lane")).fetchone()
    return int(found[0]) if found else 0


@fault("two of Redis's primaries killed (-9), one after the other", injections=3, replicas=2)
async def kill_two_primaries(site: Site, load: Load) -> float:
    """The last one has everything, since it acknowledged it; it accepts nothing until a replica is back."""
    first = await site.mend_redis()
    site.redis_nodes.kill(first)
    second = await asyncio.to_thread(site.redis_nodes.wait_for_failover, first)
    site.redis_nodes.kill(second)
    await asyncio.to_thread(site.redis_nodes.wait_for_failover, second)
    site.redis_nodes.restart(second)
    mended = time.monotonic()
    site.redis_nodes.restart(first)
    return mended


@fault("a sentinel killed (-9), then Redis's primary", injections=3, replicas=2)
async def kill_a_sentinel_and_the_primary(site: Site, load: Load) -> float:
    """The other two sentinels are a majority: for the failover, and for who asks them where the primary is."""
    primary = await site.mend_redis()
    site.redis_nodes.kill("sentinel-1")
    return await _kill(site, primary)


@fault("Redis's old primary back at once after the failover", injections=3, replicas=2)
async def bring_the_old_primary_back(site: Site, load: Load) -> float:
    """It starts as a primary; a majority of the sentinels names the new one, so nobody writes to it."""
    old = await site.mend_redis()
    killed = await _kill(site, old)
    await asyncio.to_thread(site.redis_nodes.wait_for_failover, old)
    site.redis_nodes.restart(old)
    return killed


@fault("Redis's primary killed (-9) in the middle of a turn", injections=6, quick=1, replicas=2)
async def kill_the_primary_in_a_turn(site: Site, load: Load) -> float:
    """A worker that has decided, recorded or settled goes on with the new primary, during the failover or after it."""
    primary = await site.mend_redis()
    step, after = next(_steps)
    if "zombie" in site.programs:
        await site.stop("zombie")
    zombie = await site.start("zombie", "tests.faults.dying_worker", step, "STOP", keep=False)
    process = psutil.Process(zombie.child.process.pid)
    await until(lambda: process.status() == psutil.STATUS_STOPPED)
    try:
        killed = await _kill(site, primary)
        if after:
            await asyncio.to_thread(site.redis_nodes.wait_for_failover, primary)
    finally:
        process.send_signal(signal.SIGCONT)
    return killed
