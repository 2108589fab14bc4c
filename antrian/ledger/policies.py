"""The policy in force: the newest version in the ledger, which all programs follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import psycopg

from antrian.booking import Policy
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, LimitedConnection
from antrian.policy import Difference, PolicyError, differences, read_policy

_MOST_NAMED = 5
_LOCK = (
    "lock table policy_version in share row exclusive mode"  # a concurrent writer waits, and then sees the new version
)


class WrongPolicyError(PolicyError):
    """A program's own policy differs from the ledger's. The message says how, and what to do."""


@dataclass(frozen=True, slots=True)
class UnservedDay:
    """An office's day that has slots but no service under a policy, and that is not closed or still has people.

    bookings: the number of bookings whose people are still expected. people: the number of these people. over: whether the
    day is over at the office. closings: how often the ledger has recorded that the day was closed.
    """

    office_id: str
    service_date: date
    bookings: int
    people: int
    over: bool
    closings: int


def claim_policy(database_url: str, policy: Policy) -> Policy:
    """Stores this policy in a ledger that has none. Returns the policy with its version in the ledger.

    Raises:
        WrongPolicyError: the ledger has another policy.
        PolicyError: the ledger's policy cannot be read.
        psycopg.Error: Postgres failed or is unreachable.
    """
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger, ledger.transaction():
        newest = _newest(ledger)
        if newest is None:
            ledger.execute(_LOCK)
            newest = _newest(ledger) or _add(ledger, policy, "antrian", "the first policy of this ledger")
    version, content = newest
    if found := differences(content, policy.content):
        raise _wrong(version, found)
    return replace(policy, version=version)


def apply_policy(database_url: str, policy: Policy, staff: str, why: str) -> Policy:
    """Stores this policy as the ledger's newest version, unless that is equal. Returns the policy with its version.

    Raises psycopg.Error.
    """
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger, ledger.transaction():
        ledger.execute(_LOCK)
        newest = _newest(ledger)
        if newest is None or differences(newest[1], policy.content):
            newest = _add(ledger, policy, staff, why)
        version, _ = newest
    return replace(policy, version=version)


def ledger_policy(ledger: psycopg.Connection[Any]) -> Policy | None:
    """Returns the policy in force, None if the ledger has none yet. Raises PolicyError if it cannot be read."""
    newest = _newest(ledger)
    return read_version(*newest) if newest else None


def read_version(version: int, content: str) -> Policy:
    """Returns the policy of a row of newest_policy.sql. Raises PolicyError if a newer Antrian wrote it."""
    return replace(read_policy(content, f"version {version} of the policy in the ledger"), version=version)


def unserved_days(ledger: psycopg.Connection[Any], policy: Policy) -> list[UnservedDay]:
    """Returns the days that have to be closed because the policy does not serve them, by day and office."""
    rows = ledger.execute(sql("unserved_days"), calendar(policy)).fetchall()
    return [UnservedDay(*row) for row in rows]


def closed_days(ledger: psycopg.Connection[Any], policy: Policy) -> dict[date, int]:
    """Returns the closed days, today or later, that the policy serves, with the number of offices that closed each."""
    return dict(ledger.execute(sql("closed_days"), calendar(policy)).fetchall())


def calendar(policy: Policy) -> dict[str, Sequence[Any]]:
    """Returns the parameters of statements that need the policy's service days."""
    return {"weekdays": sorted(policy.service_weekdays), "holidays": sorted(policy.holidays)}


def _newest(ledger: psycopg.Connection[Any]) -> tuple[int, str] | None:
    row: tuple[int, str] | None = ledger.execute(sql("newest_policy")).fetchone()
    return row


def _add(ledger: psycopg.Connection[Any], policy: Policy, staff: str, why: str) -> tuple[int, str]:
    ledger.execute(sql("add_policy"), {"content": policy.content, "staff": staff, "why": why})
    newest = _newest(ledger)
    assert newest is not None
    return newest


def _wrong(version: int, found: Sequence[Difference]) -> WrongPolicyError:
    named = "; ".join(map(str, found[:_MOST_NAMED]))
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return WrongPolicyError(
        "the policy of this program (ANTRIAN_POLICY_FILE, or the one that it comes with) is not the ledger's, which is version "
        f"{version}. From the ledger's to this one: {named}{more}. `antrian policy diff` shows what that would change and "
        "`antrian policy apply` carries it out; to stay with the ledger's, set ANTRIAN_POLICY_FILE to a file with what "
        '`antrian policy show` prints. See "A policy does not fit" in docs/runbook.md'
    )
