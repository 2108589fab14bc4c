"""One measured thing beside another: the rows of bench.json."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Measure = Callable[[int], float]
"""Measures once, given the number of the round."""


@dataclass(frozen=True)
class Plan:
    """How much to measure. quick: only what has a target, so that all of it takes less than ten minutes."""

    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """A value and what it stands beside.

    ratio is the median of the rounds' ratios, spread from the least of them to the most; target is what the ratio should
    reach: at least that where higher is better, at most where lower is; None where there is none. generator is how many
    cores the load's process was busy on (None where there was no such process), valid whether it had some of them left.
    command measures it again.
    """

    name: str
    value: float
    unit: str
    reference: str
    reference_value: float
    ratio: float
    spread: tuple[float, float]
    target: float | None
    better: Literal["higher", "lower"]
    command: str
    generator: float | None = None
    valid: bool = True

    @property
    def reached(self) -> bool:
        """Whether the ratio is as good as its target."""
        return self.target is None or (
            self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target
        )


def side_by_side(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """The values of each, round by round: all of them once, then all again, so that noise meets all alike."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for n in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure(n))
    return values


def row(
    name: str,
    values: Sequence[float],
    reference: str,
    baseline: Sequence[float],
    unit: str,
    target: float | None,
    command: str,
    *,
    better: Literal["higher", "lower"] = "higher",
    generator: Sequence[float] = (),
) -> Row:
    """The row of values that were measured beside others, round by round; generator: the load's cores in each."""
    ratios = sorted(value / other for value, other in zip(values, baseline, strict=True))
    busy = round(median(generator), 2) if generator else None
    return Row(
        name, _short(median(values)), unit, reference, _short(median(baseline)), _short(median(ratios)),
        (_short(ratios[0]), _short(ratios[-1])), target, better, command, busy, busy is None or busy < _BUSY,
    )  # fmt: skip


_BUSY = 0.95
"""A load of one process that is busier than this may be what was measured."""


def _short(number: float) -> float:
    """Three digits that mean something, or all before the point."""
    return float(f"{number:.3g}") if abs(number) < 100 else float(round(number))
