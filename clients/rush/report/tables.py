"""The report's tables and bars: outcomes, sold-out slots, latencies, bots, promises, and facts about the run."""

from collections.abc import Iterable, Sequence
from html import escape

from antrian.audit.check import Check
from clients.rush.judge.result import OfficeSales, RushResult
from clients.rush.report.clock import play_clock
from clients.rush.report.words import LATENCIES, PROGRAMS, PROMISES, REASONS, Language, short_name

_OFFICES = 12
_HABITS = {
    "submitted early": ("menekan sebelum dibuka", "submitted before the opening"),
    "submitted again": ("menekan lagi karena tidak sabar", "submitted again, impatient"),
    "second phone": ("mencoba juga dari HP kedua", "tried from a second phone, too"),
    "neighbouring province": ("mencoba kantor di provinsi tetangga", "tried an office in a neighbouring province"),
    "wrong input": ("salah isi", "wrong input"),
    "slow phone": ("HP lambat, jawaban pertama tidak sampai", "slow phone, first answer lost"),
    "reads of the remaining places": ("melihat sisa tempat", "reads of the remaining places"),
    "asked to retry by the service": ("diminta layanan mencoba lagi", "asked to retry by the service"),
    "cancelled after confirmation": ("mengembalikan tempat", "cancelled after confirmation"),
}


def outcomes(result: RushResult, language: Language) -> str:
    """Returns a bar for each way in which requests ended."""
    kinds = [(language("mendapat tempat", "confirmed"), result.confirmed, "accepted"),
             (language("mendapat tempat, lalu dikembalikan", "confirmed, then cancelled"), result.cancelled, "accepted")]  # fmt: skip
    for kind, counts, colour in (
        (language("ditolak", "rejected"), result.rejected, "decided"),
        (language("tidak diterima", "refused"), result.refused, "refused"),
    ):
        for reason, count in counts.items():
            kinds.append((f"{kind}: {language(*REASONS.get(reason, (reason, reason)))}", count, colour))
    kinds.append((language("diterima, tanpa hasil", "accepted, without an outcome"), result.undecided, "bad"))
    kinds.append((language("tanpa jawaban yang pasti", "no certain answer"), result.unanswered, "bad"))
    return bars(
        (words, f"{language.number(count)} · {language.share(count, result.requests)}", count / result.requests, colour)
        for words, count, colour in kinds
        if count
    )


def people_and_bots(result: RushResult, language: Language) -> str:
    """Returns bars with the bots' shares of accounts, requests and places. Empty without bots."""
    bots = next((group for group in result.groups if group.name == "bots"), None)
    if not bots or not bots.requests:
        return ""
    lines = []
    for words, key in (
        (language("akun", "accounts"), "accounts"),
        (language("permohonan", "requests"), "requests"),
        (language("diterima di antrean", "accepted"), "accepted"),
        (language("tempat yang didapat", "places they got"), "places"),
    ):
        count, total = getattr(bots, key), sum(getattr(group, key) for group in result.groups)
        lines.append((words, language.share(count, total), count / total if total else 0, "refused"))
    return bars(lines)


def brokers(result: RushResult, baseline: RushResult | None, language: Language) -> str:
    """Returns bars with the brokers' share of places and hand-overs, next to those of the baseline. Empty without brokers."""
    lines = []
    for run in (result, baseline):
        got = run.brokers if run else None
        if run and got:
            words = (
                language("dengan pembatasan", "with limits")
                if run.limits
                else language("tanpa pembatasan", "without limits")
            )
            for what, part, whole in (
                (language("tempat yang didapat calo", "places that brokers got"), got.places, got.of),
                (language("sampai ke pembeli", "hand-overs that reached the buyer"), got.reached, got.hand_overs),
            ):
                value = f"{language.number(part)} · {language.share(part, whole)}"
                lines.append((f"{words}: {what}", value, part / whole if whole else 0, "refused"))
    return bars(lines)


def brokers_caption(result: RushResult, language: Language) -> str:
    """Returns the caption of brokers."""
    if not result.brokers:
        return ""
    accounts, people = (language.number(n) for n in (result.brokers.accounts, 5 * result.brokers.requests))
    return language(
        f"Calo meminta tempat untuk {people} orang lewat {accounts} akun. Bagian dihitung dari semua tempat yang diambil di "
        "kantor yang mereka incar. Penyerahan: calo membatalkan, lalu pembelinya mendaftar di sesi yang sama.",
        f"Brokers asked for places for {people} people from {accounts} accounts. The share is of all places taken at the "
        "offices that they wanted. To hand over, a broker cancels, and the buyer books the same session.",
    )


def bots_caption(result: RushResult, language: Language) -> str:
    """Returns the caption of people_and_bots, with the numbers of the largest account."""
    words = language(
        "Bagian bot dari semua akun, permohonan, dan tempat. Satu akun hanya dapat memegang tempat untuk lima orang",
        "The bots' share of all accounts, requests and places. One account holds places for at most five people",
    )
    if result.bot_accounts:
        requests, places = (
            language.number(n) for n in (result.bot_accounts[0].requests, result.bot_accounts[0].places)
        )
        words += language(
            f"; akun terbesar mengirim {requests} permohonan dan mendapat {places}",
            f"; the largest account sent {requests} requests and got {places}",
        )
    return f"{words}."


