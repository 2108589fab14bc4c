"""What programs write and serve while they run, and when they end."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from antrian.local.child import Child, EmbeddedError
from antrian.logs import JsonLines
from antrian.metrics_port import metrics_served

NIK = "3171014107900001"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Captures log lines as our programs write them."""
    caplog.handler.setFormatter(JsonLines())
    return caplog


async def test_a_disconnect_during_a_metrics_scrape_is_logged_as_json(
    lines: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with metrics_served(f"127.0.0.1:{port}", CollectorRegistry()):
        while not lines.text:
            with socket.create_connection(("127.0.0.1", port)) as left:
                left.sendall(b"GET / nonsense\r\n\r\n")
                left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            await asyncio.sleep(0.01)
    assert json.loads(lines.text.splitlines()[0])["message"] == "sending metrics failed"
    assert capfd.readouterr().err == ""


def test_a_fatal_error_is_logged_as_json(tmp_path: Path) -> None:
    program = f"from antrian.logs import log_to_stderr; log_to_stderr('INFO'); raise ValueError('{NIK}')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    event = json.loads(ended.stderr)
    assert (event["level"], event["message"]) == ("CRITICAL", "uncaught exception")
    assert event["exception"].endswith("ValueError: [NIK]")


def test_the_last_log_lines_of_a_program_are_shown_readably(tmp_path: Path) -> None:
    program = "from antrian.logs import log_to_stderr; log_to_stderr('INFO'); print('plain'); raise ValueError('no')"
    lock = (tmp_path / "lock").open("wb")
    with lock:
        child = Child("server", [sys.executable, "-u", "-c", program], log=tmp_path / "server.log", lock=lock.fileno())
        child.process.wait(30)
        with pytest.raises(EmbeddedError) as caught:
            child.check()
    first, plain, head, *traceback = str(caught.value).splitlines()
    assert first == f"server ended with code 1; its log is {tmp_path / 'server.log'}"
    assert plain == "  plain"
    assert head.endswith("CRITICAL antrian.logs uncaught exception")
    assert traceback[0] == "  Traceback (most recent call last):"
    assert traceback[-1] == "  ValueError: no"


def test_metrics_are_served_within_the_context_and_a_taken_port_is_named() -> None:
    listen = "127.0.0.1:7699"
    with metrics_served("", CollectorRegistry()), metrics_served(listen, CollectorRegistry()):
        with urllib.request.urlopen(f"http://{listen}/metrics") as response:
            assert response.status == 200
        with (
            pytest.raises(RuntimeError, match=f"metrics cannot be served on {listen}"),
            metrics_served(listen, CollectorRegistry()),
        ):
            pass
    with metrics_served(listen, CollectorRegistry()):
        pass
