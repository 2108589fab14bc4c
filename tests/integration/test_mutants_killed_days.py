"""What small faults in the statements for days showed to be untested; see tests/mutants. One test a claim."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from antrian.audit.verify import verify
from antrian.booking import State
from antrian.errors import AntrianError
from antrian.identity import booking_code, code_range
from antrian.ledger import sql
from antrian.ledger.policies import UnservedDay, closed_days, unserved_days
from tests.integration.test_mutants_killed import confirmed
from tests.support.decree import decreed
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World

WAITING = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_a_code_prefers_todays_booking(world: World) -> None:
    world.recorder.upsert_offices([replace(world.offices[BOGOR], time_zone=ZoneInfo("Asia/Jayapura"))], [])
    monday = await confirmed(world, 1, [1])
    low, high = code_range(booking_code(monday.booking_id))
    tuesday = await confirmed(world, 2, [2], slot=TUESDAY, booking_id=uuid.UUID(int=low.int + 5))
    neighbour = await confirmed(world, 3, [3], booking_id=uuid.UUID(int=low.int + 6), office_id=BOGOR)
    for day, request in [(3, monday), (4, tuesday)]:
        world.set_clock(OPENS.replace(hour=23) + timedelta(days=day))  # at the other office it is tomorrow
        party = await world.staff.check_in(PUSAT, (low, high), [], "desk", "rina")
        assert {row.booking_id for row in party} == {request.booking_id}
        assert [row.number for row in party] == [1]
    assert (await world.recorded(neighbour)).state is State.CONFIRMED
    world.set_clock(OPENS + timedelta(days=5))
    with pytest.raises(AntrianError, match="NOT_TODAY") as refused:
        await world.staff.check_in(PUSAT, (low, high), [], "desk", "rina")
    assert refused.value.metadata["service_date"] == TUESDAY.service_date.isoformat(), "the latest"
    actions = world.sql(
        "select kind, office_id, service_date, before->>'booking_id' from staff_action order by done_at"
    )
    assert actions == [
        ("CHECK_IN", PUSAT, MONDAY.service_date, str(monday.booking_id)),
        ("CHECK_IN", PUSAT, TUESDAY.service_date, str(tuesday.booking_id)),
    ]


async def test_finishing_a_day_affects_only_that_office_and_day(world: World) -> None:
    missed = await confirmed(world, 1, [1])
    others = [await confirmed(world, 2, [2], slot=TUESDAY), await confirmed(world, 3, [3], office_id=BOGOR)]
    world.set_clock(OPENS + timedelta(days=4))
    ends = OPENS + timedelta(days=34)
    for _ in range(2):
        world.recorder.days.finish(PUSAT, MONDAY.service_date, MONDAY.service_date, ends)
    assert [(await world.recorded(r)).state for r in (missed, *others)] == [State.NO_SHOW, *[State.CONFIRMED] * 2]
    assert world.sql("select booking_id from bar") == [(missed.booking_id,)]
    assert world.sql("select office_id, service_date, no_shows, synced from day_done") == [
        (PUSAT, MONDAY.service_date, 1, False)
    ]
    assert world.recorder.days.over() == [
        (BOGOR, OPENS.date(), OPENS.tzinfo),
        (BOGOR, MONDAY.service_date, OPENS.tzinfo),
    ]
    world.recorder.days.finish(BOGOR, MONDAY.service_date, MONDAY.service_date, ends)
    assert [p.booking_id for p in world.recorder.days.people(PUSAT, MONDAY.service_date)] == [missed.booking_id.bytes]
    unsynced = []
    for office_id, day in [(PUSAT, TUESDAY.service_date), (PUSAT, MONDAY.service_date), (BOGOR, TUESDAY.service_date)]:
        unsynced.append([office_id for office_id, *_ in world.recorder.days.unsynced()])
        world.recorder.days.mark_synced(office_id, day)
    unsynced.append([office_id for office_id, *_ in world.recorder.days.unsynced()])
    assert unsynced == [[BOGOR, PUSAT], [BOGOR, PUSAT], [BOGOR], [BOGOR]]


async def test_a_party_is_ordered_by_queue_number(world: World) -> None:
    request = await confirmed(world, 1, [1, 2, 3])
    for name, slot in [(4, MONDAY), (5, TUESDAY)]:
        await confirmed(world, name, [name], slot=slot)
    world.set_clock(OPENS + timedelta(days=3))
    party = await world.staff.check_in(PUSAT, code_range(booking_code(request.booking_id)), [2], "desk", "rina")
    assert [(row.number, row.present_at is not None) for row in party] == [(1, False), (2, True), (3, False)]


async def test_a_day_syncs_only_the_bars_of_its_own_bookings(world: World) -> None:
    first, second = await confirmed(world, 1, [1]), await confirmed(world, 2, [2], slot=TUESDAY)
    world.sql(
        f"insert into bar select applicant_key, '{second.booking_id}', now(), now() from applicant "
        f"where booking_id = '{first.booking_id}'"
    )
    [person] = world.recorder.days.people(PUSAT, MONDAY.service_date)
    assert (person.booking_id, person.ends_at) == (first.booking_id.bytes, None)


async def test_a_later_check_in_is_added_and_keeps_the_end_time(world: World) -> None:
    request = await confirmed(world, 1, [1, 2, 3])
    world.set_clock(OPENS + timedelta(days=3))
    codes = code_range(booking_code(request.booking_id))
    await world.staff.check_in(PUSAT, codes, [3, 1], "desk", "rina")
    ended = (await world.recorded(request)).ended_at
    await world.staff.check_in(PUSAT, codes, [], "desk", "rina")
    assert (await world.recorded(request)).ended_at == ended
    assert world.sql("select after->'present' from staff_action order by done_at") == [([1, 3],), ([2],)]


async def test_a_check_in_waits_for_concurrent_changes_of_the_booking(world: World) -> None:
    request = await confirmed(world, 1, [1])
    world.set_clock(OPENS + timedelta(days=3))
    with psycopg.connect(world.settings.database_url) as other:
        other.execute("update booking set state = 'NO_SHOW', ended_at = now()")
        other.execute("update applicant set live = false")
        codes = code_range(booking_code(request.booking_id))
        check_in = asyncio.create_task(world.staff.check_in(PUSAT, codes, [], "desk", "rina"))
        await until(lambda: world.sql(WAITING))
    with pytest.raises(AntrianError, match="NOT_CONFIRMED"):
        await check_in


async def test_past_days_are_listed_per_office_in_bounded_batches(world: World) -> None:
    world.sql(f"delete from slot where office_id = '{BOGOR}' or service_date <> '{MONDAY.service_date}'")
    world.set_clock(OPENS + timedelta(days=4))
    assert world.recorder.days.over() == [(PUSAT, MONDAY.service_date, OPENS.tzinfo)]
    many = "from generate_series(1, 60) as n"
    world.sql(
        f"insert into slot (office_id, service_date, session, quota) select '{BOGOR}', date '2026-01-01' + n, 'MORNING', 1 {many}"
    )
    assert len(world.recorder.days.over()) == 50
    world.sql(f"insert into day_done select '{BOGOR}', date '2026-01-01' + n, now(), 0 {many}")
    assert len(world.recorder.days.unsynced()) == 50


async def test_days_before_the_last_one_that_is_done_do_not_come_again(world: World) -> None:
    world.set_clock(OPENS + timedelta(days=5))
    for slot in (MONDAY, TUESDAY):
        world.recorder.days.finish(PUSAT, slot.service_date, slot.service_date, OPENS + timedelta(days=34))
    assert {office_id for office_id, *_ in world.recorder.days.over()} == {BOGOR}


async def test_the_calendar_check_examines_the_days_of_each_office_that_are_not_done(world: World) -> None:
    world.sql(f"delete from slot where office_id = '{PUSAT}' and service_date = '{TUESDAY.service_date}'")
    done = [(PUSAT, OPENS.date()), (PUSAT, TUESDAY.service_date), (BOGOR, MONDAY.service_date)]
    for office_id, day in done:
        world.sql(f"insert into day_done values ('{office_id}', '{day}', now(), 0)")
    last = {PUSAT: TUESDAY.service_date, BOGOR: MONDAY.service_date}
    ahead = [
        day
        for office_id, day in world.sql("select distinct office_id, service_date from slot")
        if day > last[office_id]
    ]
    [check] = [check for check in verify(world.settings) if check.what.startswith("days without service")]
    assert check.examined == len(ahead) > 0


async def test_closed_days_are_those_to_come_with_service_and_in_how_many_offices(world: World) -> None:
    friday, monday, tuesday, wednesday = OPENS.date(), *(MONDAY.service_date + timedelta(days=n) for n in range(3))
    every = {friday: 2, monday: 2, tuesday: 1, wednesday: 2}
    with psycopg.connect(world.settings.database_url, autocommit=True) as ledger:
        assert closed_days(ledger, world.policy) == {}
        world.sql(f"update slot set closed = true where service_date in ('{friday}', '{monday}', '{wednesday}')")
        world.sql(f"update slot set closed = true where service_date = '{tuesday}' and office_id = '{BOGOR}'")
        assert list(closed_days(ledger, world.policy).items()) == list(every.items())
        assert monday not in closed_days(ledger, decreed(world.policy, monday))
        mondays = replace(world.policy, service_weekdays=frozenset({monday.weekday()}))
        assert closed_days(ledger, mondays) == {monday: 2}
        world.set_clock(OPENS.replace(hour=23, minute=59))
        assert friday in closed_days(ledger, world.policy)
        world.set_clock(OPENS.replace(hour=0, minute=1) + timedelta(days=1))
        assert closed_days(ledger, world.policy) == {day: offices for day, offices in every.items() if day > friday}


async def test_unserved_days_are_open_or_booked_days_with_their_own_closings(world: World) -> None:
    monday, tuesday = MONDAY.service_date, TUESDAY.service_date
    await confirmed(world, 1, [1, 2])
    for office_id, day in [(PUSAT, monday), (PUSAT, tuesday)]:
        world.sql(f"update slot set closed = true where office_id = '{office_id}' and service_date = '{day}'")
    for kind, office_id, day, times in [
        ("CLOSE_DATE", PUSAT, monday, 1),
        ("CHECK_IN", PUSAT, monday, 1),
        ("CLOSE_DATE", BOGOR, monday, 2),
        ("CLOSE_DATE", PUSAT, tuesday, 4),
        ("CLOSE_DATE", BOGOR, tuesday, 8),
    ]:
        world.sql(
            f"insert into staff_action select gen_random_uuid(), '{kind}', '{office_id}', '{day}', null, '', '', '', "
            f"'{{}}', '{{}}', null, now() from generate_series(1, {times})"
        )
    decree = decreed(world.policy, monday, tuesday)
    for now, over in [(monday, False), (tuesday, True)]:
        world.set_clock(OPENS.replace(hour=0, minute=1) + (now - OPENS.date()))
        with psycopg.connect(world.settings.database_url, autocommit=True) as ledger:
            assert unserved_days(ledger, decree) == [
                UnservedDay(BOGOR, monday, bookings=0, people=0, over=over, closings=2),
                UnservedDay(PUSAT, monday, bookings=1, people=2, over=over, closings=1),
                UnservedDay(BOGOR, tuesday, bookings=0, people=0, over=False, closings=8),
            ]


async def test_bars_that_hold_are_listed_with_whether_their_own_day_is_synced(world: World) -> None:
    at_pusat, at_bogor, lifted, over = [
        await confirmed(world, n, [n], office_id=office_id)
        for n, office_id in enumerate([PUSAT, BOGOR, PUSAT, PUSAT], 1)
    ]
    on_tuesday = await confirmed(world, 5, [5], slot=TUESDAY)
    world.set_clock(OPENS + timedelta(days=5))
    world.nightly()
    world.sql(f"update day_done set synced = office_id = '{PUSAT}' and service_date = '{MONDAY.service_date}'")
    world.sql(f"update bar set lifted_at = now() where booking_id = '{lifted.booking_id}'")
    world.sql(f"update bar set ends_at = service_now() - interval '1 hour' where booking_id = '{over.booking_id}'")
    with psycopg.connect(world.settings.database_url) as ledger:
        bars = ledger.execute(sql("synced_bars")).fetchall()
    assert sorted(bars) == sorted(
        (booking.applicants[0].key, booking.booking_id, booking is at_pusat)
        for booking in (at_pusat, at_bogor, on_tuesday)
    )


async def test_an_office_has_a_day_when_it_has_a_slot_there(world: World) -> None:
    day = MONDAY.service_date
    world.sql(f"delete from slot where office_id = '{BOGOR}' and service_date = '{day}'")
    offices = [office_id for office_id in (PUSAT, BOGOR) if await world.staff.has_slots(office_id, day)]
    assert offices == [PUSAT]
    assert await world.staff.has_slots(BOGOR, TUESDAY.service_date)


async def test_the_last_day_that_redis_was_told_of_is_the_latest(world: World) -> None:
    world.sql(
        f"insert into day_done select '{PUSAT}', date '2026-11-01' + n, timestamptz '2026-11-01Z' + n * interval '1 day', 0, "
        "n < 3 from generate_series(1, 3) as n"
    )
    assert world.recorder.days.last_synced(timedelta(0)) == datetime(2026, 11, 3, tzinfo=UTC)


@pytest.mark.parametrize(("held", "waits"), [(PUSAT, True), (BOGOR, False)])
async def test_a_day_is_finished_under_the_lock_of_its_lane(world: World, held: str, *, waits: bool) -> None:
    ends = OPENS + timedelta(days=34)
    with psycopg.connect(world.settings.database_url) as other:
        other.execute("select from lane where office_id = %s for update", [held])
        finish = asyncio.create_task(
            asyncio.to_thread(world.recorder.days.finish, PUSAT, MONDAY.service_date, MONDAY.service_date, ends)
        )
        await until(lambda: finish.done() or world.sql(WAITING))
        assert finish.done() != waits
    await finish
