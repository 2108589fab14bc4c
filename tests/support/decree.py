"""Policies with another holiday, or without one."""

from datetime import date

from antrian.booking import Policy
from antrian.policy import read_policy


def decreed(policy: Policy, *days: date) -> Policy:
    """The policy with these days as holidays."""
    leave = "".join(f'\n{day} = "Cuti bersama"' for day in days)
    table = "[service.holidays_added]"
    assert policy.content.count(table) == 1
    return read_policy(policy.content.replace(table, table + leave), "a decree")


def without(policy: Policy, day: date) -> Policy:
    """The policy without that holiday."""
    lines = [line for line in policy.content.splitlines() if not line.startswith(f"{day} = ")]
    return read_policy("\n".join(lines), "a decree that was taken back")
