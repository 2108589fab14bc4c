"""The report's charts over time: the flow of requests, the waits, and queue numbers by arrival."""

from collections.abc import Callable, Sequence

from clients.rush.judge.result import RushResult, Tick
from clients.rush.report.clock import play_clock
from clients.rush.report.svg import Axis, Chart, Panel, Series, linear_axis, log_axis
from clients.rush.report.words import LATENCIES, Language, short_name

_BEFORE, _AFTER = 10.0, 60.0
_LEAST = 0.1  # ms


def opening(result: RushResult, language: Language) -> Chart | None:
    """Returns the chart of the first minute, or of the whole run if that is not much longer."""
    if not result.ticks:
        return None
    clock, span = play_clock(result, language), _span(result)
    until = clock.second(_AFTER)
    if span[1] > 2 * until:
        span = max(span[0], -_BEFORE), until
    most, longest = (language.number(result.peaks.get(name, 0)) for name in ("offered", "waiting"))
    return _flow(
        result,
        language,
        span,
        language(f"Saat pendaftaran dibuka, {clock.time(0)}", f"When booking opened, {clock.time(0)}"),
        language(
            f"Pada detik tersibuk tombol ditekan {most} kali; paling banyak {longest} permohonan menunggu bersamaan.",
            f"{most} submissions in the busiest second; at most {longest} requests waited at the same time.",
        ),
    )


def whole_run(result: RushResult, language: Language) -> Chart | None:
    """Returns the chart of the whole run, or None if the opening shows it already."""
    shown, span = opening(result, language), _span(result)
    if not shown or shown.span[1] >= span[1]:
        return None
    real = language.duration(play_clock(result, language).real(span[1]))
    return _flow(
        result,
        language,
        span,
        language("Dari awal sampai akhir", "From start to end"),
        language(f"Seluruhnya {real}.", f"{real} in all."),
    )


def waits(result: RushResult, language: Language) -> Chart | None:
    """Returns the chart of how long people waited, by when they submitted."""
    values: dict[str, Callable[[Tick], tuple[float, float]]] = {
        "accept": lambda tick: (tick.accept_p50, tick.accept_p99),
        "outcome": lambda tick: (tick.outcome_p50, tick.outcome_p99),
    }
    panels = []
    for (kind, of), colour in zip(values.items(), ("accepted", "decided"), strict=True):
        seen = [(tick.second + result.tick / 2, *of(tick)) for tick in result.ticks if of(tick)[1]]
        if seen:
            half = Series(language("separuhnya", "half"), colour, [(at, p50) for at, p50, _ in seen], "dashed")
            slow = Series(language("99 dari 100", "99 of 100"), colour, [(at, p99) for at, _, p99 in seen])
            title = language(*LATENCIES[kind])
            panels.append(Panel(title[0].upper() + title[1:], _wait_axis(seen, language), (half, slow), 150))
    if not panels:
        return None
    return _over_time(
        result,
        language,
        _span(result),
        language("Berapa lama orang menunggu", "How long people waited"),
        language(
            "Menurut saat menekan tombol: separuh, dan 99 dari 100 orang, menunggu paling lama sekian.",
            "By the moment of submission: half of the people, and 99 of 100, waited no longer than this.",
        ),
        panels,
    )


def arrivals(result: RushResult, language: Language) -> Chart | None:
    """Returns the chart of queue numbers by arrival, in the slot with most bookings."""
    slot = result.arrivals
    if slot is None:
        return None
    seconds, numbers = zip(*slot.points, strict=True)
    where = f"{short_name(slot.office_id)}, {language.slot(slot.service_date, slot.session)}"
    dots = Series("", "accepted", slot.points, "dots")
    title = language("Nomor antrean", "Queue number")
    return _over_time(
        result,
        language,
        (min(seconds) - 1, max(seconds) + 1),
        language("Siapa datang dulu, dilayani dulu", "First come, first served"),
        language(
            f"{where}: setiap titik satu rombongan. Titik-titiknya selalu naik: yang datang dulu bernomor lebih kecil.",
            f"{where}: each dot is a party. The dots only rise: whoever came first has the smaller number.",
        ),
        [Panel(title, linear_axis(max(numbers), language.number), (dots,), 220)],
    )


def _flow(result: RushResult, language: Language, span: tuple[float, float], title: str, caption: str) -> Chart:
    """Returns a chart with rates per second above and the number of waiting requests below."""
    ticks = [tick for tick in result.ticks if span[0] <= tick.second < span[1]]
    end = min(ticks[-1].second + result.tick, span[1])

    def rate(indonesian: str, english: str, colour: str, of: Callable[[Tick], float], **look: str) -> Series:
        points = [(tick.second, of(tick)) for tick in ticks]
        points.append((end, points[-1][1]))
        return Series(language(indonesian, english), colour, points, steps=True, **look)  # type: ignore[arg-type]

    rates = [
        rate("tombol ditekan", "submitted", "submitted", lambda tick: tick.offered, look="area"),
        rate("diterima di antrean", "accepted", "accepted", lambda tick: tick.accepted),
        rate("diputuskan", "decided", "decided", lambda tick: tick.decided),
        rate("tidak diterima", "refused", "refused", lambda tick: tick.refused, look="dashed"),
    ]
    if any(tick.again for tick in ticks):
        rates.append(rate("diminta mencoba lagi", "asked to retry", "soft", lambda tick: tick.again, look="thin"))
    waiting = [
        (tick.second + result.tick, float(tick.waiting)) for tick in ticks if tick.second + result.tick <= span[1]
    ]
    number = language.number
    return _over_time(
        result,
        language,
        span,
        title,
        caption,
        [
            Panel(language("Per detik", "Per second"), linear_axis(max(y for s in rates for _, y in s.points), number), rates, 220),
            Panel(
                language("Menunggu di antrean", "Waiting in the queues"),
                linear_axis(max(y for _, y in waiting), number),
                (Series("", "queue", waiting, "area"),),
                80,
            ),
        ],
        [(mark.second, language(mark.name_id, mark.name_en)) for mark in result.marks if span[0] < mark.second < span[1]],
    )  # fmt: skip


def _over_time(
    result: RushResult,
    language: Language,
    span: tuple[float, float],
    title: str,
    caption: str,
    panels: Sequence[Panel],
    marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    clock = play_clock(result, language)
    shaded_from = clock.real_seconds if clock.compression > 1 else span[1]
    if shaded_from < span[1]:
        fastest = language.number(clock.compression)
        caption += language(
            f" Di bagian berlatar gelap waktu diputar makin cepat, sampai {fastest} kali.",
            f" Where it is shaded, time passes ever faster, up to {fastest} times.",
        )
    return Chart(title, caption, panels, span, lambda most: clock.ticks(*span, most), marks, shaded_from)


def _wait_axis(seen: Sequence[tuple[float, float, float]], language: Language) -> Axis:
    ordered = sorted(ms for _, half, slow in seen for ms in (half, slow))

    def label(ms: float) -> str:
        text = f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} {language('dtk', 's')}"
        return text.replace(".", language.point)

    # The fastest twentieth may lie below the axis, since a single fast tick would take most of its height.
    return log_axis(ordered[len(ordered) // 20 :], _LEAST, label)


def _span(result: RushResult) -> tuple[float, float]:
    return (result.ticks[0].second, result.ticks[-1].second + result.tick) if result.ticks else (0.0, 1.0)
