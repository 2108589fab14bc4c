"""The ways back from a no-show or a wrong check-in, in the ledger and in Redis, whatever else happens meanwhile."""

import uuid
from dataclasses import replace
from datetime import datetime, time, timedelta

import psycopg
import pytest

from antrian.booking import (
    Cancel,
    CloseDate,
    CommandBatch,
    ExcuseNoShow,
    Follow,
    LateAttendance,
    LiftBar,
    Slot,
    StaffAction,
    State,
    UndoCheckIn,
)
from antrian.errors import Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import Joined, JoinRequest
from antrian.ledger.days import LedgerDays
from antrian.ledger.staff import ActionRow
from tests.support.ways_back import by, excuse, late, lift, undo
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World, nik
from workers.commands import execute_commands

MONDAY_NOON = OPENS.replace(hour=12) + timedelta(days=3)
TUESDAY_0000 = datetime.combine(TUESDAY.service_date, time.min, OPENS.tzinfo)
NEXT_WINDOW = OPENS + timedelta(days=7)
NEXT_MONDAY = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))


async def done(world: World, entry: LiftBar | ExcuseNoShow | UndoCheckIn | LateAttendance) -> ActionRow:
    """Puts it on the desk, serves that, and says what became of it."""
    await world.ask(entry)
    action = await world.staff.action(entry.action_id)
    assert action is not None
    return action


async def check_in(world: World, request: JoinRequest, *present: int) -> None:
    await world.staff.check_in(PUSAT, code_range(booking_code(request.booking_id)), present, "desk", "rina")
    await world.ask(Follow(request.booking_id))


async def booked(world: World, name: int, people: list[int], slot: Slot = MONDAY) -> JoinRequest:
    request = world.request(name, people, slot=slot)
    await world.ticket(request)
    world.turn()
    return request


async def missed(world: World, name: int, people: list[int]) -> JoinRequest:
    """A booking for Monday of which nobody came; it is the next window."""
    request = await booked(world, name, people)
    end_monday(world)
    return request


def end_monday(world: World) -> None:
    world.set_clock(NEXT_WINDOW + timedelta(minutes=1))
    world.turn()
    world.nightly()


async def may_book(world: World, *people: int) -> list[bool]:
    """Whether each of them is taken for the next Monday; who is holds a booking then."""
    responses = [await world.join(world.request(100 + person, [person], slot=NEXT_MONDAY)) for person in people]
    assert all(
        isinstance(response, Joined) or getattr(response, "reason", "") == Reason.BARRED for response in responses
    )
    world.turn()
    return [isinstance(response, Joined) for response in responses]


def claims(world: World, *people: int) -> list[bytes]:
    """What Redis says of these people."""
    keys = [world.keys.applicant_key(nik(person)) for person in people]
    entries = [world.redis.hget(f"applicants:{key.hex()[:3]}", key) for key in keys]
    return [entry if isinstance(entry, bytes) else b"" for entry in entries]


async def test_lifting_a_bar_frees_one_person_and_keeps_the_no_show(world: World) -> None:
    request = await missed(world, 1, [1, 2])
    action = await done(world, lift(request, 2))
    assert (action.refused, action.before["lifted"], action.after) == (None, False, {"lifted": True})
    assert (await world.recorded(request)).state is State.NO_SHOW
    assert await may_book(world, 1, 2) == [False, True]
    assert world.verify() == []


async def test_a_bar_is_lifted_once_and_syncing_its_day_again_does_not_restore_it(world: World) -> None:
    request = await missed(world, 1, [1])
    await done(world, lift(request))
    lifted_at = world.sql("select lifted_at from bar")
    assert (await done(world, lift(request))).before["lifted"]
    assert world.sql("select lifted_at from bar") == lifted_at
    world.recorder.days.mark_unsynced(MONDAY.service_date)
    assert world.nightly() > 0
    assert await may_book(world, 1) == [True]
    assert world.verify() == []


