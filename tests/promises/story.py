"""A short scenario that touches every promise that needs no load. Returns the promises that were broken."""

from contextlib import suppress
from datetime import timedelta

from antrian.audit.history.oracle import decide
from antrian.errors import Reason
from antrian.lane.producer import Joined, JoinRequest, Known, Refused
from antrian.lane.replies import FencedError, LaneBrokenError, Lease
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from tests.support.world import BOGOR, OPENS, PUSAT, TUESDAY, WEDNESDAY, World

PLACES = 6


async def broken_promises(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises. The world's clock must be before the opening."""
    broken: set[str] = set()

    def hold(promise: str, *, held: bool) -> None:
        if not held:
            broken.add(promise)

    hold("P11", held=reason(await world.join(world.request(90))) == "WINDOW")
    world.set_clock(OPENS + timedelta(minutes=1))

    parties = [
        world.request(1, [1, 2, 3, 4]),
        world.request(2, [5, 6, 7]),
        world.request(3, [8]),
        world.request(4, [9]),
    ]
    responses = [await world.join(party) for party in parties]
    hold("P3", held=[a.ticket for a in responses if isinstance(a, Joined)] == [1, 2, 3, 4])
    hold("P5", held=await world.join(parties[0]) == Known())
    hold("P5", held=reason(await world.join(world.request(1, [1, 2]))) == Reason.REQUEST_ID_REUSED)
    hold("P4", held=reason(await world.join(world.request(5, [1], office_id=BOGOR))) == Reason.ALREADY_BOOKED)
    family = [await world.join(world.request(n, [n], account="f", office_id=BOGOR)) for n in range(60, 66)]
    hold("P4", held=reason(family[-1]) == Reason.ACCOUNT_LIMIT)

    # A drainer dies after its decisions, another takes over, and the first wakes late.
    zombie = world.take()
    if broken:
        return broken
    first = world.decide(zombie, 256)
    world.lease_ends()
    world.redis.delete("ready")
    hold("P15", held=world.consumer.sweep([PUSAT], world.setup.inventory_version(OPENS)) == 1)
    second = world.take()
    try:
        hold("P2", held=world.decide(second, 256) == first)
    except LaneBrokenError:
        hold("P2", held=False)
    if broken:
        return broken
    world.settle(second, world.record(second, first))
    before = world.remaining()
    world.settle(second, "K" * len(first))
    hold("P10", held=world.remaining() == before)

    replay, numbers, sold = (PLACES, 1), set[int](), 0
    for request in parties:
        outcome = decide(*replay, len(request.applicants), day_begun=False)
        replay = outcome.remaining, outcome.next_number
        booking = await world.reader.booking(request.booking_id)
        hold("P2", held=booking is not None)
        if booking:
            hold("P3", held=(booking.state, booking.first_number) == (outcome.state, outcome.first_number))
            if booking.state == "CONFIRMED" and booking.first_number:
                sold += booking.party_size
                numbers |= set(range(booking.first_number, booking.first_number + booking.party_size))
    hold("P1", held=sold <= PLACES)
    hold("P10", held=world.remaining() == PLACES - sold)
    hold("P6", held=numbers == set(range(1, sold + 1)))
    hold("P4", held=isinstance(await world.join(world.request(6, [5], slot=TUESDAY)), Joined))
    await world.join(world.request(7, [10], slot=TUESDAY))
    hold("P3", held=late_drainer_is_shut_out(world, zombie))

    # The ledger refuses a row that Redis had confirmed: its place comes back, once.
    tuesday = f"office_id = '{PUSAT}' and session = 'MORNING' and service_date = '{TUESDAY.service_date}'"
    world.sql(f"update slot set quota = taken where {tuesday}")
    remaining = world.remaining(TUESDAY)
    lease = world.take()
    results = world.record(lease, world.decide(lease, 256))
    world.settle(lease, results)
    with suppress(FencedError):
        world.settle(lease, results)
    hold("P10", held=(results, world.remaining(TUESDAY)) == ("RR", remaining))
    hold("P4", held=isinstance(await world.join(world.request(8, [10], slot=WEDNESDAY)), Joined))

    hold("P12", held=reason(await fill(world)) == Reason.LANE_FULL)
    world.turn()
    world.turn(BOGOR)
    world.sql(f"update slot set quota = {PLACES} where {tuesday}")
    broken |= {check.promise for check in world.verify()}
    return broken


def reason(response: object) -> str:
    """The reason of a refusal; "" if accepted."""
    return response.reason if isinstance(response, Refused) else ""


def late_drainer_is_shut_out(world: World, zombie: Lease) -> bool:
    """Whether both Redis and the ledger refuse an outdated token to decide, record and settle."""
    shut_out = 0
    before = world.dump()
    try:
        decisions = world.decide(zombie, 256)
        world.record(zombie, decisions)
    except (FencedError, LedgerFencedError, LedgerGapError) as refusal:
        shut_out += isinstance(refusal, FencedError)
    try:
        world.settle(zombie, "KK")
    except FencedError:
        shut_out += 1
    return shut_out == 2 and world.dump() == before


async def fill(world: World) -> Joined | Known | Refused:
    """Joins until the lane is full; returns the response to the next request."""
    response: Joined | Known | Refused = Known()
    requests: list[JoinRequest] = [
        world.request(n, slot=WEDNESDAY) for n in range(100, 100 + world.policy.lane_bound + 1)
    ]
    for request in requests:
        response = await world.join(request)
    return response
