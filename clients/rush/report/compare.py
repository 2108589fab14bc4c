"""Two runs side by side, with ratios of the second to the first: on the terminal, as data, and as a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clients.rush.judge.result import RushResult
from clients.rush.report.charts import over_time
from clients.rush.report.clock import PlayClock, play_clock
from clients.rush.report.drawing import ACCEPTED, DECIDED, Chart
from clients.rush.report.page import Words, both, chart_card, page, section, table
from clients.rush.report.waiting import hdr_plot
from clients.rush.report.words import ENGLISH, INDONESIAN, LATENCIES, PROGRAMS, VERDICTS, Tongue

_COLOURS = (ACCEPTED, DECIDED)
_LONG = {"machine", "versions"}
_SAME = 0.02
"""A ratio so near 1 is not worth a look."""


@dataclass(frozen=True)
class Row:
    """A fact of both runs; ratio is b / a, None where there is none to say."""

    name_id: str
    name_en: str
    a: float | str | None
    b: float | str | None
    unit: str = ""
    ratio: float | None = None


def comparison(a: RushResult, b: RushResult) -> list[Row]:
    """Both runs' facts in the order in which one reads them."""
    return [*_load_rows(a, b), *_outcome_rows(a, b), *_pace_rows(a, b), *_cost_rows(a, b)]


def warnings(a: RushResult, b: RushResult) -> list[Words]:
    """Why the ratios mislead, in Indonesian and English: the runs are not of the same load, or not to be relied on."""
    found = []
    for row in _load_rows(a, b):
        if row.name_en in {"scenario", "requests", "compression", "seed", "machine"} and row.a != row.b:
            own, english = (f"{_say(row.a, row.unit, t)}; {_say(row.b, row.unit, t)}" for t in (INDONESIAN, ENGLISH))
            found.append(
                (
                    f"{row.name_id.capitalize()} tidak sama ({own}), jadi perbandingannya menyesatkan",
                    f"The runs differ in {row.name_en} ({english}), so the ratios mislead",
                )
            )
    for name, run in (("A", a), ("B", b)):
        if run.verdict == "INVALID":
            found.append((f"{name} tidak sah", f"{name} is INVALID: {'; '.join(run.doubts)}"))
    return found


def print_comparison(a: RushResult, b: RushResult, console: Console, names: tuple[str, str]) -> None:
    """Prints the facts with their ratios, then what makes these mislead."""
    facts = Table("", title="Two rushes", title_justify="left")
    for name in names:
        facts.add_column(name, justify="right", overflow="fold")
    facts.add_column("ratio", justify="right")
    for row in _shown(a, b):
        same = row.ratio is None or abs(row.ratio - 1) < _SAME
        values = (_say(value, row.unit, ENGLISH) for value in (row.a, row.b))
        facts.add_row(row.name_en, *values, _times(row.ratio, ENGLISH), style="dim" if same else "")
    console.print(facts)
    for _, words in warnings(a, b):
        console.print(f"  {words}", style="yellow", highlight=False)


def write_comparison(a: RushResult, b: RushResult, file: Path, names: tuple[str, str]) -> None:
    """Writes the facts, and both runs drawn into the same charts, as one file that needs no network."""
    charts = list(_charts(a, b, names))
    doubts = warnings(a, b)
    warned = "".join(
        f'<li>{escape(own)}. <span class="en" lang="en">{escape(english)}.</span></li>' for own, english in doubts
    )
    titles = "".join(
        both((f"{letter}: {escape(name)} · {escape(run.title_id)} · {VERDICTS[run.verdict][0]}",
              f"{escape(run.title_en)} · {run.verdict}"))
        for letter, name, run in zip("AB", names, (a, b), strict=True)
    )  # fmt: skip
    lines = [
        (
            f'{escape(row.name_id)}<br><span class="en" lang="en">{escape(row.name_en)}</span>',
            *(escape(_say(value, row.unit, INDONESIAN)) for value in (row.a, row.b)),
            _times(row.ratio, INDONESIAN),
        )
        for row in _shown(a, b)
    ]
    body = (
        f'<section class="card verdict{" invalid" * bool(doubts)}">{titles}'
        + (f'<ul class="reasons">{warned}</ul>' if doubts else "")
        + "</section>"
        + section(("Sepanjang waktu", "Over time"), *(chart_card(chart) for chart in charts if chart.wide))
        + section(("Berapa lama orang menunggu", "How long people waited"),
                  *(chart_card(chart) for chart in charts if not chart.wide))
        + section(("Angka-angkanya", "The numbers"),
                  f'<article class="card wide">{table(("", "A", "B", "B / A"), lines, (1, 2, 3))}</article>')
    )  # fmt: skip
    file.write_text(page(("Dua uji berdampingan", "Two rushes, side by side"), body, charts), "utf-8")


def _shown(a: RushResult, b: RushResult) -> list[Row]:
    """All facts but for the long ones that are the same."""
    return [row for row in comparison(a, b) if row.name_en not in _LONG or row.a != row.b]


