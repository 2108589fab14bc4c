"""What every program of ours does with its own process: log, show its metrics, and not outlive its parent."""

import ctypes
import gc
import logging
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

from prometheus_client import CollectorRegistry, start_http_server
from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from antrian.text import NIK_IN_TEXT

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that is being served, which its log lines carry; empty outside of calls."""

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_BURST, _PER_SECOND = 100.0, 0.1
_HEAD, _TAIL = 800, 200
_TRACE = 4000
_NIK = re.compile(NIK_IN_TEXT)


def die_with_parent() -> None:
    """Asks Linux to end this process (SIGTERM) when the one that started it is gone, however it went."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


SPARE_DESCRIPTORS = 200
"""For all but the connections of those who call us."""


def raise_descriptor_limit(setting: str, connections: int) -> int:
    """Lets this process have as many connections as it may, and answers how many that are.

    Logs where it is fewer than the setting promises.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return connections
    most = hard - SPARE_DESCRIPTORS
    if most < connections:
        _log.warning(
            "%s is %d, but only %d files may be open: of more than %d connections at once, the others wait. "
            "Raise the limit (ulimit -n) to %d, or lower the setting",
            setting, connections, hard, most, connections + SPARE_DESCRIPTORS,
        )  # fmt: skip
    return most


def spare_the_collector() -> None:
    """Says that all that is there now stays, and has the collector of garbage look for some more rarely.

    To look through thousands of streams stopped a server for 0.1 s again and again; a worker's turn, which makes thousands of
    small objects, took a tenth longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


class JsonLines(JsonFormatter):
    """A log record as one line of JSON: time, level, logger, message, request_id in a call, exception if any.

    What reads like a NIK is struck out: texts of other libraries' errors may quote what they were given (P14). Of long texts
    the middle is left out: these errors quote all of it.
    """

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=names, timestamp="time")

    def process_log_record(self, log_data: LogData) -> LogData:
        """The fields in their order, without personal data."""
        line = {"time": log_data.pop("time"), **log_data}
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        return {name: _shown(name, value) if isinstance(value, str) else value for name, value in line.items()}


def _shown(name: str, text: str) -> str:
    text, tail = _NIK.sub("[NIK]", text), _TRACE if name == "exception" else _TAIL
    if (left_out := len(text) - _HEAD - tail) <= 0:
        return text
    return f"{text[:_HEAD]} [{left_out} characters] {text[-tail:]}"


class FewLines(logging.Filter):
    """Of the lines of one kind 100 at once, then one in ten seconds: nobody can fill a disk with those that his calls cause.

    A kind is a logger's text before its values are filled in, or a place in the code, with a class of exception. The next
    line of its kind says in `left_out` how many there would have been.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[object, tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
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
    """Logs to standard error, a line of JSON an event; also what ends the program unforeseen."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(FewLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("rq").setLevel(logging.WARNING)
    sys.excepthook = _log_end


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("ended by an error", exc_info=(kind, error, trace))


@contextmanager
def metrics_served(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serves the metrics to Prometheus on host:port, or nowhere if that is empty.

    Raises RuntimeError when the port cannot be had.
    """
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        http, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise RuntimeError(f"metrics cannot be served on {listen}: {error}") from error
    # Else it prints tracebacks, no JSON, for each peer that leaves in the middle.
    http.handle_error = lambda *_: _log.warning("an answer with the metrics failed", exc_info=True)  # type: ignore[method-assign]
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
