"""The report's charts of who got what."""

from clients.rush.judge.result import RushResult
from clients.rush.report.drawing import ACCEPTED, DECIDED, OFFERED, REFUSED, Chart, Row, row_frame, rows
from clients.rush.report.words import INDONESIAN, REASONS

_ALARM = "var(--bad)"
_GROUPS = {"people": ("orang", "people", ACCEPTED), "bots": ("bot", "bots", REFUSED)}


def outcomes(result: RushResult) -> Chart | None:
    """What became of the requests."""
    if not result.requests:
        return None
    kinds = [("mendapat tempat", "confirmed", result.confirmed, ACCEPTED)]
    if result.cancelled:
        kinds.append(("mendapat, lalu dikembalikan", "confirmed, then given back", result.cancelled, ACCEPTED))
    for told, counts, colour in (
        (("ditolak", "rejected"), result.rejected, DECIDED),
        (("tidak diterima", "refused"), result.refused, OFFERED),
    ):
        for reason, count in counts.items():
            words, english = REASONS.get(reason, (reason, reason))
            kinds.append((f"{told[0]}: {words}", f"{told[1]}: {english}", count, colour))
    if result.undecided:
        kinds.append(("diterima, tanpa hasil", "accepted, without an outcome", result.undecided, _ALARM))
    if result.unanswered:
        kinds.append(("tanpa jawaban yang pasti", "never answered for certain", result.unanswered, _ALARM))
    items = [
        Row(words, english, count, f"{INDONESIAN.number(count)} · {INDONESIAN.share(count, result.requests)}", colour)
        for words, english, count, colour in kinds
    ]
    return Chart(
        "outcomes",
        ("Nasib setiap permohonan", "What became of every request"),
        (
            "Setiap permohonan berakhir di tepat satu baris; batang penuh berarti semua permohonan.",
            "Every request ends in exactly one row; a whole bar is all requests.",
        ),
        rows(items, result.requests),
    )


def people_and_bots(result: RushResult) -> Chart | None:
    """What part of the requests came from bots, and what part of the places they got."""
    bots = sum(group.requests for group in result.groups if group.name == "bots")
    if not bots:
        return None
    measures = [
        (words, english, {group.name: getattr(group, field) for group in result.groups})
        for words, english, field in (
            ("akun", "accounts", "accounts"),
            ("permohonan", "requests", "requests"),
            ("diterima ke antrean", "accepted into a line", "accepted"),
            ("tempat yang didapat", "places they got", "places"),
        )
    ]
    figure = row_frame(
        [
            (words, english, f"bot {INDONESIAN.share(counts.get('bots', 0), sum(counts.values()))}")
            for words, english, counts in measures
        ]
    )
    totals = [sum(counts.values()) or 1 for *_, counts in measures]
    for name, (words, english, colour) in _GROUPS.items():
        counts = [counts.get(name, 0) for *_, counts in measures]
        figure.add_bar(
            x=[count / total for count, total in zip(counts, totals, strict=True)], y=list(range(len(measures))),
            width=0.26, orientation="h", name=f"{words} · {english}", marker={"color": colour, "line": {"width": 0}},
            customdata=[INDONESIAN.number(count) for count in counts], hovertemplate=f"{words}: %{{customdata}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    figure.update_xaxes(range=[0, 1], visible=False)
    return Chart(
        "people_and_bots",
        ("Orang dan bot: siapa meminta, siapa mendapat", "People and bots: who asked, who got"),
        (
            (
                "Kalau bagian bot di bawah jauh lebih kecil daripada di atas, aturan lima orang per akun dan satu tempat per "
                "orang bekerja."
            ),
            (
                "Where the bots' part of the places is far smaller than of the requests, the limits work: five people an account, "
                "one place a person."
            ),
        ),
        figure,
    )
