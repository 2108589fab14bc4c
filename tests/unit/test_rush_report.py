"""The report of a rush: one language, one file, no network and no script; and the picture and the table."""

import base64
import io
import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from antrian.audit.check import Check
from antrian.audit.history import Violation
from clients.rush.judge.fairness import OVERTAKING
from clients.rush.judge.result import (
    Account,
    Arrivals,
    Brokers,
    Group,
    Latency,
    Mark,
    OfficeSales,
    RushResult,
    SoldOut,
    Tick,
)
from clients.rush.report import charts, tables
from clients.rush.report.clock import PlayClock, play_clock
from clients.rush.report.page import write_picture, write_report
from clients.rush.report.svg import Axis, Chart, Panel, Series, draw, linear_axis, log_axis
from clients.rush.report.terminal import print_table
from clients.rush.report.words import ENGLISH, INDONESIAN, Language, short_name

_SVG = "{http://www.w3.org/2000/svg}"
_LATENCY = Latency(500, 40, 90, 700, 900, 1000)
CLOCK = PlayClock(datetime.fromisoformat("2026-11-27T14:00:00+07:00"), 15, 1500, INDONESIAN.days)


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
        peaks={"offered": 2000, "waiting": 90},
        latencies={"accept": _LATENCY, "outcome": _LATENCY},
        sold_out=[SoldOut("kanim-bogor", "Kantor Imigrasi Bogor", "2026-11-30", "MORNING", 60, 3.2)],
        offices=[
            OfficeSales(
                "kanim-bogor",
                "Kantor Imigrasi Bogor",
                {"2026-11-30 MORNING": (60, 60), "2026-11-30 AFTERNOON": (30, 60), "2026-12-01 MORNING": (0, 0)},
            )
        ],
        groups=[Group("people", 900, 3345, 3400, 8000, 5990, 8105, {}), Group("bots", 9, 9000, 9000, 1000, 10, 18, {})],
        bot_accounts=[Account("calo-1", 4000, 40, 5)],
        promises=[Check("P3", OVERTAKING, 9000, 0), Check("P6", "queue numbers have no gap", 8123, 0)],
        stores_seen=True,
        cpu={"server": 77.5},
        about={"command": "antrian rush --seed 7", "opens": "2026-11-27T06:59:59+00:00", "machine": "2 cores"},
    )


def _page(folder: Path, result: RushResult | None = None, language: Language = INDONESIAN) -> str:
    write_report(result or _result(), folder / "report.html", language)
    return (folder / "report.html").read_text("utf-8")


def _drawings(page: str) -> list[str]:
    return [base64.b64decode(data).decode() for data in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page)]


def _titles(page: str) -> list[str]:
    return re.findall(r"<section><h2>(.*?)</h2>", page)


def _texts(drawing: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(drawing).iter(f"{_SVG}text")]


@pytest.mark.parametrize("language", [INDONESIAN, ENGLISH])
def test_the_page_loads_no_resources_and_runs_no_scripts(tmp_path: Path, language: Language) -> None:
    page = _page(tmp_path, language=language)
    for text in (page, *_drawings(page)):
        assert "<script" not in text
        assert not re.search(r"https?://|\bhref=|url\(|@import|<link", text.replace(_SVG.strip("{}"), ""))
        assert set(re.findall(r'\b(?:src|srcset)="(.{14})', text)) <= {"data:image/svg"}
    assert len(page) < 300_000


def test_the_page_is_in_one_language(tmp_path: Path) -> None:
    own, english = _page(tmp_path), _page(tmp_path, language=ENGLISH)
    assert '<html lang="id">' in own
    assert '<html lang="en">' in english
    for words, translation in (
        ("Lulus: semua janji ditepati.", "PASS: every promise held."),
        ("<b>12.345</b>permohonan", "<b>12,345</b>requests"),
        ("<b>8.123</b>orang mendapat tempat", "<b>8,123</b>people got a place"),
        ("ditolak: sesi sudah penuh", "rejected: session full"),
        ("Bogor (Senin pagi), setelah 3,6\u00a0detik", "Bogor (Monday morning), after 3.6\u00a0s"),
        ("mengirim 4.000 permohonan dan mendapat 5.", "sent 4,000 requests and got 5."),
        ("Yang datang dulu dilayani dulu", "Arrival order"),
        ("tidak diterima: sudah punya tempat", "refused: already has a place"),
        ("Saat pendaftaran dibuka, 14:00", "When booking opened, 14:00"),
    ):
        assert words in own
        assert translation in english
        assert words not in english
        assert translation not in own
    assert not {"submitted", "accepted", "half"} & {text for each in _drawings(own) for text in _texts(each)}
    assert not {"diterima", "separuhnya"} & {text for each in _drawings(english) for text in _texts(each)}


