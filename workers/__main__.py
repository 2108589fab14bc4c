"""`python -m workers`: keeps worker processes alive, and stops them within ten seconds on SIGTERM or SIGINT."""

import argparse
import logging
import multiprocessing
import random
import signal
import sys
import threading
import time
from multiprocessing.process import BaseProcess

import psycopg

from antrian.booking import Policy
from antrian.identity import Keys
from antrian.ledger.keys import claim_keys
from antrian.ledger.policies import claim_policy
from antrian.logs import log_to_stderr
from antrian.policy import PolicyError, load_policy
from antrian.settings import Settings, SettingsError, load_settings
from workers import metrics, worker
from workers.audit import Audit

_RESTART_AFTER, _RESTART_AT_MOST = 0.5, 5.0
# Longer than any one thing that a worker does: its stores give up after three seconds, RQ's job after thirty.
_SILENT = 45.0
_STOP_WITHIN = 9.0
_log = logging.getLogger("workers")


class Supervisor:
    """Keeps worker_processes workers running; one that died, or that no longer gets on, is replaced."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # spawn, not fork: a child shares no connection and no lock with its parent.
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[str, BaseProcess] = {}
        # Who takes a dead one's place takes its name: workers/metrics.py counts under it.
        self._last_beats = {
            f"antrian-worker-{n}": self._context.Value("d", 0.0) for n in range(settings.worker_processes)
        }

    def silent_for(self) -> dict[str, float]:
        """By worker: for how many seconds it has not got on."""
        return {name: time.monotonic() - beat.value for name, beat in self._last_beats.items() if beat.value}

    def run(self, policy: Policy, stop: threading.Event) -> None:
        """Returns when stop is set and the workers have ended. They begin by that policy, and follow the ledger's."""
        pause, died = _RESTART_AFTER, 0.0
        while not stop.is_set():
            if self._reap():
                again = time.monotonic() - died < 2 * _RESTART_AT_MOST
                pause, died = min(2 * pause, _RESTART_AT_MOST) if again else _RESTART_AFTER, time.monotonic()
                stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            for name, beat in self._last_beats.items():
                if name not in self._running and not stop.is_set():
                    beat.value = time.monotonic()
                    process = self._context.Process(target=worker.main, args=[self._settings, policy, beat], name=name)
                    self._running[name] = process
                    process.start()
            stop.wait(0.2)
        self._end()

    def _reap(self) -> bool:
        """Whether a worker was dead. One that is silent for too long is killed: its lane goes on elsewhere."""
        silent = self.silent_for()
        dead = False
        for name, process in list(self._running.items()):
            if not process.is_alive():
                _log.error("worker %s died with exit code %s; starting another", process.pid, process.exitcode)
                del self._running[name]
                dead = True
            elif silent.get(name, 0) > _SILENT:
                _log.error("worker %s has not got on for %.0f s; killing it", process.pid, silent[name])
                process.kill()
                process.join()
        return dead

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        ends = time.monotonic() + _STOP_WITHIN
        for process in self._running.values():
            process.join(max(0.0, ends - time.monotonic()))
            if process.is_alive():
                _log.error("worker %s did not stop; killed. Its lane goes on elsewhere", process.pid)
                process.kill()


def claim(settings: Settings, policy: Policy, stop: threading.Event) -> Policy:
    """Returns once our keys and our policy are the ledger's, or stop is set; the ledger's version of the policy.

    Raises WrongKeys and WrongPolicy when it has others.
    """
    keys, pause = Keys(settings.hash_key, settings.encryption_key), _RESTART_AFTER
    while not stop.is_set():
        try:
            claim_keys(settings.database_url, keys)
            return claim_policy(settings.database_url, policy)
        except psycopg.Error as problem:
            _log.warning("store failed, waiting %.1f s: %s", pause, problem)
            stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(2 * pause, _RESTART_AT_MOST)
    return policy


def main() -> int:
    """Runs until SIGTERM or SIGINT.

    Exits 2 when the settings are wrong or the ledger has other keys or another policy, 1 when the metrics' port cannot be had.
    """
    argparse.ArgumentParser(
        "python -m workers", description="Drain the lanes. Settings come from ANTRIAN_* in the environment."
    ).parse_args()
    try:
        settings = load_settings()
        policy = load_policy(settings.policy_file)
    except (SettingsError, PolicyError) as error:
        print(f"workers: {error}", file=sys.stderr)
        return 2
    log_to_stderr(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervisor = Supervisor(settings)
    lanes = metrics.Lanes(settings, supervisor.silent_for)
    audit = threading.Thread(target=Audit(settings, lanes.show_audit).run, args=[stop], name="audit", daemon=True)
    try:
        with metrics.served(settings, lanes):
            policy = claim(settings, policy, stop)
            audit.start()
            supervisor.run(policy, stop)
    except (SettingsError, PolicyError) as error:
        print(f"workers: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
