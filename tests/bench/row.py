"""One measured thing beside another: the rows of bench.json."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Measure = Callable[[int], float]
"""Measures once, given the number of the round; the higher the better."""


@dataclass(frozen=True)
class Row:
    """A value and what it stands beside.

    ratio is the median of the rounds' ratios, spread from the least of them to the most; target is what the ratio
    should reach, 0 where there is none. command measures it again.
    """

    name: str
    value: float
    unit: str
    reference: str
    reference_value: float
    ratio: float
    spread: tuple[float, float]
    target: float
    better: str
    command: str

    @property
    def reached(self) -> bool:
        """Whether the ratio is at least its target."""
        return self.ratio >= self.target


def side_by_side(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """The values of each, round by round: all of them once, then all again, so that noise meets all alike."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for n in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure(n))
    return values


def row(
    name: str, values: Sequence[float], reference: str, beside: Sequence[float], unit: str, target: float, command: str
) -> Row:
    """The row of values that were measured beside others."""
    ratios = sorted(value / other for value, other in zip(values, beside, strict=True))
    return Row(
        name, round(median(values), 1), unit, reference, round(median(beside), 1), round(median(ratios), 2),
        (round(ratios[0], 2), round(ratios[-1], 2)), target, "higher", command,
    )  # fmt: skip
