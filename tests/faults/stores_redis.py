"""Faults of Redis that take nothing of what it has answered: killed, frozen, full, without power."""

import asyncio
import os
import random
import secrets
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from antrian.v1.booking_service_pb2 import RequestBookingRequest
from clients.sdk.booking_client import RefusedError
from tests.faults.fault import fault
from tests.faults.load import Asked, Load
from tests.faults.site import WORKERS, Site
from tests.support.waiting import until

_BALLAST = 300_000  # keys: a log that takes a while to load
_PAIRS = 40
_SERVING, _NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@fault("Redis killed (-9) and restarted, LOADING for a while", injections=5, quick=1)
async def kill_redis(site: Site, load: Load) -> float:
    """While it is away and while it loads, health is NOT_SERVING and callers are told to ask again; then all goes on."""
    await asyncio.to_thread(_fill, site)
    await site.kill_store("redis")
    try:
        await _until_health(load, _NOT_SERVING)
    finally:
        starting = asyncio.create_task(site.start_store("redis"))
        await asyncio.gather(until(lambda: _is_loading(site)), starting)
    mended = time.monotonic()
    await _until_health(load, _SERVING)
    return mended


def _fill(site: Site) -> None:
    """Puts keys that nobody asks for into another database of Redis, in steps that delay nobody for long."""
    with Redis.from_url(site.stores.redis_url, db=1) as redis:
        step = redis.register_script("for i = ARGV[1], ARGV[2] do redis.call('SET', i, '') end")
        for first in range(int(redis.dbsize()), _BALLAST, 20_000):
            step(args=[first, first + 19_999])


def _is_loading(site: Site) -> bool:
    try:
        with site.redis() as redis:
            redis.ping()
    except BusyLoadingError:
        return True
    except RedisConnectionError:
        pass
    return False


async def _until_health(load: Load, status: int) -> None:
    """Returns when all servers have said that this is how they are."""
    for client in load.clients:
        watching = HealthStub(client.channel).Watch(HealthCheckRequest(), timeout=15)
        async for health in watching:
            if health.status == status:
                break
        watching.cancel()


@fault("Redis frozen for 5 s", injections=5)
async def freeze_redis(site: Site, load: Load) -> float:
    """Longer than a lease: who had a lane may find that another has it, and nobody knows of what was under way."""
    site.signal_store("redis", signal.SIGSTOP)
    try:
        await asyncio.sleep(5)
    finally:
        site.signal_store("redis", signal.SIGCONT)
    return time.monotonic()


@fault("Redis full (maxmemory) while workers start", injections=5, quick=1)
async def fill_redis(site: Site, load: Load) -> float:
    """Newcomers get STORE_FULL and when to come back, who was accepted gets his booking again, and all lines drain."""
    for name in WORKERS:
        await site.stop(name)
    with site.redis() as redis:
        try:
            await until(lambda: _waiting(site, redis) > 20)
            redis.config_set("maxmemory", redis.info("memory")["used_memory"] // 2)
            for name in WORKERS:
                await site.start(name)
            await _expect_full(load, next(asked for asked in load.under_way if asked.accepted))
            await until(lambda: not _waiting(site, redis), 20)
        finally:
            redis.config_set("maxmemory", 0)
            for name in WORKERS:
                if site.programs[name].child.process.poll() is not None:
                    await site.start(name)
    return time.monotonic()


def _waiting(site: Site, redis: Any) -> int:
    return sum(redis.xlen(f"queue:{{{office.office_id}}}") for office in site.offices)


async def _expect_full(load: Load, known: Asked) -> None:
    new = load.begin(service_date=load.dates[-1].isoformat())
    load.under_way.discard(new)  # who gives up
    for client in load.clients:
        with pytest.raises(RefusedError) as refused:
            await client.send(new.request)
        error = refused.value
        assert (error.reason, error.code) == ("STORE_FULL", grpc.StatusCode.UNAVAILABLE)
        assert error.retry_after == timedelta(seconds=30)
        assert (await client.send(known.request)).ticket


@fault("Redis lost power: its log ends within a command", injections=10, quick=1)
async def cut_power_of_redis(site: Site, load: Load) -> float:
    """What it answered is there (appendfsync always), what it had not yet answered may be gone, and half a command is.

    Nobody outside can see how far the disk was. So all answers are held back first, then a mark is written and
    answered: whatever anybody had heard of lies before the mark, on disk. After the mark the log is cut anywhere.
    """
    links = [link for (_, store), link in site.links.items() if store == "redis"]
    try:
        for link in links:
            link.black_hole(queries=False, replies=True)
        mark = secrets.token_hex(4).encode()
        with site.redis() as redis:
            redis.set("mark", mark)
        log = _log_of(site)
        safe = (await asyncio.to_thread(log.read_bytes)).rindex(mark) + len(mark) + 2
        await until(lambda: log.stat().st_size > safe + 1000)
        await site.kill_store("redis")
        os.truncate(log, random.randrange(safe, log.stat().st_size))
        await site.start_store("redis")
    finally:
        for link in links:
            link.heal()
    mended = time.monotonic()
    with site.redis() as redis:
        assert redis.getdel("mark") == mark
    return mended


def _log_of(site: Site) -> Path:
    """The file to which Redis writes now."""
    return max((site.folder / "redis/appendonlydir").glob("*.incr.aof"), key=lambda file: int(file.name.split(".")[2]))


@fault("one request_id sent to two offices at once", injections=5)
async def send_to_two_offices(site: Site, load: Load) -> float:
    """Exactly one of the two is accepted, at whatever server; the other is REQUEST_ID_REUSED, also when repeated."""
    began = time.monotonic()
    asked = [load.begin(site.offices[0].office_id) for _ in range(_PAIRS)]
    await asyncio.gather(*(_race(load, one, site.offices[1].office_id) for one in asked))
    await asyncio.gather(*(load.follow(one) for one in asked))
    return began


async def _race(load: Load, asked: Asked, other_office: str) -> None:
    twin = RequestBookingRequest()
    twin.CopyFrom(asked.request)
    twin.office_id = other_office
    requests, winners = random.sample([asked.request, twin], 2), list[RequestBookingRequest]()
    for _ in range(2):
        responses = await asyncio.gather(
            *(client.send(request) for client, request in zip(load.clients, requests, strict=True)),
            return_exceptions=True,
        )
        refused = [response.reason for response in responses if isinstance(response, RefusedError)]
        assert refused == ["REQUEST_ID_REUSED"], responses
        winners += [
            r for r, response in zip(requests, responses, strict=True) if not isinstance(response, BaseException)
        ]
        requests.reverse()  # now each asks the other server
    assert winners[0] is winners[1]
    asked.request, asked.accepted = winners[0], True
