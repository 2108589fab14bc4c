"""The rows of make bench: what a ratio is, when a target is reached, what programs and people are shown, what an error costs."""

import json
import sys
from pathlib import Path

import pytest

from tests.bench.row import Row, row, side_by_side
from tests.faults import __main__ as faults
from tests.faults.fault import Fault
from tests.faults.load import Load
from tests.faults.run import Result
from tests.faults.site import Site


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
def test_a_target_is_a_minimum_or_a_maximum_by_its_measure(better: str, target: float | None, reached: bool) -> None:
    assert _row(better, target).reached is reached


def test_a_saturated_load_generator_makes_the_row_invalid() -> None:
    assert _row().valid
    assert _row(generator=[0.5, 0.6, 0.99]).valid
    assert not _row(generator=[0.5, 0.97, 0.99]).valid


def test_each_round_measures_all_candidates_before_the_next() -> None:
    order = []

    def measure(name: str, n: int) -> float:
        order.append((name, n))
        return 0.0

    side_by_side({"a": lambda n: measure("a", n), "b": lambda n: measure("b", n)}, 2)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_ctrl_c_keeps_the_results_of_finished_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nothing(_: Site, __: Load) -> float:
        return 0.0

    async def run(fault: Fault, _: int) -> Result:
        if fault.name == "interrupted":
            raise KeyboardInterrupt
        return Result(fault, recovery=[1.5])

    monkeypatch.setattr(faults, "_run", run)
    results = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["faults", "--json", str(results)])
    assert faults.main([Fault(name, nothing, 1) for name in ("tried", "interrupted", "never tried")]) == 1
    assert [result["fault"] for result in json.loads(results.read_text())] == ["tried"]
    assert "broke: interrupted, never tried" in capsys.readouterr().out
