"""Runs the tests against mutants: one forked process a mutant, stopped at the first test that fails.

Everything is imported, and every test run once, before the first fork: that shows that all pass, and which scripts and
statements each of them uses. A mutant is shown only to tests that use its file, those first that killed its neighbours.
"""

import importlib
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha1
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis
from redis.client import Pipeline
from redis.commands.core import AsyncScript, Script
from redis.exceptions import RedisError, ResponseError

from antrian.lane import connection
from antrian.ledger import sql
from antrian.ledger.migrate import migrate
from antrian.ledger.statement import Statement
from tests.conftest import Stores, new_database
from tests.mutants.mutator import ANTRIAN, Mutant

TESTS = [
    "tests/promises/test_variants.py::test_the_promises_hold",
    "tests/promises/test_life_variants.py::test_the_promises_hold_in_the_story",
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "drain",
            "join",
            "request_limits",
            "commands",
            "days",
            "rebuild",
            "reads",
            "audit",
            "keys",
            "policies",
            "retire",
            "ways_back",
            "import",
            "names",
        )
    ),
    *(f"tests/integration/test_mutants_killed{part}.py" for part in ("", "_days", "_lane", "_ways_back")),
    "tests/promises/test_verify.py",
]
"""What judges. In this order, until it is known what kills what."""

PATIENCE = 5
"""A mutant hangs if its tests take this many times as long as without it."""

STILLBORN, KILLED, SURVIVED, FAILED = "stillborn", "killed", "survived", "not judged"
_FORK = multiprocessing.get_context("fork")
_ROOT = Path(__file__).parents[2]
_OPTIONS = [
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:hypothesispytest",
    f"--rootdir={_ROOT}",
]

PARTS = {
    "prelude": "decide",
    "lane": "decide",
    "decisions": "decide",
    "people": "join",
    "refusals": "join",
    "limits": "join",
}
"""Files that scripts include, each with a script that has it."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, the first test that noticed it, and the seconds that took."""

    mutant: Mutant
    fate: str
    killer: str = ""
    seconds: float = 0


class Watch:
    """A pytest plugin: which tests ran, what each used, and which one failed."""

    def __init__(self, order: Sequence[str] = (), tell: Callable[[str], object] = bool) -> None:
        self.order = {name: n for n, name in enumerate(order)}
        self.used: dict[str, set[str]] = {}
        self.failed = ""
        self.longest = 2.0
        self._tell = tell
        self._now = set[str]()

    def use(self, file: str) -> None:
        """Notes that the test that runs uses this file."""
        self._now.add(file)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves only the tests that are asked for, in their order."""
        if self.order:
            items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After each part of a test."""
        self.longest = max(self.longest, report.duration)
        if report.failed and not self.failed:
            self.failed = report.nodeid
            self._tell(report.nodeid)
        if report.when == "teardown":
            self.used[report.nodeid], self._now = self._now, set()


class Runner:
    """Stores that one mutant at a time has for itself, and the folder with its scripts and statements.

    start gives stores, and others each time that it is called: a mutant may have hung the last ones.
    """

    def __init__(self, code: Path, start: Callable[[], Stores]) -> None:
        self.code = code
        self._start = start
        self._undo = ExitStack()
        self.renew()

    def renew(self) -> None:
        """Begins with other stores, and a database for all mutants but those of the schema."""
        self.close()
        self.stores = self._start()
        self.database_url = self._undo.enter_context(new_database(self.stores.database_url))
        migrate(self.database_url)

    def close(self) -> None:
        """Drops its database."""
        self._undo.close()

    def ready(self) -> None:
        """Empties its Redis, or takes another when a mutant's script still runs in there."""
        try:
            with Redis.from_url(self.stores.redis_url, socket_timeout=2) as redis:
                redis.config_set("maxmemory", "0")
                redis.flushall()
        except RedisError:
            self.renew()


