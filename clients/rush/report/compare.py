"""Compares two runs, on the terminal and as data, with the ratios of the second to the first."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from clients.rush.judge.result import RushResult
from clients.rush.report.words import ENGLISH, LATENCIES, PROGRAMS

_LONG = {"machine", "versions"}
_SAME = 0.02
"""Ratios closer to 1 are dimmed."""


@dataclass(frozen=True)
class Row:
    """A fact of both runs. ratio: b / a, or None if one is not a number or a is 0."""

    name: str
    a: float | str | None
    b: float | str | None
    unit: str = ""
    ratio: float | None = None


def comparison(a: RushResult, b: RushResult) -> list[Row]:
    """Returns the facts of both runs, the most important first."""
    return [*_load_rows(a, b), *_outcome_rows(a, b), *_pace_rows(a, b), *_cost_rows(a, b)]


def warnings(a: RushResult, b: RushResult) -> list[str]:
    """Returns why ratios mislead: the loads or machines differ, or a run is INVALID."""
    found = [
        f"The runs differ in {row.name} ({_formatted(row.a, row.unit)}; {_formatted(row.b, row.unit)}), so the ratios mislead"
        for row in _load_rows(a, b)
        if row.name in {"scenario", "requests", "compression", "seed", "machine"} and row.a != row.b
    ]
    for name, run in (("A", a), ("B", b)):
        if run.verdict == "INVALID":
            found.append(f"{name} is INVALID: {'; '.join(run.doubts)}")
    return found


def print_comparison(a: RushResult, b: RushResult, console: Console, names: tuple[str, str]) -> None:
    """Prints the facts with their ratios, then the warnings."""
    facts = Table("", title="Two rushes", title_justify="left")
    for name in names:
        facts.add_column(name, justify="right", overflow="fold")
    facts.add_column("ratio", justify="right")
    for row in _shown(a, b):
        same = row.ratio is None or abs(row.ratio - 1) < _SAME
        values = (_formatted(value, row.unit) for value in (row.a, row.b))
        facts.add_row(row.name, *values, _times(row.ratio), style="dim" if same else "")
    console.print(facts)
    for words in warnings(a, b):
        console.print(f"  {words}", style="yellow", highlight=False)


def _shown(a: RushResult, b: RushResult) -> list[Row]:
    """Returns all facts except long ones that are equal."""
    return [row for row in comparison(a, b) if row.name not in _LONG or row.a != row.b]


def _load_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    yield _row("verdict", a.verdict, b.verdict)
    yield _row("scenario", a.scenario, b.scenario)
    yield _row("requests", a.requests, b.requests)
    yield _row("compression", a.compression, b.compression)
    yield _row("limits", "on" if a.limits else "off", "on" if b.limits else "off")
    for key in ("seed", "machine", "versions"):
        yield _row(key, a.about.get(key), b.about.get(key))


def _outcome_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    yield _row("submissions", a.submissions, b.submissions)
    yield _row("accepted", a.accepted, b.accepted)
    yield _row("confirmed", a.confirmed, b.confirmed)
    yield _row("people with a place", a.people_confirmed, b.people_confirmed)
    yield _row("rejected", sum(a.rejected.values()), sum(b.rejected.values()))
    yield _row("refused", sum(a.refused.values()), sum(b.refused.values()))
    yield _row("unanswered or undecided", a.unanswered + a.undecided, b.unanswered + b.undecided)
    for name, key in (("places of brokers", "places"), ("hand-overs that reached the buyer", "reached")):
        if a.brokers or b.brokers:
            yield _row(name, getattr(a.brokers, key, None), getattr(b.brokers, key, None))
    yield _row("slots sold out", len(a.sold_out), len(b.sold_out))
    yield _row("violations", _violations(a), _violations(b))
    yield _row("overtaken", a.overtakings, b.overtakings)


def _pace_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    for kind in ("offered", "accepted", "decided"):
        yield _row(f"peak {kind}", a.peaks.get(kind), b.peaks.get(kind), "/s")
    yield _row("most waiting", a.peaks.get("waiting"), b.peaks.get("waiting"))
    for kind, (_, name) in LATENCIES.items():
        one, other = a.latencies.get(kind), b.latencies.get(kind)
        if one or other:
            for percentile, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
                yield _row(f"{name}, {percentile}", getattr(one, key, None), getattr(other, key, None), "ms")


def _cost_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    for program, (_, name) in PROGRAMS.items():
        if program in a.cpu or program in b.cpu:
            yield _row(f"CPU per 1,000 accepted: {name}", _cost(a, program), _cost(b, program), "s")
    yield _row("load generator late, p99", a.generator.late_p99, b.generator.late_p99, "ms")


def _row(name: str, a: float | str | None, b: float | str | None, unit: str = "") -> Row:
    ratio = b / a if isinstance(a, int | float) and isinstance(b, int | float) and a else None
    return Row(name, a, b, unit, ratio)


def _violations(run: RushResult) -> int:
    return sum(check.violations for check in run.promises)


def _cost(run: RushResult, program: str) -> float | None:
    """Returns the CPU seconds per 1,000 accepted requests."""
    return 1000 * run.cpu[program] / run.accepted if program in run.cpu and run.accepted else None


def _formatted(value: float | str | None, unit: str) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    fine = value != round(value) and value < 100
    return f"{ENGLISH.number(value, (3 if value < 1 else 1) if fine else 0)}\u00a0{unit}".rstrip()


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ENGLISH.number(ratio, 2)}×"
