"""The commands: what a caller's mistakes cost, before anything is called."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, SESSION_AFTERNOON, SESSION_MORNING, Booking
from clients import show
from clients.cli import main

BOOK = ["book", "--office", "kanim-bogor", "--date", "2026-11-30", "--session", "morning", "--account", "ani"]
AT = ["--at", "-6.595,106.797"]
ANI = ["--person", "3271014107900001:Ani Lestari"]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="antrian")


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    yield before
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and nothing of Antrian in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("ANTRIAN_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("command", list(commands(main)), ids=" ".join)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example:\n" in result.stdout
    assert " ".join(["antrian", *command]) in result.stdout.split("Example:\n")[1]


def test_there_are_the_commands_that_were_asked_for() -> None:
    assert set(main.commands) == {
        *("up", "serve", "work", "migrate", "offices", "quota", "book", "status", "watch", "verify", "demo")
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["quota"], "Missing argument 'OFFICE'"),
        (["offices", "list"], "give either --at LAT,LON or --province CODE"),
        (["offices", "list", *AT, "--province", "ID-JB"], "give either --at LAT,LON or --province CODE"),
        (["offices", "list", "--at", "Bogor"], "'Bogor' is not LAT,LON in degrees"),
        (["offices", "list", "--at", "1,2,3"], "'1,2,3' is not LAT,LON in degrees"),
        (["offices", "list", "--province", "ID-JB", "--accuracy", "10"], "--accuracy goes with --at"),
        (["offices", "import", "nowhere.csv"], "'nowhere.csv' does not exist"),
        ([*BOOK, *AT], "Missing option '--person'"),
        ([*BOOK, *AT, *ANI, "--date", "30/11/2026"], "'30/11/2026' does not match"),
        ([*BOOK, *AT, *ANI, "--session", "evening"], "'evening' is not one of 'morning', 'afternoon'"),
        ([*BOOK, *AT, *ANI, "--request-id", "1"], "'1' is not a valid UUID"),
        (["up", "--clock", "friday"], "'friday' is not a time like"),
        (["up", "--clock", "2026-11-27T14:00:00"], "has no time zone; for the clock of Jakarta write 2026-11-27T14:00:00+07:00"),
        (["migrate"], "ANTRIAN_DATABASE_URL is not set"),
        (["verify"], "no Antrian runs on .antrian"),
        (["verify", "--folder", "elsewhere"], "no Antrian runs on elsewhere"),
        (["quota", "kanim-bogor", "--folder", "elsewhere"], "no Antrian runs on elsewhere"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_in_words_and_exits_2(words: list[str], says: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("person", ["3271014107900001", "3271014107900001:", ":Ani", "3271014107900001 Ani"])
def test_a_malformed_person_is_refused_without_repeating_the_nik(person: str) -> None:
    result = run(*BOOK, *AT, "--person", person)
    assert result.exit_code == 2
    assert 'expected "NIK:Full Name"' in result.stderr
    assert "3271014107900001" not in result.stderr


def test_up_wants_both_servers_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_REDIS_URL", "redis://localhost")
    result = run("up")
    assert result.exit_code == 2
    assert "set both ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL, or neither" in result.stderr


def test_verify_names_the_settings_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", "postgresql://localhost/antrian")
    result = run("verify")
    assert result.exit_code == 2
    assert "ANTRIAN_REDIS_URL" in result.stderr


def test_what_a_killed_antrian_left_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"grpc": "127.0.0.1:7700", "pids": {"antrian": 2**22 + 1}}))
    result = run("quota", "kanim-bogor", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "no Antrian runs on" in result.stderr


def test_a_broken_run_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    result = run("quota", "kanim-bogor", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "run.json cannot be read" in result.stderr


def test_each_wrong_row_of_an_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", "postgresql://never/asked")
    file = tmp_path / "offices.csv"
    file.write_text(
        "office_id,name,class,city,province_code,timezone,latitude,longitude,daily_quota,address\n"
        "kanim-a,A,,A,ID-JK,Asia/Jakarta,north,106.8,100,\n"
        "kanim-b,B,,B,ID-JK,Asia/Jakarta,-6.2,106.8,many,\n"
    )
    result = run("offices", "import", str(file))
    assert result.exit_code == 1
    assert "nothing was imported" in result.stderr
    assert "line 2, column latitude" in result.stderr
    assert "line 3, column daily_quota" in result.stderr


def test_json_has_the_names_of_the_contract_and_fields_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    show.json(Booking(booking_id="b", state=BOOKING_STATE_CONFIRMED, queue_numbers=[7]), line=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    booking = json.loads(out)
    assert booking["booking_id"] == "b"
    assert booking["state"] == "BOOKING_STATE_CONFIRMED"
    assert booking["alternatives"] == []


def test_the_quota_table_has_a_day_a_line_and_names_closed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    answer = wire.GetQuotaResponse(office_id="kanim-bogor")
    for session, left in ((SESSION_MORNING, 0), (SESSION_AFTERNOON, 2)):
        answer.slots.add(service_date="2026-12-24", session=session, quota=3, left=left)
    answer.closed_days.add(date="2026-12-25", name="Hari Raya Natal")
    answer.window.first_date, answer.window.last_date = "2026-12-24", "2026-12-25"
    show.quota(answer)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Thu", "2026-12-24", "0/3", "2/3"] in lines
    assert ["Fri", "2026-12-25", "-", "-", "Hari", "Raya", "Natal"] in lines