def _load_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    yield _row("hasil", "verdict", a.verdict, b.verdict)
    yield _row("skenario", "scenario", a.scenario, b.scenario)
    yield _row("permohonan", "requests", a.requests, b.requests)
    yield _row("percepatan", "compression", a.compression, b.compression)
    for own, key in (("benih", "seed"), ("mesin", "machine"), ("versi", "versions")):
        yield _row(own, key, a.about.get(key), b.about.get(key))


def _outcome_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    yield _row("tekanan", "presses", a.presses, b.presses)
    yield _row("diterima", "accepted", a.accepted, b.accepted)
    yield _row("mendapat tempat", "confirmed", a.confirmed, b.confirmed)
    yield _row("orang dengan tempat", "people with a place", a.people_confirmed, b.people_confirmed)
    yield _row("ditolak", "rejected", sum(a.rejected.values()), sum(b.rejected.values()))
    yield _row("tidak diterima", "refused", sum(a.refused.values()), sum(b.refused.values()))
    yield _row("tanpa jawaban", "unanswered or undecided", a.unanswered + a.undecided, b.unanswered + b.undecided)
    yield _row("sesi habis", "slots sold out", len(a.sold_out), len(b.sold_out))
    yield _row("pelanggaran janji", "breaches", _broken(a), _broken(b))
    yield _row("didahului", "overtakings", a.overtakings, b.overtakings)


def _pace_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    for kind, own in (("offered", "menekan"), ("accepted", "diterima"), ("decided", "diputuskan")):
        yield _row(f"paling banyak {own}", f"peak {kind}", a.peaks.get(kind), b.peaks.get(kind), "/s")
    yield _row("antrean terpanjang", "most in line", a.peaks.get("in_line"), b.peaks.get("in_line"))
    for kind, (own, english) in LATENCIES.items():
        one, other = a.latencies.get(kind), b.latencies.get(kind)
        if one or other:
            for name, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
                yield _row(
                    f"{own}, {name}", f"{english}, {name}", getattr(one, key, None), getattr(other, key, None), "ms"
                )


def _cost_rows(a: RushResult, b: RushResult) -> Iterator[Row]:
    for name, (own, english) in PROGRAMS.items():
        if name in a.cpu.seconds or name in b.cpu.seconds:
            words = f"CPU per 1.000 diterima: {own}", f"CPU per 1,000 accepted: {english}"
            yield _row(*words, _cost(a, name), _cost(b, name), "s")
    late = a.generator.late_p99, b.generator.late_p99
    yield _row("pembangkit beban terlambat, p99", "load generator late, p99", *late, "ms")


def _row(name_id: str, name_en: str, a: float | str | None, b: float | str | None, unit: str = "") -> Row:
    ratio = b / a if isinstance(a, int | float) and isinstance(b, int | float) and a else None
    return Row(name_id, name_en, a, b, unit, ratio)


def _broken(run: RushResult) -> int:
    return sum(check.breaches for check in run.promises)


def _cost(run: RushResult, program: str) -> float | None:
    """CPU seconds for 1,000 accepted requests."""
    return 1000 * run.cpu.seconds[program] / run.accepted if program in run.cpu.seconds and run.accepted else None


def _charts(a: RushResult, b: RushResult, names: tuple[str, str]) -> Iterator[Chart]:
    runs = [(f"{letter}: {name}", colour, run)
            for letter, name, colour, run in zip("AB", names, _COLOURS, (a, b), strict=True)]  # fmt: skip
    alike = (a.compression, a.real_seconds) == (b.compression, b.real_seconds)
    clock = play_clock(a) if alike else PlayClock(play_clock(a).opens, 0, 1)
    lines = [(name, colour, run.ticks, run.tick) for name, colour, run in runs]
    for key, title, value in (
        ("accepted", ("Diterima setiap detik", "Accepted in each second"), "accepted"),
        ("in_line", ("Yang menunggu dalam antrean", "Waiting in line"), "in_line"),
    ):
        if any(run.ticks for run in (a, b)):
            words = ("Kedua uji pada waktu yang sama.", "Both runs, by the same time.")
            yield Chart(key, title, words, over_time(lines, value, clock, a.marks if alike else ()), wide=True)
    for kind in ("accept", "outcome"):
        drawn = [(name, colour, run.latencies[kind]) for name, colour, run in runs if kind in run.latencies]
        if drawn:
            own, english = LATENCIES[kind]
            words = ("Yang lebih rendah lebih cepat.", "The lower is the faster.")
            yield Chart(kind, (own.capitalize(), english.capitalize()), words, hdr_plot(drawn))


def _say(value: float | str | None, unit: str, tongue: Tongue) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    fine = value != round(value) and value < 100
    return f"{tongue.number(value, (3 if value < 1 else 1) if fine else 0)}\u00a0{unit}".rstrip()


def _times(ratio: float | None, tongue: Tongue) -> str:
    return "" if ratio is None else f"{tongue.number(ratio, 2)}×"
