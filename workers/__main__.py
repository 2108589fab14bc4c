"""`python -m workers`: keeps worker processes running, and stops them within ten seconds on SIGTERM or SIGINT."""

import argparse
import logging
import random
import signal
import sys
import threading

import psycopg

from antrian.booking import Policy
from antrian.ledger.policies import claim_policy
from antrian.ledger.standby import warn_without_standby
from antrian.logs import log_to_stderr
from antrian.policy import PolicyError, load_policy
from antrian.process import hide_memory
from antrian.settings import SettingsError, WorkerSettings, load_worker_settings
from workers import metrics
from workers.audit import Audit
from workers.retention import Retention
from workers.supervisor import RESTART_AFTER, RESTART_AT_MOST, Supervisor

_log = logging.getLogger("workers")


def claim(settings: WorkerSettings, policy: Policy, stop: threading.Event) -> Policy:
    """Checks the policy against the ledger's, and stores it in a ledger that has none.

    Retries while the ledger is unreachable. Returns the policy with its version in the ledger, or as given if stop is set
    first. Raises WrongPolicyError if the ledger has another.
    """
    pause = RESTART_AFTER
    while not stop.is_set():
        try:
            warn_without_standby(settings.database_url)
            return claim_policy(settings.database_url, policy)
        except psycopg.Error as problem:
            _log.warning("store failed, waiting %.1f s: %s", pause, problem)
            stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(2 * pause, RESTART_AT_MOST)
    return policy


def main() -> int:
    """Runs until SIGTERM or SIGINT. Returns the exit code.

    0 after a signal, 2 if the settings are invalid or the ledger has another policy, 1 if the metrics port is not available.
    """
    argparse.ArgumentParser(
        "python -m workers",
        description="Run worker processes, which drain the lanes. Settings come from ANTRIAN_* in the environment.",
    ).parse_args()
    hide_memory()
    try:
        settings = load_worker_settings()
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
    retention = threading.Thread(target=Retention(settings).run, args=[stop], name="retention", daemon=True)
    try:
        with metrics.served(settings, lanes):
            policy = claim(settings, policy, stop)
            audit.start()
            retention.start()
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
