"""The judge of mutants sees three that are known to be deadly die, and one that changes nothing live.

One whose file no test uses is not judged.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.conftest import Stores
from tests.mutants.judge import TESTS, Judge, Runner
from tests.mutants.mutator import Mutant, all_mutants

STORY = "tests/promises/test_variants.py::test_the_promises_hold"
DEADLY = [
    ("lane/scripts/settle.lua", "delete", "if fenced(office, token, lane.token)"),
    ("lane/scripts/decisions.lua", "arithmetic", "counters.remaining - party"),
    ("ledger/queries/record.sql", "arithmetic", "set taken = slot.taken + sums.places"),
]


def chosen() -> list[Mutant]:
    """Those of DEADLY, one that is no Lua, one with nothing but a comment more, and one that the story does not run."""
    every = all_mutants()
    found = [
        next(m for m in every if (m.file, m.operator) == (file, how) and old in m.old) for file, how, old in DEADLY
    ]
    return [
        *found,
        replace(found[0], text="#!lua\nreturn ("),
        replace(found[0], text=f"{_text(found[0])}\n-- the same"),
        next(m for m in every if m.file == "ledger/queries/retire_office.sql" and m.operator == "condition"),
    ]


def _text(mutant: Mutant) -> str:
    return (Path(__file__).parents[2] / "antrian" / mutant.file).read_text()


def test_mutants_with_known_effects_are_killed(stores: Stores, redis_url: str, tmp_path: Path) -> None:
    # In a process of its own: the judge runs pytest, and replaces where scripts come from.
    command = [sys.executable, "-m", __name__, str(tmp_path), redis_url, stores.database_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    fates = json.loads(done.stdout.splitlines()[-1])
    assert fates[:5] == [["killed", STORY]] * 3 + [["stillborn", ""], ["survived", ""]]
    assert fates[5:] == [["not judged", "no test is known to use this file"]]


def test_every_test_that_judges_mutants_exists() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    runner = Runner(Path(sys.argv[1]), lambda: Stores(*sys.argv[2:]))
    judge = Judge([runner], [STORY])
    judge.begin()
    said = [(verdict.fate, verdict.killer) for verdict in judge.judge(chosen())]
    runner.close()
    print(json.dumps(said))
