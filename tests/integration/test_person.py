"""`antrian person`: what is kept about one person, as JSON, and its erasure. Both leave a trace, and others' data stay."""

import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from antrian.booking import Cancel
from clients.cli.main import main
from tests.integration.test_policy_commands import environment
from tests.integration.test_retention import days_later, past_day, run
from tests.support.world import MONDAY, OPENS, PUSAT, World, nik
from workers.audit import Audit

BY = ["--staff", "dpo-1", "--reason", "permintaan 3 Desember"]


@pytest.fixture(autouse=True)
def _environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)


def person(command: str, who: int, *words: str) -> Result:
    return CliRunner().invoke(main, ["person", command, *BY, *words], input=f"{nik(who)}\n")


def exported(who: int) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["person", "export", *BY, "--nik", nik(who)])
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def actions(world: World) -> list[tuple[Any, ...]]:
    return world.sql(
        "select kind, office_id, staff, why, after from staff_action where kind like '%_PERSON' and caller = 'antrian' "
        "order by done_at"
    )


async def test_an_export_has_everything_of_this_person_and_is_recorded(world: World) -> None:
    await past_day(world)
    facts = exported(4)
    [booking], [bar] = facts["bookings"], facts["bars"]
    assert (facts["nik"], booking["full_name"], booking["account"]) == (nik(4), "Siti", "account-2")
    assert (booking["service_date"], booking["state"], booking["queue_number"]) == (
        *(MONDAY.service_date.isoformat(), "NO_SHOW", 3),
    )
    assert (bar["booking_id"], bar["in_force"]) == (booking["booking_id"], True)
    assert actions(world) == [("EXPORT_PERSON", PUSAT, "dpo-1", "permintaan 3 Desember", {"bookings": 1})]
    assert exported(30) == {"nik": nik(30), "bookings": [], "bars": []}


async def test_a_place_that_is_held_is_not_erased_and_a_cancelled_one_is(world: World) -> None:
    request = world.request(1, [1, 2])
    await world.ticket(request)
    world.turn()
    result = person("erase", 1, "--yes")
    assert "erased the person's data of 0 bookings" in result.stdout
    assert "the person holds this place; cancel it first" in result.stdout
    await world.ask(Cancel(request.booking_id, 1))
    assert "erased the person's data of 1 bookings" in person("erase", 1, "--yes").stdout
    assert exported(1)["bookings"] == []
    assert exported(2)["bookings"][0]["full_name"] == "Siti"
    assert world.sql("select account from booking") == [("account-1",)]
    assert world.verify() == []


async def test_a_bar_outlasts_the_erasure_of_name_and_nik_and_the_retention_ends_it(world: World) -> None:
    await past_day(world)
    Audit(world.settings, lambda *_: None).once()
    world.set_clock(OPENS + timedelta(days=7, minutes=1))
    world.turn()
    result = person("erase", 4, "--yes", "--json")
    assert json.loads(result.stdout.removeprefix("NIK: \n"))["kept"][0]["why"] == (
        "the keyed hash of the NIK and the account, while the bar is in force"
    )
    [booking] = exported(4)["bookings"]
    assert (booking["full_name"], booking["account"]) == ("", "account-2")
    assert exported(4)["bars"][0]["in_force"]
    assert exported(5)["bookings"][0]["full_name"] == "Siti"
    assert world.verify() == []
    days_later(world, world.policy.personal_data_days + 1)
    run(world)
    assert exported(4) == {"nik": nik(4), "bookings": [], "bars": []}
    assert world.verify() == []


async def test_the_account_stays_while_others_of_the_party_are_kept(world: World) -> None:
    await past_day(world)
    world.set_clock(OPENS + timedelta(days=7, minutes=1))
    assert "of 1 bookings" in person("erase", 2, "--yes").stdout
    assert world.sql("select account from booking where ticket = 1") == [("account-1",)]
    assert exported(2)["bookings"] == []


async def test_the_day_after_a_day_nothing_of_it_is_erased(world: World) -> None:
    await past_day(world)
    result = person("erase", 2, "--yes")
    assert "of 0 bookings" in result.stdout
    assert "the day is not over for two days" in result.stdout


@pytest.mark.parametrize("command", ["export", "erase"])
def test_a_mistyped_nik_is_refused_and_not_repeated(command: str) -> None:
    result = CliRunner().invoke(main, ["person", command, *BY, "--nik", "31710101019"])
    assert result.exit_code == 2
    assert "must be 16 digits" in result.output
    assert "31710101019" not in result.output


async def test_erasing_is_confirmed(world: World) -> None:
    result = CliRunner().invoke(main, ["person", "erase", *BY, "--nik", nik(1)], input="n\n")
    assert result.exit_code != 0
    assert actions(world) == []
