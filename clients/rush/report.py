"""The report: one HTML file for people, with everything in it. Indonesian first, English below it."""

import json
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from clients.rush import charts
from clients.rush.result import Latency, RushResult

_CHARTS = (
    ("per_second", "wide", "Antrean sekitar pukul 14:00", "What was pressed, accepted and decided in each second"),
    ("waits", "", "Berapa lama sampai diterima", "Wait until accepted, by the second of pressing"),
    ("latencies", "", "Berapa lama, dari yang tercepat ke yang terlambat", "Latency by percentile"),
    (
        "fullness",
        "wide",
        "Kantor yang paling dicari: seberapa penuh",
        "The most wanted offices by day and session; dark red is sold out",
    ),
    (
        "sold_out",
        "",
        "Sesi yang paling cepat habis",
        "The slots that sold out first (places): seconds after the opening",
    ),
    ("provinces", "", "Tempat yang diberikan per provinsi", "Places given, by province"),
    ("outcomes", "wide", "Nasib setiap permohonan", "What became of each request (logarithmic)"),
)
_PROMISES = {
    "P1": "Kuota tidak pernah terlampaui",
    "P2": "Yang sudah diterima tidak pernah hilang",
    "P3": "Yang datang dulu dilayani dulu",
    "P4": "Satu orang, satu tempat",
    "P5": "Menekan lagi tidak membuat antrean baru",
    "P6": "Nomor antrean urut, tanpa lompatan",
    "P7": "Status tidak pernah mundur",
    "P14": "NIK tidak pernah tersimpan terbuka",
}
_ABOUT = {
    "command": "perintah · command",
    "seed": "benih · seed",
    "opens": "pendaftaran dibuka · booking opened (service's clock)",
    "ran": "dijalankan · ran at",
    "machine": "mesin · machine",
    "versions": "versi · versions",
}


def write_report(result: RushResult, file: Path) -> None:
    """Writes the report as one file that needs no network."""
    template = Template(files("clients.rush").joinpath("report.html").read_text("utf-8"))
    figures = {name: json.loads(getattr(charts, name)(result).to_json()) for name, *_ in _CHARTS}
    page = template.substitute(
        headline=escape(_headline(result)),
        verdict="Semua janji dipegang. Every promise held." if result.passed else "Ada yang tidak beres. It failed.",
        verdict_class="" if result.passed else "bad",
        story=_story(result),
        tiles="".join(f'<div class="card tile"><b>{b}</b><span>{i}</span><span class="en">{e}</span></div>'
                      for b, i, e in _tiles(result)),
        charts="".join(
            f'<div class="card {width}"><h2>{title}</h2><p class="en">{english}</p><div id="{name}"></div></div>'
            for name, width, title, english in _CHARTS
        ),
        promises=_promises(result),
        about="".join(f"<dt>{_ABOUT.get(k, k)}</dt><dd>{escape(v)}</dd>" for k, v in _about(result).items()),
        plotly=get_plotlyjs(),
        figures=json.dumps(figures).replace("</", "<\\/"),
    )  # fmt: skip
    file.write_text(page, "utf-8")


def _headline(result: RushResult) -> str:
    opens = result.about.get("opens")
    day = f"{datetime.fromisoformat(opens):%A %d %B %Y}" if opens else "Friday"
    return f"The Friday rush on {len(result.offices)} immigration offices: booking opens on {day}, 14:00 WIB"


def _story(result: RushResult) -> str:
    full, refused = result.rejected.get("SLOT_FULL", 0), sum(result.refused.values())
    indonesian = (
        f"{_n(result.requests)} permohonan datang ke {len(result.offices)} kantor. {_n(result.confirmed)} mendapat tempat, "
        f"untuk {_n(result.people_confirmed)} orang. {_n(full)} mendengar bahwa sesinya sudah penuh, {_n(refused)} tidak "
        f"diterima dan tahu sebabnya, dan {_n(result.undecided)} tidak mendapat jawaban. {len(result.sold_out)} sesi habis."
    )
    english = (
        f"{result.requests:,} requests for {len(result.offices)} offices: {result.confirmed:,} got places, for "
        f"{result.people_confirmed:,} people; {full:,} found their session full; {refused:,} were refused with a reason; "
        f"{result.undecided:,} had no answer. {len(result.sold_out)} sessions sold out."
    )
    failures = "".join(f'<p class="broken">{escape(text)}</p>' for text in result.failures)
    failures += "".join(f'<p class="en">{escape(text)}</p>' for text in result.surprise_samples)
    late = ""
    if result.generator_behind or result.generator_held:
        late = (
            f'<p class="en">Pembangkit beban terlambat hingga {_n(round(result.generator_late_ms))} ms (p99); '
            "waktu tunggu tetap dihitung dari saat orang menekan. The load generator was late; waits count from the "
            "moment that a person meant to press.</p>"
        )
    return f'<p>{indonesian}</p><p class="en">{english}</p>{failures}{late}'


def _tiles(result: RushResult) -> list[tuple[str, str, str]]:
    return [
        (_n(result.requests), "permohonan", f"requests; pressed {result.presses:,} times"),
        (_n(result.confirmed), "mendapat tempat", f"confirmed, {result.people_confirmed:,} people"),
        (_n(len(result.sold_out)), "sesi habis", "slots sold out"),
        (_n(result.peak_offered), "ditekan pada detik tersibuk", "pressed in the busiest second"),
        (_time(result.accept), "sampai diterima, separuhnya", _slowest(result.accept, "until accepted")),
        (_time(result.outcome), "sampai ada hasil, separuhnya", _slowest(result.outcome, "until the outcome")),
        (_n(result.early), "menekan sebelum 14:00", "pressed early, told to come back"),
        (_n(result.repeated), "menekan lagi", f"pressed again; {result.mismatches} got another booking"),
    ]


def _promises(result: RushResult) -> str:
    head = '<tr><th></th><th>janji <span class="en">promise</span></th>'
    rows = [f'{head}<th class="number">diperiksa</th><th class="number">dilanggar</th></tr>']
    before = ""
    for check in sorted(result.promises, key=lambda check: int(check.promise[1:])):
        name = "" if check.promise == before else f"<b>{_PROMISES.get(check.promise, '')}</b><br>"
        verdict = "broken" if check.breaches else "good"
        rows.append(
            f"<tr><td>{'' if check.promise == before else check.promise}</td>"
            f'<td>{name}<span class="en">{escape(check.what)}</span></td>'
            f'<td class="number">{_n(check.examined)}</td><td class="number {verdict}">{_n(check.breaches)}</td></tr>'
        )
        before = check.promise
    return "".join(rows)


def _about(result: RushResult) -> dict[str, str]:
    return {name: result.about[name] for name in _ABOUT if name in result.about} | {
        "pembangkit beban · load generator": f"{result.generator_cpu_seconds:.0f} CPU seconds, on the same machine; "
        f"99 % of the presses left within {result.generator_late_ms:.0f} ms of their moment",
    }


def _n(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def _time(latency: Latency | None) -> str:
    return f"{latency.p50 / 1000:.2f} s".replace(".", ",") if latency else "-"


def _slowest(latency: Latency | None, words: str) -> str:
    return f"{words}: half; 99 % within {latency.p99 / 1000:.2f} s" if latency else words
