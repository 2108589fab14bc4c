"""`antrian policy`, on real stores without workers, and programs whose policy is not the ledger's."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from antrian.booking import Policy
from antrian.ledger.keys import claim_keys
from antrian.ledger.migrate import migrate
from antrian.policy import load_policy
from clients.cli.main import main
from tests.conftest import Stores, new_database
from tests.support.decree import decreed, without
from tests.support.keys import key_variables
from tests.support.town import copy_stores
from tests.support.world import BOGOR, MONDAY, PUSAT, World

BY = ["--staff", "ops-1", "--reason", "SKB 3 Menteri"]
DAY = MONDAY.service_date.isoformat()


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["policy", *map(str, words)])


def environment(world: World) -> dict[str, str]:
    return {
        "ANTRIAN_REDIS_URL": world.settings.redis_url,
        "ANTRIAN_DATABASE_URL": world.settings.database_url,
        **key_variables(world.keys),
        "ANTRIAN_EMBEDDED": "1",
        "ANTRIAN_LISTEN": "127.0.0.1:0",
    }


@pytest.fixture
def given(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose stores the environment names, and commands that do not wait for workers."""
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("clients.cli.policy._CARRIED_OUT_WITHIN", timedelta())
    return world


def file_of(folder: Path, policy: Policy) -> Path:
    file = folder / "policy.toml"
    file.write_text(policy.content, "utf-8")
    return file


@pytest.mark.parametrize("words", [("check",), ("diff",), ("apply", *BY)])
@pytest.mark.usefixtures("given")
def test_an_invalid_policy_file_is_named_and_not_applied(world: World, tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(world.policy.content.replace("SUN 16:00", "SUN 26:00"))
    result = run(words[0], file, *words[1:])
    assert result.exit_code == 2
    assert f"{file}: window.closes: must be a weekday and a time" in result.stderr
    assert world.sql("select count(*) from policy_version") == [(1,)]


def test_check_prints_the_rules_of_a_file(world: World, tmp_path: Path) -> None:
    file = file_of(tmp_path, decreed(world.policy, MONDAY.service_date))
    told, facts = run("check", file), run("check", file, "--json")
    assert told.exit_code == facts.exit_code == 0
    assert f"{file} is valid" in told.stdout
    assert f'holiday {DAY} = "Cuti bersama"' in told.stdout
    assert 'window.closes = "SUN 16:00"' in told.stdout
    assert json.loads(facts.stdout)["service"]["holidays_added"] == {DAY: "Cuti bersama"}


async def test_diff_counts_affected_bookings_and_queued_requests_by_office(given: World, tmp_path: Path) -> None:
    await given.ticket(given.request(1, [1, 2]))
    given.turn()
    for name in (3, 4):
        await given.ticket(given.request(name))
    file, before = file_of(tmp_path, decreed(given.policy, MONDAY.service_date)), given.dump()
    told, facts = run("diff", file), run("diff", file, "--json")
    assert (told.exit_code, facts.exit_code) == (1, 1), told.stderr
    assert f'holiday {DAY}: new, "Cuti bersama"' in told.stdout
    assert [consumer.split() for consumer in told.stdout.splitlines() if PUSAT in consumer] == [[PUSAT, "1", "2", "2"]]
    changes = json.loads(facts.stdout)
    assert changes["differences"] == [{"key": f"holiday {DAY}", "before": None, "after": '"Cuti bersama"'}]
    counts = {"bookings": 1, "people": 2, "requests_in_queue": 2}
    assert changes["closes"] == [
        {"office_id": BOGOR, "service_date": DAY} | dict.fromkeys(counts, 0),
        {"office_id": PUSAT, "service_date": DAY} | counts,
    ]
    assert given.dump() == before
    assert given.sql("select count(*) from policy_version") == [(1,)]


async def test_apply_reports_the_remaining_work_and_finishes_it_when_repeated(given: World, tmp_path: Path) -> None:
    await given.ticket(given.request(1))
    given.turn()
    file = file_of(tmp_path, decreed(given.policy, MONDAY.service_date))
    first = run("apply", file, *BY)
    assert first.exit_code == 1, first.stdout
    assert "version 2 is in force\n" in first.stdout
    assert f"2 office days are not closed yet, the first {DAY} at {BOGOR}" in first.stderr
    assert [check.promise for check in given.verify()] == ["P10"]
    given.apply(load_policy(file))
    given.nightly()
    given.turn()
    given.turn(BOGOR)
    again = run("apply", file, *BY, "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout) | {"closes": 0} == {
        "version": 2, "applied": False, "differences": [], "closes": 0, "stay_closed": {}, "remaining": [],
    }  # fmt: skip
    assert given.sql("select version, staff, why from policy_version where version > 1") == [
        (2, "ops-1", "SKB 3 Menteri")
    ]
    assert given.verify() == []
    back = run("diff", file_of(tmp_path, without(given.policy, MONDAY.service_date)))
    assert "was closed before and stays closed at 2 offices" in back.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--staff", "3171014107900001"),
        ("--staff", "rina lestari"),
        ("--reason", "for 3171014107900001"),
        ("--reason", "for 3171-0141 0790.0001"),
        ("--reason", "for ３１７１０１４１０７９００００１"),
        ("--reason", " "),
    ],
)
@pytest.mark.usefixtures("given")
def test_apply_refuses_invalid_staff_and_reason_options(world: World, tmp_path: Path, option: str, value: str) -> None:
    file = file_of(tmp_path, decreed(world.policy, MONDAY.service_date))
    result = run("apply", file, *BY, option, value)
    assert result.exit_code == 2
    assert f"Invalid value for {option}" in result.stderr
    assert "0001" not in result.stderr.translate({ord("１"): "1", ord("０"): "0"})
    assert world.sql("select count(*) from policy_version") == [(1,)]


