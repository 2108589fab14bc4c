"""The report's charts of places: where they were sold, and how soon they were gone."""

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import plotly.graph_objects as go
import shapely

from clients.rush.judge.result import OfficeSales, ProvinceSales, RushResult, SoldOut
from clients.rush.report.clock import PlayClock, play_clock
from clients.rush.report.drawing import DECIDED, GRID, HEAT, HEAT_KEYS, SOFT, Chart, frame, heat, label, row_frame
from clients.rush.report.words import ENGLISH, INDONESIAN, short_name

_TOP, _TOP_OFFICES = 10, 16
_TOLERANCE, _ISLAND = 0.05, 0.02  # degrees, square degrees
_INDONESIA, _JAVA = ((94.8, 141.2), (-11.2, 6.2)), ((105.0, 114.8), (-8.9, -5.8))
_SECONDS = (0.1, 1, 10, 60, 600, 3600, 86_400, 864_000)
_SECONDS_WORDS = ("0,1 dtk", "1 dtk", "10 dtk", "1 mnt", "10 mnt", "1 jam", "1 hari", "10 hari")
_SCALE = [[edge, HEAT[n]] for n in range(5) for edge in (n / 5, (n + 1) / 5 if n < 4 else 0.999)]
_SCALE += [[0.999, HEAT[5]], [1, HEAT[5]]]

Ring = tuple[list[float], list[float]]


def sales_map(result: RushResult) -> Chart | None:
    """The provinces, the darker the more of their places were sold; Java once more, larger."""
    sales = {province.code: province for province in result.provinces}
    if not sales:
        return None
    clock = play_clock(result)
    height = [limits[1][1] - limits[1][0] for limits in (_INDONESIA, _JAVA)]
    width = [limits[0][1] - limits[0][0] for limits in (_INDONESIA, _JAVA)]
    shares = [high / wide for high, wide in zip(height, width, strict=True)]
    whole = sum(shares) + 0.05
    figure = frame(400, margin={"l": 0, "r": 0, "t": 0, "b": 0}, meta={"aspect": whole})
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        xaxis=hidden | {"range": _INDONESIA[0]},
        yaxis=hidden | {"range": _INDONESIA[1], "domain": [1 - shares[0] / whole, 1]},
        xaxis2=hidden | {"range": _JAVA[0], "anchor": "y2"},
        yaxis2=hidden | {"range": _JAVA[1], "domain": [0, shares[1] / whole]},
    )
    (west, east), (south, north) = _JAVA
    figure.add_shape(x0=west, x1=east, y0=south, y1=north, line={"color": SOFT, "width": 1, "dash": "dot"})
    words = "Pulau Jawa, diperbesar · Java, larger"
    figure.add_annotation(
        label(words, x=0, xref="paper", xanchor="left", y=shares[1] / whole, yref="paper", yanchor="bottom")
    )
    for code, rings in province_shapes().items():
        _add_province(figure, code, rings, sales.get(code), clock)
    return Chart(
        "sales_map",
        ("Berapa bagian tempat yang terjual", "The share of places sold"),
        (
            "Semakin pekat, semakin penuh. Sentuh sebuah provinsi untuk angkanya.",
            "The stronger the colour, the fuller. Touch a province for its numbers.",
        ),
        figure,
        keys=(*HEAT_KEYS, ("tanpa kantor · no office", GRID)),
    )


@cache
def province_shapes() -> dict[str, list[Ring]]:
    """The outlines of the 38 provinces, coarse and without small islands, by code; the largest province first."""
    features = json.loads(files("antrian.data").joinpath("provinces.geojson").read_text("utf-8"))["features"]
    outlines = shapely.coverage_simplify([shapely.geometry.shape(f["geometry"]) for f in features], _TOLERANCE)
    shapes: dict[str, list[Ring]] = {}
    for feature, outline in sorted(zip(features, outlines, strict=True), key=lambda pair: -pair[1].area):
        first, *others = sorted(shapely.get_parts(outline), key=lambda part: -part.area)
        rings = [part.exterior.coords.xy for part in (first, *(part for part in others if part.area > _ISLAND))]
        shapes[feature["properties"]["code"]] = [([round(v, 2) for v in x], [round(v, 2) for v in y]) for x, y in rings]
    return shapes


