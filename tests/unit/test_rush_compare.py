"""Two rushes side by side: ratios of the second to the first, and warnings where these mislead."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from rich.console import Console

from antrian.verify import Check
from clients.rush.judge.result import Cpu, Generator, Latency, RushResult, Tick
from clients.rush.report.compare import Row, comparison, print_comparison, warnings, write_comparison

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
    peaks={"offered": 100, "accepted": 80, "decided": 60, "in_line": 40},
    latencies={"accept": Latency(800, 10, 20, 40, 50, 60, [(50.0, 10), (99.0, 40), (100.0, 60)])},
    promises=[Check("P1", "within the quota", 10, 0), Check("P2", "nothing lost", 800, 2)],
    cpu=Cpu({}, {"server": 4.0, "redis": 1.0}),
    generator=Generator(2, 1, 10, 20),
    about={"seed": "1", "machine": "2 cores", "versions": "antrian 0.1.0"},
)
B = replace(
    A,
    accepted=900,
    peaks=A.peaks | {"accepted": 120},
    latencies={"accept": replace(A.latencies["accept"], p99=20)},
    promises=[],
    cpu=Cpu({}, {"server": 9.0}),
)


def _row(name: str, a: RushResult = A, b: RushResult = B) -> Row:
    return next(row for row in comparison(a, b) if row.name_en == name)


@pytest.mark.parametrize(
    ("name", "values", "ratio"),
    [
        ("accepted", (800, 900), 1.125),
        ("confirmed", (500, 500), 1),
        ("peak accepted", (80, 120), 1.5),
        ("press to accepted, p99", (40, 20), 0.5),
        ("CPU per 1,000 accepted: server", (5, 10), 2),
        ("CPU per 1,000 accepted: Redis", (1.25, None), None),
        ("breaches", (2, 0), 0),
        ("overtakings", (0, 0), None),
        ("verdict", ("PASS", "PASS"), None),
        ("load generator late, p99", (10, 10), 1),
    ],
)
def test_a_row_has_both_values_and_the_second_by_the_first(
    name: str, values: tuple[object, object], ratio: float | None
) -> None:
    row = _row(name)
    assert (row.a, row.b) == values
    assert row.ratio == ratio


def test_what_neither_run_has_is_left_out() -> None:
    names = {row.name_en for row in comparison(A, B)}
    assert not any("look" in name or "Postgres" in name for name in names)
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
def test_another_load_or_an_invalid_run_is_warned_of(other: RushResult, words: str) -> None:
    [(own, english)] = warnings(A, other)
    assert words in english
    assert "tidak sah" in own or "menyesatkan" in own
    console = Console(file=io.StringIO(), width=140)
    print_comparison(A, other, console, ("before", "after"))
    assert isinstance(console.file, io.StringIO)
    assert words in console.file.getvalue()


def test_the_terminal_has_both_names_and_the_ratios() -> None:
    console = Console(file=io.StringIO(), width=140)
    print_comparison(A, B, console, ("before", "after"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "before" in text
    assert "after" in text
    assert "1.50×" in text


def test_the_page_draws_both_and_needs_no_network(tmp_path: Path) -> None:
    file = tmp_path / "comparison.html"
    write_comparison(A, replace(B, scenario="<b>"), file, ("<before>", "after"))
    page = file.read_text("utf-8").replace(get_plotlyjs(), "")
    assert "://" not in page
    assert '"name":"B: after"' in page
    assert "&lt;before&gt;" in page
    assert "(friday; &lt;b&gt;)" in page
    assert "1,50×" in page
    for chart in ("accepted", "in_line", "accept"):
        assert f'id="{chart}"' in page


def test_runs_without_anything_have_a_page_too(tmp_path: Path) -> None:
    write_comparison(RushResult(), RushResult(), tmp_path / "empty.html", ("a", "b"))
    assert "const figures = {};" in (tmp_path / "empty.html").read_text("utf-8")
