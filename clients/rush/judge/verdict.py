"""Decides the verdict of a rush: PASS, FAIL or INVALID."""

from collections import Counter

from clients.rush.judge.result import RushResult

LATE_MS = 100.0
"""The highest lateness of submissions (p99) at which the load still counts as the planned one."""
EXIT_CODES = {"PASS": 0, "FAIL": 1, "INVALID": 3}
_SAMPLES = 5  # of each promise


def judge(result: RushResult) -> None:
    """Sets the failures and doubts of a result, which determine its verdict."""
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
        unaccounted.append(f"requests without a certain response: {result.unanswered:,}")
    if result.surprises:
        failures.append(f"requests with an unexpected result: {result.surprises:,}")
    if result.generator.late_p99 > LATE_MS:
        doubts.append(
            f"the load generator fell behind: 1 % of the submissions were over {result.generator.late_p99:,.0f} ms late; "
            f"the limit is {LATE_MS:.0f} ms"
        )
    if not result.accepted:
        doubts.append("no request was accepted, so there is nothing to judge")
    result.failures, result.doubts = failures, doubts
