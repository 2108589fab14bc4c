"""The clients of examples/, run as their head comments say, against an Antrian in an open window."""

import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antrian.local.stack import Stack
from tests.acceptance.conftest import StartStack
from tests.support.curl import provide_curl

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WITHIN = 60.0


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with a gateway, one minute into the window."""
    return start_stack(opens + timedelta(minutes=1), gateway=True)


def run(*command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN,
        check=False,
    )  # fmt: skip


def check_books_once(confirmed: str, *command: str, path: Path | None = None) -> None:
    """The client books a place. Its second run is refused, because its people are already booked."""
    first, second = run(*command, path=path), run(*command, path=path)
    assert first.returncode == 0, first.stderr + first.stdout
    assert first.stdout.startswith(confirmed)
    assert second.returncode == 1, second.stderr + second.stdout
    assert second.stdout.startswith("refused: ")
    assert "already" in second.stdout


@pytest.mark.parametrize("client", ["book_sdk", "book_grpc"])
def test_the_python_clients_book_a_place(stack: Stack, client: str) -> None:
    check_books_once("confirmed: queue numbers [", sys.executable, "-m", f"examples.{client}", stack.address)


def test_the_curl_client_books_a_place(stack: Stack, tmp_path: Path) -> None:
    provide_curl(tmp_path)
    check_books_once("BOOKING_STATE_CONFIRMED: code ", "examples/book.sh", stack.http_address, path=tmp_path)


if shutil.which("node") and (EXAMPLES / "node_modules").is_dir():  # Antrian installs neither

    def test_the_node_client_books_a_place(stack: Stack) -> None:
        check_books_once("BOOKING_STATE_CONFIRMED: queue numbers ", "node", "examples/book.mjs", stack.address)


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    clients = [file.name for file in EXAMPLES.glob("book*")]
    assert len(clients) == 4
    assert all(f"({name})" in listed for name in clients)