def test_a_full_run_has_all_sections_and_each_chart_in_a_wide_and_a_narrow_version(tmp_path: Path) -> None:
    points = [(0.2, 1), (0.3, 3), (1.5, 4)]
    result = replace(_result(), arrivals=Arrivals("kanim-bogor", "2026-11-30", "MORNING", points))
    page = _page(tmp_path, result, ENGLISH)
    assert _titles(page) == [
        "When booking opened, 14:00", "From start to end", "What became of every request", "When places sold out",
        "How long people waited", "First come, first served", "What bots got", "Promises checked", "About this run",
    ]  # fmt: skip
    widths = [int(ElementTree.fromstring(drawing).attrib["width"]) for drawing in _drawings(page)]
    assert sorted(widths) == [340] * 4 + [860] * 4


def test_sections_without_data_are_omitted(tmp_path: Path) -> None:
    result = replace(_result(), groups=_result().groups[:1], bot_accounts=[], sold_out=[], offices=[], latencies={})
    result.ticks = [replace(tick, accept_p99=0, outcome_p99=0) for tick in result.ticks]
    page = _page(tmp_path, result, ENGLISH)
    assert {"What bots got", "When places sold out", "How long people waited"}.isdisjoint(_titles(page))


def test_an_empty_run_has_a_page_without_charts(tmp_path: Path) -> None:
    page = _page(tmp_path, RushResult())
    assert _titles(page) == []
    assert "Lulus" in page


def test_a_failed_run_lists_its_reasons_with_markup_escaped(tmp_path: Path) -> None:
    violation = Violation(
        "P3", OVERTAKING, "ticket <b>9</b> & ticket 8", "kanim-bogor", [9, 8], [], [], ["redis restarted"]
    )
    result = replace(
        _result(), violations=[violation], overtakings=1, undecided=2, surprise_samples=["<script>alert(1)</script>"],
        failures=["P3: kanim-bogor: ticket <b>9</b> & ticket 8", "2 accepted requests have no outcome"],
    )  # fmt: skip
    page = _page(tmp_path, result, ENGLISH)
    assert "FAIL: a promise was broken, or a request is unaccounted for." in page
    assert "2 accepted requests have no outcome" in page
    assert page.count("ticket &lt;b&gt;9&lt;/b&gt; &amp; ticket 8") == 1  # though it is a failure and a violation
    assert "P3 Arrival order · kanim-bogor" in page
    assert "(redis restarted)" in page
    assert "<script>alert" not in page
    assert "<b>2</b>without an answer" in page


def test_names_from_scenarios_and_catalogs_are_escaped(tmp_path: Path) -> None:
    arrivals = Arrivals("kanim-<i>x", "2026-11-30", "MORNING", [(0.2, 1), (0.3, 3)])
    offices = [replace(_result().offices[0], office_id="kanim-<i>y")]
    result = replace(_result(), title_en="<i>Friday", arrivals=arrivals, offices=offices)
    page = _page(tmp_path, result, ENGLISH)
    assert "&lt;i&gt;" in page
    assert not re.search("<i>[a-z]", page, re.IGNORECASE)


def test_an_invalid_run_is_marked_and_lists_what_was_not_checked(tmp_path: Path) -> None:
    page = _page(tmp_path, replace(_result(), doubts=["the generator fell behind"], stores_seen=False))
    assert "Tidak sah" in page
    assert "the generator fell behind" in page
    assert "isi Redis dan Postgres tidak terlihat" in page


def test_the_picture_is_one_svg_with_a_one_line_summary(tmp_path: Path) -> None:
    write_picture(_result(), tmp_path / "rush.svg", ENGLISH)
    drawing = (tmp_path / "rush.svg").read_text("utf-8")
    texts = _texts(drawing)
    assert texts[0] == "The Friday rush"
    assert texts[1].startswith("12,345 requests · 8,123 people got a place · 99 of 100")
    assert {"submitted", "14:00:00"} <= set(texts)
    assert "prefers-color-scheme:dark" in drawing
    with pytest.raises(ValueError, match="nothing was played"):
        write_picture(RushResult(), tmp_path / "none.svg", ENGLISH)


