"""Measures the CPU time of each program while the rush is played on the same machine."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

_EVERY = 1.0

Pids = Callable[[], Mapping[str, Sequence[int]]]
"""Returns the current process ids of each program."""


class Meter:
    """Measures once a second from start() to close(). readings: (time.monotonic(), CPU seconds by program since start()).

    The processes of a program include its descendants. The count of a restarted program continues.
    """

    def __init__(self, pids: Pids) -> None:
        self.readings: list[tuple[float, dict[str, float]]] = []
        self._pids = pids
        self._seconds: dict[str, float] = {}
        self._last: dict[tuple[int, float], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Starts measuring. Earlier CPU time does not count."""
        self._thread.start()

    def close(self) -> None:
        """Takes a last reading and stops."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        self._read()
        while not self._stop.wait(_EVERY):
            self._read()
        self._read()

    def _read(self) -> None:
        first = not self.readings
        for name, pids in self._pids().items():
            for pid in pids:
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                    for each in (process, *process.children(recursive=True)):
                        self._add(name, each, first=first)
        self.readings.append((time.monotonic(), dict(self._seconds)))

    def _add(self, name: str, process: psutil.Process, *, first: bool) -> None:
        with suppress(psutil.Error):
            times = process.cpu_times()
            used = times.user + times.system
            key = process.pid, process.create_time()
            # Processes that already ran at the start count from then, later ones from their own start.
            before = self._last.get(key, used if first else 0.0)
            self._last[key] = used
            self._seconds[name] = self._seconds.get(name, 0.0) + used - before
