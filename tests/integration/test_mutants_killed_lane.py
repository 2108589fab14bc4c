"""What small faults in the scripts of the lane showed to be untested; see tests/mutants. One test a claim."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from antrian.booking import Cancel
from antrian.errors import Reason
from antrian.lane import script
from antrian.lane.codec import milliseconds
from antrian.lane.producer import Joined, Waiting
from antrian.lane.rebuild import Bar, LaneRebuilder, Restored
from antrian.lane.replies import FencedError, LaneBrokenError
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World, nik, serve
from workers.lane_setup import LaneSetup

LANE = f"lane:{{{PUSAT}}}"


async def test_marking_a_ready_lane_again_keeps_its_position(world: World) -> None:
    await world.ticket(world.request(1))
    await world.ticket(world.request(2, office_id=BOGOR))
    await world.ticket(world.request(3))
    world.consumer.sweep([PUSAT, BOGOR], "")
    lease = world.consumer.lease()
    assert lease
    assert lease.office_id == PUSAT


async def test_a_lane_keeps_its_place_however_often_its_desk_is_asked(world: World) -> None:
    for office_id in (PUSAT, BOGOR, PUSAT):
        await world.producer.send_command(office_id, Cancel(uuid.uuid4()))
    lease = world.consumer.lease()
    assert lease
    assert lease.office_id == PUSAT


async def test_no_further_lane_is_leased_once_enough_tickets_wait(world: World) -> None:
    inventory_version = world.take().inventory_version
    world.lease_ends()
    for n, office_id in enumerate([PUSAT, BOGOR, PUSAT, PUSAT, BOGOR], 1):
        await world.ticket(world.request(n, office_id=office_id))
        if n <= 2:
            world.turn(office_id)
    for tickets, offices in [(3, [PUSAT, BOGOR]), (2, [PUSAT])]:
        world.redis.delete("ready")
        for office_id in (PUSAT, BOGOR):
            world.consumer.sweep([office_id], inventory_version)
        _, taken = world.consumer.settle_and_decide([], inventory_version, "", max_lanes=9, max_tickets=tickets)
        assert [one.lease.office_id for one in taken] == offices
        for office_id in offices:
            world.lease_ends(office_id)


async def test_a_lane_with_another_stock_is_leased_and_not_decided(world: World) -> None:
    await world.ticket(world.request(1))
    _, [taken] = world.consumer.settle_and_decide([], "another stock", PUSAT, max_lanes=0, max_tickets=9)
    assert taken.decided is None
    assert world.redis.hget(LANE, "outbox") in {None, b""}


async def test_a_lane_that_is_given_back_with_work_left_is_ready(world: World) -> None:
    await world.ticket(world.request(1))
    lease = world.take()
    decisions = world.decide(lease)
    await world.ticket(world.request(2))
    assert world.consumer.lease() is None, "its drainer marks it"
    world.settle(lease, world.record(lease, decisions))
    lease = world.consumer.lease() or pytest.fail("tickets are left")
    decisions = world.decide(lease)
    await world.producer.send_command(PUSAT, Cancel(uuid.uuid4()))
    world.settle(lease, world.record(lease, decisions))
    world.serve(world.consumer.lease() or pytest.fail("the desk is left"))
    assert world.consumer.lease() is None


async def test_scripts_use_the_clock_of_redis_to_the_microsecond(world: World) -> None:
    def half_past() -> bool:
        return 400_000 < int(world.redis.time()[1]) < 800_000

    await until(half_past)
    assert abs(world.take().now - world.consumer.now()) < timedelta(milliseconds=300)


async def test_an_account_counts_only_people_who_still_hold_a_booking(world: World) -> None:
    request = world.request(1, [1, 2], account="family")
    await world.ticket(request)
    world.turn()
    for _ in range(2):
        assert world.consumer.release(
            PUSAT, world.consumer.settled_command(PUSAT), [(request.booking_id.bytes, request.applicants[0].key)]
        )
    assert await world.producer.owned(request.owner) == [request.booking_id]
    refused = await world.refusal(world.request(2, [3, 4, 5, 6, 7], slot=TUESDAY, account="family"))
    assert (refused.reason, refused.detail) == (Reason.ACCOUNT_LIMIT, b"1")
    again = world.request(3, [1, 3, 4, 5], account="family")
    await world.ticket(again)
    assert world.consumer.release(PUSAT, 0, [(request.booking_id.bytes, a.key) for a in request.applicants])
    assert await world.producer.owned(request.owner) == [again.booking_id], "people are freed of that booking alone"
    assert (await world.refusal(world.request(4, [1]))).reason == Reason.ALREADY_BOOKED


async def test_loading_counters_keeps_existing_ones_and_removes_old_ones(world: World) -> None:
    await world.ticket(world.request(1))
    world.decide(world.take())
    world.lease_ends()
    other = replace(world.policy, holidays=dict(world.policy.holidays) | {OPENS.date(): "Libur"})
    assert serve(LaneSetup(world.consumer, world.recorder, other), [world.take()], world.offices) == 1
    assert world.remaining() == 5, "what was decided and not recorded yet is not forgotten"
    world.set_clock(OPENS + timedelta(days=21))
    world.turn()
    slots = sorted(slot.decode()[:10] for slot in world.redis.hkeys(f"counters:{{{PUSAT}}}"))  # type: ignore[union-attr]
    first = MONDAY.service_date
    assert f"{first + timedelta(days=4)}" <= slots[0] <= f"{first + timedelta(days=8)}"


async def test_bars_expire_when_they_end_and_holders_never_do(world: World) -> None:
    holder, barred = world.request(1), world.keys.applicant_key(nik(2))
    await world.ticket(holder)
    ends = OPENS + timedelta(hours=1)
    world.consumer.release(PUSAT, 0, [(b"b" * 16, barred)], ends, "2026-12-31")
    buckets = [int(key.hex()[:3], 16) for key in (holder.applicants[0].key, barred)]
    for moment, gone in [(ends - timedelta(seconds=2), [0, 0]), (ends + timedelta(seconds=1), [0, 1])]:
        world.set_clock(moment)
        assert [world.consumer.expire(bucket) for bucket in buckets] == gone


async def test_a_bar_neither_shortens_a_longer_bar_nor_removes_a_booking(world: World) -> None:
    await world.ticket(world.request(1))
    booked, barred = world.keys.applicant_key(nik(1)), world.keys.applicant_key(nik(2))
    for days in (10, 20, 15):
        people = [(b"%16d" % days, booked + barred)]
        world.consumer.release(PUSAT, 0, people, OPENS + timedelta(days=days), f"2026-12-{days}")
    LaneRebuilder(world.redis).restore([], [Bar(b"b" * 16, booked, OPENS + timedelta(days=30), "2026-12-30")])
    assert (await world.refusal(world.request(3, [1]))).reason == Reason.ALREADY_BOOKED
    assert (await world.refusal(world.request(4, [2]))).detail == b"2026-12-20"


async def test_restoring_twice_counts_once(world: World) -> None:
    request = world.request(1, [1, 2], account="family")
    people = b"".join(a.key for a in request.applicants)
    keep = OPENS + timedelta(days=7)
    one = Restored(request.booking_id.bytes, "", PUSAT, 1, keep, request.owner, people)
    for _ in range(2):
        LaneRebuilder(world.redis).restore([one], [])
    refused = await world.refusal(world.request(2, [3, 4, 5, 6], account="family"))
    assert (refused.reason, refused.detail) == (Reason.ACCOUNT_LIMIT, b"2")


async def test_look_returns_what_it_knows(world: World) -> None:
    request = world.request(1)
    await world.ticket(request)
    world.redis.hdel(f"counters:{{{PUSAT}}}", str(MONDAY))
    found = await world.producer.look(request.booking_id)
    assert isinstance(found, Waiting)
    assert (found.ahead, found.remaining) == (0, None)
    await world.ticket(world.request(2, slot=TUESDAY))
    lease = world.take()
    world.redis.hset(LANE, "outbox", "SLOT_FULL")
    world.settle(lease, "K")
    found = await world.producer.look(world.request(2).booking_id)
    assert isinstance(found, Waiting)
    assert found.ahead == 0, "of two, one is settled"
    world.redis.delete(f"queue:{{{PUSAT}}}")
    assert await world.producer.look(world.request(2).booking_id) is None
    world.redis.delete(LANE)
    assert await world.producer.look(world.request(2).booking_id) is None


async def test_the_witness_quarantines_exactly_the_lanes_that_lack_a_ticket(world: World) -> None:
    first, second, other = world.request(1), world.request(2), world.request(3, office_id=BOGOR)
    for request in (first, second, other):
        await world.ticket(request)
    witness = world.redis.register_script(script("witness"))

    def lost(*acknowledged: tuple[str, int, uuid.UUID]) -> list[str]:
        return [office.decode() for office in witness(args=[_bytes(part) for one in acknowledged for part in one])]

    def is_open(office_id: str) -> bool:
        return world.redis.hget(f"lane:{{{office_id}}}", "open") != b"0"

    assert lost() == []
    assert lost((PUSAT, 2, second.booking_id), (BOGOR, 1, other.booking_id)) == []
    assert lost((PUSAT, 3, uuid.uuid4()), (BOGOR, 1, other.booking_id)) == [PUSAT]
    assert (is_open(PUSAT), is_open(BOGOR)) == (False, True)
    assert world.redis.hget(LANE, "lease") == b"0"

    world.redis.hset(LANE, "open", 1)
    assert lost((PUSAT, 2, first.booking_id)) == [PUSAT], "the ticket is another booking's"
    world.redis.hset(LANE, "open", 1)
    world.redis.xdel(f"queue:{{{PUSAT}}}", "2-0")
    assert lost((PUSAT, 2, second.booking_id)) == [PUSAT], "its request is gone"
    world.redis.hset(LANE, mapping={"open": 1, "settled": 2})
    assert lost((PUSAT, 2, second.booking_id)) == [], "the ledger has it"
    assert lost(("kanim-unknown", 5, uuid.uuid4())) == [], "Redis does not know the lane"


def _bytes(part: str | int | uuid.UUID) -> bytes:
    return part.bytes if isinstance(part, uuid.UUID) else str(part).encode()


async def test_a_late_consumer_changes_nothing(world: World) -> None:
    zombie = world.take()
    world.lease_ends()
    world.take()
    before = world.dump()
    calls: list[Callable[[], object]] = [
        lambda: world.consumer.quarantine(zombie),
        lambda: world.consumer.leave(zombie),
        lambda: world.consumer.load_counters(zombie, [], "mark"),
        lambda: world.consumer.open(zombie, 7, 1, 1, 1),
    ]
    for call in calls:
        with pytest.raises(FencedError):
            call()
    assert world.dump() == before


async def test_a_rebuild_removes_the_lease(world: World) -> None:
    world.take()
    world.rebuild()
    assert world.turn() == 0


async def test_settled_commands_are_removed_and_published(world: World) -> None:
    await until(lambda: world.redis.pubsub_numsub("settled")[0][1])
    number = await world.producer.send_command(PUSAT, Cancel(uuid.uuid4()))
    told = world.producer.command_settled(PUSAT, number)
    world.turn()
    async with asyncio.timeout(10):
        await told
    assert world.redis.xlen(f"commands:{{{PUSAT}}}") == 0


async def test_a_missing_command_stops_its_lane(world: World) -> None:
    for _ in range(2):
        await world.producer.send_command(PUSAT, Cancel(uuid.uuid4()))
    world.redis.xdel(f"commands:{{{PUSAT}}}", "1-0")
    with pytest.raises(LaneBrokenError, match="GAP 1"):
        world.decide_any(world.take(), 256)


async def test_settling_without_counters_stops_the_lane(world: World) -> None:
    await world.ticket(world.request(1))
    lease = world.take()
    world.decide(lease)
    world.redis.hdel(f"counters:{{{PUSAT}}}", str(MONDAY))
    with pytest.raises(LaneBrokenError, match="MISSING"):
        world.settle(lease, "R")


async def test_a_bar_ends_at_its_exact_millisecond(world: World) -> None:
    key = world.keys.applicant_key(nik(1))
    ends = milliseconds(OPENS + timedelta(hours=2))
    world.redis.hset(f"applicants:{key.hex()[:3]}", key, b"X" + bytes(16) + f" {ends} 2026-12-31".encode())
    assert (await world.refusal(world.request(1, [2, 1], slot=TUESDAY))).applicant == 1
    assert isinstance(await world.join(world.request(2, [2], slot=TUESDAY)), Joined)


async def test_waiting_commands_are_bounded_and_make_their_lane_ready(world: World) -> None:
    world.redis.hset(LANE, mapping={"command": 2000, "settled_command": 2000, "leased_command": 2000})
    assert await world.producer.send_command(PUSAT, Cancel(uuid.uuid4())) == 2001
    lease = world.consumer.lease()
    assert lease
    assert lease.office_id == PUSAT


@pytest.mark.parametrize("gone", [2, 3])
async def test_a_gap_in_the_queue_is_named(world: World, gone: int) -> None:
    for n in (1, 2, 3):
        await world.ticket(world.request(n))
    world.redis.xdel(f"queue:{{{PUSAT}}}", f"{gone}-0")
    with pytest.raises(LaneBrokenError, match=f"GAP {gone}"):
        world.decide_any(world.take(), 256)


async def test_outcomes_of_another_turn_change_nothing(world: World) -> None:
    for n in (1, 2):
        await world.ticket(world.request(n))
    lease = world.take()
    world.decide(lease)
    before = world.dump()
    world.settle(lease, "K")
    assert world.dump() == before


async def test_a_rebuild_empties_queue_commands_and_counters(world: World) -> None:
    for n in (1, 2):
        await world.ticket(world.request(n))
    await world.producer.send_command(PUSAT, Cancel(uuid.uuid4()))
    lanes = LaneRebuilder(world.redis)
    first, second = lanes.force_acquire(PUSAT), lanes.force_acquire(PUSAT)
    with pytest.raises(FencedError):
        lanes.clear(first)
    assert lanes.clear(second) == 3
    assert {key for key in world.dump() if b"{" + PUSAT.encode() in key} == {b"lane:{%s}" % PUSAT.encode()}
    assert set(world.redis.hgetall(f"lane:{{{PUSAT}}}")) == {b"open", b"token", b"epoch", b"lease"}


async def test_a_redis_without_its_people_is_not_restored(world: World) -> None:
    LaneRebuilder(world.redis).clear_people()
    assert not world.consumer.is_restored()
