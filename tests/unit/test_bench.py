"""The rows of make bench: what a ratio is, when a target is reached, what programs and people are shown."""

import json
from pathlib import Path

import pytest

from tests.bench import told
from tests.bench.row import Row, row, side_by_side


def _row(better: str = "higher", target: float | None = 2.0, generator: list[float] | None = None) -> Row:
    assert better in {"higher", "lower"}
    return row(
        "ours", [30.0, 10.0, 22.0], "theirs", [10.0, 10.0, 10.0], "a second", target, "python -m tests.bench.x",
        better="lower" if better == "lower" else "higher", generator=generator or [],
    )  # fmt: skip


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    assert (_row().ratio, _row().spread, _row().value, _row().reference_value) == (2.2, (1.0, 3.0), 22.0, 10.0)


@pytest.mark.parametrize(
    ("better", "target", "reached"), [("higher", 2.0, True), ("higher", 2.3, False), ("lower", 2.0, False), ("lower", 2.3, True), ("lower", None, True)]
)  # fmt: skip
def test_a_target_is_reached_from_the_better_side(better: str, target: float | None, reached: bool) -> None:
    assert _row(better, target).reached is reached


def test_a_load_that_had_nothing_left_makes_the_row_invalid() -> None:
    assert _row().valid
    assert _row(generator=[0.5, 0.6, 0.99]).valid
    assert not _row(generator=[0.5, 0.97, 0.99]).valid


def test_all_are_measured_once_before_any_is_again() -> None:
    order = []

    def measure(name: str, n: int) -> float:
        order.append((name, n))
        return 0.0

    side_by_side({"a": lambda n: measure("a", n), "b": lambda n: measure("b", n)}, 2)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_the_file_is_a_list_of_rows_and_the_machine(tmp_path: Path) -> None:
    told.write([_row(), _row(target=None)], tmp_path / "bench.json", tmp_path / "bench.html")
    one, other, about = json.loads((tmp_path / "bench.json").read_text())
    assert {"name", "value", "unit", "reference", "ratio", "spread", "target", "better", "command"} <= one.keys()
    assert (one["reached"], other["target"]) == (True, None)
    assert {"machine", "versions"} == about.keys()
    page = (tmp_path / "bench.html").read_text()
    assert "ours" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "2.2" in told.line(_row())
