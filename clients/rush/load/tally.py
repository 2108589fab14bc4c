"""Counts of the generator's processes while they play, in shared memory with one writer each."""

from collections.abc import Sequence
from ctypes import c_longlong
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from typing import Any

COUNTS = ("submitted", "accepted", "refused", "decided", "again", "surprises")
_STEPS = 5  # buckets for each doubling of a latency
_BUCKETS = 20 * _STEPS  # up to 2**20 ms


class Tally:
    """Counts, latencies until accepted, and the length of each office's queue, in one part per process."""

    def __init__(self, context: SpawnContext, offices: Sequence[str], processes: int) -> None:
        self.offices = list(offices)
        self._width = len(COUNTS) + _BUCKETS + len(self.offices)
        self._numbers: Any = context.Array(c_longlong, self._width * processes, lock=False)
        self._processes = processes

    def writer(self, process: int) -> "TallyWriter":
        """Returns the writer of a process."""
        return TallyWriter(self._numbers, self._width * process, self.offices)

    def read(self) -> "Counts":
        """Returns the current totals of all processes."""
        parts = [self._numbers[start : start + self._width] for start in range(0, len(self._numbers), self._width)]
        sums = [sum(column) for column in zip(*parts, strict=True)]
        first = len(COUNTS) + _BUCKETS
        waiting = [max(part[first + n] for part in parts) for n in range(len(self.offices))]
        return Counts(
            dict(zip(COUNTS, sums, strict=False)),
            sums[len(COUNTS) : first],
            dict(zip(self.offices, waiting, strict=True)),
        )


class TallyWriter:
    """Writes one process's part of a tally."""

    def __init__(self, numbers: Any, start: int, offices: Sequence[str]) -> None:
        self._numbers = numbers
        self._places = {name: start + n for n, name in enumerate(COUNTS)}
        self._latencies = start + len(COUNTS)
        self._lanes = {office: self._latencies + _BUCKETS + n for n, office in enumerate(offices)}

    def count(self, what: str) -> None:
        """Increments one of COUNTS."""
        self._numbers[self._places[what]] += 1

    def accepted(self, office_id: str, ahead: int, seconds: float) -> None:
        """Counts an accepted request, with its latency and the number of requests ahead of it."""
        self.count("accepted")
        milliseconds = max(1, int(seconds * 1000))
        doublings = milliseconds.bit_length() - 1
        rest = (milliseconds * _STEPS >> doublings) - _STEPS
        self._numbers[self._latencies + min(doublings * _STEPS + rest, _BUCKETS - 1)] += 1
        if place := self._lanes.get(office_id):
            self._numbers[place] = ahead + 1


@dataclass(frozen=True)
class Counts:
    """The totals at one moment. latencies: accepted requests by bucket. waiting: queue lengths by office, as last observed."""

    counts: dict[str, int]
    latencies: list[int]
    waiting: dict[str, int]

    def latency_since(self, before: "Counts", share: float) -> float | None:
        """Returns the latency quantile of requests accepted since `before`, in milliseconds, or None without any."""
        new = [now - then for now, then in zip(self.latencies, before.latencies, strict=True)]
        remaining = sum(new) * share
        if not remaining:
            return None
        for bucket, count in enumerate(new):
            remaining -= count
            if remaining <= 0:
                doublings, rest = divmod(bucket, _STEPS)
                return float((1 << doublings) * (1 + (rest + 1) / _STEPS))
        return None
