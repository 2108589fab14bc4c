"""A turn: decide.lua, record.sql, settle.lua and their repeats, as the protocol's table says."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from antrian.booking import Cancel, Session, Slot, State, StatusReason, Turn
from antrian.errors import Reason
from antrian.lane.producer import Joined, Known
from antrian.lane.replies import FencedError, LaneBrokenError, sole
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, WINDOW, World
from workers.drain import MAX_TICKETS


def outcomes(world: World) -> list[tuple[object, ...]]:
    """The ledger's bookings of the office, by ticket."""
    return world.sql(
        f"select ticket, state, reason, first_number from booking where office_id = '{PUSAT}' order by ticket"
    )


async def test_places_are_given_in_ticket_order_until_none_remain(world: World) -> None:
    for n in range(1, 9):
        await world.join(world.request(n))
    assert world.turn() == 8
    assert outcomes(world) == [
        *((n, "CONFIRMED", None, n) for n in range(1, 7)),
        (7, "REJECTED", "SLOT_FULL", None),
        (8, "REJECTED", "SLOT_FULL", None),
    ]
    assert world.remaining() == 0
    assert world.verify() == []


async def test_a_party_gets_consecutive_numbers_or_none_and_a_smaller_later_one_may_fit(world: World) -> None:
    for name, people in [(1, [1, 2, 3, 4]), (2, [5, 6, 7]), (3, [8, 9])]:
        await world.join(world.request(name, people))
    world.turn()
    assert outcomes(world) == [
        (1, "CONFIRMED", None, 1),
        (2, "REJECTED", "SLOT_FULL", None),
        (3, "CONFIRMED", None, 5),
    ]
    assert world.sql("select number from applicant order by 1") == [(n,) for n in range(1, 7)]
    assert world.verify() == []


async def test_each_slot_has_its_own_counter(world: World) -> None:
    await world.join(world.request(1))
    await world.join(world.request(2, slot=TUESDAY))
    world.turn()
    assert (world.remaining(MONDAY), world.remaining(TUESDAY)) == (5, 5)


async def test_a_ticket_whose_day_has_begun_is_too_late(world: World) -> None:
    await world.join(world.request(1))
    world.set_clock(OPENS + timedelta(days=2, hours=10))
    world.turn()
    assert outcomes(world) == [(1, "REJECTED", "TOO_LATE", None)]


async def test_a_turn_is_bounded_and_leaves_its_lane_ready(world: World) -> None:
    for n in range(1, MAX_TICKETS + 45):
        await world.join(world.request(n))
    assert [world.turn(), world.turn(), world.redis.zcard("ready")] == [MAX_TICKETS, 44, 0]


async def test_the_next_batch_is_decided_while_the_ledger_records_one(world: World) -> None:
    await world.join(world.request(1))
    with psycopg.connect(world.settings.database_url) as connection:
        connection.execute("select from lane where office_id = %s for update", [PUSAT])  # as if it took its time
        assert world.pipeline.step(world.offices) == 0
        await world.join(world.request(2, office_id=BOGOR))
        with ThreadPoolExecutor() as threads:
            step = threads.submit(world.pipeline.step, world.offices)
            await until(lambda: world.consumer.audit(BOGOR).unsettled == 1)
            assert outcomes(world) == []
            connection.rollback()
            assert step.result() == 0
    assert outcomes(world) == [(1, "CONFIRMED", None, 1)]
    assert world.pipeline.step(world.offices) == 1
    assert world.pipeline.flush(world.offices) == 1
    assert not world.pipeline.in_flight
    assert world.verify() == []


async def test_a_redis_with_an_empty_script_cache_settles_once_and_leases_once(world: World) -> None:
    await world.join(world.request(1))
    await world.join(world.request(2, office_id=BOGOR))
    settled = 0
    for _ in range(3):
        world.redis.script_flush()
        settled += world.pipeline.step(world.offices, max_lanes=1)
    assert (settled, world.pipeline.flush(world.offices)) == (1, 1)
    assert world.verify() == []


