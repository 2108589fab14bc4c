"""A scenario of name corrections. Returns the promises that were broken."""

import uuid
from datetime import timedelta

from antrian.booking import Cancel, Follow, Person, StaffAction
from antrian.errors import AntrianError, Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import JoinRequest
from antrian.ledger.staff import RosterRow
from server.names import Names
from server.office_cache import Catalog
from tests.promises.life_story import BrokenError
from tests.support.world import OPENS, PUSAT, World, nik

MONDAY_MORNING = OPENS.replace(hour=9) + timedelta(days=3)


async def broken_promises_of_names(world: World) -> set[str]:
    """Plays the scenario with a party of three, all named "Siti"; returns the broken promises."""
    broken = BrokenError()
    party = world.request(1, [1, 2, 3])
    await world.join(party)
    world.turn()
    names = Names(Catalog(world.policy, world.producer, world.reader, world.keys), world.staff, world.keys)
    for part in (_before_the_day, _overtaken, _on_the_day):
        await part(world, broken, names, party)
    world.nightly()
    return broken | {check.promise for check in world.verify()}


async def _before_the_day(world: World, broken: BrokenError, names: Names, party: JoinRequest) -> None:
    broken.hold("P7", held=await _correct(names, party, 1, "Sitti") is None)
    broken.hold("P7", held=await _correct(names, party, 1, "Siti") is Reason.NAME_CORRECTED_BEFORE)
    broken.hold("P7", held=await _correct(names, party, 2, "Aminah") is Reason.NAME_TOO_DIFFERENT)
    broken.hold("P7", held=await _names(world, party) == ["Sitti", "Siti", "Siti"])
    broken.hold("P7", held=world.sql("select from staff_action") == [])
    broken.hold("P7", held=await _correct(names, party, 1, "Siti Aminah", _staff()) is None)
    broken.hold("P7", held=await _names(world, party) == ["Siti Aminah", "Siti", "Siti"])
    noted = world.sql("select kind, why, before ->> 'name', after ->> 'name' from staff_action")
    broken.hold("P7", held=noted == [("CORRECT_NAME", "sesuai KTP", "Si***", "Si** Am****")])


async def _overtaken(world: World, broken: BrokenError, names: Names, party: JoinRequest) -> None:
    """A write based on an outdated read: the name was corrected by another, or the person has cancelled."""
    *_, second, third = await world.staff.party(party.booking_id)
    await _correct(names, party, 2, "Sitti")
    await world.ask(Cancel(party.booking_id, 3))
    for row in (second, third):
        broken.hold("P7", held=not await _write(world, row, "Budi"))
    broken.hold("P7", held=await _names(world, party) == ["Siti Aminah", "Sitti"])
    broken.hold("P7", held=world.sql("select count(*) from staff_action where kind = 'CORRECT_NAME'") == [(1,)])


async def _on_the_day(world: World, broken: BrokenError, names: Names, party: JoinRequest) -> None:
    other = world.request(2, [4])
    await world.join(other)
    world.turn()
    world.set_clock(MONDAY_MORNING)
    broken.hold("P7", held=await _correct(names, other, 4, "Sitti") is Reason.DAY_BEGUN)
    broken.hold("P7", held=await _correct(names, other, 4, "Aminah", _staff()) is None)
    await world.staff.check_in(PUSAT, code_range(booking_code(party.booking_id)), [1], "desk", "rina")
    await world.ask(Follow(party.booking_id))
    broken.hold("P7", held=await _correct(names, party, 1, "Aminah", _staff()) is None)
    world.set_clock(MONDAY_MORNING + timedelta(days=1))
    broken.hold("P7", held=await _correct(names, party, 1, "Siti", _staff()) is Reason.DAY_BEGUN)
    broken.hold("P7", held=await _names(world, party) == ["Aminah", "Sitti"])


def _staff() -> StaffAction:
    return StaffAction(uuid.uuid4(), "desk", "rina", "sesuai KTP")


async def _correct(
    names: Names, party: JoinRequest, number: int, name: str, by: StaffAction | None = None
) -> Reason | None:
    """Corrects a name; returns the reason of a refusal."""
    try:
        await names.correct(party.booking_id, number, name, by)
    except AntrianError as refusal:
        return refusal.reason
    return None


async def _write(world: World, row: RosterRow, name: str) -> bool:
    """Corrects a name for staff, based on an earlier read; returns whether it was written."""
    encrypted = world.keys.encrypt(row.booking_id, row.applicant_key, Person(nik(row.number), name))
    *_, written = await world.staff.correct_name(row.booking_id, row, encrypted, _staff(), "{}", "{}")
    return written


async def _names(world: World, party: JoinRequest) -> list[str]:
    rows = await world.staff.party(party.booking_id)
    return [world.keys.person(row.booking_id, row.applicant_key, row.encrypted).full_name for row in rows]
