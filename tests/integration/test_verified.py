"""An enemy books somebody else's NIK: the person, once verified, gets a place, and only bookings that did not verify give way."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from antrian.booking import Cancel, Follow, Policy, StaffAction, State, StatusReason
from antrian.errors import Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import HeldUnverified, Joined, JoinRequest, Known, Refused
from antrian.policy import read_policy
from antrian.v1 import messages_pb2 as wire
from server.booking_reader import Bookings
from server.commands import LaneCommands
from server.limits import ConcurrencyLimiter
from server.office_cache import Catalog
from server.reclaim import Reclaim
from tests.support.waiting import until
from tests.support.ways_back import by, lift, undo
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, WINDOW, World, nik

NEXT_WINDOW = OPENS + timedelta(days=7, minutes=1)
NEXT_MONDAY = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))
MONDAY_NOON = datetime.combine(MONDAY.service_date, time(12), OPENS.tzinfo)


@contextmanager
def working(world: World) -> Iterator[None]:
    """Serves the lanes of both offices meanwhile."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.002):
            for office in world.offices:
                if lease := world.consumer.lease(office):
                    world.serve(lease)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def bookings_of(world: World) -> Bookings:
    catalog = Catalog(world.policy, world.producer, world.reader, world.keys)
    return Bookings(catalog, world.producer, world.reader, world.keys, watching=ConcurrencyLimiter(10))


async def submit(world: World, request: JoinRequest) -> Joined | Known | Refused:
    """Requests as a server does."""
    reclaim = Reclaim(world.producer, bookings_of(world), LaneCommands(world.producer))
    result = await world.producer.join(request)
    return await reclaim.displace(request, result, float("inf")) if isinstance(result, HeldUnverified) else result


async def booked(world: World, request: JoinRequest) -> JoinRequest:
    await world.ticket(request)
    world.turn(request.office_id)
    return request


def entry_of(world: World, person: int) -> Any:
    key = world.keys.applicant_key(nik(person))
    return world.redis.hget(f"applicants:{key.hex()[:3]}", key)


def barring(world: World, who: str) -> Policy:
    content, found = re.subn('who = "[a-z]+"', f'who = "{who}"', world.policy.content)
    assert found == 1
    return read_policy(content, "test")


async def test_a_verified_person_gets_a_place_from_an_enemy_at_another_office(world: World) -> None:
    enemy = await booked(world, world.request(1, [7], office_id=BOGOR, account="enemy"))
    victim = world.request(2, [7], verified=[7])
    with working(world):
        assert isinstance(await submit(world, victim), Joined)
        await until(lambda: world.sql("select 1 from booking where state = 'CONFIRMED'"))
    lost, won = await world.recorded(enemy), await world.recorded(victim)
    assert (lost.state, lost.reason, won.state) == (State.CANCELLED, StatusReason.RECLAIMED, State.CONFIRMED)
    assert (world.remaining(office_id=BOGOR), world.remaining()) == (6, 5)
    heard = await bookings_of(world).find(enemy.booking_id, enemy.caller, enemy.account)
    assert heard.status_reason == wire.STATUS_REASON_RECLAIMED
    assert "diperiksa identitasnya" in heard.status_message_id
    assert "has been verified" in heard.status_message_en
    assert world.sql(
        "select kind, office_id, caller, staff, before ->> 'booking_id', after -> 'numbers' from staff_action"
    ) == [("RECLAIM", BOGOR, "gateway", victim.account, str(enemy.booking_id), [1])]
    assert world.verify() == []


async def test_an_undecided_booking_gives_way_once_it_is_decided(world: World) -> None:
    enemy, victim = world.request(1, [7], account="enemy"), world.request(2, [7], verified=[7])
    await world.ticket(enemy)
    asking = asyncio.create_task(submit(world, victim))
    await until(lambda: world.producer._waiting.get(PUSAT))
    with working(world):
        assert isinstance(await asking, Joined)
        await until(lambda: len(world.sql("select 1 from booking")) == 2)
    assert (await world.recorded(enemy)).reason is StatusReason.RECLAIMED
    assert (await world.recorded(victim)).state is State.CONFIRMED
    assert world.verify() == []


