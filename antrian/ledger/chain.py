"""The hash chain over the ledger: what a link covers, and the adding of links. antrian/audit/chain_check.py walks it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import psycopg

from antrian.ledger import sql

_LOCK = 0x6C696E6B  # any number, the same in every release: one program at a time adds links
_SETTLE_WITHIN = 5.0  # seconds; the longest transaction of the programs takes 3


@dataclass(frozen=True, slots=True)
class Range:
    """What a link covers: the tickets of an office's lane, or the journal's entries (office_id None), from first to last."""

    office_id: str | None
    first: int
    last: int

    def __str__(self) -> str:
        """Names the range for people."""
        what = f"{self.office_id}, tickets" if self.office_id else "journal, entries"
        return f"{what} {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the chain. digest: of what it covers. hash: of the previous link's hash and this link."""

    number: int
    covers: Range
    digest: bytes
    hash: bytes
    made_at: datetime


def link_hash(previous: bytes, number: int, covers: Range, digest: bytes) -> bytes:
    """Returns the hash of a link. previous: the hash of the link before, empty for the first link."""
    name = f"{number} {covers.office_id or ''} {covers.first} {covers.last} "
    return sha256(previous + name.encode() + digest).digest()


def read_links(ledger: psycopg.Connection[Any]) -> list[Link]:
    """Returns all links, in order."""
    return [_link(*row) for row in ledger.execute(sql("chain_links"))]


def newest_link(ledger: psycopg.Connection[Any]) -> Link | None:
    """Returns the newest link, None if there is none."""
    row = ledger.execute(sql("chain_newest_link")).fetchone()
    return _link(*row) if row else None


def has_link(ledger: psycopg.Connection[Any], number: int, hash_: str) -> bool:
    """Returns whether the chain has a link of that number and hash (hexadecimal)."""
    row = ledger.execute("select encode(hash, 'hex') from link where link = %s", [number]).fetchone()
    return bool(row and row[0] == hash_)


def digests(ledger: psycopg.Connection[Any], ranges: Sequence[Range]) -> list[bytes]:
    """Returns the digest of what each range covers, as the ledger has it now."""
    ledger.execute("set local timezone = 'UTC'")
    lanes = [r for r in ranges if r.office_id is not None]
    journal = [r for r in ranges if r.office_id is None]
    found = dict(zip(lanes, _digests(ledger, "chain_booking_digests", lanes), strict=True)) | dict(
        zip(journal, _digests(ledger, "chain_journal_digests", journal), strict=True)
    )
    return [found[r] for r in ranges]


def extend_chain(ledger: psycopg.Connection[Any]) -> Link | None:
    """Adds links for what the chain does not cover yet. Returns the newest link, None if there is none.

    ledger: a connection of its own, with autocommit; it holds a lock until it is closed. Raises psycopg.Error, in which case
    nothing was added.
    """
    ledger.execute("select pg_advisory_lock(%s)", [_LOCK])  # before the snapshot, which must have the links of others
    entry = _last_settled_entry(ledger)
    with ledger.transaction():
        ledger.execute("set transaction isolation level repeatable read")
        ranges = [Range(*row) for row in ledger.execute(sql("chain_unlinked"), {"entry": entry})]
        newest = newest_link(ledger)
        number, previous = (newest.number, newest.hash) if newest else (0, b"")
        for covers, digest in zip(ranges, digests(ledger, ranges), strict=True):
            number += 1
            previous = link_hash(previous, number, covers, digest)
            values = {"link": number, "office": covers.office_id, "first": covers.first, "last": covers.last}
            ledger.execute(sql("chain_add_link"), values | {"digest": digest, "hash": previous})
        return newest_link(ledger)


def _last_settled_entry(ledger: psycopg.Connection[Any]) -> int:
    """Returns the journal's last entry before which no other can appear any more, 0 if a transaction does not end in time.

    Entries are numbered before they are committed, so a lower number can become visible later than a higher one.
    """
    [(entry, xid)] = ledger.execute(sql("chain_last_entry")).fetchall()
    ends = time.monotonic() + _SETTLE_WITHIN
    while not ledger.execute(sql("chain_settled"), {"xid": xid}).fetchall()[0][0]:
        if time.monotonic() > ends:
            return 0
        time.sleep(0.02)
    return int(entry)


def _link(number: int, office_id: str | None, first: int, last: int, digest: bytes, hash_: bytes, at: datetime) -> Link:
    return Link(number, Range(office_id, first, last), digest, hash_, at)


def _digests(ledger: psycopg.Connection[Any], statement: str, ranges: Sequence[Range]) -> list[bytes]:
    values = {
        "office": [r.office_id for r in ranges],
        "first": [r.first for r in ranges],
        "last": [r.last for r in ranges],
    }
    return [digest for (digest,) in ledger.execute(sql(statement), values)]
