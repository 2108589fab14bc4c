"""What make bench writes, and what an error costs it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import report
from tests.bench.row import Plan, Row, row


def _row(better: str = "higher", target: float | None = 2.0, generator: list[float] | None = None) -> Row:
    assert better in {"higher", "lower"}
    return row(
        "ours", [30.0, 10.0, 22.0], "theirs", [10.0, 10.0, 10.0], "a second", target, "python -m tests.bench.x",
        better="lower" if better == "lower" else "higher", generator=generator or [],
    )  # fmt: skip


def test_the_results_file_lists_the_rows_and_the_machine(tmp_path: Path) -> None:
    report.write([_row(), _row(target=None)], tmp_path / "bench.json", tmp_path / "bench.html")
    one, other, about = json.loads((tmp_path / "bench.json").read_text())
    assert {"name", "value", "unit", "reference", "ratio", "spread", "target", "better", "command"} <= one.keys()
    assert (one["reached"], other["target"]) == (True, None)
    assert {"machine", "versions"} == about.keys()
    page = (tmp_path / "bench.html").read_text()
    assert "ours" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "2.2" in report.line(_row())


def test_a_failing_section_keeps_its_rows_and_the_other_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: Plan) -> Iterator[Row]:
        yield _row()
        raise OSError("a store is away")

    monkeypatch.setattr(bench, "SECTIONS", {"one": failing, "other": lambda _: iter([_row()])})
    numbers = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(numbers), "--html", str(tmp_path / "bench.html")])
    assert bench.main() == 1
    assert len(json.loads(numbers.read_text())) == 3  # two rows, and the machine
    assert "could not be measured to the end: one" in capsys.readouterr().err