async def test_a_party_loses_only_the_verified_person(world: World) -> None:
    family = await booked(world, world.request(1, [6, 7, 8], account="enemy"))
    with working(world):
        assert isinstance(await submit(world, world.request(2, [7], verified=[7], slot=TUESDAY)), Joined)
        await until(lambda: len(world.sql("select 1 from booking")) == 2)
    left = await world.recorded(family)
    assert (left.state, left.reason, left.cancelled) == (State.CONFIRMED, StatusReason.RECLAIMED, [2])
    assert world.remaining() == 4
    assert isinstance(await world.join(world.request(3, [6])), Refused), "the others keep their places"
    assert world.verify() == []


async def test_a_party_is_verified_person_by_person(world: World) -> None:
    await booked(world, world.request(1, [6], account="one"))
    await booked(world, world.request(2, [7], account="other"))
    family = world.request(3, [6, 7], verified=[6])
    with working(world):
        refusal = await submit(world, family)
        assert isinstance(refusal, Refused)
        assert (refusal.reason, refusal.applicant) == (Reason.ALREADY_BOOKED, 1)
        assert world.sql("select 1 from staff_action") == [], "a request that is refused anyway displaces nobody"
        assert isinstance(await submit(world, world.request(4, [6, 7], verified=[6, 7])), Joined)
        await until(lambda: len(world.sql("select 1 from booking")) == 3)
    assert world.sql("select kind from staff_action") == [("RECLAIM",), ("RECLAIM",)]
    assert world.verify() == []


@pytest.mark.parametrize("verified", [[], [7]], ids=["unverified", "verified"])
async def test_a_verified_booking_never_gives_way(world: World, verified: list[int]) -> None:
    await booked(world, world.request(1, [7], verified=[7]))
    refusal = await world.refusal(world.request(2, [7], verified=verified))
    assert (refusal.reason, refusal.detail) == (Reason.ALREADY_BOOKED, b"")


async def test_an_unverified_request_displaces_nobody(world: World) -> None:
    await booked(world, world.request(1, [7]))
    assert (await world.refusal(world.request(2, [7]))).reason == Reason.ALREADY_BOOKED


async def test_an_accounts_own_booking_does_not_give_way(world: World) -> None:
    own = await booked(world, world.request(1, [7], account="ani"))
    refusal = await world.refusal(world.request(2, [7], account="ani", verified=[7]))
    assert (refusal.reason, refusal.detail) == (Reason.ALREADY_BOOKED, own.booking_id.bytes)


async def test_a_command_in_a_lane_cannot_take_a_verified_person(world: World) -> None:
    """Even if a server is wrong about who is verified, the ledger is not."""
    request = await booked(world, world.request(1, [7], verified=[7]))
    reclaim = Cancel(request.booking_id, 1, by=StaffAction(**by()), reclaimed=True)
    await world.ask(reclaim)
    assert (await world.recorded(request)).state is State.CONFIRMED
    assert world.sql("select 1 from staff_action") == []


async def test_of_two_verified_requests_at_once_one_gets_the_person(world: World) -> None:
    await booked(world, world.request(1, [7], office_id=BOGOR, account="enemy"))
    with working(world):
        results = await asyncio.gather(
            *(
                submit(world, world.request(n, [7], verified=[7], office_id=office))
                for n, office in ((2, PUSAT), (3, BOGOR))
            )
        )
        await until(lambda: len(world.sql("select 1 from booking")) == 2)
    assert sorted(type(result).__name__ for result in results) == ["Joined", "Refused"]
    assert world.sql("select kind from staff_action") == [("RECLAIM",)]
    assert world.verify() == []


