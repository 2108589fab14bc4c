"""A retired office's lane is served to its end, on real stores: its line, its people, its days, after a rebuild too."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from antrian.booking import Cancel, Follow, StaffAction, State
from antrian.identity import booking_code, code_range
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, World

MONDAY_NOON = OPENS.replace(hour=12) + timedelta(days=3)


async def set_retired(world: World, *, retired: bool = True) -> int:
    action = StaffAction(uuid4(), "desk", "rina", "sewa berakhir")
    return await world.staff.set_retired(PUSAT, action, retired=retired)


def retired_offices(world: World) -> Mapping[str, bool]:
    return {office.office_id: office.retired for office in world.recorder.offices()}


async def test_a_retired_office_still_decides_and_serves_accepted_requests(world: World) -> None:
    came, missed, cancelled, waiting = (world.request(n) for n in range(1, 5))
    for request in (came, missed, cancelled):
        await world.ticket(request)
    world.turn()
    await world.ticket(waiting)
    assert await set_retired(world) == 3

    world.turn()
    assert (await world.recorded(waiting)).state is State.CONFIRMED
    assert await set_retired(world) == 4
    world.rebuild()
    assert world.verify() == []
    await world.ask(Cancel(cancelled.booking_id))
    assert (await world.recorded(cancelled)).state is State.CANCELLED
    world.set_clock(MONDAY_NOON)
    assert len(await world.staff.roster(PUSAT, MONDAY.service_date, None, None, 10)) == 3
    await world.staff.check_in(PUSAT, code_range(booking_code(came.booking_id)), [], "desk", "rina")
    await world.ask(Follow(came.booking_id))
    world.set_clock(MONDAY_NOON + timedelta(days=1))
    world.nightly()
    assert (await world.recorded(came)).state is State.ATTENDED
    assert (await world.recorded(missed)).state is State.NO_SHOW
    assert world.verify() == []


async def test_retiring_and_reopening_are_each_recorded_once(world: World) -> None:
    for retired in (False, True, True, False, False, True):
        await set_retired(world, retired=retired)
        assert retired_offices(world) == {BOGOR: False, PUSAT: retired}
    rows = world.sql(
        "select kind, office_id, service_date, caller, staff, why, before, after, refused from staff_action order by done_at"
    )
    today = OPENS.date()
    by = (PUSAT, today, "desk", "rina", "sewa berakhir")
    begun, ended = {"retired": False}, {"retired": True}
    retire, reopen = ("RETIRE_OFFICE", *by, begun, ended, None), ("REOPEN_OFFICE", *by, ended, begun, None)
    assert rows == [retire, reopen, retire]


async def test_attended_and_missed_bookings_no_longer_count_as_to_be_served(world: World) -> None:
    first, second = world.request(1, [1, 2]), world.request(3)
    await world.ticket(first)
    await world.ticket(second)
    await world.ticket(world.request(4, office_id=BOGOR))
    world.turn()
    world.turn(BOGOR)
    assert await set_retired(world) == 2
    world.set_clock(MONDAY_NOON)
    party = await world.staff.check_in(PUSAT, code_range(booking_code(second.booking_id)), [], "desk", "rina")
    assert party
    assert await set_retired(world) == 1
    world.set_clock(MONDAY_NOON + timedelta(days=1))
    world.nightly()
    assert await set_retired(world) == 0


async def test_an_import_keeps_a_retired_office_retired(world: World) -> None:
    await set_retired(world)
    world.recorder.upsert_offices(world.offices.values(), [])
    assert retired_offices(world) == {BOGOR: False, PUSAT: True}
