"""A Redis that would lose what was accepted, or has no room for what may wait, is refused."""

from typing import Any

import pytest

from antrian.lane.config_check import WAITING_BYTES, UnsupportedRedisError
from tests.support.world import World


async def test_a_correctly_configured_redis_passes(world: World) -> None:
    await world.producer.check_config(2)


@pytest.mark.parametrize(
    ("setting", "weak", "right"),
    [
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ],
)
async def test_a_setting_that_may_lose_data_is_named(world: World, setting: str, weak: str, right: str) -> None:
    world.redis.config_set(setting, weak)
    try:
        with pytest.raises(UnsupportedRedisError, match=f"^{setting} is {weak}, must be {right}$"):
            await world.producer.check_config(2)
    finally:
        world.redis.config_set(setting, right)


async def test_the_lane_bounds_must_fit_into_maxmemory(world: World) -> None:
    needed = 2 * world.policy.lane_bound * WAITING_BYTES
    world.redis.config_set("maxmemory", needed)
    try:
        await world.producer.check_config(2)
        with pytest.raises(UnsupportedRedisError, match=r"maxmemory is .* 3 offices with 1000 waiting requests each"):
            await world.producer.check_config(3)
    finally:
        world.redis.config_set("maxmemory", 0)
    with pytest.raises(UnsupportedRedisError, match="its machine has"):
        await world.producer.check_config(10**9)


async def test_a_waiting_request_takes_no_more_memory_than_estimated(world: World) -> None:
    count, before = 200, used(world)
    for n in range(count):
        await world.ticket(world.request(n + 1, range(5 * n + 1, 5 * n + 6)))
    assert (used(world) - before) / count < 2 * WAITING_BYTES  # of few requests: buckets hold little yet


def used(world: World) -> int:
    memory: Any = world.redis.info("memory")
    return int(memory["used_memory"])
