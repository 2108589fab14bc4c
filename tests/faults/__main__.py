"""`python -m tests.faults`: injects every fault into a running Antrian under load, and prints the results."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from tests.faults.every import FAULTS
from tests.faults.fault import Fault
from tests.faults.run import COUNTED, Result, run_fault
from tests.faults.site import Site

_console = Console(width=None if sys.stdout.isatty() else 200)


def main(faults: Sequence[Fault] = FAULTS) -> int:
    """Exits 0 only when nothing was lost, duplicated, overtaken or oversold, and all recovered in time."""
    parser = argparse.ArgumentParser("python -m tests.faults", description="Break a running Antrian, in every way.")
    parser.add_argument("--only", metavar="TEXT", default="", help="only faults with this in their name")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there, for programs")
    parser.add_argument("--quick", action="store_true", help="the quick half, with few injections")
    parser.add_argument("--most", metavar="N", type=int, default=100, help="maximum number of injections of each fault")
    arguments = parser.parse_args()
    chosen = [f for f in faults if arguments.only.lower() in f.name.lower() and (f.quick or not arguments.quick)]
    if not chosen:
        parser.error(f"no fault is named so; there are: {', '.join(f.name for f in faults)}")
    results: list[Result] = []
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for fault in chosen:
            most = min(fault.quick if arguments.quick else fault.injections, arguments.most)
            results.append(runner.run(_run(fault, most)))
            if arguments.json:  # what is known is there, whatever becomes of the rest
                arguments.json.write_text(json.dumps([result.row() for result in results], indent=2) + "\n")
    results += [Result(fault, words=["not tried to the end: Ctrl-C"]) for fault in chosen[len(results) :]]
    _console.print(table(results))
    failed = [result.fault.name for result in results if not result.held]
    _console.print(f"[red]broke: {', '.join(failed)}" if failed else "[green]every promise held")
    return 1 if failed else 0


async def _run(fault: Fault, injections: int) -> Result:
    """Runs a fault on its own site, whose folder is kept if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="antrian-faults-"))
    try:
        async with Site(folder, environment=fault.environment, standby=fault.standby, replicas=fault.replicas) as site:
            result = await run_fault(fault, site, injections, lambda line: _console.print(line, highlight=False))
    except Exception as error:  # the other faults are to be tried all the same
        result = Result(fault, words=[f"could not be run: {error!r}"])
    if result.held:
        shutil.rmtree(folder)
    else:
        _console.print(f"[red]{fault.name}[/red]: logs and history are in {folder}")
        for line in result.words:
            _console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    return result


def table(results: Sequence[Result]) -> Table:
    """A row for each fault."""
    made = Table(
        "fault", caption="Recovery: from the mending (a kill: from the kill) until all that was asked has its end"
    )
    for head in ("injections", "under way", "median s", "worst s", "limit s", *COUNTED, "undecided lost"):
        made.add_column(head, justify="right")
    for result in results:
        fault, style = result.fault, None if result.held else "red"
        seconds = (f"{result.median:.1f}", f"{result.worst:.1f}", f"{fault.within:g}")
        undecided = str(result.undecided_lost) if fault.loses_undecided else "-"
        counts = (str(result.counts[column]) for column in COUNTED)
        made.add_row(
            fault.name, str(len(result.recovery)), str(result.under_way), *seconds, *counts, undecided, style=style
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
