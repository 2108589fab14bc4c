"""A scenario of cancels, staff actions, finished days and a rebuild. Returns the promises that were broken."""

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from antrian.booking import Cancel, CloseDate, CommandBatch, Follow, Policy, SetQuota, StaffAction, State, StatusReason
from antrian.errors import Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import Joined, Known
from antrian.lane.replies import FencedError
from antrian.ledger.fence import LedgerFencedError
from antrian.ledger.keys import WrongKeysError, claim_keys
from antrian.ledger.policies import WrongPolicyError, claim_policy
from tests.promises.story import reason
from tests.support.decree import decreed
from tests.support.keys import make_keys
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, WEDNESDAY, World

BY = ("desk", "rina", "banjir")


class BrokenError(set[str]):
    """The numbers of the promises that did not hold."""

    def hold(self, promise: str, *, held: bool) -> None:
        """Notes the promise unless it held."""
        if not held:
            self.add(promise)


async def broken_promises_of_a_life(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises."""
    broken = BrokenError()
    claim_keys(world.settings.database_url, world.keys)
    with suppress(WrongKeysError):
        claim_keys(world.settings.database_url, make_keys(b"x" * 32))
        broken.add("P4")
        return broken
    for n in range(1, 6):
        await world.join(world.request(n, account="family" if n < 3 else ""))
    await world.join(world.request(6, [60, 61], slot=TUESDAY))
    world.turn()
    for part in (_commands, _ways_back, _days, _rebuild, _decree):
        await part(world, broken)
        if broken:
            return broken
    return broken | {check.promise for check in world.verify()}


async def _commands(world: World, broken: BrokenError) -> None:
    first = world.request(1, account="family")
    await world.ask(Cancel(first.booking_id))
    await world.ask(Cancel(first.booking_id))
    broken.hold("P10", held=world.remaining() == 2)
    broken.hold("P4", held=isinstance(await world.join(world.request(11, [1], account="family")), Joined))
    world.turn()

    below = SetQuota(uuid.uuid4(), *BY, MONDAY, 2, None)
    await world.ask(below)
    done = await world.staff.action(below.action_id)
    broken.hold("P1", held=done is not None and done.refused is Reason.QUOTA_BELOW_TAKEN)

    await world.producer.send_command(PUSAT, Cancel(world.request(2, account="family").booking_id))
    zombie = world.take()
    batch = world.decide_any(zombie, 256)
    world.lease_ends()
    world.redis.delete("ready")
    broken.hold("P15", held=world.consumer.sweep([PUSAT], world.setup.inventory_version(OPENS)) == 1)
    world.take()
    world.lease_ends()
    with suppress(FencedError):
        assert isinstance(batch, CommandBatch)
        world.consumer.settle_commands(zombie, batch, [], [], None)
        broken.add("P3")
        return
    world.turn()


async def _ways_back(world: World, broken: BrokenError) -> None:
    family = world.request(20, range(200, 205), account="five", slot=WEDNESDAY)
    stranger = world.request(21, [210], slot=WEDNESDAY)
    await world.join(family)
    await world.join(stranger)
    world.turn()
    for _ in range(2):
        await world.ask(Cancel(family.booking_id, 2))
    broken.hold("P10", held=world.remaining(WEDNESDAY) == 1)
    alone = world.request(22, [201], account="five", slot=WEDNESDAY)
    broken.hold("P4", held=isinstance(await world.join(alone), Joined))
    world.turn()
    await world.ask(Cancel(family.booking_id))
    await world.ask(Cancel(family.booking_id, 3))
    broken.hold("P10", held=world.remaining(WEDNESDAY) == 4)
    for _ in range(2):
        await world.ask(Cancel(stranger.booking_id, by=StaffAction(uuid.uuid4(), *BY)))
    broken.hold("P10", held=world.remaining(WEDNESDAY) == 5)
    broken.hold("P10", held=world.sql("select kind from staff_action where kind = 'RELEASE'") == [("RELEASE",)])
    broken.hold("P7", held=(await world.recorded(stranger)).reason is StatusReason.RELEASED_BY_OFFICE)
    broken.hold("P4", held=isinstance(await world.join(world.request(23, [210, 211], slot=WEDNESDAY)), Joined))
    world.turn()
    await world.ask(Cancel(world.request(23, [210, 211]).booking_id, 9))


async def _days(world: World, broken: BrokenError) -> None:
    third = world.request(3)
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=3))
    remaining = world.remaining()
    await world.ask(Cancel(third.booking_id))
    broken.hold("P10", held=world.remaining() == remaining)
    if broken:
        return
    await world.staff.check_in(PUSAT, code_range(booking_code(third.booking_id)), [], "desk", "rina")
    await world.ask(Follow(third.booking_id))
    await world.ask(CloseDate(uuid.uuid4(), *BY, TUESDAY.service_date))
    world.set_clock(OPENS + timedelta(days=7))
    world.turn()
    world.nightly()
    world.nightly()
    broken.hold("P10", held=world.sql("select count(*) from bar") == [(5,)])  # 1, 4, 5, 201 and 210 did not come
    broken.hold("P7", held=(await world.recorded(world.request(4))).state is State.NO_SHOW)
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    broken.hold("P10", held=reason(await world.join(world.request(14, [4], slot=slot))) == Reason.BARRED)
    for person in (3, 60, 211):
        broken.hold("P10", held=isinstance(await world.join(world.request(10 + person, [person], slot=slot)), Joined))
    world.turn()


async def _rebuild(world: World, broken: BrokenError) -> None:
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    zombie = world.take()
    await world.staff.set_retired(BOGOR, StaffAction(uuid.uuid4(), *BY), retired=True)
    ahead = world.recorder.clock_ahead()
    world.redis.flushdb()
    world.consumer.set_clock(ahead)
    world.turn(BOGOR)
    broken.hold(
        "P9", held=reason(await world.join(world.request(40, slot=slot, office_id=BOGOR))) == Reason.LANE_CLOSED
    )
    world.rebuild()
    broken.hold("P15", held=isinstance(await world.join(world.request(45, slot=slot, office_id=BOGOR)), Joined))
    broken.hold("P9", held=await world.join(world.request(13, [3], slot=slot)) == Known())
    broken.hold("P9", held=reason(await world.join(world.request(41, [4], slot=slot))) == Reason.BARRED)
    broken.hold("P9", held=reason(await world.join(world.request(42, [3], slot=slot))) == Reason.ALREADY_BOOKED)
    broken.hold("P9", held=isinstance(await world.join(world.request(44, [204], slot=slot)), Joined))
    request = world.request(43, slot=slot)
    await world.join(request)
    try:
        world.record(zombie, world.decide(zombie))
        broken.add("P9")
    except (FencedError, LedgerFencedError):
        world.turn()
    booking = await world.reader.booking(request.booking_id)
    broken.hold("P2", held=booking is not None)


async def _decree(world: World, broken: BrokenError) -> None:
    """Two days with bookings become holidays; one of them is over before a worker notices."""
    monday, tuesday = (replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=n)) for n in (7, 8))
    over, coming = world.request(50, [50], slot=monday), world.request(51, [51], slot=tuesday)
    for request in (over, coming):
        await world.join(request)
    world.turn()
    before = world.policy
    world.apply(decreed(before, monday.service_date, tuesday.service_date))
    for policy, fits in [(world.policy, True), (before, False)]:
        broken.hold("P16", held=_may_start(world, policy) is fits)
    world.set_clock(OPENS.replace(hour=1) + timedelta(days=11))
    barred = world.sql("select count(*) from bar")
    for _ in range(2):
        world.nightly()
        for office_id in (PUSAT, BOGOR):
            world.turn(office_id)
    for request in (over, coming):
        broken.hold("P10", held=(await world.recorded(request)).state is State.CANCELLED)
    broken.hold("P10", held=world.sql("select count(*) from bar") == barred)


def _may_start(world: World, policy: Policy) -> bool:
    """Whether a program with that policy may start."""
    try:
        claim_policy(world.settings.database_url, policy)
    except WrongPolicyError:
        return False
    return True
