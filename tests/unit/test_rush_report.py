"""The report of a rush: it says what happened, in both languages, and needs no network."""

import io
import json
import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from rich.console import Console

from antrian.history import Breach
from antrian.provinces import load_provinces
from antrian.verify import Check
from clients.rush.judge.fairness import OVERTAKING
from clients.rush.judge.result import (
    Account,
    Arrivals,
    Cpu,
    Group,
    Lane,
    Latency,
    Mark,
    OfficeSales,
    ProvinceSales,
    RushResult,
    SoldOut,
    Tick,
)
from clients.rush.report import charts, outcomes, places, waiting
from clients.rush.report.clock import PlayClock, play_clock
from clients.rush.report.report import write_report
from clients.rush.report.table import print_table
from clients.rush.report.words import ENGLISH, INDONESIAN, short_name

_LATENCY = Latency(
    500, 40, 90, 700, 900, 1000, [(0.0, 1), (50.0, 40), (90.0, 90), (99.0, 700), (99.9, 900), (100.0, 1000)]
)

CLOCK = PlayClock(datetime.fromisoformat("2026-11-27T14:00:00+07:00"), 15, 1500)


def _result() -> RushResult:
    """A weekend in 220 seconds: 2,000 a second at the opening, with a wave on Saturday."""
    ticks = [Tick(s, 2000 if s == 0 else 10, 9, 1, 8, 0, max(90 - s, 0), 20, 300, 50, 900) for s in range(-5, 220)]
    return RushResult(
        scenario="friday",
        title_id="Jumat, pukul 14:00",
        title_en="The Friday rush",
        compression=1500,
        real_seconds=15,
        requests=12_345,
        accepted=9000,
        confirmed=6000,
        people_confirmed=8123,
        rejected={"SLOT_FULL": 3000},
        refused={"ALREADY_BOOKED": 3345},
        ticks=ticks,
        marks=[Mark(140, "Sabtu pagi", "Saturday morning")],
        peaks={"offered": 2000, "in_line": 90},
        latencies={"accept": _LATENCY, "outcome": _LATENCY},
        lanes=[Lane("kanim-bogor", "Kantor Imigrasi Bogor", 100, 44, [0] * 5 + [40, 20] + [0] * 218)],
        sold_out=[SoldOut("kanim-bogor", "Kantor Imigrasi Bogor", "2026-11-30", "MORNING", 60, 3.2)],
        provinces=[ProvinceSales("ID-JB", "Jawa Barat", 100, 100, 900, 2, 2, 3.2, CLOCK.second(1500))],
        offices=[OfficeSales("kanim-bogor", "Kantor Imigrasi Bogor", {"2026-11-30 MORNING": (60, 60)})],
        groups=[Group("people", 900, 3345, 3400, 8000, 5990, 8105, {}), Group("bots", 9, 9000, 9000, 1000, 10, 18, {})],
        bot_accounts=[Account("calo-1", 4000, 40, 5)],
        promises=[Check("P3", OVERTAKING, 9000, 0), Check("P6", "queue numbers have no gap", 8123, 0)],
        stores_seen=True,
        cpu=Cpu({"server": [0.5] * 225, "generator": [0.2] * 225}, {"server": 77.5}),
        about={"command": "antrian rush --seed 7", "opens": "2026-11-27T06:59:59+00:00", "machine": "2 cores"},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _written(_result(), tmp_path_factory.mktemp("report"))


def _written(result: RushResult, folder: Path) -> str:
    """The page without the chart library."""
    write_report(result, folder / "report.html")
    text = (folder / "report.html").read_text("utf-8")
    assert get_plotlyjs() in text
    return text.replace(get_plotlyjs(), "")


def _figures(page: str) -> dict[str, dict[str, object]]:
    found = re.search(r"^const figures = (.*);$", page, re.MULTILINE)
    assert found
    figures: dict[str, dict[str, object]] = json.loads(found[1])
    return figures


def test_the_page_fetches_nothing(page: str) -> None:
    assert not re.search(r"https?://|\bsrc=|\bhref=|url\(|@import|<link", page)
    # These would fetch the outlines of the world.
    assert not re.search(r'"type":"(scattergeo|choropleth|scattermap|scattermapbox)"', page)


def test_every_chart_has_its_place_and_every_place_its_chart(page: str) -> None:
    drawn = set(_figures(page))
    assert set(re.findall(r'class="chart" id="(\w+)"', page)) == drawn
    assert drawn == {
        "opening", "weekend", "outcomes", "people_and_bots", "sales_map", "provinces", "sold_out", "fullness", "waits",
        "percentiles", "lanes", "cpu",
    }  # fmt: skip


def test_colours_are_the_pages_so_that_they_follow_light_and_dark(page: str) -> None:
    figures = json.dumps(_figures(page))
    assert not re.search(r"#[0-9a-fA-F]{6}", figures)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", figures))
    defined = [set(re.findall(r"(--[a-z0-9-]+):", block)) for block in re.findall(r":root \{(.*?)\}", page, re.DOTALL)]
    assert len(defined) == 2
    assert all(used <= names for names in defined)


def test_it_tells_what_happened_in_indonesian_and_in_english(page: str) -> None:
    assert "Lulus: semua janji ditepati." in page
    assert "<b>12.345</b> permohonan datang" in page
    assert "<b>12,345</b> requests came" in page
    assert "untuk <b>8.123</b> orang" in page
    assert "<b>3.000</b> diberi tahu bahwa sesinya sudah penuh" in page
    assert "Bogor (Senin pagi), <b>3,6\u00a0detik</b> setelah dibuka" in page
    assert "Bots sent <b>73\u00a0%</b> of the requests and got <b>0.2\u00a0%</b> of the places." in page
    assert "mengirim 4.000 permohonan dan mendapat 5 tempat" in page
    assert "<b>Tidak seorang pun</b> didahului" in page
    assert "antrian</span> <span>rush</span> <span>--seed</span> <span>7</span>" in page


def test_a_failed_run_says_why_and_nothing_in_it_is_markup(tmp_path: Path) -> None:
    breach = Breach("P3", OVERTAKING, "ticket <b>9</b> & ticket 8", "kanim-bogor", [9, 8], [], [], ["redis restarted"])
    result = replace(
        _result(), breaches=[breach], overtakings=1, undecided=2, surprise_samples=["<script>alert(1)</script>"],
        failures=["P3: kanim-bogor: ticket <b>9</b> & ticket 8", "2 accepted requests have no outcome"],
    )  # fmt: skip
    page = _written(result, tmp_path)
    assert "Gagal: ada yang tidak beres." in page
    assert "2 accepted requests have no outcome" in page
    assert page.count("ticket &lt;b&gt;9&lt;/b&gt; &amp; ticket 8") == 1  # though it is a failure and a breach
    assert "Yang datang dulu dilayani dulu</b> · kanim-bogor" in page
    assert "redis restarted" in page
    assert "<script>alert" not in page
    assert "<b>2</b> never had an answer." in page


def test_an_invalid_run_says_so_and_what_was_not_seen(tmp_path: Path) -> None:
    page = _written(replace(_result(), doubts=["the generator fell behind"], stores_seen=False), tmp_path)
    assert "Tidak sah" in page
    assert "the generator fell behind" in page
    assert "isi Redis dan Postgres tidak terlihat" in page


def test_a_run_without_anything_has_a_page_without_charts(tmp_path: Path) -> None:
    page = _written(RushResult(), tmp_path)
    assert _figures(page) == {}
    assert "Tidak ada permohonan yang dimainkan." in page


def test_without_bots_meter_or_sold_out_slots_their_charts_are_left_out(tmp_path: Path) -> None:
    result = _result()
    result = replace(result, groups=result.groups[:1], bot_accounts=[], cpu=Cpu(), sold_out=[], lanes=[])
    result.provinces = [replace(result.provinces[0], first_sold_out=None, all_sold_out=None)]
    page = _written(result, tmp_path)
    assert {"people_and_bots", "cpu", "sold_out", "provinces", "lanes"}.isdisjoint(_figures(page))
    assert "Bot mengirim" not in page


def test_the_opening_is_drawn_by_itself_and_the_weekend_as_a_whole() -> None:
    opening, weekend = charts.opening(_result()), charts.weekend(_result())
    assert opening
    assert weekend
    pressed, *_, in_line = opening.figure.data
    assert (pressed.x[0], pressed.x[-1], max(pressed.y)) == (-5, 25, 2000)
    assert (in_line.x[0], in_line.y[0]) == (-4, 95)
    assert weekend.figure.data[0].x[-1] == 220
    assert "Sab" in " ".join(weekend.figure.layout.xaxis.ticktext)
    assert "Sabtu pagi" in {note.text for note in weekend.figure.layout.annotations}
    assert charts.weekend(replace(_result(), compression=1, ticks=_result().ticks[:60])) is None


def test_the_hdr_plot_shows_no_percentile_finer_than_what_was_counted() -> None:
    chart = waiting.percentiles(_result())
    assert chart
    line = chart.figure.data[0]
    assert [round(x) for x in line.x] == [2, 10, 100, 500]  # 99.9 % of 500 is nobody; the last is the slowest
    assert line.y[-1] == 1000


def test_lines_share_one_scale_and_show_their_longest() -> None:
    result = _result()
    result.lanes.append(
        replace(result.lanes[0], office_id="kanim-depok", depths=[depth // 2 for depth in result.lanes[0].depths])
    )
    chart = waiting.lanes(result)
    assert chart
    heights = [n - min(trace.y) for n, trace in enumerate(chart.figure.data)]
    assert heights == pytest.approx([0.8, 0.4])
    assert "Bogor · <b>44</b>" in {note.text for note in chart.figure.layout.annotations}


def test_the_map_has_all_38_provinces_and_is_light() -> None:
    chart = places.sales_map(_result())
    assert chart
    assert {trace.name for trace in chart.figure.data} == (load_provinces().keys() - {"ID-JB"}) | {"Jawa Barat"}
    assert len(load_provinces()) == 38
    assert len(json.dumps(places.province_shapes())) < 150_000
    west_java = next(trace for trace in chart.figure.data if trace.name == "Jawa Barat")
    assert west_java.fillcolor == "var(--heat5)"
    assert "100 dari 100 tempat terjual" in west_java.text
    assert "semuanya setelah 25\u00a0menit" in west_java.text  # of life


def test_a_sellout_is_told_in_time_of_life() -> None:
    slots = places.sold_out(
        replace(_result(), sold_out=[replace(_result().sold_out[0], seconds=CLOCK.second(108_000))])
    )
    assert slots
    assert slots.figure.data[0].x[0] == pytest.approx(108_000)
    assert "<b>30\u00a0jam</b>" in {note.text for note in slots.figure.layout.annotations}


def test_every_request_is_in_one_row_of_the_outcomes() -> None:
    chart = outcomes.outcomes(replace(_result(), undecided=0))
    assert chart
    assert sum(chart.figure.data[1].x) == 12_345


def test_bots_part_of_requests_and_of_places() -> None:
    chart = outcomes.people_and_bots(_result())
    assert chart
    bots = next(trace for trace in chart.figure.data if trace.name.startswith("bot"))
    assert bots.x[1] == pytest.approx(9000 / 12_345)
    assert bots.x[3] == pytest.approx(18 / 8123)


def test_the_clock_is_that_of_jakarta_and_its_opening_the_nearest_minute() -> None:
    clock = play_clock(_result())
    assert (clock.say(0), clock.say(clock.second(108_000))) == ("Jum 14:00:00", "Sab 20:00")


@pytest.mark.parametrize("second", [-8.0, 0.0, 14.0, 31.0, 149.0])
def test_the_clock_of_a_play_goes_both_ways(second: float) -> None:
    clock = play_clock(_result())
    assert clock.second(clock.real(second)) == pytest.approx(second)


@pytest.mark.parametrize(
    ("span", "most", "labels"),
    [
        ((-10, 24), 5, ["13:59:50", "14:00:00", "14:00:10", "14:00:30"]),
        ((-10, 224), 9, ["14:00<br>Jum", "14:10", "15:00", "00:00<br>Sab", "12:00", "00:00<br>Min", "12:00"]),
        ((-10, 224), 5, ["14:00<br>Jum", "14:10", "00:00<br>Sab", "00:00<br>Min"]),
    ],
)
def test_ticks_are_round_times_of_day_with_room_between_them(
    span: tuple[float, float], most: int, labels: list[str]
) -> None:
    seconds, texts = CLOCK.ticks(*span, most)
    assert texts == labels
    assert all(after - before >= (span[1] - span[0]) / most for before, after in pairwise(seconds))


@pytest.mark.parametrize(
    ("seconds", "indonesian", "english"),
    [
        (0.0042, "4,2 milidetik", "4.2 ms"),
        (0.04, "0,04 detik", "0.04 s"),
        (3.24, "3,2 detik", "3.2 s"),
        (90, "90 detik", "90 s"),
        (1500, "25 menit", "25 min"),
        (108_030, "30 jam", "30 hours"),
        (216_000, "2,5 hari", "2.5 days"),
    ],
)
def test_durations_are_said_as_people_would(seconds: float, indonesian: str, english: str) -> None:
    assert INDONESIAN.duration(seconds).replace("\u00a0", " ") == indonesian
    assert ENGLISH.duration(seconds).replace("\u00a0", " ") == english


def test_shares_never_round_to_none_or_all() -> None:
    assert [INDONESIAN.share(part, 100_000) for part in (0, 14, 5000, 61_000, 99_999, 100_000)] == [
        "0\u00a0%", "<\u00a00,1\u00a0%", "5,0\u00a0%", "61\u00a0%", ">\u00a099,9\u00a0%", "100\u00a0%",
    ]  # fmt: skip


def test_offices_are_named_as_people_say() -> None:
    assert short_name("kanim-jakarta-selatan") == "Jakarta Selatan"
    assert short_name("ulp-kanim-surabaya-ciputra-world") == "ULP Surabaya Ciputra World"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "PASS: every promise held"),
        ({"failures": ["P3: [bold]2 of 9"]}, "P3: [bold]2 of 9"),
        ({"doubts": ["the generator fell behind"]}, "INVALID: these numbers prove nothing"),
        ({"stores_seen": False}, "Only what the clients were told was checked"),
    ],
)
def test_the_terminal_ends_with_the_verdict_and_its_reasons(changes: dict[str, object], words: str) -> None:
    result = _result()
    for name, value in changes.items():
        setattr(result, name, value)
    console = Console(file=io.StringIO(), width=120)
    print_table(result, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert words in text
    assert "12,345" in text
    assert "calo-1" in text


def test_queue_numbers_are_drawn_by_arrival() -> None:
    points = [(0.2, 1), (0.3, 3), (1.5, 4)]
    chart = waiting.arrivals(replace(_result(), arrivals=Arrivals("kanim-bogor", "2026-11-30", "MORNING", points)))
    assert chart
    assert list(zip(chart.figure.data[0].x, chart.figure.data[0].y, strict=True)) == points
    assert "Bogor, Senin pagi" in chart.words[0]
    assert waiting.arrivals(RushResult()) is None