async def test_the_longest_waiting_lane_is_leased_first_and_a_leased_lane_is_skipped(world: World) -> None:
    await world.join(world.request(1, office_id="kanim-bogor"))
    await world.join(world.request(2))
    first, second, third = world.consumer.lease(), world.consumer.lease(), world.consumer.lease()
    assert first
    assert second
    assert (first.office_id, second.office_id, third) == ("kanim-bogor", PUSAT, None)


async def test_rejected_people_may_book_again_and_confirmed_people_may_not(world: World) -> None:
    await world.join(world.request(1, [1, 2, 3, 4, 5], account="a"))
    await world.join(world.request(2, [6, 7], account="b"))
    world.turn()
    assert (await world.refusal(world.request(3, [1], slot=TUESDAY))).reason == Reason.ALREADY_BOOKED
    assert isinstance(await world.join(world.request(4, [6, 7], account="b", slot=TUESDAY)), Joined)
    assert await world.join(world.request(2, [6, 7], account="b")) == Known()


async def test_rejected_bookings_keep_no_personal_data(world: World) -> None:
    for n in range(1, 9):
        await world.join(world.request(n))
    world.turn()
    assert world.sql("select count(*) from applicant") == [(6,)]
    assert world.redis.xlen(f"queue:{{{PUSAT}}}") == 0


async def test_encrypted_people_reach_the_ledger_unchanged(world: World) -> None:
    request = world.request(1)
    await world.join(request)
    world.turn()
    [(key, encrypted)] = world.sql("select applicant_key, encrypted from applicant")
    assert world.keys.decrypt(request.booking_id, key, encrypted).full_name == "Siti"


async def test_a_consumer_that_dies_after_decide_leaves_the_same_decisions_to_the_next(world: World) -> None:
    for n in range(1, 9):
        await world.join(world.request(n))
    first = world.decide(world.take(), 256)
    await world.join(world.request(9))
    world.lease_ends()
    assert world.decide(world.take(), 1) == first


async def test_repeating_a_turn_after_its_consumer_died_recording_has_no_effect(world: World) -> None:
    for n in range(1, 4):
        await world.join(world.request(n))
    lease = world.take()
    decisions = world.decide(lease, 256)
    world.record(lease, decisions)
    before = world.sql("select * from booking order by ticket") + world.sql("select * from slot order by 1")
    world.lease_ends()
    assert world.turn() == 3
    assert world.sql("select * from booking order by ticket") + world.sql("select * from slot order by 1") == before
    assert world.remaining() == 3
    assert world.verify() == []


async def test_settle_is_idempotent(world: World) -> None:
    await world.join(world.request(1, [1, 2, 3, 4, 5]))
    await world.join(world.request(2, [6, 7]))
    lease = world.take()
    results = world.record(lease, world.decide(lease, 256))
    world.settle(lease, results)
    before = world.dump()
    world.settle(lease, results)
    assert world.dump() == before


async def test_a_late_consumer_is_fenced_off_by_redis_and_by_the_ledger(world: World) -> None:
    await world.join(world.request(1))
    zombie = world.take()
    decisions = world.decide(zombie, 256)
    world.lease_ends()
    world.turn()
    await world.join(world.request(2))
    before = world.dump()
    with pytest.raises(FencedError):
        world.decide(zombie, 256)
    with pytest.raises(FencedError):
        world.settle(zombie, "K")
    with pytest.raises(LedgerFencedError):
        world.record(zombie, decisions)
    assert world.dump() == before


async def test_an_expired_leases_token_stays_valid_until_a_newer_is_issued(world: World) -> None:
    await world.join(world.request(1))
    lease = world.take()
    world.lease_ends()
    assert world.serve(lease) == 1


