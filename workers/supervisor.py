"""Keeps worker processes running, and stops them within ten seconds."""

import logging
import multiprocessing
import random
import threading
import time
from multiprocessing.process import BaseProcess

from antrian.booking import Policy
from antrian.settings import WorkerSettings
from workers import worker

STOP_WITHIN = 9.0
"""Seconds that the worker processes have to stop before they are killed."""

RESTART_AFTER, RESTART_AT_MOST = 0.5, 5.0
"""The first and the longest pause before another attempt, in seconds, before jitter."""

# Longer than any single step of a worker: its stores time out after 3 s, its RQ job after 30 s.
_SILENT = 45.0
_log = logging.getLogger("workers")


class Supervisor:
    """Keeps worker_processes workers running: replaces those that died, and those without a heartbeat for 45 s."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        # spawn, not fork: a child shares no connection and no lock with its parent.
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[str, BaseProcess] = {}
        # A replacement keeps the name of the worker that died: workers/metrics.py counts under it.
        self._heartbeats = {
            f"antrian-worker-{n}": self._context.Value("d", 0.0) for n in range(settings.worker_processes)
        }

    def silent_for(self) -> dict[str, float]:
        """Returns the seconds since each worker's last heartbeat, by its name."""
        return {
            name: time.monotonic() - heartbeat.value for name, heartbeat in self._heartbeats.items() if heartbeat.value
        }

    def run(self, policy: Policy, stop: threading.Event) -> None:
        """Runs the workers until stop is set, and returns when they have ended.

        They start with this policy, and follow the ledger's from then on.
        """
        pause, failed_at = RESTART_AFTER, 0.0
        while not stop.is_set():
            if self._reap():
                again = time.monotonic() - failed_at < 2 * RESTART_AT_MOST
                pause, failed_at = min(2 * pause, RESTART_AT_MOST) if again else RESTART_AFTER, time.monotonic()
                stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            for name, heartbeat in self._heartbeats.items():
                if name not in self._running and not stop.is_set():
                    heartbeat.value = time.monotonic()
                    process = self._context.Process(
                        target=worker.main, args=[self._settings, policy, heartbeat], name=name
                    )
                    self._running[name] = process
                    process.start()
            stop.wait(0.2)
        self._end()

    def _reap(self) -> bool:
        """Removes dead workers, and kills those without a heartbeat. Returns whether a worker was dead."""
        silent = self.silent_for()
        dead = False
        for name, process in list(self._running.items()):
            if not process.is_alive():
                _log.error("worker %s died with exit code %s; starting another", process.pid, process.exitcode)
                del self._running[name]
                dead = True
            elif silent.get(name, 0) > _SILENT:
                _log.error("worker %s sent no heartbeat for %.0f s; killing it", process.pid, silent[name])
                process.kill()
                process.join()
        return dead

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        ends = time.monotonic() + STOP_WITHIN
        for process in self._running.values():
            process.join(max(0.0, ends - time.monotonic()))
            if process.is_alive():
                _log.error("worker %s did not stop; killed. Another worker finishes its lanes", process.pid)
                process.kill()
