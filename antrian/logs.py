"""Logging as JSON lines on standard error, without NIKs and with a bound on lines of one kind."""

import logging
import re
import sys
import time
from contextvars import ContextVar
from types import TracebackType

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from antrian.text import NIK_IN_TEXT

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call being served, added to its log lines; empty outside of calls."""

_log = logging.getLogger(__name__)
_BURST, _PER_SECOND = 100.0, 0.1
_HEAD_CHARACTERS, _TAIL_CHARACTERS, _TRACEBACK_TAIL_CHARACTERS = 800, 200, 4000
_NIK = re.compile(NIK_IN_TEXT)


class JsonLines(JsonFormatter):
    """Formats a log record as one line of JSON: time, level, logger, message, then request_id and exception if any.

    Replaces whatever reads like a NIK with "[NIK]", because error texts of libraries may quote their input (P14), and cuts
    the middle out of long texts, because such errors quote all of it.
    """

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=names, timestamp="time")

    def process_log_record(self, log_data: LogData) -> LogData:
        """Returns the fields in the order above, without personal data."""
        line = {"time": log_data.pop("time"), **log_data}
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        return {name: _redact(name, value) if isinstance(value, str) else value for name, value in line.items()}


def _redact(name: str, text: str) -> str:
    text = _NIK.sub("[NIK]", text)
    tail = _TRACEBACK_TAIL_CHARACTERS if name == "exception" else _TAIL_CHARACTERS
    if (left_out := len(text) - _HEAD_CHARACTERS - tail) <= 0:
        return text
    return f"{text[:_HEAD_CHARACTERS]} [{left_out} characters] {text[-tail:]}"


class FewLines(logging.Filter):
    """Rate limit per kind of line: a burst of 100, then one in ten seconds, so that no caller can fill the disk.

    A kind is a logger, its text before values are filled in (or the place in the code), and the class of the exception. The
    next line of a kind that is written reports in `left_out` how many were dropped before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[object, tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether to write the record."""
        text = record.msg if record.args else (record.pathname, record.lineno)
        kind, now = (record.name, text, record.exc_info and record.exc_info[0]), time.monotonic()
        tokens, since, left_out = self._kinds.get(kind, (_BURST, now, 0))
        tokens = min(_BURST, tokens + (now - since) * _PER_SECOND)
        if tokens < 1:
            self._kinds[kind] = tokens, now, left_out + 1
            return False
        if left_out:
            record.left_out = left_out
        self._kinds[kind] = tokens - 1, now, 0
        return True


def log_to_stderr(level: str) -> None:
    """Logs to standard error, one line of JSON per event, including the uncaught exception that ends the program."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(FewLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("rq").setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("uncaught exception", exc_info=(kind, error, trace))
