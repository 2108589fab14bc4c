"""The head of the report: the verdict with its reasons, and the most important numbers."""

from html import escape

from clients.rush.judge.result import RushResult
from clients.rush.report.clock import play_clock
from clients.rush.report.words import PROMISES, VERDICTS, Language

_FULL_LIST = 10


def head(result: RushResult, language: Language) -> str:
    """Returns the head as HTML."""
    return _context(result, language) + _verdict(result, language) + _tiles(result, language)


def headline(result: RushResult, t: Language) -> str:
    """Returns a summary of the run in one line."""
    words = [t(f"{t.number(result.requests)} permohonan", f"{t.number(result.requests)} requests"),
             t(f"{t.number(result.people_confirmed)} orang mendapat tempat", f"{t.number(result.people_confirmed)} people got a place")]  # fmt: skip
    if outcome := result.latencies.get("outcome"):
        slow = t.duration(outcome.p99 / 1000)
        words.append(t(f"99 dari 100 mendapat hasil dalam {slow}", f"99 of 100 had their outcome within {slow}"))
    if result.stores_seen:
        overtaken = t.number(result.overtakings)
        words.append(t(f"{overtaken} kali didahului", f"{overtaken} overtaken"))
    return " · ".join(words)


def _context(result: RushResult, t: Language) -> str:
    clock = play_clock(result, t)
    offices, day, time = t.number(len(result.offices)), t.days[clock.opens.weekday()], clock.time(0)
    words = t(
        f"Uji beban pada {offices} kantor imigrasi: pendaftaran dibuka {day} {time} WIB",
        f"A load test on {offices} immigration offices: booking opens on {day}, {time} WIB",
    )
    if result.ticks and clock.compression > 1:
        played = result.ticks[-1].second + result.tick
        real, fast = t.duration(clock.real(played)), t.duration(played)
        words += t(f"; {real} dimainkan dalam {fast}", f"; {real} were played in {fast}")
    return f"<p>{words}.</p>"


def _verdict(result: RushResult, t: Language) -> str:
    """Returns the verdict with failures, doubts and violations, as on the terminal."""
    checks = sum(check.examined > 0 for check in result.promises)
    examined, broken = (t.number(sum(getattr(c, key) for c in result.promises)) for key in ("examined", "violations"))
    inside = f"<h2>{t(*VERDICTS[result.verdict])}</h2>"
    if checks:
        inside += t(
            f"<p>{checks} pemeriksaan atas {examined} hal: {broken} pelanggaran.</p>",
            f"<p>{checks} checks of {examined} facts: {broken} violations.</p>",
        )
    if not result.stores_seen:
        inside += t(
            "<p>Yang diperiksa hanya jawaban kepada para klien; isi Redis dan Postgres tidak terlihat.</p>",
            "<p>Only the responses to the clients were checked; Redis and Postgres could not be seen.</p>",
        )
    shown_below = {f"{violation.promise}: {violation.office}: {violation.words}" for violation in result.violations}
    reasons = (
        [reason for reason in result.failures if reason not in shown_below] + result.doubts + result.surprise_samples
    )
    for violation in result.violations[:_FULL_LIST]:
        promise = t(*PROMISES.get(violation.promise, ("", "")))
        during = f" ({', '.join(violation.faults)})" if violation.faults else ""
        reasons.append(f"{violation.promise} {promise} · {violation.office}: {violation.words}{during}")
    if (more := len(result.violations) - _FULL_LIST) > 0:
        reasons.append(t(f"dan {more} pelanggaran lagi", f"and {more} more violations"))
    if reasons:
        inside += f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in reasons)}</ul>"
    return f'<section class="verdict {result.verdict.lower()}">{inside}</section>'


def _tiles(result: RushResult, t: Language) -> str:
    accept, outcome = result.latencies.get("accept"), result.latencies.get("outcome")
    items = [
        (t.number(result.requests), t("permohonan", "requests")),
        (t.number(result.people_confirmed), t("orang mendapat tempat", "people got a place")),
        (t.number(result.overtakings), t("kali orang didahului", "times somebody was overtaken")),
        (t.number(result.undecided + result.unanswered), t("tanpa jawaban", "without an answer")),
        (t.number(result.peaks.get("offered", 0)), t("kali ditekan pada detik tersibuk", "submissions in the busiest second")),
        (t.duration(accept.p99 / 1000) if accept else "–", t("sampai diterima, 99 dari 100", "until accepted, 99 of 100")),
        (t.duration(outcome.p99 / 1000) if outcome else "–", t("sampai ada hasil, 99 dari 100", "until the outcome, 99 of 100")),
        (t.number(len(result.sold_out)), t("sesi habis", "sessions sold out")),
    ]  # fmt: skip
    cards = "".join(f"<div><b>{value}</b>{words}</div>" for value, words in items)
    return f'<section class="tiles">{cards}</section>'