async def test_lifting_a_bar_requires_a_no_show_at_that_office(world: World) -> None:
    request = await booked(world, 1, [1, 2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    end_monday(world)
    assert (await done(world, lift(request, 1))).refused is Reason.BAR_NOT_FOUND
    foreign = lift(request, 2)
    await world.ask(foreign, BOGOR)
    assert await world.staff.action(foreign.action_id) is None
    assert await may_book(world, 1, 2) == [True, False]


async def test_lifting_a_bar_keeps_the_persons_bar_from_another_office(world: World) -> None:
    """Somebody missed two days, which takes a bar that was lifted between them, or a Redis that forgot one."""
    request = await missed(world, 1, [1])
    key = request.applicants[0].key
    ends = NEXT_WINDOW + timedelta(days=20)
    assert world.consumer.release(BOGOR, world.consumer.settled_command(BOGOR), [(b"o" * 16, key)], ends, "2026-12-20")
    await done(world, lift(request))
    assert await may_book(world, 1) == [False]
    assert world.consumer.release(BOGOR, world.consumer.settled_command(BOGOR), [(b"o" * 16, key)])
    assert await may_book(world, 1) == [True]


async def test_a_bar_may_be_lifted_while_the_lane_is_rebuilt(world: World) -> None:
    first, second = await booked(world, 1, [1]), await missed(world, 2, [2])
    await world.producer.send_command(PUSAT, lift(first))  # nobody has served it
    assert world.rebuild().lost == 0
    await world.producer.send_command(PUSAT, lift(second, 2))
    lease = world.take()
    batch = world.decide_any(lease)
    assert isinstance(batch, CommandBatch)
    said = world.recorder.record_commands(PUSAT, lease.token, batch)
    world.rebuild()
    with pytest.raises(Exception, match=PUSAT):  # fenced: what the late worker knows is not told any more
        world.consumer.settle_commands(lease, batch, [], said.freed, said.lifted_at)
    assert await may_book(world, 1, 2) == [True, True]
    assert world.verify() == []


async def test_a_day_is_not_synced_while_its_lanes_commands_run(world: World) -> None:
    """What the nightly work read before a bar was lifted must not bar the person again after it."""
    request = await missed(world, 1, [1])
    key, ends = request.applicants[0].key, NEXT_WINDOW + timedelta(days=20)
    settled_command = world.consumer.settled_command(PUSAT)
    bar = [(request.booking_id.bytes, key)]
    await world.producer.send_command(PUSAT, lift(request))
    lease = world.take()
    batch = world.decide_any(lease)
    assert isinstance(batch, CommandBatch)
    assert not world.consumer.release(PUSAT, settled_command, bar, ends, "2026-12-20"), "the desk is being served"
    execute_commands(world.setup, lease, world.offices[PUSAT], batch)
    assert not world.consumer.release(PUSAT, settled_command, bar, ends, "2026-12-20"), "the desk was served since"
    assert await may_book(world, 1) == [True]


async def test_a_day_is_synced_later_when_commands_ran_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await booked(world, 1, [1])
    world.set_clock(TUESDAY_0000)
    people, asked = LedgerDays.people, list[str]()

    def slow(days: LedgerDays, office_id: str, day: object) -> object:
        found = people(days, office_id, day)  # type: ignore[arg-type]
        if (office_id, day) == (PUSAT, MONDAY.service_date) and not asked:
            asked.append(office_id)
            world.redis.hincrby(f"lane:{{{PUSAT}}}", "settled_command", 1)
        return found

    monkeypatch.setattr(LedgerDays, "people", slow)
    world.nightly()
    assert world.sql("select office_id from day_done where not synced") == [(PUSAT,)]
    assert world.nightly() == 1
    assert (await world.recorded(request)).state is State.NO_SHOW


async def test_no_day_is_synced_to_a_redis_that_needs_a_rebuild(world: World) -> None:
    await booked(world, 1, [1])
    world.set_clock(TUESDAY_0000)
    world.redis.delete("restored")
    assert world.nightly() == 0
    world.rebuild()
    assert world.nightly() > 0
    assert world.nightly() == 0


async def test_a_lifted_bar_is_synced_again_to_a_redis_restored_from_an_older_snapshot(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    request = await missed(world, 1, [1])
    copy = world.dump()
    await done(world, lift(request))
    world.set_clock(NEXT_WINDOW + timedelta(minutes=3))
    world.nightly()
    assert "Redis lacks synced day closures" not in caplog.text
    clock = world.recorder.clock_ahead()
    world.redis.flushdb()
    for name, value in copy.items():
        assert value is not None
        world.redis.restore(name, 0, value)
    world.consumer.set_clock(clock)
    assert await may_book(world, 1) == [False]
    world.nightly()
    assert "Redis lacks synced day closures" in caplog.text
    assert await may_book(world, 1) == [True]


async def test_excusing_a_booking_removes_its_bars_and_is_idempotent(world: World) -> None:
    request = await missed(world, 1, [1, 2])
    first, second = await done(world, excuse(request)), await done(world, excuse(request))
    assert (first.before["state"], first.after) == ("NO_SHOW", {"state": "EXCUSED", "bars_lifted": 2})
    assert (second.before["state"], second.after) == ("EXCUSED", {"state": "EXCUSED", "bars_lifted": 0})
    assert (await world.recorded(request)).state is State.EXCUSED
    assert world.verify() == []
    world.rebuild()
    assert await may_book(world, 1, 2) == [True, True]
    assert world.verify() == []


async def test_only_a_no_show_can_be_excused(world: World) -> None:
    request, party = await booked(world, 1, [1]), await booked(world, 2, [2, 3])
    assert (await done(world, excuse(request))).refused is Reason.NOT_MISSED
    world.set_clock(MONDAY_NOON)
    await check_in(world, party, 2)
    end_monday(world)
    refused = await done(world, excuse(party))
    assert (refused.refused, refused.before["state"], refused.after["state"]) == (
        Reason.NOT_MISSED,
        "ATTENDED",
        "ATTENDED",
    )
    assert await may_book(world, 1, 2, 3) == [False, True, False]


async def test_undoing_a_check_in_makes_the_person_expected_again(world: World) -> None:
    request = await booked(world, 1, [1, 2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1, 2)
    action = await done(world, undo(request, 2))
    assert (action.before["state"], action.after["state"], action.after["undone"]) == ("ATTENDED", "ATTENDED", [2])
    assert world.verify() == []
    assert (await done(world, undo(request, 1))).after["state"] == "CONFIRMED"
    assert ((await world.recorded(request)).state, (await world.recorded(request)).ended_at) == (State.CONFIRMED, None)
    assert (await done(world, undo(request, 1, 2))).after["undone"] is None
    assert await world.producer.owned(request.owner) == [request.booking_id]
    assert world.verify() == []
    await check_in(world, request, 1)
    end_monday(world)
    assert await may_book(world, 1, 2) == [True, False]
    assert world.verify() == []


@pytest.mark.parametrize("recorded", [True, False])
async def test_undoing_a_check_in_keeps_a_newer_booking(world: World, *, recorded: bool) -> None:
    """Also while the new request only waits in its line."""
    request = await booked(world, 1, [1, 2], TUESDAY)
    world.set_clock(MONDAY_NOON + timedelta(days=1))
    await check_in(world, request, 1, 2)
    again = replace(world.request(2, [2], slot=NEXT_MONDAY, office_id=BOGOR), windows=request.windows)
    again = replace(again, windows=tuple(replace(w, closes_at=w.closes_at + timedelta(days=9)) for w in again.windows))
    await world.ticket(again)
    if recorded:
        world.turn(BOGOR)
    refused = await done(world, undo(request, 1, 2))
    assert (refused.refused, refused.after["taken"], refused.after["undone"]) == (Reason.BOOKED_AGAIN, 2, None)
    assert await world.producer.owned(request.owner) == [], "nobody is held by half"
    world.turn(BOGOR)
    assert (await world.recorded(again)).state is State.CONFIRMED
    assert (await done(world, undo(request, 1))).refused is None
    assert world.verify() == []


async def test_undoing_a_check_in_respects_newer_bookings_in_the_ledger(world: World) -> None:
    """Redis may have lost it; the ledger has not."""
    request = await booked(world, 1, [1])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    other = world.request(2, [1], slot=NEXT_MONDAY)
    other = replace(other, windows=tuple(replace(w, opens_at=OPENS) for w in other.windows))
    await world.ticket(other)
    world.turn()
    key = request.applicants[0].key
    world.redis.hdel(f"applicants:{key.hex()[:3]}", key)
    refused = await done(world, undo(request, 1))
    assert (refused.refused, refused.after["taken"]) == (Reason.BOOKED_AGAIN, 1)
    assert world.sql("select count(*) from applicant where live") == [(1,)]


async def test_a_check_in_can_be_undone_only_on_its_day_and_not_on_a_closed_day(world: World) -> None:
    request, gone = await booked(world, 1, [1]), await booked(world, 2, [2])
    world.sql(f"update booking set state = 'CANCELLED' where booking_id = '{gone.booking_id}'")
    world.sql(f"update applicant set live = false where booking_id = '{gone.booking_id}'")
    assert (await done(world, undo(request, 1))).refused is Reason.NOT_TODAY
    assert (await done(world, undo(gone, 1))).refused is Reason.NOT_CONFIRMED
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    await world.ask(CloseDate(uuid.uuid4(), "desk", "rina", "listrik padam", MONDAY.service_date))
    assert (await done(world, undo(request, 1))).refused is Reason.DAY_CLOSED
    assert await world.producer.owned(request.owner) == []


async def test_a_late_worker_neither_holds_nor_frees_people_of_an_undone_check_in(world: World) -> None:
    request = await booked(world, 1, [1])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    await world.producer.send_command(PUSAT, undo(request, 1))
    lease = world.take()
    batch = world.decide_any(lease)
    assert isinstance(batch, CommandBatch)
    world.consumer.claim(lease, batch)
    assert await world.producer.owned(request.owner) == [request.booking_id]
    world.lease_ends()
    world.turn()
    with pytest.raises(Exception, match=PUSAT):
        world.consumer.claim(lease, batch)
    assert (await world.recorded(request)).state is State.CONFIRMED
    assert world.verify() == []


async def test_late_attendance_and_undone_check_ins_combine_in_one_party(world: World) -> None:
    request = await booked(world, 1, [1, 2, 3, 4, 5])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1, 2, 3)
    assert world.verify() == []
    await done(world, undo(request, 3))
    assert world.verify() == []
    world.set_clock(TUESDAY_0000 + timedelta(hours=9))
    world.nightly()
    assert world.sql("select count(*) from bar") == [(3,)]
    assert world.verify() == []
    action = await done(world, late(world.policy, request, 4))
    assert (action.before["state"], action.after) == ("ATTENDED", {"state": "ATTENDED", "present": [4]})
    assert world.verify() == []
    world.set_clock(NEXT_WINDOW + timedelta(minutes=1))
    world.turn()
    assert await may_book(world, 1, 2, 3, 4, 5) == [True, True, False, True, False]
    assert world.verify() == []


@pytest.mark.parametrize("finished", [True, False])
async def test_a_cancelled_person_is_not_expected_again_noted_late_or_barred(world: World, *, finished: bool) -> None:
    request = await booked(world, 1, [1, 2, 3])
    await world.ask(Cancel(request.booking_id, 3))
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1)
    assert (await done(world, undo(request, 1, 3))).after["undone"] == [1]
    assert [entry[:1] for entry in claims(world, 1, 2, 3)] == [b"B", b"B", b""]
    assert world.verify() == []
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    if finished:
        world.nightly()
    assert (await done(world, late(world.policy, request, 1, 3))).after["present"] == [1]
    world.nightly()
    assert (await done(world, lift(request, 3))).refused is Reason.BAR_NOT_FOUND
    assert [row.number for row in await world.staff.bars(PUSAT, MONDAY.service_date, 10)] == (
        [1, 2] if finished else [2]
    )
    world.set_clock(TUESDAY_0000 + timedelta(hours=13))
    assert (await done(world, late(world.policy, request, 1, 3))).refused is None, "nothing is left to note"
    end_monday(world)
    assert await may_book(world, 1, 2, 3) == [True, False, True]
    assert world.verify() == []


@pytest.mark.parametrize("cancelled_by", [None, "rina"])
async def test_a_booking_with_an_undone_check_in_may_be_released_until_its_day_ends(
    world: World, *, cancelled_by: str | None
) -> None:
    request = await booked(world, 1, [1, 2])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 1, 2)
    await done(world, undo(request, 1, 2))
    await world.ask(Cancel(request.booking_id, 2, StaffAction(**by()) if cancelled_by else None))
    assert list((await world.recorded(request)).cancelled) == ([2] if cancelled_by else [])
    assert [entry[:1] for entry in claims(world, 1, 2)] == [b"B", b"" if cancelled_by else b"B"]
    assert world.verify() == []


async def test_excusing_after_a_lifted_bar_keeps_the_end_time(world: World) -> None:
    request = await missed(world, 1, [1])
    ended_at = (await world.recorded(request)).ended_at
    await done(world, lift(request))
    world.set_clock(NEXT_WINDOW + timedelta(minutes=9))
    await done(world, excuse(request))
    assert (await world.recorded(request)).ended_at == ended_at


@pytest.mark.parametrize("finished", [True, False])
async def test_late_attendance_works_before_and_after_the_day_is_finished(world: World, *, finished: bool) -> None:
    request = await booked(world, 1, [1, 2])
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    if finished:
        world.nightly()
    action = await done(world, late(world.policy, request, 1))
    assert action.before["state"] == ("NO_SHOW" if finished else "CONFIRMED")
    world.nightly()
    assert (await world.recorded(request)).state is State.ATTENDED
    assert world.sql("select count(*) from bar where lifted_at is null") == [(1,)]
    assert world.verify() == []
    world.set_clock(TUESDAY_0000 + timedelta(hours=12))
    assert (await done(world, late(world.policy, request, 1))).refused is None, "nothing is left to note"
    assert (await done(world, late(world.policy, request, 1, 2))).refused is Reason.ATTENDANCE_CLOSED
    end_monday(world)
    assert await may_book(world, 1, 2) == [True, False]
    assert world.verify() == []


async def test_late_attendance_takes_only_absent_people_of_the_party_and_ends_no_other_bar(world: World) -> None:
    request, other = await booked(world, 1, [1, 2]), await booked(world, 2, [3])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request, 2)
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    world.nightly()
    world.sql(
        "insert into bar (applicant_key, booking_id, last_day, ends_at) "
        f"select applicant_key, '{other.booking_id}', last_day, ends_at from bar where booking_id = '{request.booking_id}'"
    )
    assert (await done(world, late(world.policy, request, 1, 2, 3))).after["present"] == [1]
    assert world.sql("select booking_id from bar where lifted_at is not null") == [(request.booking_id,)]
    assert [row.present_at for row in await world.staff.party(other.booking_id)] == [None]


