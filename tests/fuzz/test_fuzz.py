"""Random input ends in a response or a refusal with a reason, in time, and without a NIK."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from platform import machine

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, seed, settings

from antrian.errors import AntrianError, Reason, Text, invalid
from antrian.local.stack import Stack
from antrian.settings import load_settings
from tests.fuzz.strategies import Known, known_values, messages, metadata
from tests.fuzz.target import RPCS, BrokenError, Metadata, Target

EXAMPLES = 50
SECONDS = 8


@pytest.fixture(scope="module")
def target(stack: Stack) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        settings_here = load_settings().model_copy(update={"gather_ms": 0})
    with Target(settings_here) as made:
        yield made


@pytest.fixture(scope="module")
def known(target: Target) -> Known:
    return known_values(target)


def fuzz(target: Target, known: Known, rpc: str, number: int = 1, *, shrink: bool = True) -> Counter[str]:
    """Calls the rpc with many messages, different for each number. Returns the outcomes."""
    outcomes = Counter[str]()

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(RPCS[rpc].input_type, known), metadata(rpc))
    def call(message: Message, headers: Metadata) -> None:
        outcomes[target.call(rpc, message.SerializeToString(), headers)] += 1

    call()
    return outcomes


def fuzz_on(target: Target, known: Known, rpc: str) -> None:
    """Calls the rpc with twelve times as many messages, since a rare one may not be among the first."""
    for number in range(1, 13):
        fuzz(target, known, rpc, number, shrink=False)


SELDOM = {
    *(
        f"OfficeService.{rpc}"
        for rpc in ("CheckIn", "CorrectName", "LiftBar", "ExcuseNoShow", "UndoCheckIn", "LateAttendance")
    ),
    "BookingService.CorrectName",
}
"""Rarely succeed: they need a confirmed booking, and its day, its code, or one of its queue numbers."""


# Two rounds: the second meets the bookings and closed days that the first leaves behind.
@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize("number", [1, 2])
def test_random_messages_are_answered_or_refused(target: Target, known: Known, rpc: str, number: int) -> None:
    outcomes = fuzz(target, known, rpc, number)
    assert outcomes["OK"] or rpc in SELDOM, outcomes


@pytest.mark.skipif(
    find_spec("atheris") is None and (machine() != "x86_64" or sys.version_info >= (3, 14)),
    reason="atheris has no wheel for this Python or machine",
)
def test_random_bytes_are_answered_or_refused(stack: Stack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(SECONDS), "--corpus", str(tmp_path)]
    done = subprocess.run(
        command,
        env=os.environ | stack.environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS + 60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    executed = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    assert executed, done.stdout[-8000:]
    assert int(executed[1]) > 1000, done.stdout[-8000:]


def quoting(nik: str, field: str, nik_codes: object) -> None:
    raise invalid(field, f"NIK {nik} tidak sah", "not valid")


@pytest.mark.parametrize(
    ("rpc", "name", "variant", "told"),
    [
        (
            "BookingService.RequestBooking",
            "server.validation.parse_day",
            date.fromisoformat,
            "logged as a failure.*isoformat",
        ),
        ("BookingService.RequestBooking", "antrian.identity.check_nik", quoting, "16 digits"),
        (
            "BookingService.RequestBooking",
            "server.middleware.wants_english",
            lambda context: True,
            "not in the language asked for",
        ),
        (
            "BookingService.RequestBooking",
            "server.status.about",
            lambda field, problem, _: Text(f"{field}: {problem}", field),
            "people are told a path",
        ),
        (
            "BookingService.ListOffices",
            "server.office_list.locate",
            lambda catalog, location: ("ID-JK",),
            "location without a coordinate was taken",
        ),
        (
            "BookingService.ListOffices",
            "server.office_list.location_missing",
            lambda: AntrianError(Reason.DAY_BEGUN),
            "DAY_BEGUN, which the protos do not list",
        ),
    ],
    ids=[
        "a check removed",
        "a NIK quoted in Indonesian",
        "always in English",
        "a path told to people",
        "no latitude taken for the equator",
        "an error that the protos do not list",
    ],
)
def test_a_broken_variant_is_caught(
    target: Target,
    known: Known,
    monkeypatch: pytest.MonkeyPatch,
    rpc: str,
    name: str,
    variant: Callable[..., object],
    told: str,
) -> None:
    monkeypatch.setattr(name, variant)
    with pytest.raises(BrokenError, match=told):
        fuzz_on(target, known, rpc)
