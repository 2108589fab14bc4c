"""The Locust load test with the rush's crowd, against the real programs."""

import json
import socket
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antrian.local.stack import Stack
from tests.acceptance.conftest import StartStack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with all offices, which Locust's crowd expects."""
    return start_stack(opens + timedelta(minutes=1), all_offices=True)


def locust(host: str, seconds: int) -> tuple[subprocess.CompletedProcess[str], Counter[str], Counter[str]]:
    """Runs Locust for that many seconds with five users; returns the calls and failures of each row."""
    words = [
        "-f",
        "clients/rush/load/locustfile.py",
        "--headless",
        "--users=5",
        "--spawn-rate=5",
        f"--run-time={seconds}s",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "locust", *words, f"--host={host}", "--json", "--only-summary"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        check=False,
    )
    rows = json.loads(done.stdout)
    calls = Counter({row["name"]: row["num_requests"] for row in rows})
    return done, calls, Counter({row["name"]: row["num_failures"] for row in rows})


def test_each_run_books_for_different_people(stack: Stack) -> None:
    for seconds in (4, 2):
        done, calls, failures = locust(stack.address, seconds)
        assert done.returncode == 0, done.stderr
        assert failures.total() == 0
        assert min(calls["GetQuota"], calls["RequestBooking"], calls["GetBooking"]) > 0
        assert calls.keys() <= {"GetQuota", "RequestBooking", "GetBooking", "GetBooking SLOT_FULL"}


@pytest.mark.last
def test_the_run_fails_while_booking_is_closed_and_explains_how_to_open_it(stack: Stack, opens: datetime) -> None:
    """Moves the clock past the end of the window."""
    stack.set_clock(opens + timedelta(days=3))
    done, calls, failures = locust(stack.address, 2)
    assert done.returncode == 1
    assert "WINDOW_CLOSED: Booking is closed. Come back when it opens" in done.stderr
    assert "antrian up --clock" in done.stderr
    assert +failures == Counter({"RequestBooking": calls["RequestBooking"]})


def test_the_run_fails_when_the_service_is_unreachable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done, calls, failures = locust(f"127.0.0.1:{nobody.getsockname()[1]}", 2)
    assert done.returncode == 1
    assert "UNAVAILABLE" in done.stderr
    assert "if no Antrian runs there, antrian up starts one" in done.stderr
    assert failures == calls == Counter({"GetQuota": calls["GetQuota"]})
