"""What a program does with its own process: parent death signal, descriptor limit, garbage collector, metrics port."""

import ctypes
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

SPARE_DESCRIPTORS = 200
"""Descriptors kept for everything but callers' connections."""


def die_with_parent() -> None:
    """Has Linux send SIGTERM to this process when its parent dies, even if it is killed."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the signal was requested
            os.kill(os.getpid(), signal.SIGTERM)


def raise_descriptor_limit(setting: str, connections: int) -> int:
    """Raises the limit of open files to its hard maximum and returns how many connections fit below it.

    Logs a warning if these are fewer than `connections`, the value of that setting.
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


def freeze_heap() -> None:
    """Freezes the heap and raises the garbage collector's thresholds.

    Scanning thousands of streams stopped a server for 0.1 s at a time, and made a worker's turn, which allocates thousands
    of small objects, a tenth longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@contextmanager
def metrics_served(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serves the registry to Prometheus on host:port while the context is open; serves nothing if listen is empty.

    Raises:
        RuntimeError: the port cannot be bound.
    """
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        http, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise RuntimeError(f"metrics cannot be served on {listen}: {error}") from error
    # The default handler prints a traceback, which is no JSON, for each peer that disconnects early.
    http.handle_error = lambda *_: _log.warning("sending metrics failed", exc_info=True)  # type: ignore[method-assign]
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
