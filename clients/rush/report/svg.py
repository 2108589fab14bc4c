"""Draws charts over time as SVG without scripts, for light and dark mode."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

_COLOURS = {
    "ink": ("#18212b", "#e9edf1"),
    "soft": ("#5a6673", "#a0abb7"),
    "grid": ("#e3e7e9", "#2a323a"),
    "card": ("#ffffff", "#171c22"),
    "submitted": ("#788696", "#9aa7b6"),
    "accepted": ("#0b7f78", "#2fd0c0"),
    "decided": ("#d8630c", "#ff9747"),
    "refused": ("#9c3582", "#e48bcb"),
    "queue": ("#2f68b5", "#79aef5"),
}
_NARROW = 500
_ROW, _GAP = 20, 18
_LETTER = 7.2  # pixels, on average


@dataclass(frozen=True)
class Axis:
    """A vertical axis from low to high. ticks: values with labels."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Returns the position of a value on the axis, from 0 at low to 1 at high."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        return min((value - low) / (high - low), 1.0)


@dataclass(frozen=True)
class Series:
    """A named curve, or dots. steps: whether each value holds until the next point."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    look: Literal["line", "thin", "dashed", "area", "dots"] = "line"
    steps: bool = False


@dataclass(frozen=True)
class Panel:
    """A plot with its title and legend. height: in pixels."""

    title: str
    axis: Axis
    series: Sequence[Series]
    height: int = 190


@dataclass(frozen=True)
class Chart:
    """Panels over one axis of time.

    time_ticks: returns ticks of the time axis, at most as many as given, and their labels. marks: named moments. shaded_from:
    where the shaded background begins.
    """

    title: str
    caption: str
    panels: Sequence[Panel]
    span: tuple[float, float]
    time_ticks: Callable[[int], tuple[list[float], list[str]]]
    marks: Sequence[tuple[float, str]] = ()
    shaded_from: float = math.inf


def linear_axis(most: float, label: Callable[[float], str]) -> Axis:
    """Returns an axis from 0 to a round number with at most six ticks."""
    step = 10.0 ** math.floor(math.log10(max(most, 1)))
    step = next(step * part for part in (0.2, 0.5, 1, 2, 5) if 5 * step * part >= max(most, 1))
    step = max(step, 1)
    count = max(math.ceil(most / step), 1)
    return Axis(0, count * step, [(n * step, label(n * step)) for n in range(count + 1)])


def log_axis(values: Sequence[float], least: float, label: Callable[[float], str]) -> Axis:
    """Returns a logarithmic axis between round numbers. Values below `least` count as `least`."""
    low, high = max(min(values), least), max(*values, least)
    marks = [mark * 10.0**power for power in range(-3, 9) for mark in (1, 2, 5)]
    low, high = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark > high)
    coarse = high > 100 * low
    ticks = [mark for mark in marks if low <= mark <= high and not (coarse and f"{mark:e}"[0] != "1")]
    return Axis(low, high, [(mark, label(mark)) for mark in ticks], log=True)


def draw(chart: Chart, width: int, heading: Sequence[str] = ()) -> str:
    """Returns a chart as SVG of this width in pixels. With a heading it is drawn on a card."""
    edge = 18 if heading else 1
    left = edge + 10 + _LETTER * max(len(label) for panel in chart.panels for _, label in panel.axis.ticks)
    right, top = width - edge - 12, float(edge)
    (first, last), body = chart.span, list[str]()

    def at(second: float) -> float:
        return left + (right - left) * (second - first) / (last - first)

    for n, line in enumerate(heading):
        body.append(_text(edge, top + 18, line, "soft" if n else "head"))
        top += 24
    top += 10 * bool(heading)
    for n, panel in enumerate(chart.panels):
        legend, top = _legend(panel, edge, right, top)
        bottom = top + panel.height
        body += [*legend, *_backdrop(chart, panel, at, (left, right, top, bottom), named=n == 0)]
        body += [_curve(series, panel.axis, at, top, bottom) for series in panel.series if series.points]
        top = bottom + _GAP
    moments, labels = chart.time_ticks(4 if width < _NARROW else 9)
    for second, label in zip(moments, labels, strict=True):
        for n, line in enumerate(label.split("\n")):
            middle = min(at(second), width - _LETTER * len(line) / 2)  # the last label stays inside
            body.append(_text(middle, top + n * 16, line, "soft", "middle"))
    height = math.ceil(top + 16 * max(label.count("\n") for label in labels or [""]) + 5 + edge)
    if heading:
        body.insert(0, f'<rect width="{width}" height="{height}" rx="12" class="f-card"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(heading[0] if heading else chart.title)}</title><style>{_style()}</style>{''.join(body)}</svg>"
    )


def _style() -> str:
    def colours(dark: int) -> str:
        pairs = ((name, pair[dark]) for name, pair in _COLOURS.items())
        return "".join(f".s-{name}{{stroke:{colour}}}.f-{name}{{fill:{colour}}}" for name, colour in pairs)

    return (
        "text{font:13px system-ui,sans-serif}.head{font-size:18px;font-weight:700}.bold{font-weight:600}"
        "path,line{fill:none;stroke-width:2;stroke-linejoin:round}.thin,.grid{stroke-width:1}.dashed{stroke-dasharray:5 3}"
        ".dots{stroke-width:4;stroke-linecap:round}.mark{stroke-width:1;stroke-dasharray:2 3}.faint{opacity:.2;stroke:none}"
        f"{colours(0)}@media (prefers-color-scheme:dark){{{colours(1)}}}"
    )


def _text(x: float, y: float, words: str, look: str, anchor: str = "start", turned: str = "") -> str:
    colour = look if look in _COLOURS else "ink"
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" class="{look} f-{colour}" text-anchor="{anchor}"{turned}>{escape(words)}</text>'
    )


def _legend(panel: Panel, left: float, right: float, top: float) -> tuple[list[str], float]:
    """Returns the title and legend of a panel, and where its plot begins."""
    drawn, x, y = [_text(left, top + 13, panel.title, "bold")], left, top + 13
    if len(panel.series) > 1:
        y += _ROW
        for series in panel.series:
            width = 30 + _LETTER * len(series.name)
            if x > left and x + width > right:
                x, y = left, y + _ROW
            drawn.append(f'<line x1="{x:.0f}" x2="{x + 16:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}" '
                         f'class="{series.look} s-{series.colour}"/>')  # fmt: skip
            drawn.append(_text(x + 21, y, series.name, "ink"))
            x += width + 8
    return drawn, y + 14


def _backdrop(
    chart: Chart, panel: Panel, at: Callable[[float], float], box: tuple[float, float, float, float], *, named: bool
) -> list[str]:
    """Returns the grid with labels, the shade, the opening and the marks of a panel."""
    left, right, top, bottom = box
    drawn = []
    if chart.shaded_from < chart.span[1]:
        x = at(max(chart.shaded_from, chart.span[0]))
        drawn.append(f'<rect x="{x:.1f}" y="{top:.0f}" width="{right - x:.1f}" height="{bottom - top:.0f}" class="f-grid" opacity=".45"/>')  # fmt: skip
    for value, label in panel.axis.ticks:
        y = bottom - (bottom - top) * panel.axis.share(value)
        drawn.append(f'<line x1="{left:.0f}" x2="{right:.0f}" y1="{y:.1f}" y2="{y:.1f}" class="grid s-grid"/>')
        drawn.append(_text(left - 6, y + 4, label, "soft", "end"))
    opening = [(0.0, "")] if chart.span[0] < 0 < chart.span[1] else []
    for second, name in (*opening, *chart.marks):
        x = at(second)
        look = "mark s-soft" if name else "grid s-ink"
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}" class="{look}"/>')
        if name and named:
            turned = f' transform="rotate(-90 {x - 5:.0f} {top + 4:.0f})"'
            drawn.append(_text(x - 5, top + 4, name, "soft", "end", turned))
    return drawn


def _curve(series: Series, axis: Axis, at: Callable[[float], float], top: float, bottom: float) -> str:
    points = [(at(x), bottom - (bottom - top) * axis.share(y)) for x, y in series.points]
    if series.look == "dots":
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        return f'<path class="dots s-{series.colour}" d="{dots}"/>'
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    path += "".join(f"H{x:.1f}V{y:.1f}" if series.steps else f"L{x:.1f} {y:.1f}" for x, y in points[1:])
    line = f'<path class="{series.look} s-{series.colour}" d="{path}"/>'
    if series.look != "area":
        return line
    filled = f"{path}V{bottom:.1f}H{points[0][0]:.1f}Z"
    return f'<path class="faint f-{series.colour}" d="{filled}"/>{line}'
