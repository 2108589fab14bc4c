"""The commands: what a caller's mistakes cost, before anything is called."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from antrian.local.private_file import write_private
from antrian.local.secret_files import RUN_SECRETS
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_ATTENDED,
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    STATUS_REASON_DAY_CLOSED,
    Booking,
)
from antrian.v1.office_service_pb2 import RosterEntry
from clients.cli import show
from clients.cli.main import main
from clients.cli.options import Failure, repeatable
from tests.support.keys import key_variables, make_keys

BOOK = ["book", "--office", "kanim-bogor", "--date", "2026-11-30", "--session", "morning", "--account", "ani"]
AT = ["--at", "-6.595,106.797"]
ANI = ["--person", "3271014107900001:Ani Lestari"]
BY = ["--staff", "head-1", "--reason", "The office is flooded"]


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


def test_all_documented_commands_exist() -> None:
    assert set(main.commands) == {
        *(
            "offices",
            "quota",
            "book",
            "status",
            "watch",
            "bookings",
            "cancel",
            "cancel-person",
            "correct-name",
            "office",
        ),
        *(
            "up",
            "serve",
            "work",
            "gateway",
            "migrate",
            "health",
            "verify",
            "rebuild",
            "reset",
            "rush",
            "policy",
            "callers",
            "keys",
            "person",
        ),
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
        (["offices", "list", "--province", "ID-JB", "--accuracy", "10"], "--accuracy requires --at"),
        (["offices", "import", "nowhere.csv"], "'nowhere.csv' does not exist"),
        ([*BOOK, *AT], "Missing option '--person'"),
        ([*BOOK, *AT, *ANI, "--date", "30/11/2026"], "'30/11/2026' does not match"),
        ([*BOOK, *AT, *ANI, "--session", "evening"], "'evening' is not one of 'morning', 'afternoon'"),
        ([*BOOK, *AT, *ANI, "--request-id", "1"], "'1' is not a valid UUID"),
        (["bookings"], "Missing option '--account'"),
        (["bookings", "--account", "ani", "--state", "lost"], "'lost' is not one of 'pending', 'confirmed', 'rejected', 'cancelled', 'attended', 'no-show'"),
        (["cancel", "7c1e"], "Missing option '--account'"),
        (["cancel-person", "7c1e", "0", "--account", "ani"], "0 is not in the range x>=1"),
        (["office", "release", "kanim-bogor", "2KK56MF2V6", "--staff", "h"], "Missing option '--reason'"),
        (["office", "cancel-person", "kanim-bogor", "2KK56MF2V6", *BY], "Missing argument 'NUMBER'"),
        (["office", "check-in", "kanim-bogor", "2KK56MF2V6"], "Missing option '--staff'"),
        (["office", "set-quota", "kanim-bogor", "2026-12-01", "night", "40", *BY], "'night' is not one of"),
        (["office", "set-quota", "kanim-bogor", "2026-12-01", "morning", "few", *BY], "'few' is not a valid integer"),
        (["office", "set-quota", "kanim-bogor", "2026-12-01", "morning", "40", "--staff", "h"], "Missing option '--reason'"),
        (["office", "close-date", "kanim-bogor", "2026-12-01", *BY], "there is no terminal to ask for confirmation; use --yes"),
        (["rebuild"], "no Antrian runs on .antrian"),
        (["reset"], "no Antrian has run on .antrian; nothing is removed"),
        (["up", "--clock", "friday"], "'friday' is not a time like"),
        (["up", "--clock", "2026-11-27T14:00:00"], "has no time zone; for Jakarta time write 2026-11-27T14:00:00+07:00"),
        (["up", "--clock", "9999-12-31T23:59:59+07:00"], "is more than ten years ahead; the clock never goes back"),
        (["up", "--clock", "9999-12-31T23:59:59-23:00"], "is more than ten years ahead; the clock never goes back"),
        (["up", "--clock", "0001-01-01T00:00:00+23:00"], "is in the past; the service's clock only moves forward"),
        (["up", "--clock", "2026-11-20T14:00:00+07:00"], "is in the past; the service's clock only moves forward"),
        (["quota", "kanim-bogor", "--ca", __file__], "cannot be read: it has no certificate in PEM"),
        (["migrate"], "ANTRIAN_DATABASE_URL is not set"),
        (["verify"], "no Antrian runs on .antrian"),
        (["verify", "--folder", "elsewhere"], "no Antrian runs on elsewhere"),
        (["quota", "kanim-bogor", "--folder", "elsewhere"], "no Antrian runs on elsewhere"),
    ],
)  # fmt: skip
def test_invalid_usage_is_explained_and_exits_2(words: list[str], says: str) -> None:
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


def test_up_takes_both_store_urls_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_REDIS_URL", "redis://localhost")
    result = run("up")
    assert result.exit_code == 2
    assert "set both ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL, or neither" in result.stderr


def test_verify_names_missing_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", "postgresql://localhost/antrian")
    result = run("verify")
    assert result.exit_code == 2
    assert "ANTRIAN_REDIS_URL" in result.stderr


def test_rebuild_executes_its_worker_with_the_settings_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {
        "grpc": "127.0.0.1:7700",
        "redis": "unix:///r",
        "rq_redis": "unix:///q",
        "database": "postgresql:///d",
        "pids": {"antrian": os.getpid()},
    }
    (tmp_path / "run.json").write_text(json.dumps(facts))
    (tmp_path / RUN_SECRETS).mkdir()
    keys = key_variables(make_keys())
    for name, value in keys.items():
        write_private(tmp_path / RUN_SECRETS / name.lower(), value)
    became: list[list[str]] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execv", lambda _, command: became.append(command))
    assert run("rebuild", "--folder", str(tmp_path), "--json").exit_code == 0
    assert became == [[sys.executable, "-P", "-m", "workers.rebuild", "--json"]]
    assert os.environ["ANTRIAN_DATABASE_URL"] == "postgresql:///d"
    assert not set(keys.values()) & set(os.environ.values())


@pytest.mark.parametrize("command", [["reset", "--yes"], ["rush", "--embedded"]], ids=" ".join)
def test_commands_never_empty_a_foreign_folder(tmp_path: Path, command: list[str]) -> None:
    theirs = tmp_path / "project/log/precious"
    theirs.mkdir(parents=True)
    result = run(*command, "--folder", "project")
    assert result.exit_code in {1, 2}
    assert "project" in result.stderr
    assert list((tmp_path / "project").iterdir()) == [theirs.parent]
    assert theirs.is_dir()


@pytest.mark.parametrize("unknown", [True, False])
def test_the_hint_that_repeating_is_safe_appears_only_for_unknown_outcomes(unknown: bool) -> None:
    with pytest.raises(Failure) as caught, repeatable():
        raise Failure("DEADLINE_EXCEEDED", unknown=unknown)
    assert ("safe to repeat" in caught.value.message) == unknown


def test_the_run_file_of_a_killed_antrian_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"grpc": "127.0.0.1:7700", "pids": {"antrian": 2**22 + 1}}))
    result = run("quota", "kanim-bogor", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "no Antrian runs on" in result.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"pids": {"antrian": PID}}',
        '{"grpc": "", "pids": {"antrian": 99999999999999999999}}',
        '{"pids": 1}',
    ],
)
def test_a_broken_run_file_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content.replace("PID", str(os.getpid())))
    result = run("quota", "kanim-bogor", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "run.json cannot be read" in result.stderr


def test_each_invalid_row_of_an_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_database_url_may_come_from_a_secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    (tmp_path / "antrian_database_url").write_text(f"postgresql://antrian@/antrian?host={tmp_path}\n")
    result = run("migrate")
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr  # that server was called
    (tmp_path / "antrian_database_url").write_text("\n")
    assert run("migrate").exit_code == 2


def test_json_uses_the_contracts_field_names_and_includes_empty_fields(capsys: pytest.CaptureFixture[str]) -> None:
    show.json(Booking(booking_id="b", state=BOOKING_STATE_CONFIRMED, queue_numbers=[7]), line=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    booking = json.loads(out)
    assert booking["booking_id"] == "b"
    assert booking["state"] == "BOOKING_STATE_CONFIRMED"
    assert booking["alternatives"] == []


def test_lists_are_a_json_array_even_when_empty(capsys: pytest.CaptureFixture[str]) -> None:
    show.json_list([Booking(booking_id="b")])
    [booking] = json.loads(capsys.readouterr().out)
    assert (booking["booking_id"], booking["alternatives"]) == ("b", [])
    show.json_list([])
    assert json.loads(capsys.readouterr().out) == []


def test_the_bookings_table_has_one_booking_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    kept: dict[str, Any] = {"office_id": "kanim-bogor", "service_date": "2026-11-30", "session": SESSION_MORNING}
    show.bookings(
        [
            Booking(
                booking_id="a", state=BOOKING_STATE_CONFIRMED, **kept, party_size=2, queue_numbers=[3, 4], code="C"
            ),
            Booking(booking_id="b", state=BOOKING_STATE_CANCELLED, **kept, party_size=1),
        ]
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "CONFIRMED", "kanim-bogor", "Mon", "2026-11-30", "morning", "2", "3,", "4", "C"] in lines
    assert ["b", "CANCELLED", "kanim-bogor", "Mon", "2026-11-30", "morning", "1"] in lines
    show.bookings([])
    assert capsys.readouterr().out == "no bookings\n"


def test_the_roster_shows_when_each_person_checked_in(capsys: pytest.CaptureFixture[str]) -> None:
    party = [
        RosterEntry(session=SESSION_MORNING, queue_number=n, code="C", full_name=name, masked_nik="************0001")
        for n, name in ((3, "Ani Lestari"), (4, "Budi"))
    ]
    for entry in party:
        entry.state = BOOKING_STATE_ATTENDED
    party[0].present = True
    party[0].check_in_time.FromJsonString("2026-11-30T01:30:00Z")
    show.roster(party, as_json=False)
    out = capsys.readouterr().out
    assert out.count("ATTENDED") == 2
    [ani] = [line for line in out.splitlines() if "Ani Lestari" in line]
    assert ani.endswith("Mon 2026-11-30 08:30:00 WIB")
    show.roster([], as_json=False)
    assert capsys.readouterr().out == "nobody has a queue number\n"


def test_a_cancelled_booking_shows_whether_the_office_cancelled_it() -> None:
    ours = Booking(state=BOOKING_STATE_CANCELLED)
    theirs = Booking(state=BOOKING_STATE_CANCELLED, status_reason=STATUS_REASON_DAY_CLOSED)
    assert (show.headline(ours), show.headline(theirs)) == ("CANCELLED", "CANCELLED: DAY_CLOSED")


@pytest.mark.parametrize("english", [True, False])
def test_a_booking_is_shown_with_the_text_of_its_reason(capsys: pytest.CaptureFixture[str], *, english: bool) -> None:
    kept: dict[str, Any] = {"office_id": "kanim-bogor", "service_date": "2026-11-30", "session": SESSION_MORNING}
    words: dict[str, Any] = {"status_message_id": "Kantor tutup.", "status_message_en": "The office is closed."}
    it = Booking(state=BOOKING_STATE_CANCELLED, status_reason=STATUS_REASON_DAY_CLOSED, **kept, **words)
    show.booking(it, english=english)
    assert capsys.readouterr().out.splitlines()[1] == words["status_message_en" if english else "status_message_id"]


def test_the_quota_table_has_one_day_per_line_and_marks_closed_days(capsys: pytest.CaptureFixture[str]) -> None:
    response = wire.GetQuotaResponse(office_id="kanim-bogor")
    for session, remaining in ((SESSION_MORNING, 0), (SESSION_AFTERNOON, 2)):
        response.slots.add(service_date="2026-12-24", session=session, quota=3, remaining=remaining)
    response.slots.add(service_date="2026-12-23", session=SESSION_MORNING, quota=3, closed=True)
    response.closed_days.add(date="2026-12-25", name="Hari Raya Natal")
    response.window.first_date, response.window.last_date = "2026-12-24", "2026-12-25"
    response.window.open_time.FromJsonString("2026-12-18T07:00:00Z")
    response.window.close_time.FromJsonString("2026-12-20T09:00:00Z")
    response.window.office_open_time, response.window.office_close_time = (
        "2026-12-18T16:00:00+09:00",
        "2026-12-20T18:00:00+09:00",
    )
    show.quota(response)
    printed = capsys.readouterr().out
    assert "it opens Fri 2026-12-18 14:00:00 WIB (16:00 WIT at the office), until" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["Thu", "2026-12-24", "0/3", "2/3"] in lines
    assert ["Wed", "2026-12-23", "closed", "-"] in lines
    assert ["Fri", "2026-12-25", "-", "-", "Hari", "Raya", "Natal"] in lines