def provinces(result: RushResult) -> Chart | None:
    """When the first and the last session of a province were gone."""
    clock = play_clock(result)
    gone = sorted(
        (p for p in result.provinces if p.first_sold_out is not None), key=lambda p: p.first_sold_out or 0
    )[:_TOP]  # fmt: skip
    if not gone:
        return None
    figure = row_frame([(p.name, "", f"{p.slots_sold_out} / {p.slots}") for p in gone])
    for n, province in enumerate(gone):
        moments = [
            clock.real(second) for second in (province.first_sold_out, province.all_sold_out) if second is not None
        ]
        _add_moments(figure, n, moments)
    _time_scale(figure)
    return Chart(
        "provinces",
        ("Provinsi: kapan habis", "Provinces: when places ran out"),
        (
            (
                "Titik: sesi pertama habis; wajik: semua sesi habis. Kanan: sesi yang habis / semua sesi. Skala waktu melonjak "
                "sepuluh kali lipat."
            ),
            (
                "Dot: the first session was sold out; diamond: all were. Right: sessions sold out / all. The scale of time is "
                "logarithmic."
            ),
        ),
        figure,
    )


def sold_out(result: RushResult) -> Chart | None:
    """The sessions that were gone first."""
    clock = play_clock(result)
    first: list[tuple[SoldOut, float]] = [
        (slot, clock.real(slot.seconds)) for slot in result.sold_out if slot.seconds is not None
    ][:_TOP]
    if not first:
        return None
    figure = row_frame([(INDONESIAN.place(slot), "", INDONESIAN.duration(real)) for slot, real in first])
    for n, (_, real) in enumerate(first):
        _add_moments(figure, n, [real])
    _time_scale(figure)
    return Chart(
        "sold_out",
        ("Sesi yang paling cepat habis", "The sessions that sold out first"),
        (
            (
                f"Waktu sejak dibuka sampai tempat terakhir diberikan. Seluruhnya {INDONESIAN.number(len(result.sold_out))} sesi "
                "habis."
            ),
            (
                f"Time from the opening until the last place was given. {ENGLISH.number(len(result.sold_out))} sessions sold out "
                "in all."
            ),
        ),
        figure,
    )


def fullness(result: RushResult) -> Chart | None:
    """How full the most wanted offices are, by day and session."""
    wanted = [office for office in sorted(result.offices, key=_sold, reverse=True) if _sold(office)][:_TOP_OFFICES][
        ::-1
    ]
    if not wanted:
        return None
    slots = sorted(
        {slot for office in wanted for slot in office.slots}, key=lambda s: (s[:10], s.endswith("AFTERNOON"))
    )
    days = [INDONESIAN.slot(*slot.split()) for slot in slots]
    places = [[office.slots.get(slot, (0, 0)) for slot in slots] for office in wanted]
    figure = frame(96 + 26 * len(wanted), margin={"l": 4, "r": 4, "t": 4, "b": 4})
    figure.add_heatmap(
        x=slots,
        y=[short_name(office.office_id) for office in wanted],
        z=[[100 * sold / quota if quota else None for sold, quota in row] for row in places],
        customdata=[
            [f"{day}: {sold} / {quota}" for day, (sold, quota) in zip(days, row, strict=True)] for row in places
        ],
        hovertemplate="%{y}<br>%{customdata} (%{z:.0f} %)<extra></extra>",
        colorscale=_SCALE,
        zmin=0,
        zmax=100,
        xgap=2,
        ygap=2,
        showscale=False,
    )
    short = [f"{day[:3]}<br>{day.split()[1]}" for day in days]
    figure.update_xaxes(side="top", showgrid=False, tickangle=0, type="category", tickvals=slots, ticktext=short)
    figure.update_yaxes(showgrid=False)
    figure.update_layout(
        meta={"narrow": {"xaxis": {"ticktext": [text.replace("<br>", " ") for text in short], "tickangle": -90}}}
    )
    return Chart(
        "fullness",
        ("Kantor yang paling dicari: seberapa penuh", "The most wanted offices: how full"),
        (
            "Setiap kotak satu sesi; yang paling pekat sudah habis.",
            "Each box is a session; the strongest colour is sold out.",
        ),
        figure,
        keys=HEAT_KEYS,
    )


