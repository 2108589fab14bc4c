"""The commands for citizens and for an office's staff, against the real programs."""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner, Result

from antrian.local.stack import Stack
from clients.cli.main import main
from tests.acceptance.person import PUSAT, Crowd

BY = ["--staff", "head-1", "--reason", "Two counters are out"]
Antrian = Callable[..., Result]


@pytest.fixture
def antrian(stack: Stack) -> Antrian:
    """Runs a command against the stack, in English."""

    def run(*words: object) -> Result:
        with mock.patch.dict(os.environ):  # a command puts the settings of its folder there
            return CliRunner().invoke(main, [*map(str, words), "--folder", str(stack.folder)])

    return run


def printed_json(done: Result) -> Any:
    """The JSON that a successful command printed."""
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: Result, reason: str) -> bool:
    return done.exit_code == 1 and done.stderr.startswith(f"Error: {reason}: ") and not done.stdout


def book(antrian: Antrian, crowd: Crowd, account: str, *, day: int, people: int = 1, session: str = "morning") -> Any:
    """Books for a party; returns the decided booking."""
    persons = [f"--person={person.nik}:{person.full_name}" for person in crowd.people(people)]
    wanted = ["--office", PUSAT, "--date", crowd.dates[day], "--session", session, "--at", "-6.1862,106.8296"]
    return printed_json(antrian("book", *wanted, "--account", account, *persons, "--json"))


def test_a_booking_is_listed_cancelled_and_listed_as_cancelled(antrian: Antrian, crowd: Crowd) -> None:
    first, second = (book(antrian, crowd, "ani", day=0, people=people)["booking_id"] for people in (2, 1))
    listed = printed_json(antrian("bookings", "--account", "ani", "--json"))
    assert [(b["booking_id"], b["state"]) for b in listed] == [
        (second, "BOOKING_STATE_CONFIRMED"),
        (first, "BOOKING_STATE_CONFIRMED"),
    ]

    assert refused(antrian("cancel", first, "--account", "budi"), "BOOKING_NOT_FOUND")
    cancelled = printed_json(antrian("cancel", first, "--account", "ani", "--json"))
    assert (cancelled["booking_id"], cancelled["state"]) == (first, "BOOKING_STATE_CANCELLED")
    assert printed_json(antrian("cancel", first, "--account", "ani", "--json"))["end_time"] == cancelled["end_time"]

    def of(*words: object) -> list[str]:
        return [b["booking_id"] for b in printed_json(antrian("bookings", "--account", "ani", *words, "--json"))]

    assert of("--state", "confirmed") == [second]
    assert of("--state", "cancelled") == [first]
    assert set(of("--date", crowd.dates[0])) == {first, second}
    assert of("--date", crowd.dates[1]) == []
    table = antrian("bookings", "--account", "ani").stdout.splitlines()
    assert [line.split()[1] for line in table if first in line] == ["CANCELLED"]
    assert antrian("bookings", "--account", "nobody").stdout == "no bookings\n"


def test_a_refusal_shows_provinces_and_people_by_name(antrian: Antrian, crowd: Crowd) -> None:
    wanted = ["--date", crowd.dates[0], "--session", "morning", "--account", "cici", "--at", "-6.1862,106.8296"]
    persons = [f"--person={crowd.person().nik}:Cici Lestari", "--person=5401014107900001:Dewi Lestari"]
    elsewhere = antrian("book", "--office", "kanim-bogor", *wanted, persons[0])
    assert refused(elsewhere, "OFFICE_OUTSIDE_PROVINCE")
    assert "Kantor ini berada di Jawa Barat, sedangkan Anda berada di DKI Jakarta." in elsewhere.stderr
    wrong = antrian("book", "--office", PUSAT, *wanted, *persons, "--lang", "en")
    assert refused(wrong, "INVALID_FIELD")
    assert "Applicant 2 (D.): the NIK does not begin with a known province's code" in wrong.stderr


