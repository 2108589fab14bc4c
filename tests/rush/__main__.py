"""`python -m tests.rush --sabotage MODE`: a short rush against an Antrian that breaks a promise; it must FAIL.

Exits as `antrian rush` does: 0 PASS, 1 FAIL, 3 INVALID.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import psycopg
from rich.console import Console

from antrian.stack import Stack
from clients.rush.live import Live
from clients.rush.result import write_result
from clients.rush.rush import Orders, rush_embedded
from clients.rush.scenario import load_scenario
from clients.rush.table import print_table
from clients.rush.verdict import EXIT_CODES
from tests.rush.sabotage import MODES

_ROOT = Path(__file__).parents[2]


class SabotagedStack(Stack):
    """An Antrian whose programs and ledger are sabotaged."""

    def __init__(self, folder: Path, mode: str) -> None:
        super().__init__(folder, workers=1)
        self._mode = mode

    def _prepare_stores(self, redis_url: str, database_url: str) -> None:
        super()._prepare_stores(redis_url, database_url)
        if statement := MODES[self._mode].ledger:
            with psycopg.connect(database_url, autocommit=True) as ledger:
                ledger.execute(statement.encode())

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "tests.rush.program", name]


def main() -> int:
    """Plays it, prints the table, and answers the exit code."""
    modes = "\n".join(f"  {name:20} {mode.promise:4} {mode.what}" for name, mode in MODES.items())
    parser = argparse.ArgumentParser(
        "python -m tests.rush",
        description=(__doc__ or "").partition(": ")[2],
        epilog=f"modes, and the promise that the verdict must name:\n{modes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sabotage", required=True, choices=MODES, metavar="MODE", help="what is broken")
    parser.add_argument(
        "--scenario", default=str(_ROOT / "tests/rush/short.toml"), help="a name or a file (default: short.toml)"
    )
    parser.add_argument("--requests", type=int, help="how many (default: the scenario's)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    given = parser.parse_args()
    os.environ |= {"RUSH_SABOTAGE": given.sabotage, "PYTHONPATH": str(_ROOT)}
    scenario = load_scenario(given.scenario, requests=given.requests)
    with (
        tempfile.TemporaryDirectory() as folder,
        Live(Console(stderr=True), scenario.requests, f"sabotage: {given.sabotage}") as live,
    ):
        orders = Orders(scenario, given.seed, 1, f"python -m tests.rush --sabotage {given.sabotage}")
        result = rush_embedded(SabotagedStack(Path(folder), given.sabotage), orders, live)
    print_table(result, Console())
    if given.json:
        write_result(result, given.json)
    return EXIT_CODES[result.verdict]


if __name__ == "__main__":
    sys.exit(main())
