"""Runs the checks of `antrian verify` and prints their results."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from antrian.audit.history import Findings, Violation, check_history, read_facts, read_history
from antrian.audit.verify import verify
from antrian.settings import Settings
from clients.cli import show


def run_checks(settings: Settings, histories: Sequence[Path]) -> Findings:
    """Runs the checks of the stores, and with histories also theirs.

    Raises HistoryError and the errors of the stores.
    """
    history = read_history(histories)
    checks = verify(settings)
    if not histories:
        return Findings(checks, [], 0)
    found = check_history(history, read_facts(settings))
    return Findings(checks + found.checks, found.violations, found.lost_undecided)


def print_and_exit(found: Findings, *, as_json: bool, of_history: bool) -> None:
    """Prints the findings and exits, with 1 on any violation."""
    violations = sum(check.violations for check in found.checks)
    if as_json:
        click.echo(json.dumps(asdict(found) if of_history else asdict(found)["checks"], indent=2, ensure_ascii=False))
    else:
        listed = show.table("promise", "what", "examined", "violations", numbers=("examined", "violations"))
        for check in sorted(found.checks, key=lambda check: int(check.promise[1:])):
            listed.add_row(check.promise, check.what, f"{check.examined:,}", f"{check.violations:,}")
        show.print_table(listed)
        for check in found.checks:
            if check.first:
                click.echo(f"\n{check.promise}, first violation: {check.first}")
        for violation in found.violations:
            _print(violation)
        if found.lost_undecided:
            click.echo(
                f"\n{found.lost_undecided:,} undecided tickets were lost to faults that are allowed to lose them"
            )
        click.echo(f"\n{violations:,} violations" if violations else "\nall promises hold")
    sys.exit(1 if violations else 0)


def _print(violation: Violation) -> None:
    """Prints a violation and the events of the history that show it, one per line."""
    click.echo(f"\n{violation.promise} {violation.office}: {violation.words}")
    if violation.faults:
        click.echo(f"  faults at the time: {', '.join(violation.faults)}")
    for event in violation.events:
        click.echo(f"  {json.dumps(event, ensure_ascii=False)}")
