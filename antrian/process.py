"""What a program does with its own process: parent death signal, core dumps, descriptor limit, garbage collector."""

import ctypes
import gc
import logging
import os
import resource
import signal
import sys

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4  # linux/prctl.h

SPARE_DESCRIPTORS = 200
"""Descriptors kept for everything but callers' connections."""


def die_with_parent() -> None:
    """Has Linux send SIGTERM to this process when its parent dies, even if it is killed."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the signal was requested
            os.kill(os.getpid(), signal.SIGTERM)


def forbid_core_dumps() -> None:
    """Has this process and its future children leave no core file, which would contain tokens and personal data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hide_memory() -> None:
    """Forbids core dumps, and keeps other processes of this user from reading this one's memory, which has the secret keys.

    Without this, Linux ignores the limit of core files where a program receives the dumps (a pipe in core_pattern).
    """
    forbid_core_dumps()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0)


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
