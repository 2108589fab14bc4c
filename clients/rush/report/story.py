"""What happened, in plain words: the verdict, a short story and the numbers that people ask for first."""

from collections.abc import Iterator
from html import escape

from clients.rush.judge.result import RushResult
from clients.rush.report.clock import play_clock
from clients.rush.report.page import Words, both
from clients.rush.report.words import ENGLISH, INDONESIAN, PROMISES, VERDICTS, Tongue

_FULL_LIST = 10


def context(result: RushResult) -> str:
    """One line below the title."""
    clock = play_clock(result)
    offices = len(result.offices)
    day, time = clock.opens.weekday(), clock.time(0)
    own = f"Uji beban pada {INDONESIAN.number(offices)} kantor imigrasi: pendaftaran dibuka {INDONESIAN.days[day]} {time} WIB"
    english = f"A load test on {offices} immigration offices: booking opens on {ENGLISH.days[day]}, {time} WIB"
    if result.ticks:
        played = result.ticks[-1].second + result.tick
        real = clock.real(played)
        own += f"; {INDONESIAN.duration(real)} dimainkan"
        english += f"; {ENGLISH.duration(real)} were played"
        if clock.compression > 1:
            own += f" dalam {INDONESIAN.duration(played)}"
            english += f" in {ENGLISH.duration(played)}"
    return both((f"{own}.", f"{english}."))


def verdict(result: RushResult) -> str:
    """The verdict in plain words, and all that speaks against the run."""
    title, english = VERDICTS[result.verdict]
    checks = sum(check.examined > 0 for check in result.promises)
    held = (
        (
            f"{checks} pemeriksaan atas {INDONESIAN.number(sum(check.examined for check in result.promises))} hal: "
            f"{INDONESIAN.number(sum(check.breaches for check in result.promises))} pelanggaran."
        ),
        (
            f"{checks} checks of {ENGLISH.number(sum(check.examined for check in result.promises))} facts: "
            f"{ENGLISH.number(sum(check.breaches for check in result.promises))} breaches."
        ),
    )
    told_twice = {f"{breach.promise}: {breach.office}: {breach.words}" for breach in result.breaches}
    reasons = [reason for reason in result.failures if reason not in told_twice] + result.doubts
    inside = f'<h2>{title}</h2><p class="en" lang="en">{english}</p>'
    inside += both(held) if checks else ""
    if reasons:
        inside += f'<ul class="reasons" lang="en">{"".join(map(_reason, reasons))}</ul>'
    if result.surprise_samples:
        samples = "".join(f"<li>{escape(sample)}</li>" for sample in result.surprise_samples)
        inside += f'<p>Jawaban yang tidak disangka, misalnya: <span class="en" lang="en">surprises, such as:</span></p><ul lang="en">{samples}</ul>'
    if not result.stores_seen:
        inside += both(
            (
                "Yang diperiksa hanya apa yang diberitahukan kepada para klien; isi Redis dan Postgres tidak terlihat.",
                "Only what the clients were told was checked; Redis and Postgres could not be seen.",
            )
        )
    inside += _breaches(result)
    return f'<section class="card verdict {result.verdict.lower()}">{inside}</section>'


def _reason(words: str) -> str:
    """A reason, with the promise that it is about in Indonesian."""
    promise = PROMISES.get(words.partition(":")[0])
    own = f'<span lang="id">{promise[0]}.</span> ' if promise else ""
    return f"<li>{own}{escape(words)}</li>"


def _breaches(result: RushResult) -> str:
    """Each broken promise that was found, with its office; nothing when there is none."""
    items = "".join(
        f"<li><b>{escape(breach.promise)} {PROMISES.get(breach.promise, ('', ''))[0]}</b> · {escape(breach.office)}"
        f'<br><span lang="en">{escape(breach.words)}</span>'
        + (f'<br><span class="en" lang="en">during: {escape(", ".join(breach.faults))}</span>' if breach.faults else "")
        + "</li>"
        for breach in result.breaches[:_FULL_LIST]
    )
    more = len(result.breaches) - _FULL_LIST
    rest = f'<p>dan {more} lagi <span class="en" lang="en">and {more} more</span></p>' if more > 0 else ""
    return f'<ol class="breaches">{items}</ol>{rest}' if items else ""


def story(result: RushResult) -> str:
    """Some sentences that tell what happened to who has never seen a load test."""
    if not result.requests:
        return both(("Tidak ada permohonan yang dimainkan.", "No request was played."))
    told = ["", ""]
    for n, tongue in enumerate((INDONESIAN, ENGLISH)):
        told[n] = "".join(f"<li>{words[n]}</li>" for words in _sentences(result, tongue))
    return f'<ul>{told[0]}</ul><ul class="en" lang="en">{told[1]}</ul>'


