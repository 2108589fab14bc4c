"""A rebuild: what the ledger knows is in Redis again, what Redis still had is finished, and nobody from before writes."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from antrian.booking import Cancel, CloseDate, State
from antrian.errors import AntrianError, Reason
from antrian.lane.consumer import LaneConsumer
from antrian.lane.producer import Joined, Known
from antrian.lane.rebuild import LaneRebuilder
from antrian.lane.replies import FencedError, LaneBrokenError, Lease
from antrian.ledger.fence import LedgerFencedError
from antrian.ledger.recorder import LedgerRecorder
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World, serve
from workers.rebuild import Rebuild


async def lived(world: World) -> None:
    """Bookings, a rejected one, a cancelled one."""
    for n in range(1, 5):
        await world.join(world.request(n, [n * 2, n * 2 + 1]))
    await world.join(world.request(9, [90], office_id=BOGOR, slot=TUESDAY))
    world.turn()
    world.turn(BOGOR)
    await world.ask(Cancel(world.request(2, [4, 5]).booking_id))


async def test_a_rebuild_restores_an_emptied_redis(world: World) -> None:
    await lived(world)
    remaining = world.remaining()
    world.redis.flushdb()
    done = world.rebuild()
    assert (done.offices, done.finished, done.lost, done.bookings) == (2, 0, 0, 5)
    assert world.remaining() == remaining == 2
    assert await world.join(world.request(1, [2, 3])) == Known()
    assert await world.join(world.request(4, [8, 9])) == Known()
    assert (await world.refusal(world.request(1, [2]))).reason == Reason.REQUEST_ID_REUSED
    again = await world.refusal(world.request(20, [3], office_id=BOGOR, account="account-1"))
    assert (again.reason, again.detail) == (Reason.ALREADY_BOOKED, world.request(1, [2, 3]).booking_id.bytes)
    assert (
        await world.refusal(world.request(20, [50, 51, 52, 53], slot=TUESDAY, account="account-1"))
    ).reason == "ACCOUNT_LIMIT"
    request = world.request(21, [4])
    assert await world.ticket(request) > 4, "beyond all that was ever issued"
    world.turn()
    assert (await world.recorded(request)).first_number == 7
    assert world.verify() == []


async def test_no_lane_opens_on_a_redis_that_lost_ledger_data(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.redis.flushdb()
    world.set_clock(OPENS + timedelta(minutes=2))
    world.turn(BOGOR)  # it never had a ticket, and yet does not know who is booked or barred
    for office_id in (PUSAT, BOGOR):
        world.consumer.sweep([PUSAT, BOGOR], "")
        assert (await world.refusal(world.request(2, office_id=office_id))).reason == Reason.LANE_CLOSED
    world.rebuild()
    assert isinstance(await world.join(world.request(2, office_id=BOGOR)), Joined)


async def test_a_rebuild_restores_bars(world: World) -> None:
    await world.join(world.request(1))
    world.turn()
    world.set_clock(OPENS + timedelta(days=7))
    world.turn()
    world.nightly()
    world.redis.flushdb()
    assert world.rebuild().bars == 1
    slot = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
    refused = await world.refusal(world.request(2, [1], slot=slot))
    assert (refused.reason, refused.detail) == (Reason.BARRED, f"{MONDAY.service_date + timedelta(days=30)}".encode())


async def test_a_rebuild_first_settles_what_redis_still_has(world: World) -> None:
    await lived(world)
    waiting, undecided = world.request(30, [60]), world.request(31, [61])
    await world.ticket(waiting)
    world.decide(world.take())
    await world.ticket(undecided)
    entry = CloseDate(waiting.booking_id, "desk", "rina", "banjir", TUESDAY.service_date)
    await world.producer.send_command(PUSAT, entry)
    done = world.rebuild()
    assert (done.finished, done.lost) == (2, 0)
    assert [(await world.recorded(r)).state for r in (waiting, undecided)] == [State.CONFIRMED, State.CONFIRMED]
    assert await world.staff.action(entry.action_id)
    assert (await world.refusal(world.request(40, slot=TUESDAY))).reason == Reason.DAY_CLOSED
    assert world.verify() == []


async def test_a_lane_that_contradicts_the_ledger_is_emptied_and_its_people_are_freed(world: World) -> None:
    await lived(world)
    ghost = world.request(50, [70])
    await world.ticket(ghost)
    world.redis.hset(f"lane:{{{PUSAT}}}", mapping={"ticket": 9, "settled": 8})
    world.redis.xtrim(f"queue:{{{PUSAT}}}", maxlen=0)
    world.turn()
    assert (await world.refusal(world.request(51))).reason == Reason.LANE_CLOSED
    world.rebuild()
    assert isinstance(await world.join(ghost), Joined), "asking again with the same request_id is safe"
    world.turn()
    assert world.verify() == []


@pytest.mark.timeout(20)  # a rebuild that asks again and again for a batch that the ledger refuses never ends
@pytest.mark.parametrize("turns", [1, 3])
async def test_requests_that_joined_a_redis_behind_the_ledger_keep_their_tickets(world: World, turns: int) -> None:
    """A replica that took over without the latest decisions, and the newcomers that joined it since (P2)."""
    requests = [world.request(n) for n in range(1, turns + 2)]
    for request in requests[:-1]:
        await world.ticket(request)
    names: Any = world.redis.keys("*")
    older = {name: world.redis.dump(name) for name in names}
    for _ in requests[:-1]:
        lease = world.take()
        world.settle(lease, world.record(lease, world.decide(lease, 1)))
    for name, dump in older.items():
        assert dump is not None
        world.redis.restore(name, 0, dump, replace=True)
    newcomer = await world.ticket(requests[-1])
    assert world.turn() == 0
    assert not world.consumer.audit(PUSAT).opened
    done = world.rebuild()
    assert (done.finished, done.lost) == (1, 0)
    bookings = [await world.recorded(request) for request in requests]
    assert [booking.ticket for booking in bookings] == list(range(1, newcomer + 1))
    assert [booking.first_number for booking in bookings] == list(range(1, newcomer + 1))
    assert world.verify() == []


async def test_commands_that_contradict_the_ledger_are_dropped_and_counted(world: World) -> None:
    await lived(world)
    entry = CloseDate(uuid4(), "desk", "rina", "banjir", TUESDAY.service_date)
    await world.producer.send_command(PUSAT, entry)
    waiting = world.request(30, [60])
    await world.ticket(waiting)
    world.sql(f"update lane set last_command = last_command + 5 where office_id = '{PUSAT}'")  # Redis went back in time
    done = world.rebuild()
    assert (done.finished, done.lost) == (0, 2), "the line comes after the desk, so its ticket is not decided either"
    assert await world.staff.action(entry.action_id) is None
    assert isinstance(await world.join(waiting), Joined), "asking again with the same request_id is safe"
    await world.ask(entry)
    assert await world.staff.action(entry.action_id)
    world.turn()
    assert world.verify() == []


@pytest.mark.parametrize("decision", ["CONFIRMED one", "CONFIRMED\x001", "PERHAPS", "\x80"])
async def test_an_unreadable_outbox_quarantines_its_lane_and_is_dropped_by_a_rebuild(
    world: World, decision: str
) -> None:
    await world.ticket(world.request(1))
    await world.ticket(world.request(2, office_id=BOGOR))
    world.redis.hset(f"lane:{{{PUSAT}}}", "outbox", decision.encode("latin-1"))
    leases = [world.take(office_id) for office_id in (PUSAT, BOGOR)]
    assert serve(world.setup, leases, world.offices) == 1, "the other office goes on"
    assert not world.consumer.audit(PUSAT).opened
    done = world.rebuild()
    assert (done.finished, done.lost) == (0, 1)
    assert isinstance(await world.join(world.request(1)), Joined)
    world.turn()
    assert world.verify() == []


class _Unsettled(LaneConsumer):
    """A line on which nothing that is settled takes effect."""

    def settle(self, turns: Sequence[tuple[Lease, str]]) -> list[FencedError | LaneBrokenError | None]:
        return [None for _ in turns]


@pytest.mark.timeout(20)
async def test_a_rebuild_stops_when_a_lane_returns_the_same_batch_again(world: World) -> None:
    await lived(world)
    await world.ticket(world.request(30, [60]))
    with closing(_Unsettled(world.settings.redis_url)) as consumer:
        done = Rebuild(world.settings, consumer, world.recorder, world.redis).run()
    assert done.finished == 1
    assert (await world.recorded(world.request(30, [60]))).state is State.CONFIRMED
    assert world.verify() == []


async def test_a_consumer_from_before_the_rebuild_writes_nothing(world: World) -> None:
    await world.ticket(world.request(1))
    zombie = world.take()
    decisions = world.decide(zombie)
    world.redis.flushdb()
    world.rebuild()
    before = world.dump(), world.sql("select * from booking")
    with pytest.raises(FencedError):
        world.decide_any(zombie, 256)
    with pytest.raises(FencedError):
        world.settle(zombie, "K")
    with pytest.raises(LedgerFencedError):
        world.record(zombie, decisions)
    assert (world.dump(), world.sql("select * from booking")) == before
    assert isinstance(await world.join(world.request(1)), Joined)


async def test_no_turn_is_recorded_while_a_rebuild_reads_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ticket(world.request(1))
    zombie = world.take()
    decisions = world.decide(zombie)
    world.redis.flushdb()
    read = LedgerRecorder.known_bookings

    def record_first(self: LedgerRecorder, since: date) -> Iterator[tuple[Any, ...]]:
        with pytest.raises(LedgerFencedError):
            world.record(zombie, decisions)
        return read(self, since)

    monkeypatch.setattr(LedgerRecorder, "known_bookings", record_first)
    assert world.rebuild().bookings == 0
    assert isinstance(await world.join(world.request(1)), Joined)
    world.turn()
    assert world.verify() == []


async def test_a_rebuild_is_idempotent_and_a_closed_lane_takes_no_commands(world: World) -> None:
    await lived(world)
    world.rebuild()
    first = world.remaining(), await world.producer.owned(world.request(1).owner)
    world.rebuild()
    assert (world.remaining(), await world.producer.owned(world.request(1).owner)) == first
    world.consumer.quarantine(world.take())
    with pytest.raises(AntrianError, match="LANE_CLOSED"):
        await world.producer.send_command(PUSAT, Cancel(world.request(1).booking_id))
    assert world.consumer.lease(PUSAT) is None, "a closed lane waits for its rebuild"


async def test_an_interrupted_rebuild_leaves_lanes_closed_and_may_be_repeated(world: World) -> None:
    await lived(world)
    remaining = world.remaining()
    lanes = LaneRebuilder(world.redis)
    leases = [lanes.force_acquire(office_id) for office_id in (PUSAT, BOGOR)]
    lanes.clear_people()
    lanes.clear(leases[0])
    for office_id in (PUSAT, BOGOR):
        assert (await world.refusal(world.request(60, office_id=office_id))).reason == Reason.LANE_CLOSED
    world.consumer.sweep([PUSAT, BOGOR], "")
    assert world.consumer.lease() is None
    assert world.rebuild().lost == 0
    assert world.remaining() == remaining
    assert await world.join(world.request(1, [2, 3])) == Known()
    assert world.verify() == []


async def test_the_older_of_two_rebuilds_destroys_nothing(world: World) -> None:
    await lived(world)
    older = LaneRebuilder(world.redis)
    leases = [older.force_acquire(office_id) for office_id in (PUSAT, BOGOR)]
    epoch = world.recorder.epoch(PUSAT)
    world.rebuild()
    late = world.request(70)
    await world.ticket(late)
    before = world.dump()
    for step in (
        older.clear_people,
        lambda: older.restore([], []),
        older.mark_restored,
        lambda: older.clear(leases[0]),
    ):
        with pytest.raises(FencedError):
            step()
    with pytest.raises(LedgerFencedError):
        world.recorder.open_lane(PUSAT, epoch)
    assert world.dump() == before
    world.turn()
    assert (await world.recorded(late)).state is State.CONFIRMED
    assert world.verify() == []


async def test_a_redis_with_tokens_older_than_the_ledgers_quarantines_its_lane(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await lived(world)
    world.sql(f"update lane set token = token + 5 where office_id = '{PUSAT}'")
    await world.ticket(world.request(70))
    assert world.turn() == 0
    assert not world.consumer.audit(PUSAT).opened
    assert "lane quarantined, Redis and the ledger disagree: LedgerFenced" in caplog.text
    world.rebuild()
    assert world.verify() == []


async def test_a_superseded_consumer_quarantines_nothing(world: World) -> None:
    await lived(world)
    await world.ticket(world.request(70))
    old = world.take()
    decided = world.decide(old)
    world.lease_ends()
    new = world.take()
    world.settle(new, world.record(new, decided))
    assert world.serve(old) == 0
    assert world.consumer.audit(PUSAT).opened
