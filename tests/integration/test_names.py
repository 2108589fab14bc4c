"""Correcting a name in the ledger: who may until when, once or again, and what is kept of it."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from antrian.booking import Cancel, Person, StaffAction
from antrian.errors import AntrianError
from antrian.identity import booking_code, code_range
from antrian.lane.producer import JoinRequest
from antrian.ledger.staff import RosterRow
from server.names import Names
from server.office_cache import Catalog
from tests.support.world import BOGOR, OPENS, PUSAT, World, nik

MIDNIGHT = timedelta(days=2, hours=10)  # from the opening to the first day that was booked


def staff() -> StaffAction:
    return StaffAction(uuid.uuid4(), "desk", "rina", "sesuai KTP")


@pytest.fixture
async def booked(world: World) -> JoinRequest:
    """A booking of two people whose names are "Siti"."""
    request = world.request(1, [1, 2])
    await world.join(request)
    world.turn()
    return request


@pytest.fixture
def names(world: World) -> Names:
    return Names(Catalog(world.policy, world.producer, world.reader, world.keys), world.staff, world.keys)


async def told(world: World, request: JoinRequest) -> list[Person]:
    return [
        world.keys.person(row.booking_id, row.applicant_key, row.encrypted)
        for row in await world.staff.party(request.booking_id)
    ]


async def refused(names: Names, request: JoinRequest, name: str, by: StaffAction | None = None, number: int = 1) -> str:
    with pytest.raises(AntrianError) as refusal:
        await names.correct(request.booking_id, number, name, by)
    return refusal.value.reason


async def test_an_account_corrects_a_name_once_and_staff_again(world: World, names: Names, booked: JoinRequest) -> None:
    await names.correct(booked.booking_id, 1, "Sitti", None)
    assert await told(world, booked) == [Person(nik(1), "Sitti"), Person(nik(2), "Siti")]
    await names.correct(booked.booking_id, 1, " Sitti ", None)
    assert await refused(names, booked, "Siti") == "NAME_CORRECTED_BEFORE"
    assert await refused(names, booked, "Sitorus", number=2) == "NAME_TOO_DIFFERENT"
    assert await refused(names, booked, "S1ti", number=2) == "INVALID_FIELD"
    assert await refused(names, booked, "Sitti", number=3) == "INVALID_FIELD"
    assert world.sql("select count(*) from staff_action") == [(0,)]
    for name in ("Siti Aminah", "Aminah"):
        await names.correct(booked.booking_id, 1, name, staff())
    await names.correct(booked.booking_id, 1, "Aminah", staff())
    await names.correct(booked.booking_id, 2, "Sitti", None)
    assert [person.full_name for person in await told(world, booked)] == ["Aminah", "Sitti"]
    assert world.sql("select kind, office_id, staff, why, before ->> 'name', after ->> 'name' from staff_action") == [
        ("CORRECT_NAME", PUSAT, "rina", "sesuai KTP", "Si***", "Si** Am****"),
        ("CORRECT_NAME", PUSAT, "rina", "sesuai KTP", "Si** Am****", "Am****"),
    ]
    assert world.verify() == []


async def test_accounts_correct_names_until_the_day_begins_and_staff_until_it_is_over(
    world: World, names: Names, booked: JoinRequest
) -> None:
    world.set_clock(OPENS + MIDNIGHT - timedelta(minutes=1))
    await names.correct(booked.booking_id, 1, "Sitti", None)
    world.set_clock(OPENS + MIDNIGHT)
    assert await refused(names, booked, "Sitti", number=2) == "DAY_BEGUN"
    await names.correct(booked.booking_id, 2, "Sitti", staff())
    await world.staff.check_in(PUSAT, code_range(booking_code(booked.booking_id)), [1], "desk", "rina")
    assert await refused(names, booked, "Siti", number=2) == "NOT_CONFIRMED"
    await names.correct(booked.booking_id, 1, "Aminah", staff())
    world.set_clock(OPENS + MIDNIGHT + timedelta(days=1))
    assert await refused(names, booked, "Siti", staff()) == "DAY_BEGUN"
    assert [person.full_name for person in await told(world, booked)] == ["Aminah", "Sitti"]


async def test_the_name_of_a_cancelled_person_cannot_be_corrected(
    world: World, names: Names, booked: JoinRequest
) -> None:
    await world.ask(Cancel(booked.booking_id, 1))
    assert await refused(names, booked, "Sitti", staff()) == "INVALID_FIELD"
    await world.ask(Cancel(booked.booking_id))
    assert await refused(names, booked, "Sitti", staff(), number=2) == "NOT_CONFIRMED"
    assert world.sql("select count(*) from staff_action") == [(0,)]


async def test_who_gives_up_after_the_name_was_read_keeps_that_name(world: World, booked: JoinRequest) -> None:
    [first, _] = await world.staff.party(booked.booking_id)
    await world.ask(Cancel(booked.booking_id, 1))
    encrypted = world.keys.encrypt(booked.booking_id, first.applicant_key, Person(nik(1), "Aminah"))
    *_, written = await world.staff.correct_name(booked.booking_id, first, encrypted, staff(), "{}", "{}")
    assert not written


async def test_the_day_begins_at_the_offices_own_midnight(world: World, names: Names, booked: JoinRequest) -> None:
    world.recorder.upsert_offices([replace(world.offices[BOGOR], time_zone=ZoneInfo("Asia/Jayapura"))], [])
    world.set_clock(OPENS + MIDNIGHT - timedelta(hours=1))  # at the other office it is Monday
    await names.correct(booked.booking_id, 1, "Sitti", None)
    assert (await told(world, booked))[0] == Person(nik(1), "Sitti")


async def test_only_the_person_that_was_read_is_changed(world: World, booked: JoinRequest) -> None:
    other = world.request(2, [3])
    await world.join(other)
    world.turn()
    [first, second] = await world.staff.party(booked.booking_id)
    [third] = await world.staff.party(other.booking_id)

    async def write(booking_id: uuid.UUID, row: RosterRow) -> bool:
        encrypted = world.keys.encrypt(booking_id, row.applicant_key, Person(nik(1), "Aminah"))
        *_, written = await world.staff.correct_name(booking_id, row, encrypted, staff(), "{}", "{}")
        return written

    with pytest.raises(AntrianError, match="BOOKING_NOT_FOUND"):
        await write(booked.booking_id, third)
    assert not await write(booked.booking_id, replace(first, encrypted=second.encrypted))
    assert await write(booked.booking_id, first)
    assert not await write(booked.booking_id, first)
    assert [person.full_name for person in await told(world, booked)] == ["Aminah", "Siti"]
    assert await told(world, other) == [Person(nik(3), "Siti")]


async def test_only_one_of_two_concurrent_corrections_by_an_account_succeeds(
    world: World, names: Names, booked: JoinRequest
) -> None:
    responses = await asyncio.gather(
        *(names.correct(booked.booking_id, 1, name, None) for name in ("Sitti", "Situ")), return_exceptions=True
    )
    [refusal] = [response for response in responses if response]
    assert isinstance(refusal, AntrianError)
    assert refusal.reason == "NAME_CORRECTED_BEFORE"
    assert {person.full_name for person in await told(world, booked)} < {"Sitti", "Situ", "Siti"}
    assert world.verify() == []