def _add_province(
    figure: go.Figure, code: str, rings: Sequence[Ring], province: ProvinceSales | None, clock: PlayClock
) -> None:
    """Once for Indonesia, and once more if it is on Java."""
    x: list[float | None] = []
    y: list[float | None] = []
    for xs, ys in rings:
        x += [*xs, None]
        y += [*ys, None]
    share = province.sold / province.places if province and province.places else 0
    look = {
        "mode": "lines",
        "fill": "toself",
        "fillcolor": heat(share) if province else GRID,
        "line": {"color": "var(--card)", "width": 0.7},
        "hoveron": "fills",
        "hoverinfo": "text",
        "text": _facts(province, clock) if province else code,
        "name": province.name if province else code,
    }
    figure.add_scatter(x=x, y=y, **look)
    (west, east), (south, north) = _JAVA
    xs, ys = rings[0]
    if max(xs) > west and min(xs) < east and max(ys) > south and min(ys) < north - 0.5:
        figure.add_scatter(x=x, y=y, xaxis="x2", yaxis="y2", **look)


def _facts(province: ProvinceSales, clock: PlayClock) -> str:
    number = INDONESIAN.number
    facts = [
        f"<b>{province.name}</b>",
        (
            f"{number(province.sold)} dari {number(province.places)} tempat terjual "
            f"({INDONESIAN.share(province.sold, province.places)})"
        ),
        f"{number(province.slots_sold_out)} dari {number(province.slots)} sesi habis",
    ]
    for words, second in (("yang pertama", province.first_sold_out), ("semuanya", province.all_sold_out)):
        if second is not None:
            facts.append(f"{words} setelah {INDONESIAN.duration(clock.real(second))}")
    return "<br>".join(facts)


def _add_moments(figure: go.Figure, row: int, moments: Sequence[float]) -> None:
    x = [max(moment, _SECONDS[0]) for moment in moments]
    figure.add_scatter(
        x=x, y=[row] * len(x), mode="lines+markers", line={"color": DECIDED, "width": 3},
        marker={"size": 10, "color": DECIDED, "symbol": ["circle", "diamond"][: len(x)]},
        customdata=[INDONESIAN.duration(moment) for moment in moments], hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _time_scale(figure: go.Figure) -> None:
    """Seconds of life along x, logarithmic, from the soonest to the latest."""
    seconds = [max(x, _SECONDS[0]) for trace in figure.data for x in trace.x]
    figure.update_xaxes(
        type="log", side="top", tickangle=0, tickvals=_SECONDS, ticktext=_SECONDS_WORDS,
        range=[
            math.log10(max(mark for mark in _SECONDS if mark <= min(seconds)) / 1.3),
            math.log10(min((mark for mark in _SECONDS if mark >= max(seconds)), default=max(seconds)) * 1.3),
        ],
    )  # fmt: skip
    figure.update_yaxes(visible=True, tickvals=list(range(len(figure.data))), showticklabels=False)
    few = {"tickvals": _SECONDS[1::2], "ticktext": _SECONDS_WORDS[1::2]} if max(seconds) > 600 * min(seconds) else {}
    figure.update_layout(margin={"l": 6, "r": 6, "t": 26}, meta={"narrow": {"xaxis": few}})


def _sold(office: OfficeSales) -> int:
    return sum(sold for sold, _ in office.slots.values())
