"""`antrian offices import` on a real ledger: what it says it changes is what it changes."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result

from antrian.booking import StaffAction
from antrian.offices.catalog import differences
from clients.cli.main import main
from tests.support.world import BOGOR, OPENS, PUSAT, World

_COLUMNS = {
    "office_id": "office_id", "name": "name", "office_class": "class", "city": "city", "province_code": "province_code",
    "time_zone": "timezone", "latitude": "latitude", "longitude": "longitude", "daily_quota": "daily_quota",
    "address": "address",
}  # fmt: skip
BALI = {"province_code": "ID-BA", "time_zone": "Asia/Makassar", "latitude": -8.65, "longitude": 115.22}
Import = Callable[..., Result]


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Imports the world's offices with changes of their fields, by id with "_" for "-"; None leaves the office out."""
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", world.settings.database_url)

    def run(*words: str, **changes: dict[str, Any] | None) -> Result:
        rows: dict[str, dict[str, Any]] = {
            office_id: {field: getattr(office, field) for field in _COLUMNS}
            for office_id, office in world.offices.items()
        }
        for name, change in changes.items():
            office_id = name.replace("_", "-")
            if change is None:
                del rows[office_id]
            else:
                rows[office_id] = rows.get(office_id, rows[PUSAT]) | {"office_id": office_id} | change
        file = tmp_path / "offices.csv"
        with file.open("w", newline="") as opened:
            table = csv.writer(opened)
            table.writerow(_COLUMNS.values())
            table.writerows(row.values() for row in rows.values())
        return CliRunner().invoke(main, ["offices", "import", str(file), *words])

    return run


def told(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said | {"offices": {office.pop("office_id"): office for office in said["offices"]}}


async def test_a_dry_run_lists_all_changes_and_makes_none(world: World, run: Import) -> None:
    before = world.recorder.offices()
    changes: dict[str, Any] = {
        "kanim_pusat": {"daily_quota": 25, "address": "Jl. Merdeka 1", "latitude": -6.19},
        "kanim_bogor": None,
        "kanim_new": {"name": "Kantor Baru", "latitude": -6.2},
    }
    done = run("--dry-run", **changes)
    planned = world.sql("select max(service_date) from slot")[0][0]
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "new          kanim-new: Kantor Baru, Kota",
        (
            "changed      kanim-pusat: latitude -6.18 -> -6.19; daily_quota 10 -> 25 "
            f'(for days after {planned}; earlier days keep their places); address "" -> "Jl. Merdeka 1"'
        ),
        "not in file  kanim-bogor: stays",
        "dry run, nothing was imported: 1 new, 1 changed, 0 unchanged, 1 not in file",
    ]
    said = told(run("--dry-run", "--json", **changes))
    assert said == {
        "dry_run": True,
        "offices": {
            "kanim-new": {"change": "new", "retired": False},
            PUSAT: {
                "change": "changed",
                "retired": False,
                "fields": {
                    "latitude": {"before": -6.18, "after": -6.19},
                    "daily_quota": {"before": 10, "after": 25},
                    "address": {"before": "", "after": "Jl. Merdeka 1"},
                },
                "quota_holds_after": planned.isoformat(),
            },
            BOGOR: {"change": "not_in_file", "retired": False},
        },
        "warnings": [],
    }
    assert world.recorder.offices() == before
    assert told(run("--json", **changes)) == said | {"dry_run": False}
    after = {office.office_id: office for office in world.recorder.offices()}
    assert after.keys() == {PUSAT, BOGOR, "kanim-new"}
    assert differences(world.offices[PUSAT], after[PUSAT]).keys() == {"latitude", "daily_quota", "address"}
    again = told(run("--json", **changes))["offices"]
    assert {office_id: one["change"] for office_id, one in again.items()} == {
        PUSAT: "unchanged", "kanim-new": "unchanged", BOGOR: "not_in_file",
    }  # fmt: skip


async def test_a_changed_quota_applies_from_the_day_that_the_import_prints(world: World, run: Import) -> None:
    until = world.recorder.planned_until()[PUSAT]
    assert f"for days after {until};" in run(kanim_pusat={"daily_quota": 100}).stdout
    world.offices[PUSAT] = replace(world.offices[PUSAT], daily_quota=100)
    world.set_clock(OPENS + timedelta(days=7))
    world.turn()
    places = "select distinct sum(quota) over (partition by service_date) from slot where office_id = 'kanim-pusat' and"
    assert world.sql(f"{places} service_date <= '{until}'") == [(10,)]
    assert world.sql(f"{places} service_date > '{until}'") == [(100,)]


async def test_an_office_with_upcoming_bookings_cannot_change_its_province(world: World, run: Import) -> None:
    await world.ticket(world.request(1))
    await world.ticket(world.request(2, office_id=BOGOR))
    world.turn()
    world.turn(BOGOR)
    before = world.recorder.offices()
    for words in ([], ["--dry-run"]):
        refused = run(*words, kanim_pusat=BALI, kanim_bogor={"daily_quota": 90})
        assert refused.exit_code == 1
        assert refused.stderr.startswith(
            "Error: kanim-pusat has bookings to serve (1), so its province and time zone must"
        )
        assert world.recorder.offices() == before
    moved = run(kanim_pusat={"latitude": -6.2, "address": "Jl. Baru"})
    assert moved.exit_code == 0, moved.output

    world.set_clock(OPENS + timedelta(days=5))
    world.nightly()
    assert run(kanim_pusat=BALI).exit_code == 0
    [pusat] = [office for office in world.recorder.offices() if office.office_id == PUSAT]
    assert (pusat.province_code, pusat.time_zone.key) == ("ID-BA", "Asia/Makassar")
    assert world.verify() == []


async def test_no_turn_is_recorded_while_an_office_changes_its_province(world: World, run: Import) -> None:
    before = world.recorder.offices()
    with psycopg.connect(world.settings.database_url) as turn:
        turn.execute("select from lane where office_id = 'kanim-pusat' for update")
        assert run(kanim_pusat={"latitude": -6.2}).exit_code == 0
        refused = run(kanim_pusat=BALI)
    assert refused.exit_code == 1
    assert "timeout" in refused.stderr
    [pusat, bogor] = reversed(world.recorder.offices())
    assert (bogor, pusat) == (before[0], replace(before[1], latitude=-6.2))


async def test_likely_mistakes_are_warned_about_except_for_retired_offices(world: World, run: Import) -> None:
    twin = {"name": "KANIM-BOGOR", "latitude": -6.2}
    done = run(kanim_new=twin)
    assert done.exit_code == 0
    assert done.stderr == "Warning: kanim-bogor and kanim-new have the same name, KANIM-BOGOR\n"
    assert told(run("--dry-run", "--json", kanim_new=twin))["warnings"] == []  # it is there by now
    again = twin | {"daily_quota": 5}
    assert len(told(run("--dry-run", "--json", kanim_new=again, kanim_bogor=None))["warnings"]) == 1
    await world.staff.set_retired(BOGOR, StaffAction(uuid4(), "desk", "rina", "pindah"), retired=True)
    said = told(run("--dry-run", "--json", kanim_new=again, kanim_bogor=None))
    assert said["warnings"] == []
    assert said["offices"][BOGOR] == {"change": "not_in_file", "retired": True}
    assert "kanim-bogor: stays retired" in run("--dry-run", kanim_bogor=None).stdout