def sold_out_caption(result: RushResult, language: Language) -> str:
    """Returns the caption of sold_out, with the first slot that sold out."""
    words = language(
        "Kantor yang paling dicari: berapa lama setelah dibuka setiap sesi habis; kalau tidak habis, berapa persen terisi.",
        "The most popular offices: how long after the opening each session sold out, or else how full it got.",
    )
    if not result.sold_out or result.sold_out[0].seconds is None:
        return words
    first, count = result.sold_out[0], language.number(len(result.sold_out))
    soon = language.duration(play_clock(result, language).real(first.seconds or 0))
    return words + language(
        f" Yang pertama habis adalah {language.place(first)}, setelah {soon}; seluruhnya {count} sesi habis.",
        f" The first was {language.place(first)}, after {soon}; {count} sessions sold out in all.",
    )


def sold_out(result: RushResult, language: Language) -> str:
    """Returns a table of the most popular offices: when each slot sold out, or the share of its places that was sold."""
    wanted = sorted((office for office in result.offices if _sold(office)), key=_sold, reverse=True)[:_OFFICES]
    if not wanted:
        return ""
    clock = play_clock(result, language)
    gone = {(s.office_id, f"{s.service_date} {s.session}"): s.seconds for s in result.sold_out}
    slots = sorted(
        {slot for office in wanted for slot in office.slots}, key=lambda s: (s[:10], s.endswith("AFTERNOON"))
    )

    def cell(office: OfficeSales, slot: str) -> str:
        sold, quota = office.slots.get(slot, (0, 0))
        if not quota:
            return '<td class="heat">–</td>'
        heat = 5 if sold >= quota else int(5 * sold / quota)
        seconds = gone.get((office.office_id, slot))
        words = language.share(sold, quota) if seconds is None else language.duration(clock.real(seconds))
        return f'<td class="heat heat{heat}">{words}</td>'

    days = "".join(f'<th class="heat">{day[:3]}<br>{session}</th>' for slot in slots
                   for day, session in [language.slot(*slot.split()).split()])  # fmt: skip
    lines = "".join(
        f"<tr><th>{escape(short_name(office.office_id))}</th>{''.join(cell(office, slot) for slot in slots)}</tr>"
        for office in wanted
    )
    return f'<div class="scroll"><table><tr><th></th>{days}</tr>{lines}</table></div>'


def latencies(result: RushResult, language: Language) -> str:
    """Returns a table of the percentiles of waits."""
    lines = [
        (language(*LATENCIES[kind]), *(language.duration(ms / 1000) for ms in (each.p50, each.p99, each.p999, each.most)))
        for kind, each in result.latencies.items()
    ]  # fmt: skip
    head = (
        "",
        *(f"{language.number(p, int(p > 99))}\u00a0%" for p in (50, 99, 99.9)),
        language("terlama", "longest"),
    )
    return table(head, lines) if lines else ""


def promises(result: RushResult, language: Language) -> str:
    """Returns a table of the promises, with the numbers of checked facts and violations."""
    by_promise: dict[str, list[Check]] = {}
    for check in sorted(result.promises, key=lambda check: int(check.promise[1:])):
        by_promise.setdefault(check.promise, []).append(check)
    lines = []
    for name, checks in by_promise.items():
        examined, broken = sum(c.examined for c in checks), sum(c.violations for c in checks)
        words = f"{name}. {language(*PROMISES.get(name, (name, name)))}"
        look = "bad" if broken else "good" if examined else ""
        lines.append(
            (words, language.number(examined), f'<span class="{look}">{language.number(broken)}</span>')
        )  # fmt: skip
    head = (
        language("janji", "promise"),
        language("diperiksa", "checked"),
        language("dilanggar", "violations"),
    )
    return table(head, lines) if lines else ""


def about(result: RushResult, language: Language) -> str:
    """Returns a list of facts about the run: load, machine, CPU time. Empty for an empty run."""
    late = " · ".join(language.number(ms, 1) for ms in (result.generator.late_p50, result.generator.late_p99))
    given = {
        language("perintah", "command"): result.about.get("command"),
        language("benih acak", "seed"): result.about.get("seed"),
        language("sasaran", "target"): result.about.get("target"),
        language("pendaftaran dibuka", "booking opened"): result.about.get("opens"),
        language("dijalankan", "ran at"): result.about.get("ran"),
        language("mesin", "machine"): result.about.get("machine"),
        language("versi", "versions"): result.about.get("versions"),
        language("terlambat menekan (50 % · 99 %)", "submissions late by (50 % · 99 %)"): f"{late} ms",
    }
    for name, seconds in result.cpu.items():
        program = language(*PROGRAMS.get(name, (name, name)))
        given[language(f"waktu prosesor: {program}", f"CPU time: {program}")] = f"{language.number(seconds, 1)} s"
    for name, count in result.habits.items():
        if count:
            given[language(*_HABITS.get(name, (name, name)))] = language.number(count)
    pairs = "".join(f"<dt>{escape(words)}</dt><dd>{escape(fact)}</dd>" for words, fact in given.items() if fact)
    return f"<dl>{pairs}</dl>" if result.about else ""


def bars(lines: Iterable[tuple[str, str, float, str]]) -> str:
    """Returns bars. Each line has a label, a value, the filled share of the bar (0 to 1), and its colour."""
    return "".join(
        f'<div class="bar"><span>{escape(words)}</span><b>{value}</b>'
        f'<i><i style="width:{100 * part:.2f}%;background:var(--{colour})"></i></i></div>'
        for words, value, part, colour in lines
    )


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Returns a table of HTML cells. All columns except the first contain numbers."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=number' * (n > 0)}>{inside}</{tag}>" for n, inside in enumerate(cells))

    lines = [row("th", head), *(row("td", cells) for cells in body)]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _sold(office: OfficeSales) -> int:
    return sum(sold for sold, _ in office.slots.values())
