"""A scenario for the limits on requests. Returns the promises that were broken."""

from dataclasses import replace
from datetime import timedelta

from antrian.booking import RequestLimit, RequestLimits
from antrian.errors import Reason
from antrian.lane.producer import Joined, JoinRequest, Known
from tests.promises.life_story import BrokenError
from tests.promises.story import reason
from tests.support.limits import ANY
from tests.support.world import OPENS, World


async def broken_promises_of_limits(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises. A device may send two requests at once, then one per minute."""
    broken = BrokenError()
    _limit(world, ANY, RequestLimit(2, 60), RequestLimit(3, 1))
    first = _from(world, 1, "phone")
    broken.hold("P12", held=isinstance(await world.join(first), Joined))
    for _ in range(3):
        broken.hold("P5", held=await world.join(first) == Known())
    broken.hold("P12", held=isinstance(await world.join(_from(world, 2, "phone")), Joined))
    for number in (3, 4, 5):
        response = await world.join(_from(world, number, "phone"))
        broken.hold("P12", held=reason(response) == Reason.DEVICE_RATE_LIMITED)
    broken.hold("P5", held=await world.join(first) == Known())
    broken.hold("P12", held=isinstance(await world.join(_from(world, 6, "tablet")), Joined))
    response = await world.join(_from(world, 7, "laptop"))
    broken.hold("P12", held=reason(response) == Reason.ADDRESS_RATE_LIMITED)
    world.set_clock(OPENS + timedelta(minutes=40))
    _limit(world, ANY, RequestLimit(2, 60), ANY)
    for number, right in ((8, "JOINED"), (9, "JOINED"), (10, Reason.DEVICE_RATE_LIMITED)):
        broken.hold("P12", held=(reason(await world.join(_from(world, number, "phone"))) or "JOINED") == right)
    world.turn()
    return broken | {check.promise for check in world.verify()}


def _from(world: World, number: int, device: str) -> JoinRequest:
    origin = world.keys.asker("d", device) + world.keys.asker("p", "203.0.113.0/24")
    return replace(world.request(number), origin=origin)


def _limit(world: World, account: RequestLimit, device: RequestLimit, address: RequestLimit) -> None:
    policy = world.policy
    world.producer.set_bounds(
        lane_bound=1000,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=RequestLimits(account, device, address),
        remembered=policy.remembered,
    )