async def test_a_turn_that_leaves_a_gap_quarantines_its_lane(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.redis.hset(f"lane:{{{PUSAT}}}", mapping={"ticket": 5, "settled": 5})
    await world.join(world.request(2))
    assert world.turn() == 0
    assert (await world.refusal(world.request(3))).reason == Reason.LANE_CLOSED
    assert world.sql("select count(*) from booking") == [(1,)]


async def test_a_queue_with_a_missing_ticket_stops(world: World) -> None:
    for n in range(1, 4):
        await world.join(world.request(n))
    world.redis.xdel(f"queue:{{{PUSAT}}}", "2-0")
    with pytest.raises(LaneBrokenError, match="GAP 2"):
        world.decide(world.take(), 256)


async def test_a_missing_counter_stops_the_lane_before_anything_is_written(world: World) -> None:
    await world.join(world.request(1, slot=TUESDAY))
    await world.join(world.request(2))
    world.redis.hdel(f"counters:{{{PUSAT}}}", str(MONDAY))
    lease = world.take()
    before = world.dump()
    with pytest.raises(LaneBrokenError, match="MISSING"):
        world.decide(lease, 256)
    assert world.dump().keys() == before.keys()
    assert world.remaining(TUESDAY) == 6


async def test_only_the_row_that_violates_a_constraint_is_rejected_and_its_places_return(world: World) -> None:
    for n in range(1, 4):
        await world.join(world.request(n))
    world.sql("update slot set quota = 2")
    world.turn()
    assert outcomes(world) == [
        (1, "CONFIRMED", None, 1),
        (2, "CONFIRMED", None, 2),
        (3, "REJECTED", "SLOT_FULL", 3),
    ]
    assert world.remaining() == 4
    assert isinstance(await world.join(world.request(4, [3], slot=TUESDAY)), Joined)


async def test_only_the_poison_ticket_is_rejected(world: World) -> None:
    world.sql("alter table applicant add constraint poison check (number <> 2)")
    try:
        for n in range(1, 4):
            await world.join(world.request(n))
        world.turn()
    finally:
        world.sql("alter table applicant drop constraint poison")
    assert outcomes(world)[1] == (2, "REJECTED", "INTERNAL", 2)
    assert world.verify() == []


async def test_only_the_person_live_in_the_ledger_is_rejected_and_the_number_is_retired(world: World) -> None:
    await world.join(world.request(1, slot=TUESDAY))
    world.turn()
    world.redis.hdel(
        f"applicants:{world.keys.applicant_key('3171010101900001').hex()[:3]}",
        world.keys.applicant_key("3171010101900001"),
    )
    for name, person in [(2, 2), (3, 1), (4, 4)]:
        await world.join(world.request(name, [person]))
    world.turn()
    assert outcomes(world)[1:] == [
        (2, "CONFIRMED", None, 1),
        (3, "REJECTED", "ALREADY_BOOKED", 2),
        (4, "CONFIRMED", None, 3),
    ]
    assert world.remaining() == 4
    assert world.verify() == []


async def test_record_is_idempotent_and_returns_the_ledgers_outcome(world: World) -> None:
    for n in range(1, 4):
        await world.join(world.request(n))
    lease = world.take()
    decisions = world.decide(lease, 256)
    assert world.record(lease, decisions) == "KKK"
    changed = [replace(d, reason=StatusReason.SLOT_FULL, first_number=None) for d in decisions]
    assert world.record(lease, changed) == "KKK"


async def test_a_booking_recorded_at_another_ticket_takes_no_second_place(world: World) -> None:
    await world.join(world.request(1))
    lease = world.take()
    [decision] = world.decide(lease, 256)
    world.record(lease, [decision])
    again = replace(decision, ticket=2, first_number=2)
    assert world.record(lease, [again]) == "D"
    assert world.sql("select taken from slot where taken > 0") == [(1,)]


async def test_record_refuses_a_gap(world: World) -> None:
    await world.join(world.request(1))
    [decision] = world.decide(world.take(), 256)
    with pytest.raises(LedgerGapError):
        sole(world.recorder.record([Turn(PUSAT, 2**40, [replace(decision, ticket=7)])]))
    assert world.sql("select count(*) from booking") == [(0,)]


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("slot_taken_within_quota", "update slot set taken = quota + 1"),
        ("booking_one_per_ticket", "update booking set ticket = 1"),
        ("applicant_one_live_booking", "update applicant set applicant_key = '\\x00000000000000000000000000000000'"),
        ("applicant_number_once", "update applicant set number = 1"),
        ("booking_moves_forward", "update booking set state = 'REJECTED', reason = 'SLOT_FULL' where ticket = 1"),
        ("slot_once", "update slot set session = 'MORNING'"),
    ],
)
async def test_the_ledgers_own_constraints_refuse_violations(world: World, name: str, statement: str) -> None:
    for n in range(1, 3):
        await world.join(world.request(n))
    world.turn()
    with pytest.raises(psycopg.IntegrityError) as caught:
        world.sql(statement)
    assert caught.value.diag.constraint_name == name