async def test_an_enemy_who_books_again_and_again_loses(world: World) -> None:
    names, gone = iter(range(100, 10_000)), asyncio.Event()

    async def attack() -> None:
        while not gone.is_set():
            await world.producer.join(world.request(next(names), [7], account="enemy"))

    with working(world):
        enemies = [asyncio.create_task(attack()) for _ in range(3)]
        await until(lambda: entry_of(world, 7))
        victim = world.request(2, [7], verified=[7])
        result = await submit(world, victim)
        gone.set()
        await asyncio.gather(*enemies)
        assert isinstance(result, Joined)
        await until(lambda: world.sql("select 1 from applicant where verified and live"))
    assert world.verify() == []


async def test_a_repeated_request_gets_its_booking_and_displaces_nobody_again(world: World) -> None:
    await booked(world, world.request(1, [7], account="enemy"))
    victim = world.request(2, [7], verified=[7])
    with working(world):
        results = await asyncio.gather(*(submit(world, victim) for _ in range(3)))
        results.append(await submit(world, victim))
    assert sorted(type(result).__name__ for result in results) == ["Joined", "Known", "Known", "Known"]
    assert world.sql("select kind from staff_action") == [("RECLAIM",)]


async def test_the_same_request_without_the_statement_is_another(world: World) -> None:
    await world.ticket(world.request(1, [7], verified=[7]))
    assert (await world.refusal(world.request(1, [7]))).reason == Reason.REQUEST_ID_REUSED


async def test_a_crash_between_ledger_and_redis_takes_the_person_once(world: World) -> None:
    """The consumer of the enemy's lane dies once the ledger has the cancellation, and another takes over."""
    enemy = await booked(world, world.request(1, [7], account="enemy"))
    await world.producer.send_command(PUSAT, Cancel(enemy.booking_id, 1, by=StaffAction(**by()), reclaimed=True))
    lease = world.take()
    batch: Any = world.decide_any(lease)
    world.recorder.record_commands(PUSAT, lease.token, batch)
    held = await world.producer.join(world.request(2, [7], verified=[7]))
    assert isinstance(held, HeldUnverified), "Redis has not followed yet"
    world.lease_ends()
    world.turn()
    await world.ticket(world.request(2, [7], verified=[7]))
    assert world.remaining() == 6
    world.turn()
    assert world.verify() == []


async def test_a_rebuild_restores_who_is_verified(world: World) -> None:
    await booked(world, world.request(1, [7, 8], verified=[7]))
    before = [entry_of(world, person) for person in (7, 8)]
    assert [entry[:1] for entry in before] == [b"V", b"B"]
    await world.ticket(world.request(2, [9], verified=[9]))  # undecided: the rebuild decides it
    world.redis.delete(*world.redis.keys("applicants:*"))
    world.rebuild()
    assert [entry_of(world, person) for person in (7, 8)] == before
    assert entry_of(world, 9)[:1] == b"V"
    assert (await world.refusal(world.request(3, [7], verified=[7]))).reason == Reason.ALREADY_BOOKED
    assert isinstance(await world.producer.join(world.request(4, [8], verified=[8])), HeldUnverified)
    assert world.verify() == []


async def test_verify_finds_a_person_whom_redis_calls_verified_and_the_ledger_does_not(world: World) -> None:
    await booked(world, world.request(1, [7]))
    assert world.verify() == []
    key = world.keys.applicant_key(nik(7))
    world.redis.hset(f"applicants:{key.hex()[:3]}", key, b"V" + entry_of(world, 7)[1:])
    assert [(check.promise, check.violations) for check in world.verify()] == [("P4", 1)]


