"""One short story that touches every promise which needs no load, and says which of them were broken in it."""

from contextlib import suppress
from datetime import timedelta

from antrian import rules
from antrian.errors import Reason
from antrian.lane.drainer import Fenced, LaneBroken, Lease
from antrian.lane.front import Joined, JoinRequest, Known, Refused
from antrian.ledger.fence import LedgerFenced, LedgerGap
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World

PLACES = 6


async def broken_promises(world: World) -> set[str]:
    """Plays the story; the numbers of the promises that did not hold. The world's clock must be before the opening."""
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
    answers = [await world.join(party) for party in parties]
    hold("P3", held=[a.ticket for a in answers if isinstance(a, Joined)] == [1, 2, 3, 4])
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
    hold("P15", held=world.line.sweep([PUSAT], world.drain.stock_mark(OPENS)) == 1)
    second = world.take()
    try:
        hold("P2", held=world.decide(second, 256) == first)
    except LaneBroken:
        hold("P2", held=False)
    if broken:
        return broken
    world.settle(second, world.record(second, first))
    before = world.left()
    world.settle(second, "K" * len(first))
    hold("P10", held=world.left() == before)

    replay, numbers, sold = (PLACES, 1), set[int](), 0
    for request in parties:
        verdict = rules.decide(*replay, len(request.applicants), day_begun=False)
        replay = verdict.left, verdict.next_number
        booking = await world.reader.booking(request.booking_id)
        hold("P2", held=booking is not None)
        if booking:
            hold("P3", held=(booking.state, booking.first_number) == (verdict.state, verdict.first_number))
            if booking.state == "CONFIRMED" and booking.first_number:
                sold += booking.party_size
                numbers |= set(range(booking.first_number, booking.first_number + booking.party_size))
    hold("P1", held=sold <= PLACES)
    hold("P10", held=world.left() == PLACES - sold)
    hold("P6", held=numbers == set(range(1, sold + 1)))
    hold("P4", held=isinstance(await world.join(world.request(6, [5], slot=TUESDAY)), Joined))
    await world.join(world.request(7, [10], slot=TUESDAY))
    hold("P3", held=late_drainer_is_shut_out(world, zombie))

    # The ledger refuses a row that Redis had confirmed: its place comes back, once.
    tuesday = f"office_id = '{PUSAT}' and session = 'MORNING' and service_date = '{TUESDAY.service_date}'"
    world.sql(f"update slot set quota = taken where {tuesday}")
    left = world.left(TUESDAY)
    lease = world.take()
    verdicts = world.record(lease, world.decide(lease, 256))
    world.settle(lease, verdicts)
    with suppress(Fenced):
        world.settle(lease, verdicts)
    hold("P10", held=(verdicts, world.left(TUESDAY)) == ("RR", left))
    hold("P4", held=isinstance(await world.join(world.request(8, [10], slot=MONDAY)), Joined))

    hold("P12", held=reason(await fill(world)) == Reason.LANE_FULL)
    world.turn()
    world.turn(BOGOR)
    world.sql(f"update slot set quota = {PLACES} where {tuesday}")
    broken |= {check.promise for check in world.verify()}
    return broken


def reason(answer: object) -> str:
    """Why a request was refused; "" when it was not."""
    return answer.reason if isinstance(answer, Refused) else ""


def late_drainer_is_shut_out(world: World, zombie: Lease) -> bool:
    """Whether neither Redis nor the ledger lets an old token decide, record or settle."""
    shut_out = 0
    before = world.dump()
    try:
        decisions = world.decide(zombie, 256)
        world.record(zombie, decisions)
    except (Fenced, LedgerFenced, LedgerGap) as refusal:
        shut_out += isinstance(refusal, Fenced)
    try:
        world.settle(zombie, "KK")
    except Fenced:
        shut_out += 1
    return shut_out == 2 and world.dump() == before


async def fill(world: World) -> Joined | Known | Refused:
    """Joins until the lane is at its bound; the answer to the one that is too many."""
    answer: Joined | Known | Refused = Known()
    requests: list[JoinRequest] = [world.request(n) for n in range(100, 100 + world.policy.lane_bound + 1)]
    for request in requests:
        answer = await world.join(request)
    return answer
