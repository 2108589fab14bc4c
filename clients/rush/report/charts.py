"""The report's charts of what happened when."""

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from clients.rush.judge.result import Mark, RushResult, Tick
from clients.rush.report.clock import PlayClock, play_clock
from clients.rush.report.drawing import (
    ACCEPTED,
    AXIS,
    DECIDED,
    INK,
    OFFERED,
    QUEUE,
    REFUSED,
    SOFT,
    Chart,
    faint,
    frame,
    label,
    span_of,
    time_axis,
)
from clients.rush.report.words import ENGLISH, INDONESIAN, PROGRAMS

_BEFORE, _AFTER = 10.0, 60.0
_PROGRAMS = {"postgres": QUEUE, "redis": REFUSED, "workers": DECIDED, "server": ACCEPTED}


def opening(result: RushResult) -> Chart | None:
    """The first seconds, when there is much after them; the whole of a short play."""
    if not result.ticks:
        return None
    clock = play_clock(result)
    span = span_of(result)
    until = clock.second(_AFTER)
    if span[1] > 2 * until:
        span = max(span[0], -_BEFORE), until
    return Chart(
        "opening",
        (f"Saat pendaftaran dibuka, {clock.time(0)}", f"When booking opened, {clock.time(0)}"),
        (
            (
                f"Abu-abu: yang menekan; hijau: yang masuk antrean; jingga: yang sudah mendapat hasil, setiap detik. "
                f"Paling banyak {INDONESIAN.number(result.peaks.get('offered', 0))} tekanan dalam satu detik; antrean "
                f"terpanjang {INDONESIAN.number(result.peaks.get('in_line', 0))} permohonan."
            ),
            (
                f"Each second: who pressed (grey), who was accepted into a line (green), who had the outcome (orange). At the "
                f"most {ENGLISH.number(result.peaks.get('offered', 0))} presses in a second and "
                f"{ENGLISH.number(result.peaks.get('in_line', 0))} requests in line."
            ),
        ),
        _flow(result, clock, span),
        wide=True,
    )


def weekend(result: RushResult) -> Chart | None:
    """All of a play that is much longer than its opening."""
    shown = opening(result)
    span = span_of(result)
    if not shown or shown.figure.layout.xaxis.range[1] >= span[1]:
        return None
    clock = play_clock(result)
    real = clock.real(span[1])
    faster = clock.compression > 1
    return Chart(
        "weekend",
        ("Dari awal sampai akhir", "From the start to the end"),
        (
            f"Seluruhnya {INDONESIAN.duration(real)}"
            + (f"; di bagian yang diarsir waktu berjalan makin cepat, sampai {INDONESIAN.number(clock.compression)} kali, jadi "
               "lebih padat daripada aslinya." if faster else "."),
            f"All {ENGLISH.duration(real)}"
            + (f"; where it is shaded, time passes ever faster, up to {ENGLISH.number(clock.compression)} times, so the load is denser "
               "than in life." if faster else "."),
        ),
        _flow(result, clock, span),
        wide=True,
    )  # fmt: skip


def over_time(
    lines: Sequence[tuple[str, str, Sequence[Tick], float]], value: str, clock: PlayClock, marks: Iterable[Mark]
) -> go.Figure:
    """That field of the ticks of several runs, each with its name, colour and width of a tick."""
    figure = frame(300)
    for name, colour, ticks, width in lines:
        at = [tick.second for tick in ticks]
        figure.add_scatter(
            **_steps(at, [getattr(tick, value) for tick in ticks], width), customdata=_moments(clock, at, width), name=name,
            mode="lines", line={"color": colour, "width": 2, "shape": "hv"},
            hovertemplate=f"%{{customdata}}<br>{name}: %{{y:,.0f}}<extra></extra>",
        )  # fmt: skip
    ends = [second for _, _, ticks, width in lines for tick in ticks for second in (tick.second, tick.second + width)]
    time_axis(figure, clock, (min(ends), max(ends)), marks)
    figure.update_yaxes(rangemode="tozero")
    return figure