async def test_an_undone_check_in_holds_a_verified_person_as_verified(world: World) -> None:
    request = await booked(world, world.request(1, [7, 8], verified=[8]))
    world.set_clock(MONDAY_NOON)
    await world.staff.check_in(PUSAT, code_range(booking_code(request.booking_id)), [1, 2], "desk", "rina")
    await world.ask(Follow(request.booking_id))
    assert [entry_of(world, person) for person in (7, 8)] == [None, None]
    await world.ask(replace(undo(request, 1, 2), verified=(2,)))
    assert [entry_of(world, person)[:1] for person in (7, 8)] == [b"B", b"V"]
    assert world.verify() == []


async def test_a_booking_of_a_day_that_is_over_does_not_give_way(world: World) -> None:
    await booked(world, world.request(1, [7], account="enemy"))
    world.set_clock(NEXT_WINDOW)
    world.turn()
    with working(world):
        result = await submit(world, world.request(2, [7], verified=[7], slot=NEXT_MONDAY))
    assert isinstance(result, Refused)
    assert result.reason == Reason.ALREADY_BOOKED
    assert world.verify() != [], "the day has not been finished for four days"


@pytest.mark.parametrize("present", [[], [1]], ids=["nobody has come", "somebody has come"])
async def test_on_its_day_a_booking_gives_way_until_somebody_has_come(world: World, present: list[int]) -> None:
    friday = replace(MONDAY, service_date=WINDOW.dates[-1])
    enemy = await booked(world, world.request(1, [6, 7], slot=friday, account="enemy"))
    world.set_clock(NEXT_WINDOW)
    if present:
        await world.staff.check_in(PUSAT, code_range(booking_code(enemy.booking_id)), present, "desk", "rina")
        await world.ask(Follow(enemy.booking_id))
    with working(world):
        result = await submit(world, world.request(2, [7], verified=[7], slot=NEXT_MONDAY))
    assert (getattr(result, "reason", None) == Reason.ALREADY_BOOKED) is bool(present)
    assert (await world.recorded(enemy)).state is (State.ATTENDED if present else State.CONFIRMED)
    assert world.sql("select kind from staff_action") == [("CHECK_IN",) if present else ("RECLAIM",)]


async def test_only_verified_people_are_barred_if_the_policy_says_so(world: World) -> None:
    world.apply(barring(world, "verified"))
    await booked(world, world.request(1, [6, 7], verified=[6]))
    world.set_clock(NEXT_WINDOW)
    for office in world.offices:
        world.turn(office)
    world.nightly()
    assert world.sql("select applicant_key from bar") == [(world.keys.applicant_key(nik(6)),)]
    assert world.sql("select no_shows from day_done where no_shows > 0") == [(1,)]
    assert (await world.join(world.request(2, [6], slot=NEXT_MONDAY))).reason == Reason.BARRED  # type: ignore[union-attr]
    assert isinstance(await world.join(world.request(3, [7], slot=NEXT_MONDAY)), Joined)
    world.turn()
    assert world.verify() == []
    world.apply(barring(world, "all"))
    assert world.verify() == [], "a day is judged by the policy that finished it"
    world.sql("update day_done set verified_only = false")
    assert [check.promise for check in world.verify()] == ["P10"]


async def test_staff_release_an_enemys_booking_and_lift_the_bar_of_one_that_was_missed(world: World) -> None:
    enemy = await booked(world, world.request(1, [7], account="enemy"))
    await world.ask(Cancel(enemy.booking_id, None, by=StaffAction(**by())))
    again = await booked(world, world.request(2, [7], account="enemy"))
    world.set_clock(NEXT_WINDOW)
    world.turn()
    world.nightly()
    victim = world.request(3, [7], slot=NEXT_MONDAY, verified=[7])
    assert (await world.refusal(victim)).reason == Reason.BARRED
    await world.ask(lift(again, 2))
    await world.ticket(victim)
    world.turn()
    assert (await world.recorded(victim)).state is State.CONFIRMED
    done = world.sql("select kind, staff, why from staff_action order by done_at")
    assert done == [("RELEASE", "rina", "surat dokter"), ("LIFT_BAR", "rina", "surat dokter")]
    assert world.verify() == []
