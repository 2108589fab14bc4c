"""`python -m tests.compose`: docker-compose.yml on a Docker engine of its own: build, up, verify, rush, scale, down; failover.

Official images cannot be had everywhere: stand-ins made of Debian's packages have their names. Needs root, and leaves
nothing behind. The last line is PASS or FAIL. Exit codes: 0 PASS; 1 FAIL; 2 this machine lacks something.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.compose.engine import ComposeError, Engine, missing
from tests.compose.images import build, make_stand_ins
from tests.compose.project import IMAGE, ROOT, Project
from tests.compose.replicas import Replicas

_MINUTES = 20
_console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)


class Steps:
    """What was done, how long each step took, and what made the last one fail."""

    def __init__(self) -> None:
        self.done: list[tuple[str, float, bool]] = []

    def __call__(self, name: str, work: Callable[[], object]) -> None:
        """Does a step."""
        began, held = time.monotonic(), False
        _console.print(f"{name} …")
        try:
            work()
            held = True
        finally:
            self.done.append((name, time.monotonic() - began, held))

    def table(self) -> Table:
        """A row for each step."""
        made = Table("step")
        made.add_column("seconds", justify="right")
        made.add_column("")
        for name, seconds, held in self.done:
            made.add_row(name, f"{seconds:.1f}", "ok" if held else "failed", style=None if held else "red")
        return made


def main() -> int:
    """Exits 0 when every step held."""
    parser = argparse.ArgumentParser("python -m tests.compose", description=(__doc__ or "").partition(": ")[2])
    parser.parse_args()
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _end)
    signal.alarm(_MINUTES * 60)
    steps, held = Steps(), False
    folder = Path(tempfile.mkdtemp(prefix="antrian-compose-"))
    try:
        play(Engine(folder), steps)
        held = True
    except (ComposeError, OSError) as error:
        _console.print(str(error), markup=False)
    except KeyboardInterrupt:
        _console.print(f"ended by a signal, or not over within {_MINUTES} minutes")
    finally:
        signal.alarm(0)
        shutil.rmtree(folder)
    _console.print(steps.table())
    _console.print("PASS" if held else "FAIL")
    return 0 if held else 1


def play(engine: Engine, step: Steps) -> None:
    """All steps, in order. Raises ComposeError at the first that fails; the engine is ended in any case."""
    with engine.building():
        step("make the images that are not ours", lambda: make_stand_ins(engine))
        step("build Antrian's image", lambda: build(engine, IMAGE, ROOT))
    with ExitStack() as stack:
        step("start the engine in a namespace", lambda: stack.enter_context(engine.serving()))
        project = Project(engine)
        step("up", project.up)
        step("verify", project.verify)
        step("apply a policy with an open window", project.open_window)
        step("rush through the gateway", lambda: project.rush(seed=1))
        step("scale to three servers and three workers", lambda: project.scale(server=3, worker=3))
        step("rush again", lambda: project.rush(seed=2))
        step("verify again", project.verify)
        step("down", project.down)
        replicas = Replicas(project)
        step("up with the profile ha", replicas.up)
        step("check replicas, sentinels and the standby", replicas.check)
        step("kill the primary of Redis", replicas.kill_redis)
        step("rush on the promoted replica", lambda: project.rush(seed=1))
        step("kill the primary of Postgres", replicas.kill_postgres)
        step("rush on the promoted standby", lambda: project.rush(seed=2))
        step("check again", replicas.check)
        step("verify once more", project.verify)
        step("down again", project.down)


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
