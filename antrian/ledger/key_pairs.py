"""The offices' key pairs in the ledger: which there are, and moving people's data from one to another while Antrian runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag

from antrian.encryption import Decryptor, Encryptor, pair_id
from antrian.ledger import sql

_PIECE = 5000
_COLUMNS = ("slot_ids", "numbers", "headers", "rewrapped")
_LOCK = 0x6B657973  # any number, the same in every release: one operator at a time changes key pairs


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair of the ledger. retired_at: since when nothing may be encrypted to it. people: whose data need it."""

    pair_id: bytes
    public_key: bytes
    added_at: datetime
    retired_at: datetime | None
    people: int


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a run of rewrap did. people: whose data keys were wrapped anew. unreadable: whose could not be unwrapped."""

    people: int
    unreadable: int


def lock_key_pairs(ledger: psycopg.Connection[Any]) -> bool:
    """Returns whether this connection may change key pairs, because no other one does until it is closed."""
    row = ledger.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def key_pairs(ledger: psycopg.Connection[Any]) -> list[KeyPair]:
    """Returns the ledger's key pairs, the oldest first."""
    people = {bytes(pair): count for pair, count in ledger.execute(sql("people_by_key_pair"))}
    return [
        KeyPair(bytes(pair), bytes(public_key), added_at, retired_at, people.get(bytes(pair), 0))
        for pair, public_key, added_at, retired_at in ledger.execute(sql("key_pairs"))
    ]


def add_key_pair(ledger: psycopg.Connection[Any], public_key: bytes) -> None:
    """Adds the key pair of a public key, so that servers may encrypt to it. Safe to repeat."""
    ledger.execute(sql("add_key_pair"), {"pair_id": pair_id(public_key), "public_key": public_key})


def retire_key_pair(ledger: psycopg.Connection[Any], pair: bytes) -> None:
    """Retires a key pair: servers that still encrypt to it end. Safe to repeat."""
    ledger.execute(sql("retire_key_pair"), {"pair_id": pair})


def needed_people(ledger: psycopg.Connection[Any], pair: bytes, decryptor: Decryptor) -> int:
    """Returns of how many people the data need a key pair: those that it still decrypts. Damaged data do not need it."""
    header_count = ledger.execute(sql("headers_of_pair"), {"pair_id": pair})
    return sum(people for header, people in header_count if _unwraps(decryptor, header))


def _unwraps(decryptor: Decryptor, header: bytes) -> bool:
    try:
        decryptor.unwrap(header)
    except InvalidTag:
        return False
    return True


def rewrap(
    ledger: psycopg.Connection[Any],
    pairs: Iterable[bytes],
    decryptor: Decryptor,
    encryptor: Encryptor,
    progress: Callable[[int], object],
) -> Rewrapped:
    """Wraps the data keys of everybody whose data are encrypted to these pairs anew, to the encryptor's pair.

    Works in pieces, each committed by itself, so it may be stopped and repeated, and names may be corrected meanwhile. Data that
    cannot be unwrapped stay as they are. progress: called after each piece with the number of people that are done.
    """

    @lru_cache(maxsize=_PIECE)
    def new_header(header: bytes) -> bytes | None:
        try:
            return encryptor.wrap(decryptor.unwrap(header))
        except InvalidTag:
            return None

    done, unreadable, at = 0, 0, (0, 0)
    values = {"pair_ids": list(pairs), "most": _PIECE}
    while piece := ledger.execute(
        sql("headers_of_pairs"), values | {"after_slot": at[0], "after_number": at[1]}
    ).fetchall():
        new = [(*row, header) for row in piece if (header := new_header(row[2]))]
        columns = {name: [row[n] for row in new] for n, name in enumerate(_COLUMNS)}
        done += ledger.execute(sql("rewrap"), columns).rowcount
        unreadable += len(piece) - len(new)
        progress(done)
        at = piece[-1][0], piece[-1][1]
    return Rewrapped(done, unreadable)
