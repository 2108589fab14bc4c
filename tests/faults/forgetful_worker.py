"""`python -m tests.faults.forgetful_worker`: a broken worker, which settles what it never recorded."""

from collections.abc import Sequence

from antrian.booking import KEPT, Turn
from antrian.ledger.recorder import LedgerRecorder
from antrian.ledger.turns import Recorded
from antrian.logs import log_to_stderr
from antrian.policy import load_policy
from antrian.settings import load_settings
from workers import worker


def _forget(self: LedgerRecorder, turns: Sequence[Turn], policy_version: int | None = None) -> list[Recorded]:
    return [KEPT * len(turn.decisions) for turn in turns]


if __name__ == "__main__":
    LedgerRecorder.record = _forget  # type: ignore[method-assign]
    settings = load_settings()
    log_to_stderr(settings.log_level)
    worker.run(settings, load_policy(settings.policy_file))
