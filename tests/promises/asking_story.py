"""A scenario for the order of refusals. Returns the promises that were broken."""

from datetime import timedelta

from antrian.errors import Reason
from antrian.lane.producer import Joined, JoinRequest, Known, Refused
from tests.promises.life_story import BrokenError
from tests.promises.story import reason
from tests.support.world import OPENS, TUESDAY, World


async def broken_promises_of_asking(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises. A stranger has booked for person 1, a family for 2 to 5."""
    broken = BrokenError()
    family = world.request(2, [2, 3, 4, 5], account="family")
    await world.join(world.request(1, account="stranger"))
    await world.join(family)
    _bound(world, 2)
    await _at_a_full_lane(world, broken, family)
    _bound(world, 1000)
    await _about_strangers(world, broken)
    world.turn()
    await _at_a_full_slot(world, broken, family)
    world.set_clock(OPENS + timedelta(days=3))
    broken.hold("P5", held=await world.join(family) == Known())
    return broken | {check.promise for check in world.verify()}


def _bound(world: World, lane_bound: int) -> None:
    policy = world.policy
    world.producer.set_bounds(
        lane_bound=lane_bound,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=policy.limits,
        remembered=policy.remembered,
    )


async def _at_a_full_lane(world: World, broken: BrokenError, family: JoinRequest) -> None:
    """Refusals come in order: the account's own request, its own people, its limit, the lane, and strangers last."""
    broken.hold("P5", held=await world.join(family) == Known())
    own = await world.join(world.request(3, [1, 2], account="family"))
    broken.hold("P4", held=_said(own) == (Reason.ALREADY_BOOKED, 1, family.booking_id.bytes))
    broken.hold("P4", held=reason(await world.join(world.request(4, [1, 6], account="family"))) == Reason.ACCOUNT_LIMIT)
    broken.hold("P4", held=reason(await world.join(world.request(5, [1], account="curious"))) == Reason.LANE_FULL)


async def _about_strangers(world: World, broken: BrokenError) -> None:
    """An account learns of at most fifteen people whether they are booked; it may ask for the same person again."""
    for number, people in enumerate(([1, *range(n, n + 4)] for n in (10, 14, 18)), 10):
        stranger = await world.join(world.request(number, people, account="curious"))
        broken.hold("P4", held=_said(stranger) == (Reason.ALREADY_BOOKED, 0, b""))
    broken.hold("P12", held=isinstance(await world.join(world.request(13, [22, 23], account="curious")), Joined))
    for number, people in enumerate(([24], [1, 24]), 14):
        response = await world.join(world.request(number, people, account="curious"))
        broken.hold("P12", held=reason(response) == Reason.PEOPLE_LIMIT)
    for number, person in ((16, 1), (17, 10)):
        response = await world.join(world.request(number, [person], account="curious"))
        broken.hold("P12", held=(reason(response) or "JOINED") == {1: Reason.ALREADY_BOOKED, 10: "JOINED"}[person])


async def _at_a_full_slot(world: World, broken: BrokenError, family: JoinRequest) -> None:
    """Two places remain. Repeats and the account's own bookings come first; then a party of three is refused."""
    places = world.remaining(TUESDAY)
    await world.join(world.request(20, range(40, 40 + places - 2), slot=TUESDAY, account="early"))
    world.turn()
    broken.hold("P5", held=await world.join(family) == Known())
    own = await world.join(world.request(21, [2, 30, 31], slot=TUESDAY, account="family"))
    broken.hold("P4", held=_said(own) == (Reason.ALREADY_BOOKED, 0, family.booking_id.bytes))
    full = await world.join(world.request(22, [30, 31, 32], slot=TUESDAY, account="late"))
    broken.hold("P8", held=isinstance(full, Refused) and _said(full) == (Reason.SLOT_FULL, 0, b"2"))
    late = await world.join(world.request(23, [30, 31], slot=TUESDAY, account="late"))
    broken.hold("P8", held=isinstance(late, Joined))
    world.turn()


def _said(response: Joined | Known | Refused) -> tuple[str, int | None, bytes]:
    assert isinstance(response, Refused), response
    return response.reason, response.applicant, response.detail
