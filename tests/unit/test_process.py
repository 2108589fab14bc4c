"""Log lines: JSON for machines, without personal data, and readable where people meet them."""

import asyncio
import json
import logging
import socket
import struct
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from antrian.local.child import Child, EmbeddedError
from antrian.process import REQUEST_ID, FewLines, JsonLines, metrics_served
from server.middleware import explain

NIK = "3171014107900001"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Captures log lines as our programs write them."""
    caplog.handler.setFormatter(JsonLines())
    return caplog


def test_a_line_is_json_with_time_level_logger_and_message(lines: pytest.LogCaptureFixture) -> None:
    logging.getLogger("workers").warning("store failed, waiting %.1f s: %s", 0.1, "two\nlines")
    [line] = lines.text.splitlines()
    event = json.loads(line)
    assert list(event) == ["time", "level", "logger", "message"]
    assert datetime.fromisoformat(event.pop("time")).tzinfo == UTC
    assert event == {"level": "WARNING", "logger": "workers", "message": "store failed, waiting 0.1 s: two\nlines"}


def test_a_line_of_a_call_has_its_request_id_and_a_fault_its_traceback(lines: pytest.LogCaptureFixture) -> None:
    token = REQUEST_ID.set("my-request.7")
    try:
        explain(ZeroDivisionError("of ours"), "/antrian.v1.BookingService/GetQuota", english=True)
    finally:
        REQUEST_ID.reset(token)
    event = json.loads(lines.text)
    assert event["request_id"] == "my-request.7"
    assert event["exception"].endswith("ZeroDivisionError: of ours")


def test_no_nik_reaches_a_log_whoever_quotes_it(lines: pytest.LogCaptureFixture) -> None:
    error = ValueError(f"Key (nik)=({NIK}) is no number")
    explain(error, "/antrian.v1.BookingService/RequestBooking", english=True)
    explain(OSError(f"store refused nik={NIK}"), "/antrian.v1.BookingService/RequestBooking", english=True)
    logging.getLogger("server").warning("applicants[0].nik: %s", NIK, extra={"request": f"nik: {NIK}"})
    logging.getLogger("server").warning("as typed: %s", "3171-0101.0190 0001")
    assert len(lines.text.splitlines()) == 4
    assert NIK not in lines.text
    assert "as typed: [NIK]" in lines.text
    assert lines.text.count("[NIK]") >= 4


def test_lines_of_one_kind_are_few_and_say_how_many_were_left_out(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("antrian.process.time.monotonic", lambda: now[0])
    few = FewLines()
    lines.handler.addFilter(few)
    try:
        for n in range(500):
            logging.getLogger("grpc").error("Invalid encoding on %r", bytes([n % 256]))
            logging.getLogger("server").error(f"two of {n % 2} kinds", exc_info=[ValueError(), OSError()][n % 2])
        assert len(lines.text.splitlines()) == 300
        now[0] += 10
        logging.getLogger("grpc").error("Invalid encoding on %r", b"again")
        logging.getLogger("grpc").error("Invalid encoding on %r", b"and again")
    finally:
        lines.handler.removeFilter(few)
    [*_, last] = lines.text.splitlines()
    assert (json.loads(last)["message"], json.loads(last)["left_out"]) == ("Invalid encoding on b'again'", 400)


def test_a_long_text_is_cut_where_it_tells_least(lines: pytest.LogCaptureFixture) -> None:
    error = ValueError("at fault: " + "x" * 9000 + " the end")
    logging.getLogger("server").error("begins %s ends", "y" * 9000, exc_info=error)
    event = json.loads(lines.text)
    assert event["message"].startswith("begins y")
    assert event["message"].endswith("y ends")
    assert event["exception"].endswith("x the end")
    assert len(lines.text) < 7000


async def test_who_leaves_the_metrics_in_the_middle_leaves_a_line_of_json(
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
    assert json.loads(lines.text.splitlines()[0])["message"] == "an answer with the metrics failed"
    assert capfd.readouterr().err == ""


def test_what_ends_a_program_is_a_line_too(tmp_path: Path) -> None:
    program = f"from antrian.process import log_to_stderr; log_to_stderr('INFO'); raise ValueError('{NIK}')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    event = json.loads(ended.stderr)
    assert (event["level"], event["message"]) == ("CRITICAL", "ended by an error")
    assert event["exception"].endswith("ValueError: [NIK]")


def test_the_last_words_of_a_program_read_well(tmp_path: Path) -> None:
    program = "from antrian.process import log_to_stderr; log_to_stderr('INFO'); print('plain'); raise ValueError('no')"
    lock = (tmp_path / "lock").open("wb")
    with lock:
        child = Child("server", [sys.executable, "-u", "-c", program], log=tmp_path / "server.log", lock=lock.fileno())
        child.process.wait(30)
        with pytest.raises(EmbeddedError) as caught:
            child.check()
    first, plain, head, *traceback = str(caught.value).splitlines()
    assert first == f"server ended with code 1; its log is {tmp_path / 'server.log'}"
    assert plain == "  plain"
    assert head.endswith("CRITICAL antrian.process ended by an error")
    assert traceback[0] == "  Traceback (most recent call last):"
    assert traceback[-1] == "  ValueError: no"


def test_metrics_are_served_while_it_lasts_and_a_taken_port_is_named() -> None:
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
