"""Log lines: JSON for machines, without personal data, and readable where people meet them."""

import json
import logging
from datetime import UTC, datetime

import pytest

from antrian.logs import REQUEST_ID, FewLines, JsonLines
from server.middleware import explain

NIK = "3171014107900001"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Captures log lines as our programs write them."""
    caplog.handler.setFormatter(JsonLines())
    return caplog


def test_a_log_line_is_json_with_time_level_logger_and_message(lines: pytest.LogCaptureFixture) -> None:
    logging.getLogger("workers").warning("store failed, waiting %.1f s: %s", 0.1, "two\nlines")
    [line] = lines.text.splitlines()
    event = json.loads(line)
    assert list(event) == ["time", "level", "logger", "message"]
    assert datetime.fromisoformat(event.pop("time")).tzinfo == UTC
    assert event == {"level": "WARNING", "logger": "workers", "message": "store failed, waiting 0.1 s: two\nlines"}


def test_log_lines_of_a_call_have_its_request_id_and_errors_a_traceback(lines: pytest.LogCaptureFixture) -> None:
    token = REQUEST_ID.set("my-request.7")
    try:
        explain(ZeroDivisionError("of ours"), "/antrian.v1.BookingService/GetQuota", english=True)
    finally:
        REQUEST_ID.reset(token)
    event = json.loads(lines.text)
    assert event["request_id"] == "my-request.7"
    assert event["exception"].endswith("ZeroDivisionError: of ours")


def test_niks_are_redacted_from_all_log_lines(lines: pytest.LogCaptureFixture) -> None:
    error = ValueError(f"Key (nik)=({NIK}) is no number")
    explain(error, "/antrian.v1.BookingService/RequestBooking", english=True)
    explain(OSError(f"store refused nik={NIK}"), "/antrian.v1.BookingService/RequestBooking", english=True)
    logging.getLogger("server").warning("applicants[0].nik: %s", NIK, extra={"request": f"nik: {NIK}"})
    logging.getLogger("server").warning("as typed: %s", "3171-0101.0190 0001")
    assert len(lines.text.splitlines()) == 4
    assert NIK not in lines.text
    assert "as typed: [NIK]" in lines.text
    assert lines.text.count("[NIK]") >= 4


def test_repeated_log_lines_are_sampled_and_counted(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("antrian.logs.time.monotonic", lambda: now[0])
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


def test_a_long_text_is_shortened_in_the_middle(lines: pytest.LogCaptureFixture) -> None:
    error = ValueError("at fault: " + "x" * 9000 + " the end")
    logging.getLogger("server").error("begins %s ends", "y" * 9000, exc_info=error)
    event = json.loads(lines.text)
    assert event["message"].startswith("begins y")
    assert event["message"].endswith("y ends")
    assert event["exception"].endswith("x the end")
    assert len(lines.text) < 7000
