"""A rush fails on an Antrian with a promise switched off, and names the promise and its offices. Otherwise it passes."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from clients.rush.judge.result import RushResult, read_result
from clients.rush.judge.verdict import EXIT_CODES
from tests.rush.sabotage import MODES, Sabotage, sabotage
from tests.support.town import copy_stores

pytestmark = pytest.mark.timeout(450)  # the first test waits for all rushes

_ROOT = Path(__file__).parents[2]
_AT_ONCE, _TRIES = 5, 5
_TOGETHER = "no-quota-anywhere+overtaking+two-bookings"
_BROKEN = [mode for mode in MODES if mode != "none"] if os.environ.get("ANTRIAN_EVERY_SABOTAGE") else [_TOGETHER]
"""Three modes in one rush in `make test`, every mode by itself in `make faults`."""
_BY_COUNT_ONLY = {"no-window"}
"""Modes whose violations are counted over all offices."""


@pytest.fixture(scope="module")
def results(new_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, RushResult]]:
    """The exit code and the result of a short rush for each mode."""
    folder, limit = tmp_path_factory.mktemp("sabotage"), asyncio.Semaphore(_AT_ONCE)

    async def play(mode: str) -> tuple[int, RushResult]:
        file, own = folder / f"{mode}.json", folder / mode
        async with limit:
            copy_stores(new_stores, own)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.rush", "--sabotage", mode, "--json", str(file), "--folder", str(own)),
                cwd=_ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            words, _ = await process.communicate()
        assert file.is_file(), words.decode()
        return process.returncode or 0, read_result(file)

    async def play_all() -> dict[str, tuple[int, RushResult]]:
        # This one must PASS, so it runs alone: load on the machine makes submissions late, and the rush INVALID.
        alone, tries = await play("none"), 1
        while alone[0] == EXIT_CODES["INVALID"] and tries < _TRIES:
            alone, tries = await play("none"), tries + 1
        broken = await asyncio.gather(*map(play, _BROKEN), return_exceptions=True)  # so that all of them end
        return {"none": alone} | {mode: _sound(one) for mode, one in zip(_BROKEN, broken, strict=True)}

    return asyncio.run(play_all())


def _sound(played: tuple[int, RushResult] | BaseException) -> tuple[int, RushResult]:
    if isinstance(played, BaseException):
        raise played
    return played


def test_a_rush_without_sabotage_passes(results: dict[str, tuple[int, RushResult]]) -> None:
    code, result = results["none"]
    assert (code, result.verdict, result.failures) == (0, "PASS", [])
    assert result.overtakings == 0
    assert result.sold_out, "a rush in which nothing sells out tests no quota"


@pytest.mark.parametrize("mode", _BROKEN)
def test_the_verdict_names_the_promise_that_was_switched_off(
    results: dict[str, tuple[int, RushResult]], mode: str
) -> None:
    code, result = results[mode]
    assert (code, result.verdict) == (1, "FAIL")
    assert {failure.partition(":")[0] for failure in result.failures} >= {*sabotage(mode).promises}, result.failures


@pytest.mark.parametrize("mode", [mode for mode in _BROKEN if mode not in _BY_COUNT_ONLY])
def test_the_verdict_names_the_offices_where_the_promise_was_broken(
    results: dict[str, tuple[int, RushResult]], mode: str
) -> None:
    _, result = results[mode]
    for name in mode.split("+"):
        offices = {violation.office for violation in result.violations if violation.promise in MODES[name].promises}
        assert any(f": {office}: " in failure for office in offices for failure in result.failures), result.failures


def test_overtaken_requests_are_counted(results: dict[str, tuple[int, RushResult]]) -> None:
    [(_, result)] = [result for mode, result in results.items() if "overtaking" in mode.split("+")]
    assert result.overtakings > 0


def test_a_sabotage_whose_text_is_not_in_the_script_is_refused() -> None:
    with pytest.raises(ValueError, match="no longer fits decide"):
        Sabotage(("P1",), "", {"decide": [("this was in it once", "")]}).apply()