def test_a_person_whose_data_cannot_be_decrypted_is_marked_in_the_list(
    stack: Stack, antrian: Antrian, crowd: Crowd
) -> None:
    booking = book(antrian, crowd, "smudge", day=0, people=3, session="afternoon")
    first, second, third = booking["queue_numbers"]
    smudge = "update applicant set encrypted = %s where booking_id = %s and number = %s"
    with psycopg.connect(stack.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        ledger.execute(smudge, (b"", booking["booking_id"], first))
        ledger.execute(smudge, (bytes(60), booking["booking_id"], second))
    listed = printed_json(antrian("office", "roster", PUSAT, "--staff", "rina", "--date", crowd.dates[0], "--json"))
    told_of = {entry["queue_number"]: entry for entry in listed if entry["code"] == booking["code"]}
    assert [told_of[number].get("full_name") for number in (first, second, third)] == [None, None, "Siti Rahma"]
    assert [told_of[number]["masked_nik"].strip("*").isdigit() for number in (first, second, third)] == [
        False,
        False,
        True,
    ]
    assert (
        antrian("office", "roster", PUSAT, "--staff", "rina", "--date", crowd.dates[0]).stdout.count("(cannot be read)")
        == 2
    )
    checked = antrian("verify")
    assert checked.exit_code == 1
    assert "2 violations" in checked.stdout


def test_the_roster_is_ordered_by_queue_number_and_masks_niks(antrian: Antrian, crowd: Crowd) -> None:
    party = book(antrian, crowd, "citra", day=1, people=2)
    gone = book(antrian, crowd, "citra", day=1)
    printed_json(antrian("cancel", gone["booking_id"], "--account", "citra", "--json"))
    listed = printed_json(
        antrian(
            "office", "roster", PUSAT, "--staff", "rina", "--date", crowd.dates[1], "--session", "morning", "--json"
        )
    )
    assert [entry["queue_number"] for entry in listed] == party["queue_numbers"]
    for entry in listed:
        assert (entry["code"], entry["full_name"], entry["present"]) == (party["code"], "Siti Rahma", False)
        assert not entry["masked_nik"].isdigit()
    table = antrian("office", "roster", PUSAT, "--staff", "rina", "--date", crowd.dates[1]).stdout
    assert table.count(party["code"]) == 2
    empty = antrian("office", "roster", PUSAT, "--staff", "rina", "--date", crowd.dates[1], "--session", "afternoon")
    assert empty.stdout == "nobody has a queue number\n"
    early = antrian("office", "check-in", PUSAT, party["code"], "--staff", "counter-1")
    assert refused(early, "NOT_TODAY")


def test_a_quota_may_not_be_set_below_the_places_taken(antrian: Antrian, crowd: Crowd) -> None:
    book(antrian, crowd, "dewi", day=2, people=3, session="afternoon")
    slot = [PUSAT, crowd.dates[2], "afternoon"]
    changed = printed_json(antrian("office", "set-quota", *slot, 5, *BY, "--json"))
    assert (changed["quota"], changed["taken"]) == (5, 3)
    assert refused(antrian("office", "set-quota", *slot, 2, *BY), "QUOTA_BELOW_TAKEN")
    assert refused(antrian("office", "set-quota", *slot, 6, "--expected", 4, *BY), "QUOTA_CHANGED")
    again = antrian("office", "set-quota", *slot, 6, "--expected", 5, *BY)
    assert again.stdout == "6 places, 3 of them taken; before: 5\n"
    slots = printed_json(antrian("quota", PUSAT, "--json"))["slots"]
    [remaining] = [
        (slot["quota"], slot["remaining"])
        for slot in slots
        if (slot["service_date"], slot["session"]) == (str(crowd.dates[2]), "SESSION_AFTERNOON")
    ]
    assert remaining == (6, 3)


def test_closing_a_day_requires_confirmation_and_cancels_its_bookings(antrian: Antrian, crowd: Crowd) -> None:
    booked = book(antrian, crowd, "eka", day=3)["booking_id"]
    close = ["office", "close-date", PUSAT, crowd.dates[3], *BY]
    assert antrian(*close).exit_code == 2
    assert printed_json(antrian("status", booked, "--account", "eka", "--json"))["state"] == "BOOKING_STATE_CONFIRMED"
    assert printed_json(antrian(*close, "--yes", "--json"))["cancelled_bookings"] == 1
    assert antrian(*close, "--yes").stdout == "closed; bookings cancelled: 1\n"
    assert antrian("status", booked, "--account", "eka").stdout.startswith("CANCELLED: DAY_CLOSED\n")
    person = crowd.person()
    wanted = ["--office", PUSAT, "--date", crowd.dates[3], "--session", "morning", "--at", "-6.1862,106.8296"]
    late = antrian("book", *wanted, "--account", "eka", "--person", f"{person.nik}:{person.full_name}")
    assert refused(late, "DAY_CLOSED")


@pytest.mark.last
def test_check_in_on_the_service_day_keeps_all_promises(antrian: Antrian, crowd: Crowd, stack: Stack) -> None:
    """Moves the clock to the last service day of the window."""
    party = book(antrian, crowd, "fitri", day=-1, people=2)
    first, second = party["queue_numbers"]
    stack.set_clock(
        datetime.combine(crowd.dates[-1], datetime.min.time(), ZoneInfo("Asia/Jakarta")) + timedelta(hours=9)
    )
    check_in = ["office", "check-in", PUSAT, party["code"], "--staff", "counter-1", "--json"]
    came = printed_json(antrian(*check_in, "--present", first))
    assert [entry["present"] for entry in came] == [True, False]
    assert [entry["present"] for entry in printed_json(antrian(*check_in, "--present", second))] == [True, True]
    today = printed_json(antrian("office", "roster", PUSAT, "--staff", "rina", "--json"))
    assert [(entry["queue_number"], entry["state"]) for entry in today] == [
        (first, "BOOKING_STATE_ATTENDED"),
        (second, "BOOKING_STATE_ATTENDED"),
    ]
    attended = antrian("cancel", party["booking_id"], "--account", "fitri")
    assert refused(attended, "NOT_CANCELLABLE")
    assert refused(antrian("office", "release", PUSAT, party["code"], *BY), "NOT_CANCELLABLE")
    assert refused(antrian("office", "cancel-person", PUSAT, party["code"], first, *BY), "NOT_CANCELLABLE")
    ends = time.monotonic() + 40
    while (verified := antrian("verify")).exit_code:  # until the days before have ended
        assert time.monotonic() < ends, verified.stdout + verified.stderr
    assert verified.stdout.endswith("all promises hold\n")
