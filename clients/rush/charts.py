"""The report's charts. Their colours read on light and on dark; the page sets those of text and grid."""

from collections.abc import Sequence
from datetime import date

import plotly.graph_objects as go

from clients.rush.result import Latency, OfficeSales, RushResult

_OFFERED, _ACCEPTED, _DECIDED, _REFUSED = "#8b98a9", "#0d9488", "#e2711d", "#b4455a"
_TOP_OFFICES, _TOP_SOLD_OUT, _TOP_PROVINCES = 18, 20, 19
_DAYS = ("Sen", "Sel", "Rab", "Kam", "Jum", "Sab", "Min")


def per_second(result: RushResult) -> go.Figure:
    """Requests pressed, accepted and decided in each second around the opening."""
    at = [second.second for second in result.seconds]
    figure = _figure(340, "detik sejak 14:00:00 · seconds since the opening", "per detik · per second")
    lines = (
        ("ditekan · pressed", [s.offered for s in result.seconds], _OFFERED, "tozeroy"),
        ("diterima · accepted", [s.accepted for s in result.seconds], _ACCEPTED, None),
        ("diputuskan · decided", [s.decided for s in result.seconds], _DECIDED, None),
    )
    for name, values, colour, fill in lines:
        line = {"color": colour, "width": 2.5, "shape": "hvh" if fill else "linear"}
        figure.add_scatter(x=at, y=values, name=name, mode="lines", line=line, fill=fill)
    figure.add_vline(
        x=0,
        line={"color": _REFUSED, "dash": "dot", "width": 1.5},
        annotation_text="14:00:00",
        annotation_position="top left",
    )
    return figure


def latencies(result: RushResult) -> go.Figure:
    """How long the fastest half, 90 %, 99 % … of the requests took."""
    figure = _figure(340, "sebagian ini selesai dalam … · this share was done within …", "detik · seconds")
    for name, latency, colour in (
        ("tekan → diterima · press to accepted", result.accept, _ACCEPTED),
        ("tekan → hasil · press to outcome", result.outcome, _DECIDED),
        ("di layanan: diterima → diputuskan · in the service", result.outcome_in_service, _OFFERED),
    ):
        if latency:
            x, y = _percentiles(latency)
            line = {"color": colour, "width": 2.5}
            figure.add_scatter(x=x, y=y, name=name, mode="lines+markers", line=line)
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="log", dtick="D2")
    return figure


def waits(result: RushResult) -> go.Figure:
    """How long those waited to be accepted who pressed in each second."""
    seconds = [second for second in result.seconds if second.accept_p99]
    at = [second.second for second in seconds]
    figure = _figure(300, "ditekan pada detik · pressed in second", "detik · seconds")
    for name, values, colour in (
        ("paling lambat 1 % · slowest 1 %", [s.accept_p99 / 1000 for s in seconds], _DECIDED),
        ("separuhnya · half", [s.accept_p50 / 1000 for s in seconds], _ACCEPTED),
    ):
        figure.add_scatter(x=at, y=values, name=name, mode="lines", line={"color": colour, "width": 2.5})
    return figure


def outcomes(result: RushResult) -> go.Figure:
    """What became of the requests."""
    rows = [("mendapat tempat · confirmed", result.confirmed, _ACCEPTED)]
    rows += [(f"ditolak · rejected: {reason}", count, _DECIDED) for reason, count in result.rejected.items()]
    rows += [(f"tidak diterima · refused: {reason}", count, _REFUSED) for reason, count in result.refused.items()]
    if result.undecided:
        rows.append(("tanpa hasil · undecided", result.undecided, "#d00000"))
    return _bars(rows, log=True)


def provinces(result: RushResult) -> go.Figure:
    """Places sold by province."""
    sold = [province for province in result.provinces if province.sold]
    first, rest = sold[:_TOP_PROVINCES], sold[_TOP_PROVINCES:]
    rows = [(province.name, province.sold, _ACCEPTED) for province in first]
    if rest:
        rows.append((f"{len(rest)} provinsi lain · others", sum(province.sold for province in rest), _OFFERED))
    return _bars(rows)


def sold_out(result: RushResult) -> go.Figure:
    """When the slots that sold out first did."""
    first = [slot for slot in result.sold_out if slot.seconds is not None][:_TOP_SOLD_OUT]
    rows = [
        (f"{short_name(s.office_id)} · {_slot(f'{s.service_date} {s.session}')} ({s.quota})", s.seconds or 0, _DECIDED)
        for s in first
    ]
    return _bars(rows, unit=" s")


def fullness(result: RushResult) -> go.Figure:
    """How full the most wanted offices are, by day and session."""
    wanted = sorted(result.offices, key=_sold, reverse=True)[:_TOP_OFFICES][::-1]
    slots = list(wanted[0].slots) if wanted else []
    share = [[100 * office.slots[slot][0] / max(office.slots[slot][1], 1) for slot in slots] for office in wanted]
    words = [["{} / {}".format(*office.slots[slot]) for slot in slots] for office in wanted]
    figure = _figure(90 + 24 * len(wanted))
    figure.add_heatmap(
        x=[_slot(slot) for slot in slots],
        y=[short_name(office.office_id) for office in wanted],
        z=share,
        customdata=words,
        hovertemplate="%{y}<br>%{x}: %{customdata} (%{z:.0f} %)<extra></extra>",
        colorscale=[[0, "rgba(128,140,155,.10)"], [0.5, "#f2b880"], [0.999, "#e2711d"], [1, "#9d2f1b"]],
        zmin=0,
        zmax=100,
        xgap=2,
        ygap=2,
        showscale=False,
    )
    figure.update_xaxes(side="top", showgrid=False, tickangle=-45)
    figure.update_yaxes(showgrid=False)
    return figure


def short_name(office_id: str) -> str:
    """An office's id as people would say it."""
    first, *rest = office_id.split("-")
    return " ".join([first.capitalize() if first == "kanim" else first.upper(), *(word.capitalize() for word in rest)])


def _sold(office: OfficeSales) -> float:
    return sum(sold for sold, _ in office.slots.values())


def _slot(slot: str) -> str:
    day, session = slot.split()
    return f"{_DAYS[date.fromisoformat(day).weekday()]} {'pagi' if session == 'MORNING' else 'siang'}"


def _percentiles(latency: Latency) -> tuple[list[str], list[float]]:
    names = ["maks" if percent == 100 else f"{percent:g} %" for percent, _ in latency.percentiles]
    return names, [milliseconds / 1000 for _, milliseconds in latency.percentiles]


def _bars(rows: Sequence[tuple[str, float, str]], *, log: bool = False, unit: str = "") -> go.Figure:
    names, values, colours = zip(*rows[::-1], strict=True) if rows else ((), (), ())
    figure = _figure(70 + 25 * len(names))
    text = [(f"{value:.1f}" if unit else f"{value:,}".replace(",", ".")) + unit for value in values]
    figure.add_bar(
        x=values, y=names, orientation="h", marker={"color": colours, "cornerradius": 3}, text=text, cliponaxis=False,
        textposition="outside", hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(type="log" if log else "linear", showticklabels=not log)
    figure.update_yaxes(showgrid=False)
    return figure


def _figure(height: int, x: str = "", y: str = "") -> go.Figure:
    axis = {"zeroline": False, "automargin": True, "fixedrange": True}
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 44, "t": 24, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
            "xaxis": axis | {"title": {"text": x}},
            "yaxis": axis | {"title": {"text": y}},
            "separators": ",.",
            "hovermode": "closest",
        }
    )
