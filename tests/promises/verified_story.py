"""A scenario of verified people who displace others' bookings, and of those who do not. Returns the promises that were broken."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from antrian.booking import Cancel, Follow, StaffAction, State, StatusReason
from antrian.errors import Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import HeldUnverified, Joined, JoinRequest
from tests.promises.life_story import BrokenError
from tests.promises.story import reason
from tests.support.ways_back import by, undo
from tests.support.world import BOGOR, OPENS, PUSAT, World, nik

MONDAY_MORNING = OPENS.replace(hour=9) + timedelta(days=3)


async def broken_promises_of_verified_people(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises. An enemy has booked persons 1 and 2, person 3 is booked verified."""
    broken = BrokenError()
    enemy, verified = world.request(1, [1, 2], office_id=BOGOR, account="enemy"), world.request(2, [3], verified=[3])
    for request in (enemy, verified):
        await world.join(request)
        world.turn(request.office_id)
    await _nobody_gives_way(world, broken, enemy, verified)
    await _one_gives_way(world, broken, enemy)
    if not broken:
        world.rebuild()
        await _stays_verified(world, broken, verified)
    return broken | {check.promise for check in world.verify()}


async def _nobody_gives_way(world: World, broken: BrokenError, enemy: JoinRequest, verified: JoinRequest) -> None:
    """To a request without the statement, to the same account, for a verified person, or for a party that is refused anyway."""
    requests = [
        world.request(3, [1]),
        world.request(4, [1], account="enemy", verified=[1]),
        world.request(5, [3], verified=[3]),
        world.request(6, [1, 3], verified=[1, 3]),
        world.request(7, [1, 2], verified=[1]),
    ]
    for request in requests:
        broken.hold("P4", held=reason(await world.producer.join(request)) == Reason.ALREADY_BOOKED)
    await world.ask(_reclaim(verified, 1))
    broken.hold("P4", held=(await world.recorded(verified)).state is State.CONFIRMED)


async def _one_gives_way(world: World, broken: BrokenError, enemy: JoinRequest) -> None:
    owner = world.request(8, [2], verified=[2])
    held = await world.producer.join(owner)
    broken.hold("P4", held=isinstance(held, HeldUnverified) and held.people == ((0, enemy.booking_id),))
    for _ in range(2):
        await world.ask(_reclaim(enemy, 2), BOGOR)
    lost = await world.recorded(enemy)
    broken.hold(
        "P10", held=(lost.state, lost.reason, [*lost.cancelled]) == (State.CONFIRMED, StatusReason.RECLAIMED, [2])
    )
    broken.hold("P10", held=world.remaining(office_id=BOGOR) == 5)
    broken.hold("P10", held=world.sql("select kind, office_id from staff_action") == [("RECLAIM", BOGOR)])
    broken.hold("P4", held=isinstance(await world.producer.join(owner), Joined))
    world.turn()
    broken.hold(
        "P4", held=reason(await world.producer.join(world.request(9, [2], verified=[2]))) == Reason.ALREADY_BOOKED
    )


async def _stays_verified(world: World, broken: BrokenError, verified: JoinRequest) -> None:
    """After a rebuild, and after a check-in that was undone."""
    other = world.request(10, [3], verified=[3])
    broken.hold("P9", held=reason(await world.producer.join(other)) == Reason.ALREADY_BOOKED)
    world.set_clock(MONDAY_MORNING)
    await world.staff.check_in(PUSAT, code_range(booking_code(verified.booking_id)), [], "desk", "rina")
    await world.ask(Follow(verified.booking_id))
    [row] = await world.staff.party(verified.booking_id)
    await world.ask(replace(undo(verified, 1), verified=(1,) if row.verified else ()))
    broken.hold("P4", held=_entry(world, 3)[:1] == b"V")


def _reclaim(request: JoinRequest, number: int) -> Cancel:
    return Cancel(request.booking_id, number, StaffAction(**by()), reclaimed=True)


def _entry(world: World, person: int) -> bytes:
    key = world.keys.applicant_key(nik(person))
    entry: Any = world.redis.hget(f"applicants:{key.hex()[:3]}", key)
    return entry or b""
