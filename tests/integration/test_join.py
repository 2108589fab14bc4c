"""join.lua: each line of the protocol's join, one test a claim."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from antrian.errors import AntrianError, Reason
from antrian.lane.codec import milliseconds
from antrian.lane.producer import Joined, Known, Refused
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World


async def test_tickets_are_numbered_in_arrival_order(world: World) -> None:
    responses = [await world.join(world.request(n)) for n in range(1, 4)]
    assert [(a.ticket, a.ahead, a.remaining) for a in responses if isinstance(a, Joined)] == [
        (1, 0, 6),
        (2, 1, 6),
        (3, 2, 6),
    ]


async def test_each_office_has_its_own_queue(world: World) -> None:
    assert await world.ticket(world.request(1)) == 1
    assert await world.ticket(world.request(2, office_id=BOGOR)) == 1


async def test_requests_of_one_batch_keep_their_order(world: World) -> None:
    responses = await asyncio.gather(*(world.join(world.request(n)) for n in range(1, 201)))
    assert [a.ticket for a in responses if isinstance(a, Joined)] == list(range(1, 201))


async def test_a_repeated_request_returns_its_first_ticket(world: World) -> None:
    await world.join(world.request(1))
    before = world.dump()
    assert await world.join(world.request(1)) == Known()
    assert world.dump() == before


async def test_a_request_repeated_within_a_batch_gets_one_ticket(world: World) -> None:
    responses = await asyncio.gather(*(world.join(world.request(1)) for _ in range(5)))
    assert sorted(type(a).__name__ for a in responses) == ["Joined", "Known", "Known", "Known", "Known"]


async def test_a_repeated_request_may_list_its_people_in_another_order(world: World) -> None:
    await world.join(world.request(1, [1, 2]))
    assert await world.join(world.request(1, [2, 1])) == Known()


@pytest.mark.parametrize(
    "changed", [{"slot": TUESDAY}, {"office_id": BOGOR}, {"people": [1, 2]}, {"people": [3]}], ids=str
)
async def test_a_request_id_reused_with_other_content_is_refused(world: World, changed: dict[str, object]) -> None:
    await world.join(world.request(1))
    refusal = await world.refusal(world.request(1, **changed))  # type: ignore[arg-type]
    assert refusal.reason == Reason.REQUEST_ID_REUSED


async def test_a_request_id_sent_to_two_offices_at_once_is_accepted_by_one(world: World) -> None:
    one, other = await asyncio.gather(world.join(world.request(1)), world.join(world.request(1, office_id=BOGOR)))
    assert isinstance(one, Joined)
    assert other.reason == Reason.REQUEST_ID_REUSED  # type: ignore[union-attr]


async def test_request_ids_are_scoped_to_their_caller(world: World) -> None:
    assert await world.ticket(world.request(1, caller="gateway")) == 1
    assert await world.ticket(world.request(1, [2], caller="another")) == 2


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [
        (timedelta(seconds=-5), False),
        (timedelta(0), True),
        (timedelta(days=2, hours=1, minutes=59, seconds=55), True),
        (timedelta(days=2, hours=2), False),
    ],
    ids=["Friday 13:59:55", "Friday 14:00:00", "Sunday 15:59:55", "Sunday 16:00:00"],
)
async def test_the_window_is_half_open_by_the_clock_of_redis(
    redis_url: str, database_url: str, offset: timedelta, accepted: bool
) -> None:
    async with World(redis_url, database_url) as world:
        world.consumer.set_clock(OPENS + offset - datetime.now(UTC))
        response = await world.join(world.request(1))
    if accepted:
        assert isinstance(response, Joined)
    else:
        assert response.reason == "WINDOW"  # type: ignore[union-attr]


async def test_a_known_request_may_be_repeated_after_its_window(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.set_clock(OPENS + timedelta(days=3))
    assert await world.join(world.request(1)) == Known()
    assert (await world.refusal(world.request(2))).reason == "WINDOW"


async def test_a_verdict_refuses_a_new_request_but_not_a_known_one(world: World) -> None:
    elsewhere = AntrianError(Reason.OFFICE_OUTSIDE_PROVINCE)
    refusal = await world.refusal(replace(world.request(1), refusal=elsewhere))
    assert refusal.reason == Reason.OFFICE_OUTSIDE_PROVINCE
    await world.join(world.request(1))
    assert await world.join(replace(world.request(1), refusal=elsewhere)) == Known()


async def test_an_applicant_holds_one_live_booking_in_the_whole_country(world: World) -> None:
    await world.join(world.request(1, [1, 2]))
    refusal = await world.refusal(world.request(2, [3, 2], office_id=BOGOR, slot=TUESDAY))
    assert (refusal.reason, refusal.applicant, refusal.detail) == (Reason.ALREADY_BOOKED, 1, b"")


async def test_the_booking_in_the_way_is_named_to_its_own_account_only(world: World) -> None:
    first = world.request(1, [1], account="family")
    await world.join(first)
    own = await world.refusal(world.request(2, [1], account="family"))
    assert own.detail == first.booking_id.bytes
    assert (await world.refusal(world.request(3, [1], account="other"))).detail == b""
    assert (await world.refusal(world.request(4, [1], account="family", caller="other"))).detail == b""


async def test_an_account_has_at_most_five_people_with_live_bookings(world: World) -> None:
    await world.join(world.request(1, [1, 2, 3], account="family"))
    refusal = await world.refusal(world.request(2, [4, 5, 6], account="family"))
    assert (refusal.reason, refusal.detail) == (Reason.ACCOUNT_LIMIT, b"3")
    assert await world.ticket(world.request(3, [4, 5], account="family")) == 2


async def test_refusals_name_own_bookings_before_the_account_limit_before_strangers(world: World) -> None:
    await world.join(world.request(1, [1], account="stranger"))
    first = world.request(2, [2, 3, 4, 5], account="family")
    await world.join(first)
    own = await world.refusal(world.request(3, [1, 2], account="family"))
    assert (own.reason, own.applicant, own.detail) == (Reason.ALREADY_BOOKED, 1, first.booking_id.bytes)
    for person in (1, 6):  # whom a stranger has booked, and nobody: the answer is the same
        refusal = await world.refusal(world.request(4, [7, person], account="family"))
        assert (refusal.reason, refusal.detail) == (Reason.ACCOUNT_LIMIT, b"4")
    stranger = await world.refusal(world.request(5, [1], account="family"))
    assert (stranger.reason, stranger.applicant, stranger.detail) == (Reason.ALREADY_BOOKED, 0, b"")


async def test_an_account_may_request_a_limited_number_of_people_per_window(world: World) -> None:
    for person in range(1, 15):
        await world.join(world.request(person, [person], account=f"stranger-{person}"))
        assert (await world.refusal(world.request(100, [person], account="curious"))).reason == Reason.ALREADY_BOOKED
    owner = world.request(100, [1], account="curious").owner
    bucket = f"tried:{owner.hex()[:3]}"
    tried = world.redis.hget(bucket, owner)
    for person in (1, 99):  # one who is known to be booked and another, then two more
        refusal = await world.refusal(world.request(101, [person, 50, 51], account="curious"))
        assert refusal.reason == Reason.PEOPLE_LIMIT
    assert world.redis.hget(bucket, owner) == tried
    assert (await world.refusal(world.request(102, [14], account="curious"))).reason == Reason.ALREADY_BOOKED
    assert await world.ticket(world.request(103, [50], account="curious")) == 15  # the fifteenth
    assert (await world.refusal(world.request(104, [51], account="curious"))).reason == Reason.PEOPLE_LIMIT
    world.set_clock(OPENS + timedelta(weeks=1))
    next_monday = replace(MONDAY, service_date=MONDAY.service_date + timedelta(weeks=1))
    assert await world.ticket(world.request(105, [51], account="curious", slot=next_monday)) == 16
    for number in range(4096):
        world.consumer.expire(number)
    assert [len(world.redis.hgetall(name)) for name in world.redis.scan_iter("tried:*")] == [1]


async def test_a_barred_applicant_is_refused_until_the_bar_ends(world: World) -> None:
    key = world.keys.applicant_key("3171010101900001")
    bucket = f"applicants:{key.hex()[:3]}"
    ends = milliseconds(OPENS + timedelta(hours=1))
    world.redis.hset(bucket, key, b"X" + bytes(16) + f" {ends} 2026-11-27".encode())
    refusal = await world.refusal(world.request(1))
    assert (refusal.reason, refusal.applicant, refusal.detail) == (Reason.BARRED, 0, b"2026-11-27")
    world.set_clock(OPENS + timedelta(hours=1))
    assert await world.ticket(world.request(1)) == 1


async def test_a_full_lane_refuses_new_requests_and_recognises_known_ones(redis_url: str, database_url: str) -> None:
    async with World(redis_url, database_url, lane_bound=3) as world:
        for n in range(1, 4):
            await world.join(world.request(n))
        refusal = await world.refusal(world.request(4))
        assert (refusal.reason, refusal.detail) == (Reason.LANE_FULL, b"3")
        assert await world.join(world.request(3)) == Known()
        world.turn()
        assert await world.ticket(world.request(4)) == 4


async def test_an_office_without_an_open_lane_refuses_requests(world: World) -> None:
    assert (await world.refusal(world.request(1, office_id="kanim-unknown"))).reason == Reason.LANE_CLOSED
    world.redis.hset(f"lane:{{{PUSAT}}}", "open", "0")
    assert (await world.refusal(world.request(1))).reason == Reason.LANE_CLOSED


async def test_a_missing_counter_is_never_reported_as_full(world: World) -> None:
    world.redis.hdel(f"counters:{{{PUSAT}}}", str(MONDAY))
    assert (await world.refusal(world.request(1))).reason == Reason.LANE_CLOSED


async def test_a_full_redis_refuses_whole_joins_and_still_drains(world: World) -> None:
    await world.join(world.request(1))
    before = world.dump()
    world.redis.config_set("maxmemory", "1mb")
    try:
        refused = await world.join(world.request(2))
        assert isinstance(refused, Refused)
        assert refused.reason == Reason.STORE_FULL
        assert await world.join(world.request(1)) == Known()
        assert world.dump() == before
        assert world.turn() == 1
    finally:
        world.redis.config_set("maxmemory", "0")
    assert await world.ticket(world.request(2)) == 2


async def test_a_request_cancelled_before_sending_does_not_join(world: World) -> None:
    gone = asyncio.create_task(world.join(world.request(1)))
    too_late = world.producer.join(world.request(2), asyncio.get_running_loop().time())
    stays = asyncio.create_task(world.join(world.request(3)))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).ticket == 1  # type: ignore[union-attr]
    with pytest.raises(asyncio.CancelledError):
        await too_late
    assert await world.ticket(world.request(1)) == 2


async def test_a_request_cancelled_after_sending_still_joins(world: World) -> None:
    gone = asyncio.create_task(world.join(world.request(1)))
    await until(lambda: world.redis.hget(f"lane:{{{PUSAT}}}", "ticket") == b"1")
    gone.cancel()
    assert await world.join(world.request(1)) == Known()


async def test_the_time_does_not_go_back_to_a_clock_that_is_slightly_behind(world: World) -> None:
    """After a failover Redis has another machine's clock (P11)."""
    now = await world.producer.now()
    real_ms = int(time.time() * 1000)
    world.redis.set("time", real_ms + 5_000)
    assert timedelta(seconds=4) < await world.producer.now() - now < timedelta(seconds=10)
    world.redis.set("time", real_ms + 3_600_000)
    assert await world.producer.now() - now < timedelta(seconds=4), "a clock that is wrong by an hour is not followed"


async def test_deciding_notes_the_time(world: World) -> None:
    before = time.time()
    await world.ticket(world.request(1))
    world.turn()
    noted: Any = world.redis.get("time")
    assert before - 1 < int(noted) / 1000 <= time.time() + 1
