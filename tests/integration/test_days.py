"""Check-in and the end of a day: who came, who did not, and until when these are barred, in three time zones."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from antrian.booking import CloseDate, Follow, State
from antrian.errors import AntrianError, Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import Joined, JoinRequest
from antrian.ledger.staff import RosterRow
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World

MONDAY_NOON = OPENS.replace(hour=12) + timedelta(days=3)
TUESDAY_0000 = datetime.combine(TUESDAY.service_date, time.min, OPENS.tzinfo)


async def check_in(world: World, request: JoinRequest, *present: int, office_id: str = PUSAT) -> list[RosterRow]:
    codes = code_range(booking_code(request.booking_id))
    party = await world.staff.check_in(office_id, codes, present, "desk", "rina")
    await world.ask(Follow(request.booking_id), office_id)
    return party


async def book(world: World, name: int, people: list[int]) -> JoinRequest:
    request = world.request(name, people)
    await world.ticket(request)
    world.turn()
    return request


async def reason_of(world: World, request: JoinRequest) -> str:
    """Asks one minute into the next window: why not, or ""."""
    response = await world.join(request)
    return "" if isinstance(response, Joined) else getattr(response, "reason", "")


async def test_a_party_with_three_of_five_checked_in_is_attended_and_bars_the_other_two(world: World) -> None:
    request = await book(world, 1, [1, 2, 3, 4, 5])
    world.set_clock(MONDAY_NOON)
    party = await check_in(world, request, 1, 3, 5)
    assert [row.present_at is not None for row in party] == [True, False, True, False, True]
    assert (await world.recorded(request)).state is State.ATTENDED
    assert world.verify() == []
    world.set_clock(TUESDAY_0000)
    world.nightly()
    assert world.sql("select count(*) from bar") == [(2,)]
    assert (await world.recorded(request)).state is State.ATTENDED
    world.set_clock(OPENS + timedelta(days=7))
    assert world.turn() == 0
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    for person, why in [(1, ""), (2, "BARRED"), (3, ""), (4, "BARRED"), (5, "")]:
        assert await reason_of(world, world.request(10 + person, [person], slot=slot)) == why
    assert world.verify() == []


async def test_check_in_is_idempotent_and_takes_late_arrivals(world: World) -> None:
    request = await book(world, 1, [1, 2])
    world.set_clock(MONDAY_NOON)
    first = await check_in(world, request, 1)
    assert await check_in(world, request, 1) == first
    assert all(row.present_at for row in await check_in(world, request))
    assert world.sql("select after->'present' from staff_action order by done_at") == [([1],), ([2],)]
    assert world.verify() == []


async def test_a_checked_in_person_may_book_again_at_once(world: World) -> None:
    request = await book(world, 1, [1])
    world.set_clock(MONDAY_NOON)
    await check_in(world, request)
    assert world.redis.hlen(f"applicants:{world.keys.applicant_key('3171010101900001').hex()[:3]}") == 0
    assert await world.producer.owned(request.owner) == []


async def test_check_in_refuses_invalid_requests(world: World) -> None:
    request, cancelled = await book(world, 1, [1]), await book(world, 2, [2])
    world.sql(f"update booking set state = 'CANCELLED' where booking_id = '{cancelled.booking_id}'")
    with pytest.raises(AntrianError, match="NOT_TODAY"):
        await check_in(world, request)
    world.set_clock(MONDAY_NOON)
    with pytest.raises(AntrianError, match="CODE_NOT_FOUND"):
        await check_in(world, request, office_id=BOGOR)
    with pytest.raises(AntrianError, match="INVALID_FIELD queue_numbers"):
        await check_in(world, request, 1, 2)
    with pytest.raises(AntrianError, match="NOT_CONFIRMED"):
        await check_in(world, cancelled)
    assert world.sql("select count(*) from staff_action") == [(0,)]


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"])
async def test_a_missed_day_bars_through_the_thirtieth_day_in_the_offices_zone(world: World, zone: str) -> None:
    world.offices[PUSAT] = replace(world.offices[PUSAT], time_zone=ZoneInfo(zone))
    world.recorder.upsert_offices([world.offices[PUSAT]], [])
    # A Thursday's booking; the 30th day after it is a Saturday of a window, the 31st its Sunday.
    thursday = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=3))
    request = world.request(1, [1], slot=thursday)
    await world.ticket(request)
    world.turn()
    midnight = datetime.combine(thursday.service_date + timedelta(days=1), time.min, ZoneInfo(zone))
    world.set_clock(midnight - timedelta(seconds=2))
    world.nightly()
    assert (await world.recorded(request)).state is State.CONFIRMED
    world.set_clock(midnight)
    assert world.nightly() > 0
    assert world.nightly() == 0
    assert (await world.recorded(request)).state is State.NO_SHOW
    assert world.sql("select last_day::text from bar") == [(f"{thursday.service_date + timedelta(days=30)}",)]
    again = replace(MONDAY, service_date=thursday.service_date + timedelta(days=34))
    for moment, why in [
        (midnight + timedelta(days=29, hours=12), "BARRED"),
        (midnight + timedelta(days=30) - timedelta(seconds=2), "BARRED"),
        (midnight + timedelta(days=30), ""),
    ]:
        world.set_clock(moment)
        world.turn()
        assert await reason_of(world, world.request(2, [1], slot=again)) == why
    assert world.verify() == []


async def test_a_closed_day_bars_nobody_not_even_the_rest_of_a_party(world: World) -> None:
    party, single = await book(world, 1, [1, 2, 3]), await book(world, 2, [4])
    world.set_clock(MONDAY_NOON)
    await check_in(world, party, 1)
    await world.ask(CloseDate(single.booking_id, "desk", "rina", "listrik padam", MONDAY.service_date))
    world.set_clock(TUESDAY_0000)
    world.nightly()
    assert world.sql("select count(*) from bar") == [(0,)]
    assert (await world.recorded(single)).state is State.CANCELLED
    assert world.verify() == []


async def test_days_missed_in_an_outage_are_finished_later_and_bar_once(world: World) -> None:
    await book(world, 1, [1])
    tuesday = world.request(2, [2], slot=TUESDAY)
    await world.ticket(tuesday)
    world.turn()
    world.set_clock(OPENS + timedelta(days=6))
    assert world.nightly() == 8, "four days of two offices"
    before = world.dump()
    assert world.nightly() == 0
    assert world.dump() == before
    assert world.sql("select last_day::text from bar order by 1") == [
        (f"{slot.service_date + timedelta(days=30)}",) for slot in (MONDAY, TUESDAY)
    ]


async def test_a_lost_sync_to_redis_is_repeated(world: World) -> None:
    came, missed = await book(world, 1, [1]), await book(world, 2, [2])
    world.set_clock(MONDAY_NOON)
    await world.staff.check_in(PUSAT, code_range(booking_code(came.booking_id)), [], "desk", "rina")
    world.set_clock(TUESDAY_0000)
    world.recorder.days.finish(PUSAT, MONDAY.service_date, MONDAY.service_date + timedelta(days=30), TUESDAY_0000)
    world.sql("update bar set ends_at = ends_at + interval '30 days'")
    world.nightly()
    assert await world.producer.owned(came.owner) == []
    world.set_clock(OPENS + timedelta(days=7))
    world.turn()
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    assert await reason_of(world, world.request(11, [1], slot=slot)) == ""
    assert (await world.refusal(world.request(12, [2], slot=slot))).reason == Reason.BARRED
    assert (await world.recorded(missed)).state is State.NO_SHOW


async def test_a_decision_recorded_after_its_day_began_is_too_late(world: World) -> None:
    request = world.request(1, [1])
    await world.ticket(request)
    lease = world.take()
    decisions = world.decide(lease)
    world.set_clock(MONDAY_NOON)
    world.settle(lease, world.record(lease, decisions))
    booking = await world.recorded(request)
    assert (booking.state, booking.reason, world.remaining()) == (State.REJECTED, "TOO_LATE", 6)
    assert world.verify() == []


async def test_the_roster_is_paged_and_ordered_by_session_and_number(world: World) -> None:
    afternoon = replace(MONDAY, session=type(MONDAY.session).AFTERNOON)
    await world.ticket(world.request(1, [1], slot=afternoon))
    await world.ticket(world.request(2, [2, 3]))
    world.turn()
    rows = await world.staff.roster(PUSAT, MONDAY.service_date, None, None, 10)
    assert [(row.session, row.number) for row in rows] == [("MORNING", 1), ("MORNING", 2), ("AFTERNOON", 1)]
    pages = await world.staff.roster(PUSAT, MONDAY.service_date, None, (rows[0].session, rows[0].number), 10)
    assert pages == rows[1:]
    assert await world.staff.roster(PUSAT, MONDAY.service_date, afternoon.session, None, 10) == rows[2:]


async def test_bars_are_synced_again_to_a_redis_restored_from_an_older_snapshot(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    request = world.request(1)
    await world.ticket(request)
    world.turn()
    copy = world.dump()
    world.set_clock(OPENS + timedelta(days=7, minutes=1))
    assert world.nightly() == 10
    clock = world.redis.get("clock")
    world.redis.flushdb()
    for name, value in copy.items():
        assert value is not None
        world.redis.restore(name, 0, value)
    world.redis.set("clock", str(clock, "ascii") if isinstance(clock, bytes) else 0)
    world.nightly()
    assert "Redis lacks synced day closures" in caplog.text
    world.turn()
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    assert (await world.refusal(world.request(2, [1], slot=slot))).reason == Reason.BARRED
    caplog.clear()
    world.nightly()
    assert caplog.text == ""