async def test_the_sweep_marks_the_lane_of_a_killed_consumer_ready(world: World) -> None:
    await world.join(world.request(1))
    lease = world.consumer.lease()
    assert lease
    world.decide(lease, 256)
    mark = lease.inventory_version
    assert mark
    assert world.consumer.sweep([PUSAT], mark) == 0, "its lease is still live"
    world.lease_ends()
    assert world.consumer.sweep([PUSAT], mark) == 1
    assert world.turn() == 1
    assert world.consumer.sweep([PUSAT], mark) == 0


async def test_a_lane_gets_counters_for_new_weeks_and_keeps_the_old_ones(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.set_clock(OPENS + timedelta(days=7))
    lease = world.take()
    assert world.serve(lease) == 0
    assert world.remaining() == 5
    assert world.sql("select max(service_date)::text, max(taken) from slot") == [
        (f"{WINDOW.dates[-1] + timedelta(weeks=2)}", 1)
    ]
    world.nightly()
    assert world.verify() == []


async def test_a_lane_lost_by_redis_stays_closed(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.redis.flushdb()
    world.set_clock(OPENS + timedelta(minutes=2))
    world.turn()
    assert (await world.refusal(world.request(2))).reason == Reason.LANE_CLOSED


async def test_past_requests_and_bars_expire(world: World) -> None:
    request = world.request(1)
    await world.join(request)
    world.turn()
    bucket = int(request.booking_id.hex[:3], 16)
    assert world.consumer.expire(bucket) == 0
    world.set_clock(OPENS + timedelta(days=9, hours=2, seconds=1))
    assert world.consumer.expire(bucket) == 1
    assert (await world.recorded(request)).state is State.CONFIRMED


async def test_a_removed_holiday_gets_its_counters(world: World) -> None:
    wednesday = Slot(MONDAY.service_date + timedelta(days=9), Session.MORNING)
    closed = replace(world.policy, holidays=dict(world.policy.holidays) | {wednesday.service_date: "Pilkada"})
    world.setup.follow(closed)
    world.sql(f"delete from slot where service_date = '{wednesday.service_date}'")
    world.redis.hdel(f"counters:{{{PUSAT}}}", str(wednesday))
    world.turn()
    assert world.redis.hget(f"counters:{{{PUSAT}}}", str(wednesday)) is None
    world.setup.follow(world.policy)
    assert world.consumer.sweep([PUSAT], world.setup.inventory_version(world.consumer.now())) == 1
    world.turn()
    assert world.remaining(wednesday) == 6


async def test_all_tickets_of_a_turn_are_decided_at_the_same_time(world: World) -> None:
    for n in range(1, 60):
        await world.ticket(world.request(n))
    world.turn()
    assert world.sql("select count(distinct decided_at) from booking") == [(1,)]


async def test_a_lane_locked_in_the_ledger_does_not_block_others(world: World) -> None:
    await world.join(world.request(1))
    await world.join(world.request(2, office_id=BOGOR))
    with psycopg.connect(world.settings.database_url) as connection:
        connection.execute("select from lane where office_id = %s for update", [PUSAT])
        world.pipeline.step(world.offices)
        assert world.pipeline.flush(world.offices) == 1
        assert world.remaining(office_id=BOGOR) == 5
        await world.producer.send_command(BOGOR, Cancel(world.request(2, office_id=BOGOR).booking_id))
        await world.producer.send_command(PUSAT, Cancel(world.request(1).booking_id))
        world.pipeline.step(world.offices)
        assert world.consumer.audit(BOGOR).settled_command == 1
    world.lease_ends()
    world.turn()
    assert world.turn() == 0
    assert (await world.recorded(world.request(1))).state is State.CANCELLED
    assert world.verify() == []
