"""A scenario of undone check-ins, late attendance, lifted bars and excused no-shows. Returns the promises that were broken."""

from dataclasses import replace
from datetime import datetime, time, timedelta

from antrian.booking import Cancel, CommandBatch, ExcuseNoShow, Follow, LateAttendance, LiftBar, State, UndoCheckIn
from antrian.errors import Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import Joined, JoinRequest
from tests.promises.life_story import BrokenError
from tests.promises.story import reason
from tests.support.ways_back import excuse, late, lift, undo
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, World, nik
from workers.commands import execute_commands

MONDAY_NOON = OPENS.replace(hour=12) + timedelta(days=3)
NEXT_MONDAY = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=7))


async def broken_promises_of_the_ways_back(world: World) -> set[str]:
    """Plays the scenario; returns the broken promises. Persons 1 and 2 came, 3 to 6 did not, 7 cancelled."""
    broken = BrokenError()
    parties = [world.request(1, [1, 2]), world.request(2, [3, 4, 7]), world.request(3, [5]), world.request(4, [6])]
    for request in parties:
        await world.join(request)
        world.turn()
        await world.ask(Cancel(parties[1].booking_id, 5))
    world.set_clock(MONDAY_NOON)
    await _on_the_day(world, broken, parties[0])
    if not broken:
        await _after_the_day(world, broken, *parties[1:])
    return broken | {check.promise for check in world.verify()}


async def _done(world: World, entry: LiftBar | ExcuseNoShow | UndoCheckIn | LateAttendance) -> Reason | None:
    """The reason why nothing changed; INTERNAL if a constraint of the ledger refused the command."""
    await world.ask(entry)
    action = await world.staff.action(entry.action_id)
    return action.refused if action else Reason.INTERNAL


async def _on_the_day(world: World, broken: BrokenError, party: JoinRequest) -> None:
    await world.staff.check_in(PUSAT, code_range(booking_code(party.booking_id)), [], "desk", "rina")
    await world.ask(Follow(party.booking_id))
    broken.hold("P4", held=await world.producer.owned(party.owner) == [])
    again = _at_any_time(world.request(11, [1], office_id=BOGOR, slot=NEXT_MONDAY))
    broken.hold("P4", held=isinstance(await world.join(again), Joined))
    if broken:
        return
    broken.hold("P4", held=await _done(world, undo(party, 1, 2)) is Reason.BOOKED_AGAIN)
    broken.hold("P4", held=await world.producer.owned(party.owner) == [])
    world.turn(BOGOR)
    broken.hold("P4", held=(await world.recorded(again)).state is State.CONFIRMED)
    broken.hold("P7", held=await _done(world, undo(party, 2)) is None)
    broken.hold("P7", held=(await world.recorded(party)).state is State.ATTENDED)
    twice = _at_any_time(world.request(12, [2], office_id=BOGOR, slot=NEXT_MONDAY))
    broken.hold("P4", held=reason(await world.join(twice)) == Reason.ALREADY_BOOKED)


def _at_any_time(request: JoinRequest) -> JoinRequest:
    """Treats any moment as inside a window."""
    return replace(request, windows=tuple(replace(window, opens_at=OPENS) for window in request.windows))


async def _after_the_day(
    world: World, broken: BrokenError, party: JoinRequest, single: JoinRequest, excused: JoinRequest
) -> None:
    world.set_clock(datetime.combine(MONDAY.service_date + timedelta(days=1), time(9), OPENS.tzinfo))
    world.nightly()
    broken.hold("P7", held=await _done(world, late(world.policy, party, 3, 5)) is None)
    broken.hold("P7", held=(await world.recorded(party)).state is State.ATTENDED)
    broken.hold("P10", held=await _done(world, excuse(excused)) is None)
    broken.hold("P7", held=(await world.recorded(excused)).state is State.EXCUSED)
    await _lift_while_a_day_is_told(world, broken, single)
    broken.hold("P7", held=(await world.recorded(single)).state is State.NO_SHOW)
    broken.hold("P10", held=_barred(world) == [2, 4])
    world.recorder.days.mark_unsynced(MONDAY.service_date)
    world.nightly()
    broken.hold("P10", held=_barred(world) == [2, 4])
    if broken:
        return
    world.rebuild()
    world.set_clock(OPENS + timedelta(days=7, minutes=1))
    world.turn()
    for person in range(2, 8):
        said = reason(await world.join(world.request(20 + person, [person], slot=NEXT_MONDAY)))
        broken.hold("P9", held=(said == Reason.BARRED) == (person in {2, 4}))
    world.turn()


def _barred(world: World) -> list[int]:
    """The people whom Redis bars."""
    keys = {person: world.keys.applicant_key(nik(person)) for person in range(1, 8)}
    entries = {person: world.redis.hget(f"applicants:{key.hex()[:3]}", key) for person, key in keys.items()}
    return [person for person, entry in entries.items() if isinstance(entry, bytes) and entry[:1] == b"X"]


async def _lift_while_a_day_is_told(world: World, broken: BrokenError, single: JoinRequest) -> None:
    """A worker reads the bars, and syncs Redis only after a bar was lifted."""
    settled_command, ends = world.consumer.settled_command(PUSAT), OPENS + timedelta(days=30)
    read = [(single.booking_id.bytes, single.applicants[0].key)]
    entry = lift(single, 6)
    await world.producer.send_command(PUSAT, entry)
    lease = world.take()
    batch = world.decide_any(lease)
    assert isinstance(batch, CommandBatch)
    broken.hold("P10", held=not world.consumer.release(PUSAT, settled_command, read, ends, "2026-12-30"))
    execute_commands(world.setup, lease, world.offices[PUSAT], batch)
    broken.hold("P10", held=not world.consumer.release(PUSAT, settled_command, read, ends, "2026-12-30"))
