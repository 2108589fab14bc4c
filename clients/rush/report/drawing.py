"""What all charts have in common: their frame, their time axis, their rows. Colours are the page's, by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from clients.rush.judge.result import Mark, RushResult
from clients.rush.report.clock import PlayClock
from clients.rush.report.words import INDONESIAN

OFFERED, ACCEPTED, DECIDED, REFUSED, QUEUE = (
    f"var(--{name})" for name in ("offered", "accepted", "decided", "refused", "queue")
)
INK, SOFT, GRID = "var(--ink)", "var(--soft)", "var(--grid)"
HEAT = tuple(f"var(--heat{n})" for n in range(6))
HEAT_KEYS = tuple(zip(("< 20 %", "< 40 %", "< 60 %", "< 80 %", "< 100 %", "habis · sold out"), HEAT, strict=True))
AXIS = {
    "zeroline": False,
    "automargin": True,
    "fixedrange": True,
    "gridcolor": GRID,
    "linecolor": GRID,
    "tickfont": {"color": SOFT},
    "tickformat": ",",
    "ticks": "",
}
_TICKS, _TICKS_NARROW = 9, 5
_ROW, _ENGLISH = 42, 16


@dataclass(frozen=True)
class Chart:
    """A figure and its words; name is its id on the page.

    The figure's meta may hold narrow, what a phone's layout has otherwise, and aspect, its height by its width.
    """

    name: str
    title: tuple[str, str]
    words: tuple[str, str]
    figure: go.Figure
    wide: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    """A legend of words and colours; without it the traces' names are one."""


def faint(colour: str) -> str:
    """The same, to fill with."""
    return colour.replace(")", "-faint)")


def span_of(result: RushResult) -> tuple[float, float]:
    """The seconds in which the play begins and ends."""
    return (result.ticks[0].second, result.ticks[-1].second + result.tick) if result.ticks else (0.0, 1.0)


def heat(share: float) -> str:
    """The colour of a share of places sold."""
    return HEAT[5 if share >= 1 else int(share * 5)]


@dataclass(frozen=True)
class Row:
    """A bar with its words above it, and its value at the right."""

    words: str
    english: str
    value: float
    text: str
    colour: str


def frame(height: int, **layout: Any) -> go.Figure:
    """An empty figure."""
    base = {
        "template": "none",
        "height": height,
        "margin": {"l": 4, "r": 12, "t": 18, "b": 4},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "showlegend": False,
        "separators": ",.",
        "hovermode": "closest",
        "hoverdistance": 80,
        "hoverlabel": {"bgcolor": "var(--card)", "bordercolor": "var(--line)", "font": {"color": INK}, "align": "left"},
        "bargap": 0,
        "dragmode": False,
    }
    figure = go.Figure(layout=base | layout)
    figure.update_xaxes(AXIS)
    figure.update_yaxes(AXIS)
    return figure


def label(text: str, **where: Any) -> dict[str, Any]:
    """An annotation without an arrow."""
    plain = {"showarrow": False, "borderpad": 0, "font": {"color": SOFT, "size": 12}}
    return plain | {"text": text} | where


def time_axis(
    figure: go.Figure,
    clock: PlayClock,
    span: tuple[float, float],
    marks: Iterable[Mark] = (),
    panels: Sequence[str] = ("y",),
    *,
    named: bool = False,
) -> None:
    """Times of day along x; in each panel a line at the opening and at each mark, a shade where time is played faster."""
    first, last = span
    values, texts = clock.ticks(first, last, _TICKS)
    few, few_texts = clock.ticks(first, last, _TICKS_NARROW)
    figure.update_xaxes(
        range=[first, last],
        tickvals=values,
        ticktext=texts,
        ticks="outside",
        tickcolor=GRID,
        tickangle=0,
        anchor=panels[-1],
    )
    figure.update_layout(meta={"narrow": {"xaxis": {"tickvals": few, "ticktext": few_texts}}})
    seen = [mark for mark in marks if first < mark.second < last]
    begins = max(clock.real_seconds, first) if clock.compression > 1 else last
    shapes: list[dict[str, Any]] = []
    if begins < last:
        shapes.append({"type": "rect", "x0": begins, "x1": last, "line": {"width": 0}, "fillcolor": "var(--shade)"})
    dotted = {"color": SOFT, "width": 1, "dash": "dot"}
    shapes += [{"x0": mark.second, "x1": mark.second, "line": dotted} for mark in seen]
    if first < 0 < last:
        shapes.append({"x0": 0, "x1": 0, "line": {"color": INK, "width": 1}, "layer": "above"})
    upright = {"y0": 0, "y1": 1, "layer": "below"}
    figure.update_layout(shapes=[upright | s | {"yref": f"{panel} domain"} for panel in panels for s in shapes])
    if named:
        top = {"y": 1, "yref": "paper"}
        for mark in seen:
            figure.add_annotation(
                label(
                    mark.name_id, x=mark.second, textangle=-90, xanchor="right", yanchor="top", xshift=-1, **top
                )
            )  # fmt: skip
        if begins < last:
            faster = f"makin cepat, sampai {INDONESIAN.number(clock.compression)}×"
            figure.add_annotation(label(faster, x=begins, xanchor="left", yanchor="bottom", **top))


def rows(items: Sequence[Row], most: float = 0) -> go.Figure:
    """One bar below the other, each below its words; most is the value of a whole bar."""
    most = most or max((row.value for row in items), default=1) or 1
    figure = row_frame([(row.words, row.english, row.text) for row in items])
    at = list(range(len(items)))
    common = {"orientation": "h", "y": at, "width": 0.26, "hoverinfo": "skip"}
    figure.add_bar(x=[most] * len(at), marker={"color": GRID, "cornerradius": 4}, **common)
    colours = [row.colour for row in items]
    figure.add_bar(x=[row.value for row in items], marker={"color": colours, "cornerradius": 4}, **common)
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(range=[0, most], visible=False)
    return figure


def row_frame(items: Sequence[tuple[str, str, str]]) -> go.Figure:
    """Rows from the top, one a unit of y, with words, English words and a value above each."""
    english = any(words for _, words, _ in items)
    figure = frame((_ROW + english * _ENGLISH) * max(len(items), 1) + 8)
    words_above = []
    for n, (words, foreign, value) in enumerate(items):
        below = f'<br><span style="font-size:11px;color:{SOFT}">{foreign}</span>' if english else ""
        at = {"y": n, "yanchor": "bottom", "xref": "paper", "yshift": 8, "font": {"color": INK, "size": 13}}
        words_above.append(label(words + below, x=0, xanchor="left", align="left", **at))
        words_above.append(label(f"<b>{value}</b>", x=1, xanchor="right", **at))
    figure.update_yaxes(range=[max(len(items), 1) - 0.7, -0.95], visible=False)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, annotations=words_above)
    return figure
