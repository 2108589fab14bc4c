"""`python -m tests.rush --sabotage MODE`: a short rush on an Antrian that breaks a promise; it must FAIL.

Exits as `antrian rush` does: 0 PASS, 1 FAIL, 3 INVALID.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from clients.rush.judge.result import write_result
from clients.rush.judge.verdict import EXIT_CODES
from clients.rush.load.live import Live
from clients.rush.plan.scenario import load_scenario
from clients.rush.play import Orders, rush_embedded
from clients.rush.report.terminal import print_table
from tests.rush.sabotage import MODES, sabotage
from tests.rush.stack import REQUESTS, SabotagedStack

_SHORT = Path(__file__).with_name("short.toml")


def main() -> int:
    """Plays the rush and prints its table; returns the exit code."""
    modes = "\n".join(f"  {name:18} {', '.join(mode.promises):6} {mode.what}" for name, mode in MODES.items())
    parser = argparse.ArgumentParser(
        "python -m tests.rush",
        description=(__doc__ or "").partition(": ")[2],
        epilog=f"modes, and the promises that the verdict must name:\n{modes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sabotage", required=True, metavar="MODE", help="what is broken; several modes are joined by +"
    )
    parser.add_argument("--scenario", default=str(_SHORT), help="a name or a file (default: short.toml)")
    parser.add_argument(
        "--requests", type=int, default=REQUESTS, help=f"too few sell out no slot (default: {REQUESTS})"
    )
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--folder", type=Path, help="where to keep the data (default: a temporary folder)")
    given = parser.parse_args()
    try:
        sabotage(given.sabotage)
    except KeyError as unknown:
        parser.error(f"there is no mode {unknown}")
    scenario = load_scenario(given.scenario, requests=given.requests)
    with (
        tempfile.TemporaryDirectory() as folder,
        Live(Console(stderr=True), scenario.requests, f"sabotage: {given.sabotage}") as live,
    ):
        orders = Orders(scenario, given.seed, 1, f"python -m tests.rush --sabotage {given.sabotage}")
        result = rush_embedded(SabotagedStack(given.folder or Path(folder), given.sabotage), orders, live)
    print_table(result, Console())
    if given.json:
        write_result(result, given.json)
    return EXIT_CODES[result.verdict]


if __name__ == "__main__":
    sys.exit(main())
