"""Prints a result as tables on the terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from clients.rush.judge.result import Latency, RushResult
from clients.rush.report.words import LATENCIES

_COLOURS = {"PASS": "green", "FAIL": "red", "INVALID": "yellow"}
_ACCOUNTS = 3


def print_table(result: RushResult, console: Console) -> None:
    """Prints the numbers, the groups, the promises, and the verdict with its reasons."""
    facts = Table(title=result.title_en or "The rush", title_justify="left", show_header=False)
    facts.add_column()
    facts.add_column(justify="right")
    for name, value in _facts(result):
        facts.add_row(name, value)
    console.print(facts)
    if any(group.requests for group in result.groups):
        console.print(_groups(result))
    if result.promises:
        console.print(_promises(result))
    _print_verdict(result, console)


def _print_verdict(result: RushResult, console: Console) -> None:
    colour = _COLOURS[result.verdict]
    if not result.stores_seen:
        console.print("Only the responses to the clients were checked: the stores are not accessible.", style="dim")
    for sample in result.surprise_samples:
        console.print(f"  surprise: {sample}", style="yellow", highlight=False, markup=False)
    for failure in result.failures:
        console.print(f"  {failure}", style="red", highlight=False, markup=False)
    for doubt in result.doubts:
        console.print(f"  {doubt}", style="yellow", highlight=False, markup=False)
    words = {"PASS": ": every promise held", "INVALID": ": these numbers prove nothing"}.get(result.verdict, "")
    console.print(f"[bold {colour}]{result.verdict}[/]{words}")


def _facts(result: RushResult) -> Iterator[tuple[str, str]]:
    yield "requests", f"{result.requests:,}"
    yield "submissions, early ones and repeats included", f"{result.submissions:,}"
    yield "accepted", f"{result.accepted:,}"
    yield "confirmed; people with a place", f"{result.confirmed:,}; {result.people_confirmed:,}"
    if result.cancelled:
        yield "confirmed, then cancelled", f"{result.cancelled:,}"
    for kind, counts in (("rejected", result.rejected), ("refused", result.refused)):
        for reason, count in counts.items():
            yield f"{kind}: {reason}", f"{count:,}"
    for name, count in (
        ("unanswered", result.unanswered),
        ("undecided", result.undecided),
        ("surprises", result.surprises),
    ):
        if count:
            yield name, f"[red]{count:,}[/]"
    if result.brokers:
        got = result.brokers
        yield "limits on accounts, devices and networks", "on" if result.limits else "off"
        yield (
            "brokers: places, of those taken at their offices",
            f"{got.places:,} of {got.of:,} ({_percent(got.places, got.of)})",
        )
        yield "hand-overs that reached the buyer", f"{got.reached:,} of {got.hand_overs:,}"
    yield "slots sold out", f"{len(result.sold_out):,}"
    peaks = (f"{result.peaks.get(name, 0):,.0f}" for name in ("offered", "accepted", "decided"))
    yield "peak per second: offered / accepted / decided", " / ".join(peaks)
    yield "most waiting at once", f"{result.peaks.get('waiting', 0):,.0f}"
    for kind, (_, name) in LATENCIES.items():
        if kind in result.latencies:
            yield f"{name}: p50 / p99 / p99.9", _percentiles(result.latencies[kind])
    yield "overtaken", f"{result.overtakings:,}"
    yield "load generator: submissions late by, p99", f"{result.generator.late_p99:,.1f} ms"


def _groups(result: RushResult) -> Table:
    table = Table("", title="Who got places", title_justify="left")
    for name in ("accounts", "requests", "accepted", "places"):
        table.add_column(name, justify="right")
    for group in result.groups:
        table.add_row(group.name, *_counts(group.accounts, group.requests, group.accepted, group.places))
    for account in result.bot_accounts[:_ACCOUNTS]:
        table.add_row(
            f"  {account.name}", "", *_counts(account.requests, account.accepted, account.places), style="dim"
        )
    return table


def _promises(result: RushResult) -> Table:
    table = Table("", "promise", title="Promises", title_justify="left")
    table.add_column("checked", justify="right")
    table.add_column("violations", justify="right")
    for check in sorted(result.promises, key=lambda check: int(check.promise[1:])):
        style = "red" if check.violations else ""
        table.add_row(check.promise, check.what, *_counts(check.examined, check.violations), style=style)
    return table


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.1f} %"


def _counts(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]


def _percentiles(latency: Latency) -> str:
    return f"{latency.p50:,.0f} / {latency.p99:,.0f} / {latency.p999:,.0f} ms"
