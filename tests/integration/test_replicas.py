"""Lanes on a Redis with replicas: nothing is acknowledged, reported or recorded that the loss of one machine could undo."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from antrian.booking import Turn
from antrian.errors import AntrianError, Reason
from antrian.lane import NotReplicatedError, producer, script
from antrian.lane.config_check import UnsupportedRedisError
from antrian.lane.producer import TICKETS_LOST, Joined, JoinResult, Known, Refused
from antrian.local.child import hold
from antrian.local.replicated_redis import ReplicatedRedis
from antrian.redis_primary import connect, parse_redis_url
from tests.support.waiting import until
from tests.support.world import PUSAT, World, empty_ledger

LANE = f"lane:{{{PUSAT}}}"
_WITHIN = 15


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedRedis]:
    folder = tmp_path_factory.mktemp("replicated")
    with hold(folder) as lock, ReplicatedRedis(folder, lock) as started:
        yield started


@pytest.fixture
async def world(replicated: ReplicatedRedis, database_url: str) -> AsyncIterator[World]:
    for name in replicated.children:
        replicated.resume(name)
    replicated.wait_until_whole()
    with connect(replicated.url) as redis:
        redis.flushall()
    empty_ledger(database_url)
    async with World(replicated.url, database_url, replicas=1) as started:
        yield started
    for name in replicated.children:
        replicated.resume(name)


def freeze_replicas(replicated: ReplicatedRedis) -> list[str]:
    primary = replicated.primary()
    names = [name for name in replicated.children if name.startswith("redis") and name != primary]
    for name in names:
        replicated.freeze(name)
    return names


def resume(replicated: ReplicatedRedis, names: list[str]) -> None:
    for name in names:
        replicated.resume(name)
    replicated.wait_until_whole()


async def test_no_ticket_is_acknowledged_or_reported_before_a_replica_has_it(
    world: World, replicated: ReplicatedRedis
) -> None:
    frozen = freeze_replicas(replicated)
    request = world.request(1)
    with pytest.raises(NotReplicatedError, match="0 of the 1 replicas"):
        await world.producer.join(request)
    assert world.redis.hget(LANE, "ticket") == b"1", "the request is in its queue, though nobody may know yet"
    with pytest.raises(NotReplicatedError):
        await world.producer.look(request.booking_id)
    with pytest.raises(NotReplicatedError):
        await world.producer.join(request)
    resume(replicated, frozen)
    assert await world.producer.join(request) == Known()
    waiting = await world.producer.look(request.booking_id)
    assert waiting is not None
    assert waiting.ticket == 1


async def test_a_primary_without_replicas_does_not_say_what_it_lacks(world: World, replicated: ReplicatedRedis) -> None:
    """It may have been replaced, and the new one may know the request."""
    assert isinstance(await world.producer.join(world.request(1)), Joined)
    frozen = freeze_replicas(replicated)
    with pytest.raises(NotReplicatedError):
        await world.producer.look(world.request(2).booking_id)
    with pytest.raises(NotReplicatedError):
        await world.producer.owned(world.request(2).owner)
    with pytest.raises(NotReplicatedError):
        await world.producer.join(replace(world.request(2), refusal=AntrianError(Reason.DATE_NOT_OFFERED)))
    resume(replicated, frozen)
    assert await world.producer.look(world.request(2).booking_id) is None


async def test_a_decision_is_recorded_only_after_a_replica_has_it(world: World, replicated: ReplicatedRedis) -> None:
    assert isinstance(await world.producer.join(world.request(1)), Joined)
    lease = world.take()
    frozen = freeze_replicas(replicated)
    for _ in range(2):  # the second time it is handed out again, which writes nothing
        with pytest.raises(NotReplicatedError):
            world.consumer.decide([lease], 10)
    resume(replicated, frozen)
    [decided] = world.consumer.decide([lease], 10)
    assert isinstance(decided, Turn)
    assert [decision.ticket for decision in decided.decisions] == [1]


async def test_an_acknowledged_ticket_survives_a_killed_primary(world: World, replicated: ReplicatedRedis) -> None:
    first = world.request(1)
    assert isinstance(await world.producer.join(first), Joined)
    old = replicated.primary()
    replicated.kill(old)
    replicated.wait_for_failover(old)

    joined: JoinResult | None = None
    ends = time.monotonic() + _WITHIN
    while not joined and time.monotonic() < ends:
        with suppress(RedisError):
            joined = await world.producer.join(world.request(2))
    assert isinstance(joined, Joined | Known)
    waiting = await world.producer.look(first.booking_id)
    assert waiting is not None
    assert waiting.ticket == 1
    lease = world.take()
    assert [decision.ticket for decision in world.decide(lease)] == [1, 2]
    replicated.restart(old)
    replicated.wait_until_whole(within=30)


async def test_a_lane_whose_acknowledged_tickets_are_lost_is_quarantined(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.request(1)
    assert isinstance(await world.producer.join(first), Joined)
    lost = TICKETS_LOST._value.get()
    world.redis.hset(LANE, "ticket", 0)  # what a promoted replica has that never got the ticket
    world.redis.delete(f"queue:{{{PUSAT}}}", f"requests:{first.booking_id.hex[:3]}")
    for client in world.redis.client_list():
        if client["id"] != str(world.redis.client_id()):
            world.redis.client_kill_filter(_id=client["id"])
    with caplog.at_level(logging.CRITICAL):
        refused = await world.producer.join(world.request(2))
    assert isinstance(refused, Refused)
    assert refused.reason == "LANE_CLOSED"
    assert f"Redis lost acknowledged tickets: {PUSAT}, up to ticket 1" in caplog.text
    assert TICKETS_LOST._value.get() == lost + 1


async def test_replicas_with_other_settings_are_refused(world: World, replicated: ReplicatedRedis) -> None:
    await world.producer.check_config(2)
    primary = replicated.primary()
    name = next(n for n in replicated.children if n.startswith("redis") and n != primary)
    with replicated.client(name) as replica:
        replica.config_set("appendfsync", "everysec")
        try:
            with pytest.raises(UnsupportedRedisError, match=r"replica .* appendfsync is everysec, must be always"):
                await world.producer.check_config(2)
        finally:
            replica.config_set("appendfsync", "always")


@pytest.mark.parametrize(
    "url", ["redis+sentinel://h:26379/", "redis+sentinel://h:x/antrian/0", "redis+sentinel:///antrian/0"]
)
def test_an_incomplete_sentinel_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sentinel|service"):
        parse_redis_url(url)


async def test_a_minority_of_sentinels_is_not_believed(replicated: ReplicatedRedis) -> None:
    for name in ("sentinel-1", "sentinel-2"):
        replicated.freeze(name)
    try:
        with connect(replicated.url) as redis, pytest.raises(RedisConnectionError, match="no majority"):
            redis.ping()
    finally:
        for name in ("sentinel-1", "sentinel-2"):
            replicated.resume(name)
    with connect(replicated.url) as redis:
        await until(lambda: _answers(redis), within=_WITHIN)


def _answers(redis: "Redis") -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _no_wait_in_looks(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.producer._look, "_replicas", 0)


def _no_wait_in_joins(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.producer._join, "_replicas", 0)


def _no_wait_in_decides(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.consumer, "_replicas", 0)


def _no_message_before_wait(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pipeline, "publish", lambda self, *_: self.ping())


def _no_witness(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(producer, "script", lambda name: "return {}" if name == "witness" else script(name))


@pytest.mark.parametrize(
    ("variant", "test"),
    [
        (_no_wait_in_looks, test_a_primary_without_replicas_does_not_say_what_it_lacks),
        (_no_wait_in_joins, test_no_ticket_is_acknowledged_or_reported_before_a_replica_has_it),
        (_no_wait_in_decides, test_a_decision_is_recorded_only_after_a_replica_has_it),
        (_no_message_before_wait, test_a_decision_is_recorded_only_after_a_replica_has_it),
    ],
)
async def test_a_variant_that_does_not_wait_is_caught(
    variant: Callable[[World, pytest.MonkeyPatch], None],
    test: Callable[[World, ReplicatedRedis], Awaitable[None]],
    world: World,
    replicated: ReplicatedRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variant(world, monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await test(world, replicated)


async def test_a_variant_without_a_witness_is_caught(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_witness(world, monkeypatch)
    with pytest.raises(AssertionError):
        await test_a_lane_whose_acknowledged_tickets_are_lost_is_quarantined(world, caplog)