def _sentences(result: RushResult, t: Tongue) -> Iterator[Words]:
    """Each in both languages, with the numbers of this one."""
    clock = play_clock(result)

    def bold(value: float) -> str:
        return f"<b>{t.number(value)}</b>"

    full, refused = result.rejected.get("SLOT_FULL", 0), sum(result.refused.values())
    lost = result.undecided + result.unanswered
    share = t.share(result.confirmed, result.requests)
    yield (
        (
            f"{bold(result.requests)} permohonan datang; pada detik tersibuk orang menekan tombol "
            f"{bold(result.peaks.get('offered', 0))} kali."
        ),
        (
            f"{bold(result.requests)} requests came; in the busiest second people pressed "
            f"{bold(result.peaks.get('offered', 0))} times."
        ),
    )
    yield (
        (
            f"{bold(result.confirmed)} permohonan ({share}) mendapat tempat, untuk {bold(result.people_confirmed)} orang. "
            f"{bold(full)} diberi tahu bahwa sesinya sudah penuh, dan {bold(refused)} tidak diterima dengan alasan yang "
            "disebutkan."
        ),
        (
            f"{bold(result.confirmed)} of them ({share}) got places, for {bold(result.people_confirmed)} people. {bold(full)} "
            f"were told that their session was full, and {bold(refused)} were refused with a reason."
        ),
    )
    yield (
        ("Tidak ada yang dibiarkan tanpa jawaban.", "Nobody was left without an answer.")
        if not lost
        else (f"{bold(lost)} tidak pernah mendapat jawaban.", f"{bold(lost)} never had an answer.")
    )
    accept, outcome = result.latencies.get("accept"), result.latencies.get("outcome")
    if accept and outcome:
        half, slow, end = (t.duration(ms / 1000) for ms in (accept.p50, accept.p99, outcome.p99))
        yield (
            (
                f"Separuhnya masuk antrean dalam <b>{half}</b>, 99 dari 100 dalam <b>{slow}</b>; hasilnya diketahui 99 dari 100 "
                f"dalam <b>{end}</b>."
            ),
            (
                f"Half were in line within <b>{half}</b>, 99 of 100 within <b>{slow}</b>; 99 of 100 had their outcome within "
                f"<b>{end}</b>."
            ),
        )
    if result.sold_out and result.sold_out[0].seconds is not None:
        first = result.sold_out[0]
        soon = t.duration(clock.real(first.seconds or 0))
        yield (
            (
                f"Tempat pertama kali habis di {t.place(first)}, <b>{soon}</b> setelah dibuka; pada akhirnya "
                f"{bold(len(result.sold_out))} sesi habis."
            ),
            (
                f"Places first ran out at {t.place(first)}, <b>{soon}</b> after the opening; in the end "
                f"{bold(len(result.sold_out))} sessions were sold out."
            ),
        )
    yield (
        ("<b>Tidak seorang pun</b> didahului oleh yang datang belakangan.", "<b>Nobody</b> was overtaken by who came later.")
        if not result.overtakings
        else (f"{bold(result.overtakings)} kali orang didahului oleh yang datang belakangan.",
              f"{bold(result.overtakings)} times somebody was overtaken by who came later.")
    )  # fmt: skip
    yield from _bots(result, t)


def _bots(result: RushResult, t: Tongue) -> Iterator[Words]:
    bots = next((group for group in result.groups if group.name == "bots"), None)
    if not bots or not bots.requests:
        return
    asked = t.share(bots.requests, sum(group.requests for group in result.groups))
    got = t.share(bots.places, sum(group.places for group in result.groups))
    yield (
        f"Bot mengirim <b>{asked}</b> dari semua permohonan dan mendapat <b>{got}</b> dari tempatnya.",
        f"Bots sent <b>{asked}</b> of the requests and got <b>{got}</b> of the places.",
    )
    if result.bot_accounts:
        most = result.bot_accounts[0]
        yield (
            f"Akun bot terbesar mengirim {t.number(most.requests)} permohonan dan mendapat {t.number(most.places)} tempat.",
            f"The bots' largest account sent {t.number(most.requests)} requests and got {t.number(most.places)} places.",
        )


def tiles(result: RushResult) -> str:
    """The numbers that people ask for first."""
    number, english = INDONESIAN.number, ENGLISH.number
    accept, outcome = result.latencies.get("accept"), result.latencies.get("outcome")
    items = [
        (number(result.requests), "permohonan", f"requests; pressed {english(result.presses)} times"),
        (number(result.people_confirmed), "orang mendapat tempat", f"people got a place, in {english(result.confirmed)} bookings"),
        (number(result.overtakings), "kali orang didahului", "times somebody was overtaken"),
        (number(result.undecided + result.unanswered), "tanpa jawaban", "left without an answer"),
        (number(result.peaks.get("offered", 0)), "tekanan pada detik tersibuk", "presses in the busiest second"),
        (INDONESIAN.duration(accept.p99 / 1000) if accept else "–", "sampai masuk antrean, 99 dari 100", "until in line, 99 of 100"),
        (INDONESIAN.duration(outcome.p99 / 1000) if outcome else "–", "sampai ada hasil, 99 dari 100", "until the outcome, 99 of 100"),
        (number(len(result.sold_out)), "sesi habis", "sessions sold out"),
    ]  # fmt: skip
    cards = (
        f'<div class="card tile"><b>{value}</b><span>{words}</span><span class="en" lang="en">{foreign}</span></div>'
        for value, words, foreign in items
    )
    return f'<section class="tiles">{"".join(cards)}</section>'