def test_the_opening_and_the_whole_weekend_have_separate_charts() -> None:
    opening, weekend = charts.opening(_result(), INDONESIAN), charts.whole_run(_result(), INDONESIAN)
    assert opening
    assert weekend
    submitted, waiting = opening.panels[0].series[0].points, opening.panels[1].series[0].points
    assert submitted[0][0] == -5
    assert submitted[-1][0] == pytest.approx(CLOCK.second(60))
    assert max(rate for _, rate in submitted) == 2000
    assert waiting[0] == (-4.0, 95.0)
    assert weekend.panels[0].series[0].points[-1][0] == 220
    assert weekend.marks == [(140.0, "Sabtu pagi")]
    assert "Sab" in " ".join(weekend.time_ticks(9)[1])
    assert charts.whole_run(replace(_result(), compression=1, ticks=_result().ticks[:60]), INDONESIAN) is None


def test_requests_told_to_retry_have_their_own_curve() -> None:
    asked = charts.opening(replace(_result(), ticks=[replace(tick, again=3) for tick in _result().ticks]), ENGLISH)
    plain = charts.opening(_result(), ENGLISH)
    assert asked
    assert plain
    assert {one.name for one in asked.panels[0].series} - {one.name for one in plain.panels[0].series} == {
        "asked to retry"
    }


def test_waits_are_drawn_if_there_were_any() -> None:
    quiet = [replace(tick, accept_p50=0, accept_p99=0) for tick in _result().ticks[:20]]
    chart = charts.waits(replace(_result(), ticks=quiet + _result().ticks[20:]), ENGLISH)
    assert chart
    accept, outcome = chart.panels
    assert (accept.title, outcome.title) == ("Submitted to accepted", "Submitted to decided")
    assert [len(panel.series[1].points) for panel in chart.panels] == [205, 225]
    assert {y for _, y in accept.series[1].points} == {300}


def test_queue_numbers_are_drawn_by_arrival() -> None:
    points = [(0.2, 1), (0.3, 3), (1.5, 4)]
    result = replace(_result(), arrivals=Arrivals("kanim-bogor", "2026-11-30", "MORNING", points))
    chart = charts.arrivals(result, INDONESIAN)
    assert chart
    assert list(chart.panels[0].series[0].points) == points
    assert "Bogor, Senin pagi" in chart.caption
    assert charts.arrivals(RushResult(), INDONESIAN) is None


def test_every_request_is_counted_in_one_bar_of_the_outcomes() -> None:
    bars = tables.outcomes(replace(_result(), cancelled=7, undecided=3, unanswered=2), ENGLISH)
    counts = [int(count.replace(",", "")) for count in re.findall(r"<b>([\d,]+) ·", bars)]
    assert counts == [6000, 7, 3000, 3345, 3, 2]
    assert "refused: already has a place" in bars


def test_a_slot_shows_when_it_sold_out_or_how_full_it_is() -> None:
    result = replace(_result(), sold_out=[replace(_result().sold_out[0], seconds=CLOCK.second(108_000))])
    cells = re.findall(r'<td class="(.*?)">(.*?)</td>', tables.sold_out(result, ENGLISH))
    assert cells == [("heat heat5", "30\u00a0hours"), ("heat heat2", "50\u00a0%"), ("heat", "–")]  # hours of life


@pytest.mark.parametrize(("language", "words"), [(ENGLISH, "without limits"), (INDONESIAN, "tanpa pembatasan")])
def test_the_report_shows_what_brokers_got_with_and_without_limits(
    tmp_path: Path, language: Language, words: str
) -> None:
    limited = replace(_result(), brokers=Brokers(1800, 1800, 750, 7500, 30, 30))
    baseline = replace(_result(), brokers=Brokers(1800, 1800, 6000, 8000, 300, 270), limits=False)
    write_report(limited, tmp_path / "page.html", language, baseline)
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r"<b>([^<]*)</b>", page)[-4:] == [
        f"{language.number(750)} · {language.share(750, 7500)}",
        f"{language.number(30)} · {language.share(30, 30)}",
        f"{language.number(6000)} · {language.share(6000, 8000)}",
        f"{language.number(270)} · {language.share(270, 300)}",
    ]
    assert words in page
    write_report(_result(), tmp_path / "page.html", language, baseline)
    assert words not in (tmp_path / "page.html").read_text(), "a run without brokers has no such section"


def test_bots_are_shown_with_their_share_of_requests_and_places() -> None:
    shares = re.findall(r"<b>(.*?)</b>", tables.people_and_bots(_result(), ENGLISH))
    assert [share.replace("\u00a0", "") for share in shares] == ["1.0%", "73%", "11%", "0.2%"]