@pytest.mark.usefixtures("given")
def test_show_prints_an_equivalent_policy_file(world: World, tmp_path: Path) -> None:
    shown, facts = run("show"), run("show", "--json")
    file = tmp_path / "shown.toml"
    file.write_text(shown.stdout, "utf-8")
    assert load_policy(file).content == world.policy.content
    assert run("diff", file).exit_code == 0
    assert json.loads(facts.stdout)["version"] == 1


def test_apply_works_on_a_ledger_without_a_policy(
    stores: Stores, redis_url: str, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(tmp_path, world.policy)
    with new_database(stores.database_url) as url:
        migrate(url)
        for name, value in (environment(world) | {"ANTRIAN_DATABASE_URL": url}).items():
            monkeypatch.setenv(name, value)
        assert run("show").exit_code == 1
        assert run("apply", file, *BY).exit_code == 0
        assert json.loads(run("show", "--json").stdout)["version"] == 1


def test_a_policy_is_applied_to_a_stopped_folder(
    founded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith("ANTRIAN_"):
            monkeypatch.delenv(name)
    folder, shipped = tmp_path / "folder", load_policy()
    copy_stores(founded, folder)
    applied = run("apply", file_of(tmp_path, decreed(shipped, MONDAY.service_date)), *BY, "--folder", folder)
    assert applied.exit_code == 0, applied.stderr
    shown = run("show", "--json", "--folder", folder)
    assert json.loads(shown.stdout)["rules"]["service"]["holidays_added"][DAY] == "Cuti bersama"


@pytest.mark.parametrize("module", ["server", "workers"])
def test_a_program_with_another_policy_does_not_start(world: World, module: str) -> None:
    claim_keys(world.settings.database_url, world.keys)
    before = world.dump()
    done = subprocess.run(
        [sys.executable, "-m", module], env=os.environ | environment(world), capture_output=True, text=True, check=False,
        timeout=30,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "is not the ledger's, which is version 1" in done.stderr
    assert "`antrian policy apply` carries it out" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.dump() == before


@pytest.mark.parametrize("words", [("show",), ("diff",), ("apply", *BY)])
@pytest.mark.usefixtures("given")
def test_an_unreachable_ledger_is_reported(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", "postgresql://antrian@127.0.0.1:1/antrian")
    result = run(*words)
    assert result.exit_code == 2
    assert "connection" in result.stderr
