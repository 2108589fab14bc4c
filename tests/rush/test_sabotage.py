"""The verdict says no: each promise that is switched off is named, with an office where there is one; and yes else."""

import asyncio
import sys
from pathlib import Path

import pytest

from clients.rush.result import RushResult, read_result
from tests.rush.sabotage import MODES

pytestmark = pytest.mark.timeout(300)  # the first test waits for all rushes

_ROOT = Path(__file__).parents[2]
_AT_ONCE = 4
_BY_COUNT_ONLY = {"no-window"}
"""Modes whose breaches are counted over all offices."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, RushResult]]:
    """The exit code and the result of a short rush in each mode."""
    folder, limit = tmp_path_factory.mktemp("sabotage"), asyncio.Semaphore(_AT_ONCE)

    async def play(mode: str) -> tuple[int, RushResult]:
        file = folder / f"{mode}.json"
        async with limit:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.rush", "--sabotage", mode, "--json", str(file)),
                cwd=_ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            words, _ = await process.communicate()
        assert file.is_file(), words.decode()
        return process.returncode or 0, read_result(file)

    async def play_all() -> dict[str, tuple[int, RushResult]]:
        return dict(zip(MODES, await asyncio.gather(*map(play, MODES)), strict=True))

    return asyncio.run(play_all())


def test_without_sabotage_it_passes(results: dict[str, tuple[int, RushResult]]) -> None:
    code, result = results["none"]
    assert (code, result.verdict, result.failures) == (0, "PASS", [])
    assert result.sold_out, "a rush in which nothing sells out tests no quota"


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_a_promise_that_is_switched_off_fails_it_by_name(results: dict[str, tuple[int, RushResult]], mode: str) -> None:
    code, result = results[mode]
    promise = MODES[mode].promise
    assert (code, result.verdict) == (1, "FAIL")
    named = [failure for failure in result.failures if failure.startswith(f"{promise}: ")]
    assert named, result.failures
    if mode not in _BY_COUNT_ONLY:
        assert any("kanim-" in failure or "mpp-" in failure or "ulp-" in failure for failure in result.failures), (
            result.failures
        )
