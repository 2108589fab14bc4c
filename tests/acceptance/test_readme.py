"""README's client and docs/first-steps.md work as written, on any day."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from tests.conftest import given_servers
from tests.support.curl import provide_curl

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST_STEPS = (ROOT / "docs/first-steps.md").read_text()
WITHIN = 60.0


def shell_after(words: str) -> str:
    """The indented lines after this text."""
    _, found, rest = FIRST_STEPS.partition(words)
    assert found, words
    lines = dropwhile(lambda line: not line.startswith("    "), rest.splitlines())
    return "\n".join(line[4:] for line in takewhile(lambda line: line.startswith("    "), lines))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like a checkout to the examples, with a running Antrian as `antrian up` starts it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    provide_curl(tmp_path)
    _, up = shell_after("in an open window:").splitlines()
    given = given_servers()  # embedded stores all the same: the clock of others is not moved
    environment = {name: value for name, value in os.environ.items() if not (given and name.startswith("ANTRIAN_"))}
    with subprocess.Popen(
        ["bash", "-c", f"exec {up}"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    ) as antrian:
        try:
            assert antrian.stdout
            assert b"Antrian serves 185 offices" in antrian.stdout.readline()
            yield tmp_path
        finally:
            antrian.send_signal(signal.SIGINT)
            assert antrian.wait(WITHIN) == 0


def run(place: Path, script: str, **variables: str) -> str:
    """Runs the script; returns its output. Addresses are replaced by those of the running Antrian."""
    facts = json.loads((place / ".antrian/run.json").read_text())
    script = script.replace("127.0.0.1:7780", facts["http"]).replace("127.0.0.1:7700", facts["grpc"])
    environment = os.environ | variables | {"PATH": f"{place}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_first_steps_work_as_written(place: Path) -> None:
    look, ask, watch = re.split(r"\n(?=curl .*/v1/bookings)", shell_after("NIKs are made up:"))
    booking = re.search(r'"bookingId": ?"([^"]+)"', asked := run(place, f"{look}\n{ask}"))
    assert booking, asked
    day = run(place, f"{look} >/dev/null; echo $day").split()[-1]
    told = run(place, watch.replace("ID:watch", f"{booking[1]}:watch"))
    assert "BOOKING_STATE_CONFIRMED" in told

    booked = run(place, shell_after("## With the command line"), day=day)
    assert "CONFIRMED: queue numbers" in booked
    [mine] = re.findall(r"^accepted as (\S+)$", booked, re.MULTILINE)
    life = run(place, shell_after("change a quota:").replace("cancel ID", f"cancel {mine}"), day=day)
    assert "CANCELLED" in life

    python = README.split("```python\n")[1].split("```")[0]
    facts = json.loads((place / ".antrian/run.json").read_text())
    (place / "example.py").write_text(python.replace("127.0.0.1:7700", facts["grpc"]))
    assert re.fullmatch(r"\[\d+\] [0-9A-Z]{10}\n", run(place, ".venv/bin/python example.py"))
    assert run(place, ".venv/bin/python example.py").startswith("ALREADY_BOOKED ")