async def test_late_attendance_requires_a_past_day_and_a_missed_booking(world: World) -> None:
    request, excused = await booked(world, 1, [1]), await booked(world, 2, [2])
    world.set_clock(TUESDAY_0000 - timedelta(seconds=5))
    assert (await done(world, late(world.policy, request, 1))).refused is Reason.NOT_MISSED
    world.set_clock(TUESDAY_0000)
    world.nightly()
    await done(world, excuse(excused))
    refused = await done(world, late(world.policy, excused, 1))
    assert (refused.refused, refused.before["state"]) == (Reason.NOT_MISSED, "EXCUSED")


@pytest.mark.parametrize(
    ("before", "after"),
    [("CANCELLED", "CONFIRMED"), ("NO_SHOW", "CONFIRMED"), ("EXCUSED", "NO_SHOW"), ("ATTENDED", "NO_SHOW")],
)
async def test_the_ledger_refuses_all_other_backward_transitions(world: World, before: str, after: str) -> None:
    await booked(world, 1, [1])
    if before == "EXCUSED":
        world.sql("update booking set state = 'NO_SHOW'")
    world.sql(f"update booking set state = '{before}'")
    with pytest.raises(psycopg.errors.CheckViolation, match="no way from"):
        world.sql(f"update booking set state = '{after}'")