def cpu(result: RushResult) -> Chart | None:
    """Cores used by the service's programs, stacked, and by the generator."""
    if not result.cpu.cores or not result.ticks:
        return None
    clock = play_clock(result)
    figure = frame(300)
    at = [tick.second + result.tick for tick in result.ticks]
    common = {"x": at, "mode": "lines", "customdata": [clock.say(second) for second in at]}
    for name, colour in _PROGRAMS.items():
        if name in result.cpu.cores:
            _add_cores(
                figure, name, result.cpu.cores[name], {"color": colour, "width": 1.5}, common | {"stackgroup": "x"}
            )
    if "generator" in result.cpu.cores:
        line = {"color": INK, "width": 1.5, "dash": "dot"}
        _add_cores(figure, "generator", result.cpu.cores["generator"], line, common)
    time_axis(figure, clock, span_of(result), result.marks)
    figure.update_yaxes(rangemode="tozero")
    return Chart(
        "cpu",
        ("Kerja mesin: inti prosesor per program", "Processor cores by program"),
        (
            "Bertumpuk: program layanan. Garis putus-putus: pembangkit beban, yang memainkan orang-orangnya.",
            "Stacked: the service's programs. Dotted: the load generator, which plays the people.",
        ),
        figure,
    )


def _add_cores(
    figure: go.Figure, name: str, cores: Sequence[float], line: object, common: Mapping[str, object]
) -> None:
    words = " · ".join(dict.fromkeys(PROGRAMS[name]))
    hover = f"%{{customdata}}<br>{words}: %{{y:.2f}}<extra></extra>"
    figure.add_scatter(y=list(cores), name=words, line=line, hovertemplate=hover, **common)


def _flow(result: RushResult, clock: PlayClock, span: tuple[float, float]) -> go.Figure:
    """Rates above, and how many are in line below."""
    ticks = [tick for tick in result.ticks if span[0] <= tick.second < span[1]]
    figure = frame(460)
    lines = [
        ("menekan · pressed", [tick.offered for tick in ticks], OFFERED, "solid", "tozeroy"),
        ("diterima · accepted", [tick.accepted for tick in ticks], ACCEPTED, "solid", None),
        ("diputuskan · decided", [tick.decided for tick in ticks], DECIDED, "solid", None),
        ("tidak diterima · refused", [tick.refused for tick in ticks], REFUSED, "dash", None),
    ]
    if any(tick.again for tick in ticks):
        lines.append(("diminta mencoba lagi · asked to come again", [tick.again for tick in ticks], SOFT, "dot", None))
    at = [tick.second for tick in ticks]
    for name, values, colour, dash, fill in lines:
        line = {"color": colour, "width": 1.5 if fill or dash != "solid" else 2.5, "shape": "hv", "dash": dash}
        figure.add_scatter(
            **_steps(at, values, result.tick), customdata=_moments(clock, at, result.tick), name=name, mode="lines",
            line=line, fill=fill, fillcolor=faint(colour), hovertemplate=f"%{{customdata}}<br>{name}: %{{y:,.0f}}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=[second + result.tick for second in at], y=[tick.in_line for tick in ticks], yaxis="y2", name="dalam antrean · in line",
        customdata=[clock.say(second + result.tick) for second in at], mode="lines", line={"color": QUEUE, "width": 1.5},
        fill="tozeroy", fillcolor=faint(QUEUE), hovertemplate="%{customdata}<br>dalam antrean: %{y:,}<extra></extra>",
    )  # fmt: skip
    time_axis(figure, clock, span, result.marks, ("y", "y2"), named=True)
    figure.update_layout(
        yaxis={"domain": [0.38, 1], "rangemode": "tozero"},
        yaxis2=AXIS | {"domain": [0, 0.25], "rangemode": "tozero", "nticks": 4},
        margin={"t": 36},
    )
    for words, y in (("per detik · per second", 1), ("dalam antrean · in line", 0.25)):
        shift = 18 if y == 1 else 0
        figure.add_annotation(
            label(words, x=0, xref="paper", xanchor="left", y=y, yref="paper", yanchor="bottom", yshift=shift)
        )
    return figure


def _steps(at: Sequence[float], values: Sequence[float], width: float) -> dict[str, list[float]]:
    """Up to the end of the last tick, too."""
    return {"x": [*at, at[-1] + width], "y": [*values, values[-1]]} if at else {"x": [], "y": []}


def _moments(clock: PlayClock, at: Sequence[float], width: float) -> list[str]:
    return [clock.say(second) for second in at] + ([clock.say(at[-1] + width)] if at else [])
