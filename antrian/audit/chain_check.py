"""Walks the hash chain for `antrian verify` (P17): names the first link, head or row that was changed past the programs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from antrian.audit.check import Check
from antrian.audit.heads import Head, public_key, read_heads
from antrian.ledger import sql
from antrian.ledger.chain import Link, digests, link_hash, read_links
from antrian.settings import WorkerSettings

_TRIGGERS = frozenset(
    {
        *(f"{table}_journal" for table in ("booking", "applicant", "bar", "staff_action", "policy_version")),
        *(f"{table}_is_for_good" for table in ("staff_action", "policy_version", "journal", "link")),
    }
)
_SIGNED_WITHIN = timedelta(minutes=1)
_RECENT = timedelta(days=1)
_LINK_BATCH = 500


def chain_checks(ledger: psycopg.Connection[Any], settings: WorkerSettings, *, whole: bool) -> list[Check]:
    """Returns the checks of the chain, on one snapshot. Raises psycopg.Error, and SettingsError if a key is unreadable.

    whole: whether to compare the rows of all links, and not only of those from the last day. Postgres needs 25 µs per booking.
    """
    with ledger.transaction():
        ledger.execute("set transaction isolation level repeatable read, read only")
        links = read_links(ledger)
        broken = _broken_link(ledger, links, datetime.min.replace(tzinfo=UTC) if whole else datetime.now(UTC) - _RECENT)
        changed = _changed_rows(ledger)
        triggers = _triggers(ledger)
    checks = [
        Check("P17", "the hash chain is whole, and what it covers is unchanged", len(links), bool(broken), broken),
        changed,
        triggers,
    ]
    key = public_key(settings)
    if key and settings.heads_file:
        heads = list(read_heads(settings.heads_file, key))
        wrong = list(_wrong_heads(heads, links, timedelta(seconds=2 * settings.audit_seconds)))
        what = "every signed head is in the hash chain, and every old link is signed"
        checks.append(Check("P17", what, len(heads), len(wrong), next(iter(wrong), "")))
    return checks


def _broken_link(ledger: psycopg.Connection[Any], links: Sequence[Link], since: datetime) -> str:
    """Describes the first link that is broken, or returns an empty string. since: compares the rows of links from then on."""
    previous, ends = b"", dict[str | None, int]()
    for start in range(0, len(links), _LINK_BATCH):
        batch = links[start : start + _LINK_BATCH]
        compared = [link.covers for link in batch if link.made_at >= since]
        actual = dict(zip(compared, digests(ledger, compared), strict=True))
        for number, link in enumerate(batch, start + 1):
            name = f"link {number} ({link.covers})"
            if link.number != number:
                return f"link {number} is missing"
            if link.covers.first != ends.get(link.covers.office_id, 0) + 1:
                return f"{name} does not follow the one before of its lane"
            if actual.get(link.covers, link.digest) != link.digest:
                return f"{name}: a row that it covers was changed, removed or added"
            if link.hash != link_hash(previous, number, link.covers, link.digest):
                return f"{name}: its hash does not follow from the link before"
            previous, ends[link.covers.office_id] = link.hash, link.covers.last
    return ""


def _changed_rows(ledger: psycopg.Connection[Any]) -> Check:
    ledger.execute("set local timezone = 'UTC'")
    [(examined, violations, first)] = ledger.execute(sql("chain_changed_rows")).fetchall()
    return Check("P17", "rows are what the journal says of their latest change", examined, violations, first or "")


def _triggers(ledger: psycopg.Connection[Any]) -> Check:
    active = {name for _, name, is_on in ledger.execute(sql("chain_triggers")) if is_on}
    off = sorted(_TRIGGERS - active)
    what = "the triggers that keep the journal are active"
    return Check("P17", what, len(_TRIGGERS), len(off), off[0] if off else "")


def _wrong_heads(heads: Sequence[Head], links: Sequence[Link], grace: timedelta) -> Iterator[str]:
    """Yields what is wrong, in the order of the file. grace: how long a link may be without a signature."""
    hashes = {link.number: link.hash.hex() for link in links}
    for head in heads:
        if head.problem:
            yield f"line {head.line} of the heads file: {head.problem}"
        elif head.link not in hashes:
            yield f"link {head.link} is missing, but line {head.line} of the heads file has it signed"
        elif head.hash != hashes[head.link]:
            yield f"link {head.link} is not the one that line {head.line} of the heads file has signed"
    signed = max([head.link for head in heads], default=0)
    oldest = next((link for link in links if link.number > signed), None)
    if oldest and datetime.now(UTC) - oldest.made_at > grace + _SIGNED_WITHIN:
        yield f"link {oldest.number} ({oldest.covers}) is from {oldest.made_at:%Y-%m-%d %H:%M} UTC and not signed yet"
