"""The report's charts of waiting: how long, and in how long a line."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from clients.rush.judge.result import Latency, RushResult
from clients.rush.report.clock import play_clock
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
from clients.rush.report.words import ENGLISH, INDONESIAN, LATENCIES, short_name

_KINDS = {"accept": ACCEPTED, "outcome": DECIDED, "screen": REFUSED, "service": QUEUE, "look": OFFERED}
_LEAST = 0.1  # ms: what is faster is as good
_BEFORE, _SHORTEST = 5.0, 20.0
_ENDED = 0.02  # of the longest line: what is shorter is not worth the room


def waits(result: RushResult) -> Chart | None:
    """How long those waited who pressed in each tick."""
    if not any(tick.accept_p99 or tick.outcome_p99 for tick in result.ticks):
        return None
    figure = frame(400)
    clock, span = play_clock(result), span_of(result)
    panels = (
        ("accept", ACCEPTED, "y", (0.56, 1.0), [(t.second, t.accept_p50, t.accept_p99) for t in result.ticks]),
        ("outcome", DECIDED, "y2", (0.0, 0.44), [(t.second, t.outcome_p50, t.outcome_p99) for t in result.ticks]),
    )
    for kind, colour, axis, domain, values in panels:
        seen = [(second + result.tick / 2, half, slow) for second, half, slow in values if slow]
        at = [second for second, _, _ in seen]
        common = {"x": at, "yaxis": axis, "mode": "lines", "customdata": [clock.say(second) for second in at]}
        for name, y, width, fill in (
            ("separuhnya", [half for _, half, _ in seen], 1.5, None),
            ("99 dari 100", [slow for _, _, slow in seen], 2.5, "tonexty"),
        ):
            figure.add_scatter(
                y=y, line={"color": colour, "width": width}, fill=fill,
                fillcolor=faint(colour), hovertemplate=f"%{{customdata}}<br>{name}: %{{y:,.0f}} ms<extra></extra>", **common,
            )  # fmt: skip
        title = f"{LATENCIES[kind][0]} <span style='color:{SOFT}'>· {LATENCIES[kind][1]}</span>"
        figure.add_annotation(
            label(title, x=0, xref="paper", xanchor="left", y=domain[1], yref="paper", yanchor="bottom", font={"color": INK, "size": 12})
        )  # fmt: skip
        ordered = sorted(ms for _, half, slow in seen for ms in (half, slow))
        # The fastest twentieth may lie below the axis: one lucky tick would take most of its height.
        look = _ms_axis(ordered[len(ordered) // 20 :]) | {"domain": domain}
        figure.update_layout({axis.replace("y", "yaxis"): AXIS | look})
    time_axis(figure, clock, span, result.marks, ("y", "y2"))
    figure.update_layout(margin={"t": 22})
    return Chart(
        "waits",
        ("Berapa lama menunggu, sepanjang waktu", "Waiting, over time"),
        (
            "Menurut saat menekan: garis tipis, separuhnya menunggu paling lama sekian; garis tebal, 99 dari 100.",
            "By when they pressed: half waited at most so long (thin line), 99 of 100 at most so long (thick line).",
        ),
        figure,
    )


def arrivals(result: RushResult) -> Chart | None:
    """Queue numbers by arrival, in the slot that most people got places in: who came first has the smaller one."""
    slot = result.arrivals
    if slot is None:
        return None
    figure, clock = frame(300), play_clock(result)
    seconds = [second for second, _ in slot.points]
    figure.add_scatter(
        x=seconds, y=[number for _, number in slot.points], mode="markers", marker={"color": ACCEPTED, "size": 5},
        customdata=[clock.say(second) for second in seconds],
        hovertemplate="%{customdata}<br>nomor %{y:,}<extra></extra>",
    )  # fmt: skip
    time_axis(figure, clock, (min(seconds) - 1, max(seconds) + 1))
    figure.add_annotation(
        label("nomor antrean · queue number", x=0, xref="paper", xanchor="left", y=1, yref="paper", yanchor="bottom")
    )
    where = short_name(slot.office_id)
    return Chart(
        "arrivals",
        ("Nomor antrean menurut kedatangan", "Queue number by arrival"),
        (
            (
                f"{where}, {INDONESIAN.slot(slot.service_date, slot.session)}, sesi dengan orang terbanyak: satu titik satu "
                "rombongan. Titik-titik selalu naik: siapa datang dulu, nomornya lebih kecil."
            ),
            (
                f"{where}, {ENGLISH.slot(slot.service_date, slot.session)}, the slot with most people: a dot a party. The dots only "
                "rise: who came first has the smaller number."
            ),
        ),
        figure,
    )


def percentiles(result: RushResult) -> Chart | None:
    """The HDR plot of all kinds of waiting."""
    shown = [
        (" · ".join(LATENCIES[kind]), colour, result.latencies[kind])
        for kind, colour in _KINDS.items()
        if kind in result.latencies
    ]
    if not shown:
        return None
    return Chart(
        "percentiles",
        ("Dari yang tercepat sampai yang paling lambat", "From the fastest to the slowest"),
        (
            "Ke kanan semakin sedikit orang: di 99 % terbaca berapa lama 99 dari 100 paling lama menunggu.",
            "The HDR plot: at 99 % one reads how long 99 of 100 waited at the most.",
        ),
        hdr_plot(shown),
    )


def hdr_plot(shown: Sequence[tuple[str, str, Latency]]) -> go.Figure:
    """Latencies by percentile, the more spread the nearer to 100 %; each with its name and colour."""
    figure = frame(400)
    for name, colour, latency in shown:
        # Of 80 requests there is no slowest 1 in 1,000.
        points = [(1 / (1 - p / 100), ms, f"{p:g} %") for p, ms in latency.percentiles if 10 <= p < 100]
        points = [point for point in points if point[0] <= latency.count]
        points.append((max(latency.count, 1), latency.most, "yang paling lambat"))
        figure.add_scatter(
            x=[x for x, _, _ in points], y=[max(ms, _LEAST) for _, ms, _ in points], customdata=[p for _, _, p in points],
            name=name, mode="lines", line={"color": colour, "width": 2.5},
            hovertemplate=f"{name}<br>%{{customdata}}: %{{y:,.1f}} ms<extra></extra>",
        )  # fmt: skip
    powers = [2, *(10**n for n in range(1, 7))]
    words = ["50 %", "90 %", "99 %", "99,9 %", "99,99 %", "99,999 %", "99,9999 %"]
    narrow = {"xaxis": {"tickvals": powers, "ticktext": ["50", "90", "99", "99,9", "99,99", "", ""]}}
    figure.update_xaxes(type="log", tickvals=powers, ticktext=words, tickangle=0)
    figure.update_yaxes(_ms_axis([ms for trace in figure.data for ms in trace.y]))
    figure.update_layout(meta={"narrow": narrow})
    return figure


def _ms_axis(values: Sequence[float]) -> dict[str, object]:
    """A logarithmic axis of ms, from a round number to a round number."""
    low, high = (max(end, _LEAST) for end in (min(values, default=1), max(values, default=1)))
    marks = [mark * 10.0**power for power in range(-1, 7) for mark in (1, 2, 5)]
    low, high = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark > high)
    shown = [mark for mark in marks if low <= mark <= high and (high <= 100 * low or f"{mark:e}"[0] == "1")]
    words = [f"{mark:g} ms" if mark < 1000 else f"{mark / 1000:g} dtk" for mark in shown]
    return {"type": "log", "tickvals": shown, "ticktext": [word.replace(".", ",") for word in words],
            "range": [math.log10(low), math.log10(high)]}  # fmt: skip


def lanes(result: RushResult) -> Chart | None:
    """The longest lines, one below the other on one scale."""
    shown = [lane for lane in result.lanes if max(lane.depths, default=0) > 0]
    if not shown or not result.ticks:
        return None
    clock = play_clock(result)
    longest = max(max(lane.depths) for lane in shown)
    at = [tick.second + result.tick for tick in result.ticks]
    busy = [
        second for lane in shown for second, depth in zip(at, lane.depths, strict=False) if depth > _ENDED * longest
    ]
    first, last = span_of(result)
    first = max(first, min([-_BEFORE, *busy]))
    last = min(last, max([_SHORTEST, *busy]) * 1.05 + 1)
    figure = frame(38 * len(shown) + 60)
    for n, lane in enumerate(shown):
        points = [(second, depth) for second, depth in zip(at, lane.depths, strict=False) if first <= second <= last]
        x, depths = [second for second, _ in points], [depth for _, depth in points]
        y = [n - 0.8 * depth / longest for depth in depths]
        name = short_name(lane.office_id)
        figure.add_scatter(
            x=[*x, *x[-1:], *x[:1]], y=[*y, n, n], customdata=[*depths, 0, 0], text=[clock.say(second) for second in x],
            fill="toself", mode="lines", hoveron="points", line={"color": QUEUE, "width": 1.5}, fillcolor=faint(QUEUE),
            hovertemplate=f"{name}<br>%{{text}}: %{{customdata:,}}<extra></extra>",
        )  # fmt: skip
        words = f"{name} · <b>{INDONESIAN.number(lane.most)}</b>"
        figure.add_annotation(
            label(words, x=1, xref="paper", xanchor="right", y=n, yanchor="bottom", font={"color": INK, "size": 12})
        )
    # The names stand to the right of the lines.
    time_axis(figure, clock, (first, last + 0.2 * (last - first)))
    figure.layout.meta["narrow"]["xaxis"]["range"] = [first, last + 0.7 * (last - first)]
    figure.update_yaxes(range=[len(shown) - 0.9, -1], tickvals=list(range(len(shown))), showticklabels=False)
    return Chart(
        "lanes",
        ("Antrean kantor yang paling panjang", "The longest lines, by office"),
        (
            "Berapa permohonan menunggu giliran di setiap kantor, semuanya pada skala yang sama. Angkanya: yang paling banyak.",
            "How many requests waited at each office, all on one scale. The numbers are the most.",
        ),
        figure,
        wide=True,
    )
