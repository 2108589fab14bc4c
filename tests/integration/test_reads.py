"""look.lua, counters.lua and booking.sql: nobody reads PENDING after CONFIRMED, and answers say when they were true."""

import asyncio
from datetime import timedelta

from redis.exceptions import RedisError

from antrian.booking import State, StatusReason
from antrian.lane.producer import Counters, Waiting
from antrian.ledger.reader import RecordedBooking
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED
from server.booking_reader import Bookings
from server.limits import ConcurrencyLimiter
from server.office_cache import Catalog
from tests.support.waiting import until
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World


async def test_a_booking_is_pending_until_it_is_settled(world: World) -> None:
    first, second = world.request(1), world.request(2, [2, 3])
    await world.join(first)
    await world.join(second)
    found = await world.producer.look(second.booking_id)
    assert isinstance(found, Waiting)
    assert (found.office_id, found.ticket, found.ahead, found.remaining) == (PUSAT, 2, 1, 6)
    assert (found.booking_id, found.slot, len(found.people)) == (second.booking_id, MONDAY, 2)
    assert (found.caller, found.account) == ("gateway", "account-2")
    assert OPENS < found.accepted_at <= found.as_of < OPENS + timedelta(minutes=5)
    lease = world.take()
    results = world.record(lease, world.decide(lease, 256))
    assert await world.producer.look(second.booking_id) is not None, "recorded, but not settled"
    world.settle(lease, results)
    assert await world.producer.look(second.booking_id) is None
    assert (await world.recorded(second)).first_number == 2


async def test_an_unknown_booking_is_in_neither_store(world: World) -> None:
    assert await world.producer.look(world.request(9).booking_id) is None
    assert await world.reader.booking(world.request(9).booking_id) is None


async def test_a_recorded_booking_has_all_its_fields(world: World) -> None:
    await world.join(world.request(1, [1, 2, 3, 4, 5]))
    refused = world.request(2, [6, 7])
    await world.join(refused)
    world.turn()
    booking = await world.recorded(refused)
    assert (booking.office_id, booking.ticket, booking.slot, booking.party_size) == (PUSAT, 2, MONDAY, 2)
    assert (booking.state, booking.reason, booking.first_number) == (State.REJECTED, StatusReason.SLOT_FULL, None)
    assert (booking.caller, booking.account) == ("gateway", "account-2")
    assert OPENS < booking.accepted_at <= booking.decided_at <= booking.as_of < OPENS + timedelta(minutes=5)


async def test_quotas_of_many_offices_are_read_at_the_same_time(world: World) -> None:
    await world.join(world.request(1, [1, 2]))
    world.turn()
    slots = MONDAY, TUESDAY
    responses = await asyncio.gather(
        *(world.producer.quota((office, slots)) for office in (PUSAT, BOGOR, "kanim-unknown"))
    )
    assert [counters for _, counters in responses] == [
        (Counters(6, 4, closed=False), Counters(6, 6, closed=False)),
        (Counters(6, 6, closed=False), Counters(6, 6, closed=False)),
        (None, None),
    ]
    [as_of] = {moment for moment, _ in responses}
    assert OPENS < as_of < OPENS + timedelta(minutes=5)


async def test_all_waiting_watchers_are_notified_of_a_settled_turn(world: World) -> None:
    await world.join(world.request(1))
    async with asyncio.timeout(10):
        await until(lambda: world.redis.pubsub_numsub("settled")[0][1])
        told = [world.producer.settled(PUSAT, 1) for _ in range(3)]
        not_yet = world.producer.settled(PUSAT, 2)
        world.turn()
        await asyncio.gather(*told)
    assert world.producer.settled(PUSAT, 1).done(), "it has settled before"
    assert not not_yet.done()


async def test_a_booking_known_to_be_settled_is_read_without_its_lane(world: World) -> None:
    bookings = Bookings(
        Catalog(world.policy, world.producer, world.reader, world.keys),
        world.producer,
        world.reader,
        world.keys,
        watching=ConcurrencyLimiter(1),
    )
    one, other = world.request(1), world.request(2)
    for request in (one, other):
        await world.ticket(request)
    world.turn()
    assert (await bookings.find(one.booking_id, one.caller, one.account)).state == BOOKING_STATE_CONFIRMED
    await world.producer.close()
    assert (await bookings.find(one.booking_id, one.caller, one.account)).state == BOOKING_STATE_CONFIRMED
    first, second = await bookings.find_all([one.booking_id, other.booking_id])
    assert isinstance(first, RecordedBooking)
    assert isinstance(second, RedisError), "of this one nobody knows yet that it has left"
