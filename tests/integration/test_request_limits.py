"""Limits on what asks for places, over all servers: limits.lua. The tests ask as brokers do, from many accounts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from antrian.booking import RequestLimit, RequestLimits, Slot
from antrian.errors import Reason
from antrian.lane.producer import Joined, JoinRequest, Known, LaneProducer, Refused
from tests.support.limits import ANY
from tests.support.world import OPENS, TUESDAY, World


@pytest.fixture
async def world(redis_url: str, database_url: str) -> AsyncIterator[World]:
    """A world with many places."""
    async with World(redis_url, database_url, places=1000) as made:
        yield made


def limit(world: World, **limits: RequestLimit) -> None:
    """Sets these limits, and no others."""
    _set(world.producer, world, RequestLimits(**{"account": ANY, "device": ANY, "address": ANY} | limits))


def _set(producer: LaneProducer, world: World, limits: RequestLimits) -> None:
    policy = world.policy
    producer.set_bounds(
        lane_bound=1000,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=limits,
        remembered=policy.remembered,
    )


def broker(world: World, number: int, device: str = "", prefix: str = "") -> JoinRequest:
    """A request of one of a broker's many accounts, for five people of its own."""
    request = world.request(number, range(5 * number, 5 * number + 5))
    origin = [world.keys.asker("d", device)] * bool(device) + [world.keys.asker("p", prefix)] * bool(prefix)
    return replace(request, origin=b"".join(origin))


async def outcomes(world: World, requests: list[JoinRequest]) -> Counter[str]:
    """What became of these requests, sent at once."""
    results = await asyncio.gather(*map(world.join, requests))
    return Counter(result.reason if isinstance(result, Refused) else type(result).__name__ for result in results)


async def test_many_accounts_of_one_device_get_what_one_family_may_ask_for(world: World) -> None:
    brokers = [broker(world, n, device="phone") for n in range(1, 101)]
    limit(world, device=RequestLimit(10, 10))
    assert await outcomes(world, brokers) == {"Joined": 10, "DEVICE_RATE_LIMITED": 90}
    limit(world)
    assert await outcomes(world, brokers) == {"Known": 10, "Joined": 90}, "without the limit they get all they ask for"


async def test_an_address_prefix_is_limited_over_devices_and_accounts(world: World) -> None:
    limit(world, device=RequestLimit(10, 10), address=RequestLimit(30, 60))
    requests = [broker(world, n, f"phone-{n % 50}", "203.0.113.0/24") for n in range(1, 101)]
    assert await outcomes(world, requests) == {"Joined": 30, "ADDRESS_RATE_LIMITED": 70}
    assert isinstance(await world.join(broker(world, 200, "phone-1", "198.51.100.0/24")), Joined)


async def test_an_account_is_limited_wherever_it_asks_from(world: World) -> None:
    limit(world, account=RequestLimit(3, 3))
    booked = [world.request(n, account=f"family-{n}") for n in range(1, 4)]
    assert await outcomes(world, booked) == {"Joined": 3}
    tries = [world.request(10 + n, [n], account="curious") for n in range(1, 4)]
    assert await outcomes(world, tries) == {"ALREADY_BOOKED": 3}, "who asks about strangers is counted, too"
    refusal = await world.refusal(world.request(20, [20], account="curious"))
    assert refusal.reason == Reason.ACCOUNT_RATE_LIMITED
    assert isinstance(await world.join(world.request(20, [20], account="curious", caller="another")), Joined)


async def test_the_limit_holds_over_all_servers(world: World, redis_url: str) -> None:
    limits = RequestLimits(ANY, RequestLimit(10, 10), ANY)
    policy = world.policy
    other = LaneProducer(
        redis_url,
        lane_bound=1000,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=limits,
        remembered=policy.remembered,
        batch_window=timedelta(milliseconds=1),
    )
    _set(world.producer, world, limits)
    try:
        joins = [(world.producer, other)[n % 2].join(broker(world, n, device="phone")) for n in range(1, 41)]
        assert sum(isinstance(result, Joined) for result in await asyncio.gather(*joins)) == 10
    finally:
        await other.close()


