"""`python -m tests.mutants`: the kill rate of small faults in the scripts and statements, and the survivors by name.

Exits 1 when a mutant survives for which survivors.toml has no reason, when a listed one is killed or gone, and when one
cannot be judged, as no test is known to use its file.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from antrian.local.embedded import EmbeddedStores
from tests.conftest import Stores
from tests.mutants.judge import FAILED, KILLED, STILLBORN, SURVIVED, Judge, Runner, Verdict
from tests.mutants.mutator import Mutant, all_mutants

SURVIVORS = Path(__file__).with_name("survivors.toml")
_SHARED = "/dev/shm"
Name = tuple[str, str, str]
"""A mutant whatever its line's number is: file, old line, new line."""


def name_of(mutant: Mutant) -> Name:
    """What survivors.toml calls it."""
    return mutant.file, mutant.old, mutant.new


def reasons() -> dict[Name, str]:
    """Why survivors may live."""
    listed = tomllib.loads(SURVIVORS.read_text())["survivor"] if SURVIVORS.exists() else []
    return {(one["file"], one["old"], one["new"]): one["why"] for one in listed}


def gone(every: Iterable[Mutant]) -> list[Name]:
    """What survivors.toml lists although there is no such mutant any more."""
    return sorted(reasons().keys() - {name_of(mutant) for mutant in every})


def main() -> int:
    """Judges the mutants and prints what came out."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="FILE", help="only files whose name has this in it: lane/join")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the verdicts")
    arguments = parser.parse_args()

    every = all_mutants()
    if stale := gone(every):
        print("Listed in survivors.toml, but gone:", *(f"- {' | '.join(name)}" for name in stale), sep="\n")
        return 1
    mutants = [mutant for mutant in every if arguments.only in mutant.file]
    if arguments.sample:
        mutants = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))
    began, results = time.monotonic(), list[Verdict]()
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="antrian-mutants-", dir=_memory())))
        judge = Judge([_runner(folder / str(n), undo) for n in range(arguments.jobs)])
        print(f"{judge.begin()} tests pass without a mutant; {len(mutants)} mutants", flush=True)
        try:
            for verdict in judge.judge(mutants):
                results.append(verdict)
                print(
                    f"[{len(results)}/{len(mutants)}] {verdict.seconds:4.1f} s {verdict.fate:9} {verdict.mutant}",
                    flush=True,
                )
        finally:  # what is known is told, whatever becomes of the rest
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(verdict) for verdict in results], indent=1))
            wrong = _report(results)
            print(f"{time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _memory() -> str | None:
    """A folder in memory, where there is room: what these stores write is for nobody to keep."""
    return _SHARED if Path(_SHARED).is_dir() and shutil.disk_usage(_SHARED).free > 2**31 else None


def _runner(folder: Path, undo: ExitStack) -> Runner:
    """Stores of its own, and others, in a new folder, when a mutant has hung these."""
    started: list[EmbeddedStores] = []

    def start() -> Stores:
        for hung in started:
            os.kill(hung.pids["redis"], signal.SIGKILL)
            hung.stop()
        started[:] = [EmbeddedStores(folder / f"stores-{time.monotonic_ns()}")]
        started[0].start()
        return Stores(started[0].redis_url, started[0].database_url)

    runner = Runner(folder / "antrian", start)
    undo.callback(lambda: started[0].stop())  # noqa: PLW0108 - of those that run then
    undo.callback(runner.close)
    return runner


def _report(results: list[Verdict]) -> int:
    """Prints rates and survivors; answers how many things are wrong."""
    files = Counter((verdict.mutant.file, verdict.fate) for verdict in results)
    print(f"\n{'file':36} killed survived stillborn   rate")
    for file in [*sorted({file for file, _ in files}), ""]:
        killed, survived, stillborn = (
            sum(count for (name, kind), count in files.items() if kind == fate and file in {name, ""})
            for fate in (KILLED, SURVIVED, STILLBORN)
        )
        rate = f"{killed / (killed + survived):7.1%}" if killed + survived else "      -"
        print(f"{file or 'all':36} {killed:6} {survived:8} {stillborn:9} {rate}")

    why, wrong = reasons(), 0
    print("\nSurvivors:")
    for verdict in results:
        reason = why.get(name_of(verdict.mutant))
        if verdict.fate == FAILED:
            wrong += 1
            print(f"- {verdict.mutant}\n    NOT JUDGED: {verdict.killer}")
        elif verdict.fate == SURVIVED:
            wrong += reason is None
            print(f"- {verdict.mutant}\n    {reason or 'NO REASON in survivors.toml'}")
        elif reason:
            wrong += 1
            print(f"- {verdict.mutant}\n    LISTED, BUT {verdict.fate.upper()} {verdict.killer}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