class Judge:
    """Judges mutants on these runners, one process each; tests are pytest's words for what judges."""

    def __init__(self, runners: Sequence[Runner], tests: Sequence[str] = tuple(TESTS)) -> None:
        self._runners, self._tests = runners, tests
        self._uses: dict[str, set[str]] = {}
        self._patience = 0.0, 0.0
        self._killers: dict[str, list[str]] = {}
        for runner in runners:
            shutil.copytree(ANTRIAN / "lane", runner.code / "lane", dirs_exist_ok=True)
            shutil.copytree(ANTRIAN / "ledger", runner.code / "ledger", dirs_exist_ok=True)

    def begin(self) -> int:
        """Runs every test on the code as it is; answers how many. Raises AssertionError when one fails."""
        runner = self._runners[0]
        runner.ready()
        read_code_from(runner.code)
        watch = Watch()
        began = time.monotonic()
        with _watched(watch):
            code = _pytest(runner, self._tests, watch)
        self._patience = PATIENCE * watch.longest, PATIENCE * (time.monotonic() - began)
        assert code == 0, f"the tests do not pass without a mutant: {watch.failed or code}"
        self._uses = watch.used
        return len(self._uses)

    def judge(self, mutants: Iterable[Mutant]) -> Iterator[Verdict]:
        """Their verdicts, as they come."""
        queue, idle, busy = iter(mutants), list(self._runners), list[_Trial]()
        while True:
            while idle and (mutant := next(queue, None)):
                busy.append(_Trial(idle.pop(), mutant, self._order(mutant), *self._patience))
            if not busy:
                return
            wait([trial.process.sentinel for trial in busy], timeout=0.5)
            for trial in [trial for trial in busy if trial.is_over()]:
                busy.remove(trial)
                verdict = trial.end()
                idle.append(trial.runner)
                self._learn(verdict)
                yield verdict

    def _order(self, mutant: Mutant) -> list[str]:
        """The tests for this mutant: those first that killed one of the same file last."""
        script_part = Path(mutant.file).stem in PARTS or "migrations" in mutant.file
        fit = [test for test, used in self._uses.items() if script_part or mutant.file in used]
        killers = self._killers.get(mutant.file, [])
        return [*(test for test in killers if test in fit), *(test for test in fit if test not in killers)]

    def _learn(self, verdict: Verdict) -> None:
        if verdict.killer in self._uses:
            killers = self._killers.setdefault(verdict.mutant.file, [])
            self._killers[verdict.mutant.file] = [verdict.killer, *(test for test in killers if test != verdict.killer)]


class _Trial:
    """One mutant before its tests, in a process of its own."""

    def __init__(self, runner: Runner, mutant: Mutant, order: Sequence[str], each: float, all_: float) -> None:
        self.runner, self._mutant = runner, mutant
        runner.ready()
        self._path = runner.code / mutant.file
        self._own = self._path.read_text()
        self._path.write_text(mutant.text)
        self._said, said = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(target=_live, args=(runner, mutant, order, each, said), daemon=True)
        self.process.start()
        said.close()
        self._began = time.monotonic()
        self._deadline = self._began + all_

    def is_over(self) -> bool:
        """Whether it has ended, or has had the time to."""
        if self._said.poll():  # a mutant that is known to be dead may tidy up, but not for long
            self._deadline = min(self._deadline, time.monotonic() + 3)
        return not self.process.is_alive() or time.monotonic() > self._deadline

    def end(self) -> Verdict:
        """What became of it."""
        forced = self.process.is_alive()
        self.process.kill()
        self.process.join()
        fate, killer = KILLED, "hangs or dies"
        with suppress(EOFError):
            fate, killer = self._said.recv()
        self._said.close()
        self._path.write_text(self._own)
        if forced:
            self.runner.renew()
        return Verdict(self._mutant, fate, killer, round(time.monotonic() - self._began, 1))


def read_code_from(code: Path) -> None:
    """Has all scripts, statements and migrations of this process come from there."""
    for name in ("antrian.lane", "antrian.ledger", "antrian.ledger.migrate"):
        setattr(importlib.import_module(name), "files", lambda package: code / package.split(".")[-1])  # noqa: B010
    sql.cache_clear()