async def test_bars_are_listed_by_day_and_number_and_filtered_by_person(world: World) -> None:
    request = await booked(world, 1, [1, 2])
    await booked(world, 2, [3], TUESDAY)
    end_monday(world)
    await done(world, lift(request, 2))
    rows = await world.staff.bars(PUSAT, MONDAY.service_date, 10)
    assert [(row.service_date, row.number, row.lifted_at is None) for row in rows] == [
        (TUESDAY.service_date, 1, True),
        (MONDAY.service_date, 1, True),
        (MONDAY.service_date, 2, False),
    ]
    for n, row in enumerate(rows):
        after = (row.service_date, row.session, row.number)
        assert await world.staff.bars(PUSAT, MONDAY.service_date, 10, after=after) == rows[n + 1 :]
    assert await world.staff.bars(PUSAT, MONDAY.service_date, 10, applicant_key=rows[0].applicant_key) == rows[:1]
    assert await world.staff.bars(PUSAT, MONDAY.service_date, 10, person=(request.booking_id, 2)) == rows[2:]
    assert await world.staff.bars(BOGOR, MONDAY.service_date, 10) == []
    assert rows[1].last_day == MONDAY.service_date + timedelta(days=30)
    world.set_clock(TUESDAY_0000 + timedelta(days=30))
    assert await world.staff.bars(PUSAT, MONDAY.service_date, 10) == rows[:1], "the time of Monday's bars is over"


@pytest.mark.parametrize("only", ["ledger", "redis"])
async def test_verify_reports_a_bar_lifted_in_only_one_store(world: World, only: str) -> None:
    request = await missed(world, 1, [1])
    key = request.applicants[0].key
    copy = world.redis.hget(f"applicants:{key.hex()[:3]}", key)
    assert isinstance(copy, bytes)
    if only == "redis":
        world.redis.hdel(f"applicants:{key.hex()[:3]}", key)
    else:
        await done(world, lift(request))
        world.redis.hset(f"applicants:{key.hex()[:3]}", key, copy)
    [broken] = world.verify()
    assert (broken.promise, broken.violations) == ("P10", 1)
