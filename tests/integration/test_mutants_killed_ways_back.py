"""What small faults in the statements for ways back showed to be untested; see tests/mutants. One test a claim."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from antrian.booking import (
    Cancel,
    CloseDate,
    Command,
    CommandBatch,
    Follow,
    Session,
    SetQuota,
    Slot,
    StaffAction,
    State,
)
from antrian.errors import Reason
from antrian.lane.producer import JoinRequest
from antrian.ledger.commands import CommandsRecord
from tests.integration.test_mutants_killed_days import WAITING
from tests.integration.test_ways_back import (
    MONDAY_NOON,
    NEXT_MONDAY,
    TUESDAY_0000,
    booked,
    check_in,
    done,
    end_monday,
    missed,
)
from tests.support.waiting import until
from tests.support.ways_back import by, excuse, late, lift, undo
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World


async def bar_again(world: World, request: JoinRequest, other: JoinRequest) -> None:
    """Bars the people of a booking for another one, too."""
    world.sql(
        "insert into bar (applicant_key, booking_id, last_day, ends_at) "
        f"select applicant_key, '{other.booking_id}', now(), service_now() + interval '20 days' "
        f"from applicant where booking_id = '{request.booking_id}'"
    )


async def answered(world: World, *entries: Command) -> CommandsRecord:
    """What the ledger answers to a batch of the desk."""
    for entry in entries:
        await world.producer.send_command(PUSAT, entry)
    lease = world.take()
    batch = world.decide_any(lease)
    assert isinstance(batch, CommandBatch)
    said = world.recorder.record_commands(PUSAT, lease.token, batch)
    world.lease_ends()
    world.turn()
    return said


async def test_what_is_asked_twice_is_noted_once_and_is_no_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    request, other, gone = await booked(world, 1, [1, 2]), await booked(world, 2, [3]), await booked(world, 3, [4])

    async def twice(entry: Command) -> None:
        for _ in range(2):
            await world.ask(entry)

    await twice(Cancel(gone.booking_id, by=StaffAction(**by())))
    await twice(SetQuota(**by(), slot=TUESDAY, quota=9, expected=None))
    await twice(CloseDate(**by(), service_date=TUESDAY.service_date))
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    await twice(undo(request, 1))
    end_monday(world)
    await twice(replace(late(world.policy, request, 1), until=OPENS + timedelta(days=99)))
    await twice(lift(request, 2))
    await twice(excuse(other))
    rows = world.sql("select kind, count(*) from staff_action group by kind order by kind")
    assert rows == [
        (kind, 1)
        for kind in (
            "CHECK_IN", "CLOSE_DATE", "EXCUSE_NO_SHOW", "LATE_ATTENDANCE", "LIFT_BAR", "RELEASE", "SET_QUOTA", "UNDO_CHECK_IN",
        )
    ]  # fmt: skip
    assert "refused by" not in caplog.text


async def test_another_office_changes_no_booking_and_notes_nothing(world: World) -> None:
    request, gone = await booked(world, 1, [1]), await booked(world, 2, [2], TUESDAY)
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    await world.ask(undo(request, 1), BOGOR)
    world.set_clock(TUESDAY_0000 + timedelta(days=1, hours=1))
    world.nightly()
    await world.ask(late(world.policy, gone, 1), BOGOR)
    await world.ask(excuse(gone), BOGOR)
    assert [(await world.recorded(one)).state for one in (request, gone)] == [State.ATTENDED, State.NO_SHOW]
    assert world.sql("select kind from staff_action") == [("CHECK_IN",)]


async def test_one_bar_is_lifted_and_the_persons_other_bar_holds(world: World) -> None:
    other = await booked(world, 2, [2], TUESDAY)  # number 1 of its day as well
    request = await missed(world, 1, [1])
    await bar_again(world, request, other)
    assert (await done(world, lift(request))).after == {"lifted": True}
    assert world.sql("select booking_id from bar where lifted_at is not null") == [(request.booking_id,)]


async def test_who_is_barred_for_another_booking_only_has_no_bar_of_this_one(world: World) -> None:
    request, other = await booked(world, 1, [1]), await booked(world, 2, [2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    end_monday(world)
    await bar_again(world, request, other)
    assert (await done(world, lift(request))).refused is Reason.BAR_NOT_FOUND
    await world.ask(lift(request, 2))  # which is a number of the other booking
    assert world.sql("select count(*) from bar where lifted_at is not null") == [(0,)]
    assert [row.number for row in await world.staff.bars(PUSAT, MONDAY.service_date, 10)] == [2]
    assert await world.staff.bars(PUSAT, TUESDAY.service_date, 10) == []


async def test_bars_come_in_pages_by_day_session_and_number(world: World) -> None:
    days = [
        (slot.service_date, session) for slot in (TUESDAY, MONDAY) for session in (Session.MORNING, Session.AFTERNOON)
    ]
    for n, (day, session) in enumerate(days):
        await booked(world, n, [2 * n, 2 * n + 1], Slot(day, session))
    end_monday(world)
    seen, after = [], None
    while page := await world.staff.bars(PUSAT, MONDAY.service_date, 1, after=after):
        [row] = page
        after = row.service_date, row.session, row.number
        seen.append(after)
        assert len(seen) < 10
    assert seen == [(day, session, number) for day, session in days for number in (1, 2)]


async def test_a_bar_that_has_ended_is_not_lifted(world: World) -> None:
    request = await missed(world, 1, [1])
    world.set_clock(TUESDAY_0000 + timedelta(days=60))
    assert (await done(world, lift(request))).refused is Reason.BAR_NOT_FOUND
    assert world.sql("select lifted_at from bar") == [(None,)]


async def test_late_attendance_leaves_a_lifted_bar_as_it_is_and_says_who_came(world: World) -> None:
    request = await booked(world, 1, [1, 2, 3])
    end = TUESDAY_0000 + timedelta(hours=1)
    world.set_clock(end)
    world.nightly()
    await done(world, lift(request, 1))
    lifted = "select lifted_at from bar where lifted_at is not null order by lifted_at limit 1"
    before = world.sql(lifted)
    action = await done(world, late(world.policy, request, 2, 1))
    assert (action.before["state"], action.after) == ("NO_SHOW", {"state": "ATTENDED", "present": [1, 2]})
    assert world.sql(lifted) == before
    again = await done(world, late(world.policy, request, 1))
    assert again.after == {"state": "ATTENDED", "present": None}


async def test_after_the_time_for_it_a_late_attendance_asks_for_people_of_its_own_booking(world: World) -> None:
    request, _ = await booked(world, 1, [1]), await booked(world, 2, [2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    world.set_clock(TUESDAY_0000 + timedelta(hours=13))
    assert (await done(world, late(world.policy, request, 1, 2))).refused is None, "2 is of another booking"


async def test_a_day_is_over_for_late_attendance_at_the_offices_own_midnight(world: World) -> None:
    world.recorder.upsert_offices([replace(world.offices[BOGOR], time_zone=ZoneInfo("Asia/Jayapura"))], [])
    request = await booked(world, 1, [1])
    world.set_clock(TUESDAY_0000 - timedelta(hours=1))  # at the other office it is Tuesday
    assert (await done(world, late(world.policy, request, 1))).refused is Reason.NOT_MISSED


async def test_a_desk_frees_who_holds_nothing_and_leaves_the_barred_to_the_nightly_work(world: World) -> None:
    came, absent = await booked(world, 1, [1, 2]), await booked(world, 2, [3])
    other = await booked(world, 3, [4], TUESDAY)
    await world.ask(Cancel(other.booking_id))
    world.set_clock(MONDAY_NOON)
    await check_in(world, came, 1)
    end_monday(world)
    world.sql(
        "insert into bar (applicant_key, booking_id, last_day, ends_at) select applicant_key, "
        f"'{other.booking_id}', now(), service_now() + interval '20 days' from applicant where present_at is not null"
    )
    await done(world, lift(absent, 3))
    freed = sorted((one.booking_id.bytes, one.applicants[0].key) for one in (came, absent))
    day = CloseDate(**by(), service_date=MONDAY.service_date)  # refused, as the day is done
    assert sorted((await answered(world, day)).freed) == freed
    for one in (came, absent):
        assert (await answered(world, Follow(one.booking_id))).freed == [(one.booking_id.bytes, one.applicants[0].key)]


async def test_a_desk_says_when_the_latest_bar_of_its_bookings_was_lifted(world: World) -> None:
    first, second, third = [await booked(world, n, [n]) for n in (1, 2, 3)]
    end_monday(world)
    for n, request in enumerate((second, first, third)):
        world.sql(
            f"update bar set lifted_at = service_now() + interval '{n} minutes' where booking_id = '{request.booking_id}'"
        )
    [(latest,)] = world.sql(f"select lifted_at from bar where booking_id = '{first.booking_id}'")
    assert (await answered(world, Follow(first.booking_id), Follow(second.booking_id))).lifted_at == latest


async def test_a_lifted_bar_counts_as_told_after_the_grace_for_its_desk(world: World) -> None:
    for n in (1, 2, 3):
        await booked(world, n, [n])
    end_monday(world)
    world.sql("update day_done set synced = false")
    for ago, name in [(60, 1), (20, 2), (5, 3)]:
        booking_id = world.request(name).booking_id
        world.sql(
            f"update bar set lifted_at = service_now() - interval '{ago} minutes' where booking_id = '{booking_id}'"
        )
    [(told,)] = world.sql(f"select lifted_at from bar where booking_id = '{world.request(2).booking_id}'")
    assert world.recorder.days.last_synced(timedelta(minutes=10)) == told


@pytest.mark.parametrize("changes", ["this booking", "another"])
async def test_an_undone_check_in_waits_for_who_checks_in_others_of_its_booking_alone(
    world: World, changes: str
) -> None:
    request, other = await booked(world, 1, [1, 2]), await booked(world, 2, [3])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    held = request if changes == "this booking" else other
    await world.producer.send_command(PUSAT, undo(request, 1))
    with psycopg.connect(world.settings.database_url) as connection:
        connection.execute("select from booking where booking_id = %s for update", [held.booking_id])
        connection.execute(
            "update applicant set present_at = now(), live = false where booking_id = %s and present_at is null",
            [held.booking_id],
        )
        served = asyncio.create_task(asyncio.to_thread(world.turn))
        await until(lambda: served.done() or world.sql(WAITING))
        assert served.done() == (held is other)
    await served
    state = State.CONFIRMED if held is other else State.ATTENDED
    assert (await world.recorded(request)).state is state


async def test_an_undone_check_in_is_of_its_own_booking_alone(world: World) -> None:
    request, other = await booked(world, 1, [1]), await booked(world, 2, [2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    await check_in(world, other, 2)
    assert (await done(world, undo(request, 1))).after["state"] == "CONFIRMED"
    await check_in(world, request, 1)
    again = world.request(3, [2], slot=NEXT_MONDAY)
    await world.ticket(replace(again, windows=tuple(replace(w, opens_at=OPENS) for w in again.windows)))
    world.turn()
    key = other.applicants[0].key
    world.redis.hdel(f"applicants:{key.hex()[:3]}", key)
    both = {n: uuid.UUID(bytes=one.applicants[0].key) for n, one in enumerate((request, other), 1)}
    assert (await done(world, replace(undo(request, 1), people=both))).after["undone"] == [1]
    assert [(await world.recorded(one)).state for one in (request, other)] == [State.CONFIRMED, State.ATTENDED]
    assert world.sql("select number from applicant where present_at is not null") == [(2,)]


async def test_a_check_in_is_undone_until_the_offices_own_midnight(world: World) -> None:
    world.recorder.upsert_offices([replace(world.offices[BOGOR], time_zone=ZoneInfo("Asia/Jayapura"))], [])
    request = await booked(world, 1, [1, 2])
    world.set_clock(TUESDAY_0000 - timedelta(hours=1))  # at the other office it is Tuesday
    await check_in(world, request, 1, 2)
    assert (await done(world, undo(request, 2, 1))).after["undone"] == [1, 2]
    repeated = await done(world, undo(request, 2, 1))
    assert (repeated.refused, repeated.after["undone"]) == (None, None), "they are expected already"


async def test_a_check_in_is_undone_of_who_held_another_booking_before(world: World) -> None:
    before = await booked(world, 1, [1], TUESDAY)
    await world.ask(Cancel(before.booking_id))
    request = await booked(world, 2, [1])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    assert (await done(world, undo(request, 1))).after["undone"] == [1]


async def test_the_first_of_those_whom_the_ledger_has_booked_again_is_named(world: World) -> None:
    request = await booked(world, 1, [1, 2, 3])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1, 2, 3)
    for name in (2, 3):
        again = world.request(name, slot=NEXT_MONDAY)
        await world.ticket(replace(again, windows=tuple(replace(w, opens_at=OPENS) for w in again.windows)))
    world.turn()
    for one in request.applicants:  # Redis has lost them, the ledger has not
        world.redis.hdel(f"applicants:{one.key.hex()[:3]}", one.key)
    assert (await done(world, undo(request, 1, 2, 3))).after["taken"] == 2


async def test_who_gave_up_does_not_come_with_the_whole_party(world: World) -> None:
    request = await booked(world, 1, [1, 2, 3])
    await world.ask(Cancel(request.booking_id, 2))
    world.set_clock(MONDAY_NOON)
    await check_in(world, request)
    assert world.sql("select number from applicant where present_at is not null order by number") == [(1,), (3,)]
    assert world.sql("select after->'present' from staff_action") == [([1, 3],)]


async def test_a_closing_that_is_refused_closes_no_slot(world: World) -> None:
    world.set_clock(TUESDAY_0000)
    world.nightly()
    entry = CloseDate(**by(), service_date=MONDAY.service_date)
    for _ in range(2):
        await world.ask(entry)
    assert world.sql("select count(*) from slot where closed") == [(0,)]


async def test_an_accounts_list_says_of_a_booking_what_is_said_of_it_alone(world: World) -> None:
    request, other = await booked(world, 1, [1, 2, 3, 4]), await booked(world, 2, [5, 8])
    tuesday = await booked(world, 3, [6, 7], TUESDAY)
    for booking, number in [(request, 3), (request, 2), (other, 5), (tuesday, 2)]:
        await world.ask(Cancel(booking.booking_id, number))
    alone = await world.recorded(request)
    [listed] = await world.reader.account_bookings("gateway", request.account, 10)
    assert listed._replace(as_of=alone.as_of) == alone
    assert list(alone.cancelled) == [2, 3]
    assert [one.key for one in alone.people] == [request.applicants[n].key for n in (0, 3)]
