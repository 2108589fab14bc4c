"""`antrian rush` against an embedded Antrian, a running one, and a closed one."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from antrian.local.stack import Stack
from clients.rush.judge.verdict import EXIT_CODES
from tests.acceptance.conftest import StartStack

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
INVALID = EXIT_CODES["INVALID"]
TRIES = 5
"""Whoever shares this machine may make submissions late, and then a rush says nothing."""


class Rush:
    """The running command; told is the progress that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told = ""

    async def opening(self) -> list[psutil.Process]:
        """Waits until it prints that booking has opened; returns its child processes."""
        assert self._process.stderr
        while "after the opening" not in self.told:
            line = await self._process.stderr.readline()
            assert line, self.told
            self.told += line.decode()
        return psutil.Process(self._process.pid).children(recursive=True)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself."""
        self._process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Its exit code, and its whole output as one line."""
        out, err = await self._process.communicate()
        return self._process.returncode or 0, " ".join((out.decode() + self.told + err.decode()).split())


@asynccontextmanager
async def rush(*words: object, environment: Mapping[str, str] | None = None) -> AsyncIterator[Rush]:
    """Runs the command with a timeout of ninety seconds."""
    command = [sys.executable, "-m", "clients.cli", "rush", "--scenario", "tests/rush/short.toml"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *map(str, words),
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            yield Rush(process)
    finally:
        if process.returncode is None:
            process.kill()


def accounted(file: Path) -> Any:
    """The result in that file, checked so that every request is accounted for."""
    result = json.loads(file.read_text())
    decided = result["confirmed"] + result["cancelled"] + sum(result["rejected"].values())
    assert (result["unanswered"], result["undecided"]) == (0, 0)
    assert result["requests"] == decided + sum(result["refused"].values())
    return result


async def valid(play: Callable[[int], Awaitable[tuple[int, str]]]) -> tuple[int, str]:
    """Plays rushes with new seeds until the load was as planned; returns that one's end."""
    ended = await play(1)
    for seed in range(2, TRIES + 1):
        if ended[0] != INVALID:
            break
        ended = await play(seed)
    return ended


async def test_an_embedded_rush_passes_although_its_workers_are_killed(tmp_path: Path) -> None:
    folder, numbers, report = tmp_path / "own", tmp_path / "r.json", tmp_path / "r.html"

    async def play(seed: int) -> tuple[int, str]:
        own = (
            "--embedded",
            "--folder",
            folder,
            "--seed",
            seed,
            "--json",
            numbers,
            "--report",
            report,
            "--lang",
            "id",
        )
        async with rush(*own) as command:
            await command.opening()
            workers = psutil.Process(json.loads((folder / "run.json").read_text())["pids"]["workers"])
            for worker in workers.children():
                worker.kill()
            return await command.end()

    code, words = await valid(play)
    assert code == 0, words
    assert "PASS" in words
    result = accounted(numbers)
    examined = {check["promise"] for check in result["promises"] if check["examined"]}
    assert {"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P11", "P14", "P15"} <= examined
    assert result["stores_seen"]
    assert result["sold_out"]
    assert {"server", "workers", "redis", "postgres", "generator"} <= result["cpu"].keys()
    assert "Beberapa detik" in report.read_text()
    assert not (folder / "run.json").exists()


async def test_a_rush_passes_on_a_running_antrian_and_never_repeats_people(stack: Stack, tmp_path: Path) -> None:
    async def play(seed: int) -> tuple[int, str]:
        running = "--target", stack.address, "--requests", 300, "--seed", seed
        async with rush(*running, "--json", tmp_path / "r.json") as command:
            return await command.end()

    code, words = await valid(play)
    assert code == 0, words
    result = accounted(tmp_path / "r.json")
    assert not result["stores_seen"]
    assert result["cpu"].keys() == {"generator"}

    code, words = await play(1)
    assert code == 1
    assert "knows the people of seed 1 already; choose another with --seed" in words


async def test_a_frozen_load_generator_makes_the_rush_invalid(stack: Stack) -> None:
    async with rush("--folder", stack.folder, "--seed", 99, "--requests", 600) as command:
        players = await command.opening()
        for player in players:
            player.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)  # what it is about: so long it does nothing
        for player in players:
            player.send_signal(signal.SIGCONT)
        code, words = await command.end()
    assert (code, "INVALID" in words) == (INVALID, True), words
    assert "the load generator fell behind" in words


@pytest.mark.parametrize("from_outside", [False, True])
async def test_an_interrupted_rush_writes_its_results(stack: Stack, tmp_path: Path, from_outside: bool) -> None:
    numbers, seed = tmp_path / "r.json", 44 if from_outside else 42
    where = ("--target", stack.address) if from_outside else ("--folder", stack.folder)
    async with rush(*where, "--scenario", "opening", "--requests", 600, "--seed", seed, "--json", numbers) as command:
        for player in await command.opening():
            player.send_signal(signal.SIGINT)  # a terminal sends it to all
        command.send_signal(signal.SIGINT)
        code, words = await command.end()
    assert (code, "INVALID" in words) == (INVALID, True), words
    assert "the rush was stopped before its end: Ctrl-C" in words
    result = json.loads(numbers.read_text())
    assert result["stores_seen"] is not from_outside
    assert result["accepted"]
    assert result["unanswered"]
    assert not result["failures"]


async def test_a_rush_writes_its_results_without_a_generator_process_and_a_store(stack: Stack, tmp_path: Path) -> None:
    numbers, report = tmp_path / "r.json", tmp_path / "r.html"
    running = (
        "--target",
        stack.address,
        "--compression",
        60,
        "--requests",
        600,
        "--seed",
        43,
        "--json",
        numbers,
        "--report",
        report,
        "--lang",
        "en",
    )
    async with rush(*running, environment={**stack.environment, "ANTRIAN_REDIS_URL": "redis://127.0.0.1:1"}) as command:
        players = [one for one in await command.opening() if "spawn_main" in " ".join(one.cmdline())]
        players[0].kill()
        code, words = await command.end()
    assert (code, "INVALID" in words) == (INVALID, True), words
    assert "a process of the load generator died" in words
    assert "the stores could not be checked" in words
    result = json.loads(numbers.read_text())
    assert result["accepted"]
    assert not result["stores_seen"]
    assert "the stores could not be checked" in report.read_text()


async def test_while_booking_is_closed_a_rush_prints_the_opening_time(start_stack: StartStack, opens: datetime) -> None:
    async with rush("--target", start_stack(opens - timedelta(hours=3)).address) as command:
        code, words = await command.end()
    assert code == 1
    assert "booking opens at" in words
