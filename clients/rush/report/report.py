"""The report of a run: one HTML file for people, with everything in it."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from clients.rush.judge.fairness import OVERTAKING
from clients.rush.judge.result import RushResult
from clients.rush.report import charts, outcomes, places, story, waiting
from clients.rush.report.clock import play_clock
from clients.rush.report.drawing import Chart
from clients.rush.report.page import both, card, chart_card, columns, facts, page, section, table
from clients.rush.report.words import ENGLISH, HABITS, INDONESIAN, PROGRAMS, PROMISES

_CHARTS: tuple[Callable[[RushResult], Chart | None], ...] = (
    charts.opening,
    charts.weekend,
    outcomes.outcomes,
    outcomes.people_and_bots,
    places.sales_map,
    places.provinces,
    places.sold_out,
    places.fullness,
    waiting.arrivals,
    waiting.waits,
    waiting.percentiles,
    waiting.lanes,
    charts.cpu,
)
_ABOUT = {
    "seed": ("benih", "seed"),
    "target": ("sasaran", "target"),
    "opens": ("pendaftaran dibuka, menurut jam layanan", "booking opened, by the service's clock"),
    "ran": ("dijalankan", "ran at"),
    "seconds": ("lamanya, detik", "seconds that it took"),
    "machine": ("mesin", "machine"),
    "versions": ("versi", "versions"),
}


def write_report(result: RushResult, file: Path) -> None:
    """Writes the report as one file that needs no network."""
    drawn = {chart.name: chart for make in _CHARTS if (chart := make(result))}

    def cards(*names: str) -> str:
        return "".join(chart_card(drawn.get(name)) for name in names)

    body = "".join(
        (
            story.context(result),
            story.verdict(result),
            f'<section class="card story">{story.story(result)}</section>',
            story.tiles(result),
            section(("Apa yang terjadi", "What happened"), cards("opening", "weekend")),
            section(
                ("Siapa mendapat apa", "Who got what"),
                columns(cards("outcomes", "people_and_bots"), _bot_accounts(result), _habits(result)),
            ),
            section(
                ("Ke mana tempat-tempatnya", "Where the places went"),
                columns(cards("sales_map", "fullness", "provinces", "sold_out")),
            ),
            section(("Adilkah urutannya", "Was the order fair"), columns(_fairness(result), cards("arrivals"))),
            section(
                ("Berapa lama orang menunggu", "How long people waited"),
                columns(cards("waits", "percentiles")),
                cards("lanes"),
            ),
            section(("Janji yang diperiksa", "Promises checked"), _promises(result)),
            section(("Beban dan mesin", "Load and machine"), columns(cards("cpu"), _load(result)), _about(result)),
        )
    )
    title = result.title_id or "Antrian", result.title_en or "A rush"
    file.write_text(page(title, body, drawn.values()), "utf-8")


def _bot_accounts(result: RushResult) -> str:
    if not result.bot_accounts:
        return ""
    number = INDONESIAN.number
    head = (
        ("akun", "account"),
        ("permohonan", "requests"),
        ("diterima ke antrean", "accepted"),
        ("tempat", "places"),
    )
    lines = [
        (escape(account.name), number(account.requests), number(account.accepted), number(account.places))
        for account in result.bot_accounts
    ]
    words = both(
        (
            "Satu akun hanya dapat memegang tempat untuk lima orang, berapa kali pun mesinnya menekan.",
            "An account holds places for at most five people, however often its machine presses.",
        )
    )
    return card(
        ("Akun bot yang paling rajin", "The busiest accounts of bots"),
        words + table(head, lines, (1, 2, 3)),
        wide=False,
    )


def _fairness(result: RushResult) -> str:
    compared = sum(check.examined for check in result.promises if check.what == OVERTAKING)
    if not compared:
        return ""
    verdict = "bad" if result.overtakings else "good"
    number = f'<p class="big {verdict}">{INDONESIAN.number(result.overtakings)}</p>'
    words = both(
        (
            (
                f"kali ada yang didahului, di antara {INDONESIAN.number(compared)} permohonan yang diterima: siapa pun yang sudah "
                "dijawab sebelum orang lain menekan, nomor kedatangannya di kantor itu lebih kecil."
            ),
            (
                f"times somebody was overtaken, among {ENGLISH.number(compared)} accepted requests: whoever was answered before "
                "another pressed has the smaller arrival number at that office."
            ),
        )
    )
    order = [
        f"<li><b>{check.promise}</b> {PROMISES[check.promise][0]}: {INDONESIAN.number(check.examined)} diperiksa, "
        f'{INDONESIAN.number(check.breaches)} dilanggar<br><span class="en" lang="en">{escape(check.what)}</span></li>'
        for check in sorted(result.promises, key=lambda check: check.promise)
        if check.promise in {"P3", "P6"}
    ]
    return card(
        ("Nomor antrean dan urutan datang", "Queue numbers and arrival"),
        f'<div class="fair">{number}<div>{words}<ul>{"".join(order)}</ul></div></div>',
    )


def _promises(result: RushResult) -> str:
    lines, before = [], ""
    for check in sorted(result.promises, key=lambda check: int(check.promise[1:])):
        name = f"<b>{PROMISES.get(check.promise, ('', ''))[0]}</b><br>" if check.promise != before else ""
        verdict = "bad" if check.breaches else "good" if check.examined else ""
        lines.append(
            (
                check.promise if name else "",
                f'{name}<span class="en" lang="en">{escape(check.what)}</span>',
                INDONESIAN.number(check.examined),
                f'<span class="{verdict}">{INDONESIAN.number(check.breaches)}</span>',
            )
        )
        before = check.promise
    head = ("", ("janji", "promise"), ("diperiksa", "checked"), ("dilanggar", "broken"))
    return f'<article class="card wide">{table(head, lines, (2, 3))}</article>' if lines else ""


def _load(result: RushResult) -> str:
    played, number = result.generator, INDONESIAN.number
    late = f"{number(played.late_p50, 1)} · {number(played.late_p99, 1)} · {number(played.late_most)} ms"
    items = [
        ("proses pembangkit beban", "processes of the load generator", str(played.processes)),
        ("tekanan terlambat: separuh · 99 dari 100 · paling lama", "presses left late: p50 · p99 · most", late),
        *(
            (f"prosesor: {PROGRAMS.get(name, (name, name))[0]}", f"CPU: {PROGRAMS.get(name, (name, name))[1]}",
             f"{number(seconds, 1)} detik")
            for name, seconds in result.cpu.seconds.items()
        ),
    ]  # fmt: skip
    words = both(
        (
            "Waktu tunggu dihitung dari saat orang seharusnya menekan, bukan dari saat pembangkit beban sempat menekan.",
            "Waits count from the moment when a person meant to press, not from when the load generator got to it.",
        )
    )
    return card(
        ("Bebannya, dan bagaimana dimainkan", "The load, and how it was played"), words + facts(items), wide=False
    )


def _habits(result: RushResult) -> str:
    items = [(HABITS.get(name, name), name, INDONESIAN.number(count)) for name, count in result.habits.items() if count]
    title = ("Apa lagi yang dilakukan orang-orangnya", "What else the crowd did")
    return card(title, facts(items), wide=False) if items else ""


def _about(result: RushResult) -> str:
    told = result.about | (
        {"opens": f"{play_clock(result).opens:%Y-%m-%d %H:%M} WIB"} if "opens" in result.about else {}
    )
    items = [(*words, told[name]) for name, words in _ABOUT.items() if name in told]
    words = "".join(f"<span>{escape(word)}</span> " for word in result.about.get("command", "").split(" "))
    command = f"<pre>{words}</pre>" if words else ""
    return card(("Tentang uji ini", "About this run"), command + facts(items)) if items else ""
