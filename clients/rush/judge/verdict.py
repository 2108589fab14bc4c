"""PASS, FAIL or INVALID: what speaks against a run."""

from collections import Counter

from clients.rush.judge.result import RushResult

LATE_MS = 100.0
"""Submissions that leave this much later than planned (p99) are another load than the planned one."""
EXIT_CODES = {"PASS": 0, "FAIL": 1, "INVALID": 3}
_SAMPLES = 5  # of each promise


def judge(result: RushResult) -> None:
    """Writes its failures and doubts, of which its verdict is made."""
    broken = [check for check in result.promises if check.violations]
    failures = [f"{check.promise}: {check.what}: {check.violations:,} of {check.examined:,}" for check in broken]
    shown = Counter[str]()
    for violation in result.violations:
        shown[violation.promise] += 1
        if shown[violation.promise] <= _SAMPLES:
            failures.append(f"{violation.promise}: {violation.office}: {violation.words}")
    doubts = list(result.unchecked)
    unaccounted = doubts if result.stopped else failures
    if result.undecided:
        unaccounted.append(f"accepted requests without an outcome: {result.undecided:,}")
    if result.unanswered:
        unaccounted.append(f"requests never answered for certain: {result.unanswered:,}")
    if result.surprises:
        failures.append(f"requests answered otherwise than expected: {result.surprises:,}")
    if result.generator.late_p99 > LATE_MS:
        doubts.append(
            f"the load generator fell behind: 1 % of the submissions left over {result.generator.late_p99:,.0f} ms late; "
            f"more than {LATE_MS:.0f} ms is another load than the planned one"
        )
    if not result.accepted:
        doubts.append("nothing was accepted, so nothing can be said")
    result.failures, result.doubts = failures, doubts
