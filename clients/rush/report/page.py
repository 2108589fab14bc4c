"""Writes the report, one HTML file in one language without scripts or links to other files, and the picture of a rush."""

import base64
import math
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from clients.rush.judge.result import RushResult
from clients.rush.report import charts, head, tables
from clients.rush.report.svg import Chart, draw
from clients.rush.report.words import Language

_WIDE, _NARROW = 860, 340


def write_report(result: RushResult, file: Path, language: Language, baseline: RushResult | None = None) -> None:
    """Writes the report. baseline: another run, whose brokers are shown next to this one's. Raises OSError."""
    t = language
    sections = (
        _chart(charts.opening(result, t)),
        _chart(charts.whole_run(result, t)),
        _section(
            t("Nasib setiap permohonan", "What became of every request"),
            t("Setiap permohonan berakhir di tepat satu baris.", "Every request ends in exactly one row."),
            tables.outcomes(result, t) if result.requests else "",
        ),
        _section(
            t("Kapan tempatnya habis", "When places sold out"),
            tables.sold_out_caption(result, t),
            tables.sold_out(result, t),
        ),
        _chart(charts.waits(result, t), tables.latencies(result, t)),
        _chart(charts.arrivals(result, t)),
        _section(
            t("Bagian untuk bot", "What bots got"),
            tables.bots_caption(result, t),
            tables.people_and_bots(result, t),
        ),
        _section(
            t("Bagian untuk calo", "What brokers got"),
            tables.brokers_caption(result, t),
            tables.brokers(result, baseline, t) if result.brokers else "",
        ),
        _section(t("Janji yang diperiksa", "Promises checked"), "", tables.promises(result, t)),
        _section(
            t("Tentang uji ini", "About this run"),
            t(
                "Waktu tunggu dihitung sejak orang hendak menekan tombol, juga kalau pembangkit beban terlambat.",
                "Waits count from when a person meant to submit, even where the load generator was late.",
            ),
            tables.about(result, t),
        ),
    )
    text = Template(files("clients.rush.report").joinpath("page.html").read_text("utf-8")).substitute(
        language=t.code,
        title=escape(t(result.title_id, result.title_en) or "Antrian"),
        body=head.head(result, t) + "".join(sections),
    )
    file.write_text(text, "utf-8")


def write_picture(result: RushResult, file: Path, language: Language) -> None:
    """Writes the opening of a rush as an SVG for the README. Raises ValueError if nothing was played, and OSError."""
    chart = charts.opening(result, language)
    if chart is None:
        raise ValueError(f"nothing was played, so there is no picture for {file}")
    title = language(result.title_id, result.title_en)
    chart = replace(chart, shaded_from=math.inf)  # the picture has no caption to explain the shade
    file.write_text(draw(chart, _WIDE, (title, head.headline(result, language))), "utf-8")


def _section(title: str, caption: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(caption)}</p>{inside}</section>" if inside else ""


def _chart(chart: Chart | None, below: str = "") -> str:
    """Draws a chart for wide and for narrow screens. The browser shows the one that fits."""
    if not chart:
        return ""
    wide, narrow = (
        "data:image/svg+xml;base64," + base64.b64encode(draw(chart, width).encode()).decode()
        for width in (_WIDE, _NARROW)
    )
    alternative = escape(f"{chart.title}. {chart.caption}")
    picture = f'<picture><source media="(max-width: 600px)" srcset="{narrow}"><img src="{wide}" alt="{alternative}"></picture>'
    return _section(chart.title, chart.caption, picture + below)
