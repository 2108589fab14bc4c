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

from antrian.policy import PolicyError, load_policy
from antrian.process import log_to_stderr
from antrian.settings import Settings, SettingsError, load_settings
from workers import metrics, worker
from workers.audit import Audit

_RESTART_AFTER = 0.5
_STOP_WITHIN = 9.0
_log = logging.getLogger("workers")


def supervise(settings: Settings, stop: threading.Event) -> None:
    """Keeps worker_processes workers running until stop is set, then ends them."""
    # spawn, not fork: a child shares no connection and no lock with its parent.
    context = multiprocessing.get_context("spawn")
    running: dict[str, BaseProcess] = {}
    # Who takes a dead one's place takes its name: workers/metrics.py counts under it.
    names = [f"antrian-worker-{n}" for n in range(settings.worker_processes)]
    while not stop.is_set():
        dead = [process for process in running.values() if not process.is_alive()]
        for process in dead:
            _log.error("worker %s died with exit code %s; starting another", process.pid, process.exitcode)
            del running[process.name]
        if dead:
            stop.wait(_RESTART_AFTER * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        for name in names:
            if name not in running and not stop.is_set():
                running[name] = context.Process(target=worker.main, args=[settings], name=name)
                running[name].start()
        stop.wait(0.2)
    for process in running.values():
        process.terminate()
    ends = time.monotonic() + _STOP_WITHIN
    for process in running.values():
        process.join(max(0.0, ends - time.monotonic()))
        if process.is_alive():
            _log.error("worker %s did not stop; killed. Its lane goes on elsewhere", process.pid)
            process.kill()


def main() -> int:
    """Runs until SIGTERM or SIGINT; exits 2 when the settings are wrong, 1 when the metrics' port cannot be had."""
    argparse.ArgumentParser(
        "python -m workers", description="Drain the lanes. Settings come from ANTRIAN_* in the environment."
    ).parse_args()
    try:
        settings = load_settings()
        load_policy(settings.policy_file)
    except (SettingsError, PolicyError) as error:
        print(f"workers: {error}", file=sys.stderr)
        return 2
    log_to_stderr(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lanes = metrics.Lanes(settings)
    threading.Thread(target=Audit(settings, lanes.show_breaches).run, args=[stop], name="audit", daemon=True).start()
    try:
        with metrics.served(settings, lanes):
            supervise(settings, stop)
    except RuntimeError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
