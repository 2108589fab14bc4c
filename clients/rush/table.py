"""The result as a table for the terminal."""

from rich.console import Console
from rich.table import Table

from clients.rush.result import Latency, RushResult


def print_table(result: RushResult, console: Console) -> None:
    """Prints what happened, then each promise with its count, then the verdict."""
    facts = Table(title="The rush", title_justify="left", show_header=False)
    facts.add_column()
    facts.add_column(justify="right")
    for name, value in _facts(result):
        facts.add_row(name, value)
    console.print(facts)

    promises = Table("", "promise", title="Promises", title_justify="left")
    promises.add_column("checked", justify="right")
    promises.add_column("broken", justify="right")
    for check in sorted(result.promises, key=lambda check: int(check.promise[1:])):
        promises.add_row(
            check.promise,
            check.what,
            f"{check.examined:,}",
            f"{check.breaches:,}",
            style="red" if check.breaches else "",
        )
    console.print(promises)
    for sample in result.surprise_samples:
        console.print(f"  surprise: {sample}", style="yellow", highlight=False)
    for failure in result.failures:
        console.print(f"  {failure}", style="red", highlight=False)
    console.print("[bold green]PASS[/]: every promise held." if result.passed else "[bold red]FAIL[/]")


def _facts(result: RushResult) -> list[tuple[str, str]]:
    facts = [
        ("requests", f"{result.requests:,}"),
        ("pressed, early presses and repeats included", f"{result.presses:,}"),
        ("accepted into a line", f"{result.accepted:,}"),
        ("confirmed", f"{result.confirmed:,}"),
        ("  people with a place", f"{result.people_confirmed:,}"),
        *((f"rejected: {reason}", f"{count:,}") for reason, count in result.rejected.items()),
        *((f"refused: {reason}", f"{count:,}") for reason, count in result.refused.items()),
        ("undecided", f"{result.undecided:,}"),
        ("pressed before 14:00, told to come back", f"{result.early:,}"),
        ("pressed again: same booking / another", f"{result.repeated:,} / {result.mismatches:,}"),
        ("surprises", f"{result.surprises:,}"),
        ("slots sold out", f"{len(result.sold_out):,}"),
        (
            "peak per second: offered / accepted / decided",
            f"{result.peak_offered:,} / {result.peak_accepted:,} / {result.peak_decided:,}",
        ),
        ("press to accepted, p50 / p99 / max", _words(result.accept)),
        ("press to outcome, p50 / p99 / max", _words(result.outcome)),
        ("in the service: accepted to decided", _words(result.outcome_in_service)),
        ("generator: presses left late by, p99", f"{result.generator_late_ms:,.0f} ms"),
    ]
    if result.generator_behind:
        facts.append(("the generator fell behind", "latencies count from the intended moment"))
    return facts


def _words(latency: Latency | None) -> str:
    return f"{latency.p50:,.0f} / {latency.p99:,.0f} / {latency.most:,.0f} ms" if latency else "-"
