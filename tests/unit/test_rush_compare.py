"""Two rushes compared: ratios of the second to the first, and warnings where these mislead."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from antrian.audit.check import Check
from clients.rush.judge.result import Generator, Latency, RushResult, Tick
from clients.rush.report.compare import Row, comparison, print_comparison, warnings

A = RushResult(
    scenario="friday",
    title_id="Jumat",
    title_en="Friday",
    compression=1500,
    real_seconds=30,
    requests=1000,
    accepted=800,
    confirmed=500,
    ticks=[Tick(second, 9, 8, 1, 7, 0, 3, 10, 20, 30, 40) for second in range(20)],
    peaks={"offered": 100, "accepted": 80, "decided": 60, "waiting": 40},
    latencies={"accept": Latency(800, 10, 20, 40, 50, 60)},
    promises=[Check("P1", "within the quota", 10, 0), Check("P2", "nothing lost", 800, 2)],
    cpu={"server": 4.0, "redis": 1.0},
    generator=Generator(2, 1, 10, 20),
    about={"seed": "1", "machine": "2 cores", "versions": "antrian 0.1.0"},
)
B = replace(
    A,
    accepted=900,
    peaks=A.peaks | {"accepted": 120},
    latencies={"accept": replace(A.latencies["accept"], p99=20)},
    promises=[],
    cpu={"server": 9.0},
)


def _row(name: str, a: RushResult = A, b: RushResult = B) -> Row:
    return next(row for row in comparison(a, b) if row.name == name)


@pytest.mark.parametrize(
    ("name", "values", "ratio"),
    [
        ("accepted", (800, 900), 1.125),
        ("confirmed", (500, 500), 1),
        ("peak accepted", (80, 120), 1.5),
        ("submitted to accepted, p99", (40, 20), 0.5),
        ("CPU per 1,000 accepted: server", (5, 10), 2),
        ("CPU per 1,000 accepted: Redis", (1.25, None), None),
        ("violations", (2, 0), 0),
        ("overtaken", (0, 0), None),
        ("verdict", ("PASS", "PASS"), None),
        ("load generator late, p99", (10, 10), 1),
    ],
)
def test_a_row_has_both_values_and_their_ratio(name: str, values: tuple[object, object], ratio: float | None) -> None:
    row = _row(name)
    assert (row.a, row.b) == values
    assert row.ratio == ratio


def test_values_missing_in_both_runs_are_omitted() -> None:
    names = {row.name for row in comparison(A, B)}
    assert not any("reading" in name or "Postgres" in name for name in names)
    assert comparison(RushResult(), RushResult())


def test_the_same_load_is_compared_without_a_warning() -> None:
    assert warnings(A, B) == []
    assert warnings(A, replace(B, about=A.about | {"versions": "antrian 0.2.0"})) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(B, scenario="stampede"), "differ in scenario (friday; stampede)"),
        (replace(B, requests=2000), "differ in requests (1,000; 2,000)"),
        (replace(B, compression=1), "differ in compression"),
        (replace(B, about=A.about | {"seed": "2"}), "differ in seed (1; 2)"),
        (replace(B, about=A.about | {"machine": "8 cores"}), "differ in machine (2 cores; 8 cores)"),
        (replace(B, doubts=["the generator fell behind"]), "B is INVALID: the generator fell behind"),
    ],
)
def test_a_different_load_or_an_invalid_run_causes_a_warning(other: RushResult, words: str) -> None:
    [warning] = warnings(A, other)
    assert words in warning
    console = Console(file=io.StringIO(), width=140)
    print_comparison(A, other, console, ("before", "after"))
    assert isinstance(console.file, io.StringIO)
    assert words in console.file.getvalue()


def test_the_terminal_shows_both_names_and_the_ratios() -> None:
    console = Console(file=io.StringIO(), width=140)
    print_comparison(A, B, console, ("before", "after"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "before" in text
    assert "after" in text
    assert "1.50×" in text