async def test_a_refused_request_may_be_sent_again_after_the_time_it_was_told(world: World) -> None:
    limit(world, device=RequestLimit(2, 60))
    at = OPENS + timedelta(minutes=1)
    await outcomes(world, [broker(world, n, device="phone") for n in (1, 2)])
    refusal = await world.refusal(broker(world, 3, device="phone"))
    wait = timedelta(milliseconds=int(refusal.detail))
    assert timedelta(seconds=50) < wait <= timedelta(seconds=60)
    world.set_clock(at + wait / 2)
    assert (await world.refusal(broker(world, 3, device="phone"))).reason == Reason.DEVICE_RATE_LIMITED
    world.set_clock(at + wait + timedelta(seconds=10))
    assert isinstance(await world.join(broker(world, 3, device="phone")), Joined)
    assert (await world.refusal(broker(world, 4, device="phone"))).reason == Reason.DEVICE_RATE_LIMITED
    world.set_clock(at + timedelta(hours=1))
    assert await outcomes(world, [broker(world, n, device="phone") for n in (4, 5, 6)]) == {
        "Joined": 2,
        "DEVICE_RATE_LIMITED": 1,
    }, "a pause saves a burst, and no more"


async def test_repeats_of_an_accepted_request_are_neither_refused_nor_counted(world: World) -> None:
    limit(world, device=RequestLimit(2, 1))
    request = broker(world, 1, device="phone")
    assert isinstance(await world.join(request), Joined)
    for _ in range(20):
        assert await world.join(request) == Known()
    assert isinstance(await world.join(broker(world, 2, device="phone")), Joined)
    assert (await world.refusal(broker(world, 3, device="phone"))).reason == Reason.DEVICE_RATE_LIMITED
    assert await world.join(request) == Known()


async def test_a_family_that_looks_for_a_free_session_is_not_counted(world: World) -> None:
    limit(world, account=RequestLimit(1, 1), device=RequestLimit(1, 1))
    full = Slot(TUESDAY.service_date, TUESDAY.session)
    world.redis.hset("counters:{kanim-pusat}", str(full), _sold_out(world, full))
    for number in range(1, 31):
        request = replace(
            world.request(number, [1], account="family", slot=full), origin=world.keys.asker("d", "phone")
        )
        assert (await world.refusal(request)).reason == Reason.SLOT_FULL
    assert not list(world.redis.scan_iter("limits:*")), "a full slot writes nothing"
    found = replace(world.request(50, [1], account="family"), origin=world.keys.asker("d", "phone"))
    assert isinstance(await world.join(found), Joined)


async def test_a_refusal_by_one_limit_counts_against_no_other(world: World) -> None:
    limit(world, device=RequestLimit(1, 1), address=RequestLimit(2, 1))
    first, *rest = [broker(world, n, "phone", "203.0.113.0/24") for n in range(1, 6)]
    await world.join(first)
    assert await outcomes(world, rest) == {"DEVICE_RATE_LIMITED": 4}
    assert isinstance(await world.join(broker(world, 9, "other phone", "203.0.113.0/24")), Joined)


async def test_nothing_is_noted_of_what_is_not_limited(world: World) -> None:
    limit(world, device=RequestLimit(5, 60))
    await outcomes(world, [broker(world, n, f"phone-{n}", "203.0.113.0/24") for n in range(1, 4)])
    noted = [asker for name in world.redis.scan_iter("limits:*") for asker in world.redis.hkeys(name)]
    assert sorted(asker[:1] for asker in noted) == [b"d"] * 3


async def test_what_limits_need_no_more_is_dropped(world: World) -> None:
    limit(world, account=RequestLimit(5, 60), device=RequestLimit(5, 60), address=RequestLimit(5, 60))
    await outcomes(world, [broker(world, n, f"phone-{n}", "203.0.113.0/24") for n in range(1, 4)])
    assert sum(world.redis.hlen(name) for name in world.redis.scan_iter("limits:*")) == 7
    world.set_clock(OPENS + timedelta(hours=1))
    for number in range(4096):
        world.consumer.expire(number)
    assert not list(world.redis.scan_iter("limits:*"))


def _sold_out(world: World, slot: Slot) -> bytes:
    text: bytes = world.redis.hget("counters:{kanim-pusat}", str(slot))  # type: ignore[assignment]
    quota, _, *rest = text.split()
    return b" ".join([quota, b"0", *rest])
