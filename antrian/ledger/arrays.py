"""Columns as arrays in Postgres's binary format.

psycopg makes them of lists, too, but an element at a time: that took longer than all else that a worker does for a turn.
"""

import struct
from collections.abc import Sequence

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_NULL = b"\xff\xff\xff\xff"
_LENGTH, _INT, _BIGINT = struct.Struct("!i"), struct.Struct("!ii"), struct.Struct("!iq")
_HEAD, _EMPTY = struct.Struct("!iiIii"), struct.Struct("!iiI")


class Uuids(bytes):
    """A uuid[]."""


class Ints(bytes):
    """An int[]."""


class Bigints(bytes):
    """A bigint[]."""


class Texts(bytes):
    """A text[]."""


class Blobs(bytes):
    """A bytea[]."""


# The types' numbers in Postgres: of an element, of the array.
_OIDS: dict[type[bytes], tuple[int, int]] = {
    Uuids: (2950, 2951), Ints: (23, 1007), Bigints: (20, 1016), Texts: (25, 1009), Blobs: (17, 1001),
}  # fmt: skip


def uuids(column: Sequence[bytes]) -> Uuids:
    """Of 16 bytes each."""
    return Uuids(_array(Uuids, [b"\x00\x00\x00\x10" + one for one in column]))


def ints(column: Sequence[int | None]) -> Ints:
    """Of 32 bits; None is null."""
    return Ints(_array(Ints, [_NULL if one is None else _INT.pack(4, one) for one in column]))


def bigints(column: Sequence[int]) -> Bigints:
    """Of 64 bits."""
    return Bigints(_array(Bigints, [_BIGINT.pack(8, one) for one in column]))


def texts(column: Sequence[bytes | None]) -> Texts:
    """In UTF-8; None is null."""
    return Texts(_array(Texts, [_NULL if one is None else _LENGTH.pack(len(one)) + one for one in column]))


def blobs(column: Sequence[bytes]) -> Blobs:
    """Of any length."""
    return Blobs(_array(Blobs, [_LENGTH.pack(len(one)) + one for one in column]))


def register(adapters: AdaptersMap) -> None:
    """Makes a connection take them, where a placeholder is binary."""
    for kind, (_, oid) in _OIDS.items():
        adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": oid}))


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _array(kind: type[bytes], elements: Sequence[bytes]) -> bytes:
    element = _OIDS[kind][0]
    if not elements:
        return _EMPTY.pack(0, 0, element)
    return _HEAD.pack(1, 1, element, len(elements), 1) + b"".join(elements)