def _live(runner: Runner, mutant: Mutant, order: Sequence[str], each: float, said: Connection) -> None:
    """In a process of its own: one mutant before its tests."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as the process lives
    read_code_from(runner.code)
    if _is_stillborn(runner, mutant):
        said.send((STILLBORN, ""))
        return
    if "migrations" not in mutant.file:
        _use_one_database(runner.database_url)
    watch = Watch(order, lambda test: said.send((KILLED, test)))
    if not order:
        said.send((FAILED, "no test is known to use this file"))
        return
    files = sorted({name.partition("::")[0] for name in order})
    code = _pytest(runner, [f"--timeout={each}", *files], watch)
    if not watch.failed:
        said.send((SURVIVED, "") if code == 0 else (FAILED, f"pytest ended with {code}"))


def _use_one_database(url: str) -> None:
    """Has the tests of this process use this database, which is migrated, instead of making one."""
    setattr(importlib.import_module("tests.conftest"), "new_database", lambda _: nullcontext(url))  # noqa: B010


def _pytest(runner: Runner, arguments: Sequence[str], watch: Watch) -> int:
    os.environ["ANTRIAN_REDIS_URL"] = runner.stores.redis_url
    os.environ["ANTRIAN_DATABASE_URL"] = runner.stores.database_url
    os.chdir(_ROOT)
    return int(pytest.main([*_OPTIONS, *arguments], plugins=[watch]))


def _is_stillborn(runner: Runner, mutant: Mutant) -> bool:
    """Whether the store does not even take it: its syntax, a name."""
    if mutant.file.endswith(".lua"):
        name = Path(mutant.file).stem
        try:
            with Redis.from_url(runner.stores.redis_url) as redis:
                redis.script_load(importlib.import_module("antrian.lane").script(PARTS.get(name, name)))
        except ResponseError:
            return True
        return False
    try:
        if "migrations" in mutant.file:
            with new_database(runner.stores.database_url) as url:
                migrate(url)
        else:
            names = [*dict.fromkeys(re.findall(r"%\((\w+)\)[sb]", mutant.text))]
            text = re.sub(r"%\((\w+)\)[sb]", lambda m: f"${names.index(m[1]) + 1}", mutant.text)
            with psycopg.connect(runner.database_url) as connection:
                connection.execute(b"prepare mutant as " + text.encode())
    except (psycopg.ProgrammingError, psycopg.NotSupportedError):
        return True
    return False


class _watched:  # noqa: N801 - reads as a statement
    """Tells the watch of every script and statement that is run."""

    def __init__(self, watch: Watch) -> None:
        self._patch = pytest.MonkeyPatch()
        self._watch = watch

    def __enter__(self) -> None:
        lane = importlib.import_module("antrian.lane")
        names = {
            lane.script(path.stem): f"lane/scripts/{path.name}"
            for path in ANTRIAN.glob("lane/scripts/*.lua")
            if path.stem not in PARTS
        }
        names |= {sha1(text.encode(), usedforsecurity=False).hexdigest(): file for text, file in names.items()}
        names |= {sql(path.stem): f"ledger/queries/{path.name}" for path in ANTRIAN.glob("ledger/queries/*.sql")}
        for kind, call in [
            *((kind, "__call__") for kind in (Script, AsyncScript)),
            (Pipeline, "evalsha"),
            *((kind, "__call__") for kind in (connection.Script, Statement)),
            *((kind, "execute") for kind in (psycopg.Cursor, psycopg.AsyncCursor, psycopg.ServerCursor)),
            (psycopg.Cursor, "executemany"),
        ]:
            self._patch.setattr(kind, call, self._telling(getattr(kind, call), names))

    def __exit__(self, *exc: object) -> None:
        self._patch.undo()

    def _telling(self, call: Any, names: dict[str, str]) -> Any:
        watch = self._watch

        def told(self: Any, *args: Any, **kwargs: Any) -> Any:
            for said in (getattr(self, "script", None), getattr(self, "_text", None), args[0] if args else None):
                text = said.decode(errors="replace") if isinstance(said, bytes) else said
                if isinstance(text, str) and text in names:
                    watch.use(names[text])
            return call(self, *args, **kwargs)

        return told