def test_a_promise_sums_its_checks_and_violations() -> None:
    checks = [Check("P3", "one", 10, 1), Check("P2", "two", 5, 0), Check("P3", "three", 20, 2)]
    cells = re.findall(r"<td.*?>(.*?)</td>", tables.promises(replace(_result(), promises=checks), ENGLISH))
    assert cells == [
        "P2. Accepted is never lost", "5", '<span class="good">0</span>',
        "P3. Arrival order", "30", '<span class="bad">3</span>',
    ]  # fmt: skip


def test_a_linear_axis_ends_at_a_round_number_above_all_values() -> None:
    assert [value for value, _ in linear_axis(929, str).ticks] == [0, 200, 400, 600, 800, 1000]
    assert [value for value, _ in linear_axis(3, str).ticks] == [0, 1, 2, 3]
    assert linear_axis(0, str).high == 1


def test_a_logarithmic_axis_takes_all_values_between_round_ones() -> None:
    axis = log_axis([0.01, 30, 180], 0.1, str)
    assert (axis.low, axis.high) == (0.1, 200)
    assert [value for value, _ in axis.ticks] == [0.1, 1, 10, 100]
    assert [axis.share(value) for value in (0.01, 0.1, 200)] == [0, 0, 1]
    assert Axis(1, 100, [], log=True).share(10) == pytest.approx(0.5)


def test_a_curve_lies_within_its_plot_and_a_step_holds_its_value() -> None:
    series = Series("", "accepted", [(0, 0), (5, 10), (10, 10)], steps=True)
    chart = Chart(
        "a & b", "", [Panel("rate", Axis(0, 10, [(0, "0"), (10, "10")]), [series])], (0, 10), lambda _: ([], [])
    )
    drawing = ElementTree.fromstring(draw(chart, 340))
    [path] = [one.attrib["d"] for one in drawing.iter(f"{_SVG}path")]
    x0, bottom, x1, top = map(float, re.findall(r"[\d.]+", path)[:4])
    low, high = (float(line.attrib["y1"]) for line in drawing.iter(f"{_SVG}line"))
    assert re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+){2}", path)
    assert (bottom, top) == (low, high)
    assert bottom - top == 190
    assert 0 < x0 < x1 < 340


def test_the_clock_is_that_of_jakarta_and_its_opening_the_nearest_minute() -> None:
    clock = play_clock(_result(), INDONESIAN)
    assert (clock.day(0), clock.time(0, seconds=True)) == ("Jum", "14:00:00")
    assert (clock.day(108_000), clock.time(108_000)) == ("Sab", "20:00")
    assert play_clock(_result(), ENGLISH).day(0) == "Fri"


@pytest.mark.parametrize("second", [-8.0, 0.0, 14.0, 31.0, 149.0])
def test_converting_between_scenario_and_wall_clock_is_reversible(second: float) -> None:
    clock = play_clock(_result(), INDONESIAN)
    assert clock.second(clock.real(second)) == pytest.approx(second)


@pytest.mark.parametrize(
    ("span", "most", "labels"),
    [
        ((-10, 24), 5, ["13:59:50", "14:00:00", "14:00:10", "14:00:30"]),
        ((-10, 224), 9, ["14:00\nJum", "14:10", "15:00", "00:00\nSab", "12:00", "00:00\nMin", "12:00"]),
        ((-10, 224), 5, ["14:00\nJum", "14:10", "00:00\nSab", "00:00\nMin"]),
    ],
)
def test_ticks_are_round_times_of_day_with_a_minimum_distance(
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
def test_durations_are_formatted_for_people(seconds: float, indonesian: str, english: str) -> None:
    assert INDONESIAN.duration(seconds).replace("\u00a0", " ") == indonesian
    assert ENGLISH.duration(seconds).replace("\u00a0", " ") == english


def test_shares_never_round_to_0_or_100_percent() -> None:
    assert [INDONESIAN.share(part, 100_000) for part in (0, 14, 5000, 61_000, 99_999, 100_000)] == [
        "0\u00a0%", "<\u00a00,1\u00a0%", "5,0\u00a0%", "61\u00a0%", ">\u00a099,9\u00a0%", "100\u00a0%",
    ]  # fmt: skip


def test_offices_are_shown_with_their_everyday_names() -> None:
    assert short_name("kanim-jakarta-selatan") == "Jakarta Selatan"
    assert short_name("ulp-kanim-surabaya-ciputra-world") == "ULP Surabaya Ciputra World"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "PASS: every promise held"),
        ({"failures": ["P3: [bold]2 of 9"]}, "P3: [bold]2 of 9"),
        ({"doubts": ["the generator fell behind"]}, "INVALID: these numbers prove nothing"),
        ({"stores_seen": False}, "Only the responses to the clients were checked"),
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
