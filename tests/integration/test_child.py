"""Logs of children: bounded, whoever makes them grow, and still written to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from antrian.local import child
from antrian.local.child import Child, hold
from tests.integration.test_embedded import wait_until

_TALKS = "import itertools, time\nfor n in itertools.count(): print('line', n, flush=True); time.sleep(0.001)"


@pytest.fixture
def talker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """One that writes a line to its log every millisecond."""
    monkeypatch.setattr(child, "_LOG_BYTES", 1000)
    with hold(tmp_path) as lock:
        made = Child("talker", ["python3", "-c", _TALKS], log=tmp_path / "log/talker.log", lock=lock)
        try:
            yield made
        finally:
            made.stop()


def test_logs_are_rotated_and_a_few_old_ones_are_kept(talker: Child) -> None:
    log = talker.log
    talker.bound_log()
    for _ in range(5):
        wait_until(lambda: log.stat().st_size > 1000)
        talker.bound_log()
    assert sorted(file.name for file in log.parent.iterdir()) == ["talker.log", *(f"talker.log.{n}" for n in (1, 2, 3))]
    wait_until(lambda: log.stat().st_size > 0)
    kept = [log.with_name(f"talker.log.{n}").read_text().splitlines() for n in (3, 2, 1)]
    numbers = [int(consumer.split()[1]) for lines in kept for consumer in lines[1:-1]]  # the others may have been cut
    assert numbers == sorted(numbers), "the newest is .1"
    assert b"\0" not in log.read_bytes(), "it goes on at the beginning of the new one"


def test_the_tail_is_read_from_the_current_log(talker: Child) -> None:
    wait_until(lambda: talker.log.stat().st_size > 1000)
    talker.bound_log()
    wait_until(lambda: talker.log.stat().st_size > 0)
    talker.process.kill()
    talker.process.wait()
    assert "talker ended with code -9" in talker.end
    assert talker.log.read_text().splitlines()[-1] in talker.end


def test_a_log_that_cannot_be_rotated_is_still_bounded(talker: Child) -> None:
    for number in (1, 2):
        (talker.log.with_name(f"talker.log.{number}") / "in the way").mkdir(parents=True)
    wait_until(lambda: talker.log.stat().st_size > 1000)
    talker.process.kill()
    talker.process.wait()
    os.truncate(talker.log, 5000)
    talker.bound_log()
    assert talker.log.stat().st_size == 0
