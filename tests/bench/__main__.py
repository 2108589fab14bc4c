"""`python -m tests.bench` (`make bench`): what Antrian costs over the bare parts, as ratios of things run side by side.

Each section starts what it compares on stores of its own, measures all of it once a round, in rounds, and runs `antrian
verify` on what Antrian did. The ratio of a row is the median of its rounds' ratios.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import accept, auth, drain, growth, latency, reads, report, start
from tests.bench.row import Plan, Row

Section = Callable[[Plan], Iterator[Row]]
SECTIONS: dict[str, Section] = {
    "accept": accept.rows,
    "auth": auth.rows,
    "drain": drain.rows,
    "latency": latency.rows,
    "growth": growth.rows,
    "reads": reads.rows,
    "start": start.rows,
}
"""What there is to measure, in the order in which it is."""


def main() -> int:
    """Measures, shows and writes; 1 when a row missed its target, with --strict, or a section could not be measured."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="measure only these")
    parser.add_argument("--quick", action="store_true", help="only what has a target: less than ten minutes")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default: 5)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the rows go (default: bench.json)")
    parser.add_argument(
        "--html", type=Path, default=Path("bench.html"), help="where the picture goes (default: bench.html)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a row misses its target")
    given = parser.parse_args()
    rows, broken = list[Row](), list[str]()
    for name in given.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for row in SECTIONS[name](Plan(given.rounds, given.quick)):
                rows.append(row)
                print(report.line(row), flush=True)
        except Exception:  # the other sections are to be measured all the same
            broken.append(name)
            traceback.print_exc()
        finally:
            report.write(rows, given.json, given.html)  # what is measured is there, whatever becomes of the rest
    if broken:
        print(f"could not be measured to the end: {', '.join(broken)}", file=sys.stderr)
    return int(bool(broken) or (given.strict and not all(row.reached and row.valid for row in rows)))


if __name__ == "__main__":
    sys.exit(main())
