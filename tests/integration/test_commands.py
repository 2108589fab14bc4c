"""The desk: cancels, quotas and closures through decide.lua, the ledger, settle_commands.lua, and their repeats."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import psycopg
import pytest

from antrian.booking import Cancel, CloseDate, CommandBatch, SetQuota, Slot, StaffAction, State, StatusReason
from antrian.errors import AntrianError, Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import MAX_COMMANDS, Joined
from antrian.lane.replies import FencedError, SlotCounters
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from antrian.ledger.staff import ActionRow
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World


def quota(places: int, slot: Slot = MONDAY, expected: int | None = None) -> SetQuota:
    return SetQuota(uuid.uuid4(), "desk", "rina", "mesin rusak", slot, places, expected)


def closing(day: date = MONDAY.service_date) -> CloseDate:
    return CloseDate(uuid.uuid4(), "desk", "rina", "banjir", day)


async def judged(world: World, entry: SetQuota | CloseDate) -> ActionRow:
    await world.ask(entry)
    done = await world.staff.action(entry.action_id)
    assert done
    return done


async def confirmed(world: World, count: int, party: int = 1) -> None:
    for n in range(1, count + 1):
        await world.join(world.request(n, range(n * 10, n * 10 + party)))
    world.turn()


async def test_a_cancel_gives_places_back_once_and_retires_the_numbers(world: World) -> None:
    await confirmed(world, 2, party=3)
    request = world.request(1, [10, 11, 12])
    assert world.remaining() == 0
    await world.producer.send_command(PUSAT, Cancel(request.booking_id))
    await world.ask(Cancel(request.booking_id))
    assert world.remaining() == 3
    assert (await world.recorded(request)).state is State.CANCELLED
    await world.ticket(world.request(5, [10, 50], account="again"))
    world.turn()
    assert (await world.recorded(world.request(5, [10, 50], account="again"))).first_number == 7
    assert world.verify() == []


def by_staff() -> StaffAction:
    return StaffAction(uuid.uuid4(), "desk", "rina", "bukan pemohon")


async def test_cancelling_one_of_five_and_then_the_booking_returns_five_places(world: World) -> None:
    party = world.request(1, range(1, 6), account="family")
    await world.join(party)
    world.turn()
    await world.ask(Cancel(party.booking_id, 2))
    await world.ask(Cancel(party.booking_id, 2))
    booking = await world.recorded(party)
    assert (booking.state, booking.party_size, booking.first_number, booking.cancelled) == (State.CONFIRMED, 5, 1, [2])
    assert world.remaining() == 2
    assert [row.number for row in await world.staff.party(party.booking_id)] == [1, 3, 4, 5]
    assert isinstance(await world.join(world.request(2, [2], account="family")), Joined), (
        "free, and the account has room"
    )
    world.turn()
    assert (await world.recorded(world.request(2, [2], account="family"))).first_number == 6
    await world.ask(Cancel(party.booking_id))
    await world.ask(Cancel(party.booking_id, 3))
    assert (await world.recorded(party)).cancelled == [2]
    assert world.remaining() == 5
    assert world.verify() == []


async def test_cancelling_the_last_person_cancels_the_booking(world: World) -> None:
    await confirmed(world, 1, party=2)
    request = world.request(1, [10, 11])
    for number, state in ((1, State.CONFIRMED), (7, State.CONFIRMED), (2, State.CANCELLED)):
        await world.ask(Cancel(request.booking_id, number))
        assert (await world.recorded(request)).state is state
    booking = await world.recorded(request)
    assert (booking.reason, booking.cancelled, world.remaining()) == (None, [1, 2], 6)
    assert booking.ended_at is not None
    assert world.verify() == []


async def test_an_account_cancels_two_of_a_party_one_by_one_and_then_only_all(world: World) -> None:
    """Five calls at once are one batch of commands, so only the ledger can count them."""
    party = world.request(1, range(1, 6), account="broker")
    await world.join(party)
    world.turn()
    for number in range(1, 6):
        await world.producer.send_command(PUSAT, Cancel(party.booking_id, number, most=2))
    world.turn()
    assert (await world.recorded(party)).cancelled == [1, 2]
    assert world.remaining() == 3
    await world.ask(Cancel(party.booking_id, 5, by=by_staff()))
    assert (await world.recorded(party)).cancelled == [1, 2, 5], "staff may cancel any number"
    await world.ask(Cancel(party.booking_id, 3, most=3))
    assert (await world.recorded(party)).cancelled == [1, 2, 5], "those whom staff cancelled count, too"
    await world.ask(Cancel(party.booking_id, 3))
    assert (await world.recorded(party)).cancelled == [1, 2, 3, 5], "without the limit it would have been cancelled"
    await world.ask(Cancel(party.booking_id, most=2))
    assert ((await world.recorded(party)).state, world.remaining()) == (State.CANCELLED, 6)
    assert world.verify() == []


async def test_an_office_releases_a_booking_once_and_the_staff_is_recorded(world: World) -> None:
    await confirmed(world, 1, party=2)
    request, entry = world.request(1, [10, 11]), Cancel(world.request(1).booking_id, by=by_staff())
    await world.ask(entry)
    await world.ask(Cancel(request.booking_id, by=by_staff()))
    booking = await world.recorded(request)
    assert (booking.state, booking.reason, world.remaining()) == (State.CANCELLED, StatusReason.RELEASED_BY_OFFICE, 6)
    assert world.sql("select kind, staff, why, before, after, session from staff_action") == [
        (
            "RELEASE", "rina", "bukan pemohon",
            {"booking_id": str(request.booking_id), "state": "CONFIRMED", "people": 2},
            {"state": "CANCELLED", "people": 0, "numbers": [1, 2]}, "MORNING",
        )
    ]  # fmt: skip
    assert isinstance(await world.join(world.request(2, [10])), Joined)
    assert world.verify() == []


async def test_an_office_releases_one_of_a_party_and_the_account_sees_it(world: World) -> None:
    await confirmed(world, 1, party=3)
    request = world.request(1, [10, 11, 12])
    await world.ask(Cancel(request.booking_id, 3, by_staff()))
    booking = await world.recorded(request)
    reason = StatusReason.PERSON_CANCELLED_BY_OFFICE
    assert (booking.state, booking.reason, booking.cancelled) == (State.CONFIRMED, reason, [3])
    assert world.sql("select kind, before ->> 'people', after from staff_action") == [
        ("CANCEL_PERSON", "3", {"state": "CONFIRMED", "people": 2, "numbers": [3]})
    ]
    await world.ask(Cancel(request.booking_id, 1))
    assert (await world.recorded(request)).reason is reason
    await world.ask(Cancel(request.booking_id))
    booking = await world.recorded(request)
    assert (booking.state, booking.reason, booking.cancelled) == (State.CANCELLED, None, [1, 3])
    assert world.remaining() == 6
    assert world.verify() == []


async def test_on_the_service_day_staff_may_cancel_and_the_account_may_not(world: World) -> None:
    await confirmed(world, 2, party=2)
    first, second = world.request(1, [10, 11]), world.request(2, [20, 21])
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=3))
    await world.ask(Cancel(first.booking_id, 1))
    await world.ask(Cancel(first.booking_id))
    assert (await world.recorded(first)).cancelled == ()
    await world.ask(Cancel(first.booking_id, 1, by_staff()))
    await world.ask(Cancel(second.booking_id, by=by_staff()))
    assert world.verify() == []
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=4))
    await world.ask(Cancel(first.booking_id, by=by_staff()))
    assert (await world.recorded(first)).state is State.CONFIRMED
    world.nightly()
    assert world.sql("select a.number from bar join applicant as a using (booking_id, applicant_key)") == [(2,)]
    assert world.verify() == []


async def test_a_cancelled_person_is_neither_checked_in_nor_a_no_show(world: World) -> None:
    await confirmed(world, 1, party=3)
    request = world.request(1, [10, 11, 12])
    await world.ask(Cancel(request.booking_id, 2))
    world.rebuild()
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=3))
    codes = code_range(booking_code(request.booking_id))
    with pytest.raises(AntrianError, match="INVALID_FIELD queue_numbers") as refused:
        await world.staff.check_in(PUSAT, codes, [1, 2], "desk", "rina")
    assert refused.value.problem
    assert refused.value.problem.english == "this party's queue numbers are 1, 3"
    party = await world.staff.check_in(PUSAT, codes, [1], "desk", "rina")
    assert [(row.number, row.present_at is not None) for row in party] == [(1, True), (3, False)]
    for number in (3, None):
        await world.ask(Cancel(request.booking_id, number, by_staff()))
        assert (await world.recorded(request)).cancelled == [2], "too late: somebody has come"
    party = await world.staff.check_in(PUSAT, codes, [], "desk", "rina")
    assert [(row.number, row.present_at is not None) for row in party] == [(1, True), (3, True)]
    roster = await world.staff.roster(PUSAT, MONDAY.service_date, None, None, 10)
    assert [row.number for row in roster] == [1, 3]
    assert (await world.recorded(request)).state is State.ATTENDED
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=4))
    world.nightly()
    assert world.sql("select count(*) from bar") == [(0,)]
    assert world.verify() == []


async def test_a_concurrent_check_in_is_ordered_before_the_release_of_the_others(world: World) -> None:
    await confirmed(world, 1, party=2)
    request = world.request(1, [10, 11])
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=3))
    await world.producer.send_command(PUSAT, Cancel(request.booking_id, 2, by_staff()))

    def waiting() -> bool:
        who = "datname = current_database() and wait_event_type = 'Lock'"
        return world.sql(f"select count(*) from pg_stat_activity where {who}") == [(1,)]

    with psycopg.connect(world.settings.database_url) as counter, ThreadPoolExecutor(1) as thread:
        counter.execute("update booking set state = 'ATTENDED', ended_at = now()")
        served = thread.submit(world.turn)
        await until(waiting)
        counter.commit()
        served.result()
    assert ((await world.recorded(request)).cancelled, world.remaining()) == ((), 4)


async def test_a_closed_day_counts_only_remaining_people(world: World) -> None:
    await confirmed(world, 1, party=3)
    request = world.request(1, [10, 11, 12])
    await world.ask(Cancel(request.booking_id, 2))
    assert (await judged(world, quota(1))).refused is Reason.QUOTA_BELOW_TAKEN
    assert (await judged(world, quota(2))).refused is None
    done = await judged(world, closing())
    assert done.after == {"closed": True, "bookings": 1, "people": 2}
    assert ((await world.recorded(request)).cancelled, world.remaining()) == ([2], 2)
    assert world.verify() == []


async def test_only_confirmed_bookings_are_cancelled_and_only_before_their_day(world: World) -> None:
    await confirmed(world, 1)
    request = world.request(1, [10])
    world.set_clock(OPENS + timedelta(days=2, hours=9, minutes=59))
    await world.ask(Cancel(world.request(99).booking_id))
    assert world.remaining() == 5
    world.set_clock(OPENS + timedelta(days=2, hours=10))
    await world.ask(Cancel(request.booking_id))
    assert ((await world.recorded(request)).state, world.remaining()) == (State.CONFIRMED, 5)
    assert world.verify() == []


async def test_commands_run_before_queued_requests_and_after_decided_ones(world: World) -> None:
    await confirmed(world, 5)
    for n in (6, 7, 8):
        await world.ticket(world.request(n, [10 * n]))
    first = world.request(1, [10])
    lease = world.take()
    assert [d.reason for d in world.decide(lease, 2)] == [None, StatusReason.SLOT_FULL]
    await world.producer.send_command(PUSAT, Cancel(first.booking_id))
    world.lease_ends()
    assert [world.turn(), world.turn(), world.turn()] == [2, 0, 1]
    assert (await world.recorded(world.request(8, [80]))).state is State.CONFIRMED
    assert world.verify() == []


async def test_repeating_commands_after_their_consumer_died_recording_has_no_effect(world: World) -> None:
    await confirmed(world, 3)
    await world.producer.send_command(PUSAT, Cancel(world.request(1, [10]).booking_id))
    lease = world.take()
    batch = world.decide_any(lease, 256)
    assert isinstance(batch, CommandBatch)
    world.recorder.record_commands(PUSAT, lease.token, batch)
    await world.producer.send_command(PUSAT, Cancel(world.request(2, [20]).booking_id))
    world.lease_ends()
    second = world.take()
    again = world.decide_any(second, 256)
    assert again == batch, "a batch stays as it was handed out"
    said = world.recorder.record_commands(PUSAT, second.token, batch)
    counters = [
        SlotCounters(row.slot, row.quota, row.quota - row.taken, row.last_number + 1, OPENS, row.closed)
        for row in said.slots
    ]
    world.consumer.settle_commands(second, batch, counters, said.freed, said.lifted_at)
    assert world.remaining() == 4
    before = world.dump()
    world.consumer.settle_commands(second, batch, counters, said.freed, said.lifted_at)
    assert world.dump() == before
    world.turn()
    assert world.remaining() == 5
    assert world.verify() == []


async def test_a_late_consumer_of_commands_is_fenced_off_by_redis_and_by_the_ledger(world: World) -> None:
    await confirmed(world, 1)
    await world.producer.send_command(PUSAT, Cancel(world.request(1, [10]).booking_id))
    zombie = world.take()
    batch = world.decide_any(zombie, 256)
    assert isinstance(batch, CommandBatch)
    world.lease_ends()
    world.turn()
    with pytest.raises(FencedError):
        world.consumer.settle_commands(zombie, batch, [], [], None)
    with pytest.raises(LedgerFencedError):
        world.recorder.record_commands(PUSAT, zombie.token, batch)
    assert world.verify() == []


async def test_commands_restored_from_an_older_snapshot_are_a_gap(world: World) -> None:
    with pytest.raises(LedgerGapError):
        world.recorder.record_commands(PUSAT, 2**40, CommandBatch(5, 5, [closing()]))
    assert world.sql("select count(*) from staff_action") == [(0,)]


async def test_a_quota_goes_up_and_down_but_not_below_what_is_taken(world: World) -> None:
    await confirmed(world, 5)
    up = await judged(world, quota(8))
    assert (up.before, up.after, up.refused) == ({"quota": 6, "taken": 5}, {"quota": 8, "taken": 5}, None)
    assert world.remaining() == 3
    below = await judged(world, quota(4))
    assert (below.refused, below.before["taken"], world.remaining()) == (Reason.QUOTA_BELOW_TAKEN, 5, 3)
    assert (await judged(world, quota(9, expected=7))).refused is Reason.QUOTA_CHANGED
    assert (await judged(world, quota(5, expected=8))).refused is None
    assert (await judged(world, quota(5, expected=8))).refused is None, "a repeat of what came true"
    assert (await world.refusal(world.request(9, [90]))).reason == Reason.SLOT_FULL
    assert world.verify() == []


async def test_a_quota_for_a_day_without_slots_applies_once_its_slots_exist(world: World) -> None:
    later = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=22))
    assert (await judged(world, quota(3, later))).refused is None
    world.set_clock(OPENS + timedelta(days=15))
    world.turn()
    assert world.remaining(later) == 3


async def test_a_quota_of_a_day_that_has_begun_is_refused(world: World) -> None:
    world.set_clock(OPENS + timedelta(days=3))
    assert (await judged(world, quota(9))).refused is Reason.DAY_BEGUN


async def test_closing_a_day_cancels_bookings_frees_people_and_refuses_requests(world: World) -> None:
    await confirmed(world, 2, party=2)
    await world.ticket(world.request(3, [30]))
    entry = closing()
    await world.ask(entry)
    world.turn()
    for n in (1, 2):
        booking = await world.recorded(world.request(n, [n * 10, n * 10 + 1]))
        assert (booking.state, booking.reason) == (State.CANCELLED, StatusReason.DAY_CLOSED)
    waiting = await world.recorded(world.request(3, [30]))
    assert (waiting.state, waiting.reason) == (State.REJECTED, StatusReason.DAY_CLOSED)
    assert (await world.refusal(world.request(4))).reason == Reason.DAY_CLOSED
    assert isinstance(await world.join(world.request(5, [10, 11], slot=TUESDAY)), Joined)
    assert await world.staff.closed_bookings(PUSAT, MONDAY.service_date) == 2
    assert (await judged(world, quota(9))).refused is Reason.DAY_CLOSED
    assert (await judged(world, closing())).refused is None, "a repeat"
    world.turn()
    assert world.verify() == []


async def test_commands_are_bounded_and_a_closed_lane_takes_none(world: World) -> None:
    entry = Cancel(uuid.uuid4())
    for _ in range(MAX_COMMANDS):
        await world.producer.send_command(PUSAT, entry)
    with pytest.raises(AntrianError, match="LANE_FULL"):
        await world.producer.send_command(PUSAT, entry)
    world.consumer.quarantine(world.take())
    with pytest.raises(AntrianError, match="LANE_CLOSED"):
        await world.producer.send_command(PUSAT, entry)


async def test_staff_actions_are_immutable(world: World) -> None:
    await judged(world, quota(7))
    for statement in ("update staff_action set why = ''", "delete from staff_action"):
        with pytest.raises(psycopg.IntegrityError):
            world.sql(statement)
    assert world.sql("select kind, caller, staff, why, refused from staff_action") == [
        ("SET_QUOTA", "desk", "rina", "mesin rusak", None)
    ]


async def test_the_sweep_finds_commands_that_no_consumer_runs(world: World) -> None:
    mark = world.take().inventory_version
    world.lease_ends()
    await world.producer.send_command(PUSAT, closing())
    world.redis.delete("ready")
    assert world.consumer.sweep([PUSAT], mark) == 1


async def test_slow_commands_make_no_other_lane_lose_its_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.prepare._PREPARE_WITHIN", -1)  # as if serving the first had taken long
    offices = [PUSAT, BOGOR]
    for office_id in offices:
        await world.producer.send_command(office_id, Cancel(world.request(9).booking_id))
    world.pipeline.step(world.offices)
    lanes = {office_id: world.consumer.audit(office_id) for office_id in offices}
    assert sorted(lane.settled_command for lane in lanes.values()) == [0, 1]
    [other] = [office_id for office_id, lane in lanes.items() if not lane.settled_command]
    assert world.redis.zrange("ready", 0, -1) == [other.encode()]
    world.pipeline.step(world.offices)
    assert world.consumer.audit(other).settled_command == 1
    assert world.verify() == []
