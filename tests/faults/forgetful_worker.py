"""`python -m tests.faults.forgetful_worker`: a broken worker, which settles what it never recorded."""

from collections.abc import Sequence

from antrian.booking import Decision
from antrian.ledger.recorder import LedgerRecorder
from antrian.process import log_to_stderr
from antrian.settings import load_settings
from workers import worker


def _forget(self: LedgerRecorder, office_id: str, token: int, decisions: Sequence[Decision]) -> str:
    return "K" * len(decisions)


if __name__ == "__main__":
    LedgerRecorder.record = _forget  # type: ignore[method-assign]
    settings = load_settings()
    log_to_stderr(settings.log_level)
    worker.run(settings)
