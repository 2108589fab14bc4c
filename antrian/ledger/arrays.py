"""Encodes columns as arrays in Postgres's binary format.

psycopg can encode lists, but adapts them element by element, which took longer than the rest of a worker's turn.
"""

import struct
from collections.abc import Sequence

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_NULL = b"\xff\xff\xff\xff"
_LENGTH, _INT, _BIGINT = struct.Struct("!i"), struct.Struct("!ii"), struct.Struct("!iq")
_HEAD, _EMPTY = struct.Struct("!iiIii"), struct.Struct("!iiI")


class Uuids(bytes):
    """An encoded uuid[]."""


class Ints(bytes):
    """An encoded int[]."""


class Bools(bytes):
    """An encoded boolean[]."""


class Bigints(bytes):
    """An encoded bigint[]."""


class Texts(bytes):
    """An encoded text[]."""


class Blobs(bytes):
    """An encoded bytea[]."""


# Postgres's type OIDs: of the element, and of the array.
_OIDS: dict[type[bytes], tuple[int, int]] = {
    Uuids: (2950, 2951), Ints: (23, 1007), Bools: (16, 1000), Bigints: (20, 1016), Texts: (25, 1009), Blobs: (17, 1001),
}  # fmt: skip


def uuids(column: Sequence[bytes]) -> Uuids:
    """Encodes UUIDs of 16 bytes each."""
    return Uuids(_array(Uuids, [b"\x00\x00\x00\x10" + value for value in column]))


def ints(column: Sequence[int | None]) -> Ints:
    """Encodes 32-bit integers; None becomes null."""
    return Ints(_array(Ints, [_NULL if value is None else _INT.pack(4, value) for value in column]))


def bools(column: Sequence[bool]) -> Bools:
    """Encodes booleans."""
    return Bools(_array(Bools, [b"\x00\x00\x00\x01\x01" if value else b"\x00\x00\x00\x01\x00" for value in column]))


def bigints(column: Sequence[int]) -> Bigints:
    """Encodes 64-bit integers."""
    return Bigints(_array(Bigints, [_BIGINT.pack(8, value) for value in column]))


def texts(column: Sequence[bytes | None]) -> Texts:
    """Encodes texts in UTF-8; None becomes null."""
    return Texts(_array(Texts, [_NULL if value is None else _LENGTH.pack(len(value)) + value for value in column]))


def blobs(column: Sequence[bytes]) -> Blobs:
    """Encodes byte strings of any length."""
    return Blobs(_array(Blobs, [_LENGTH.pack(len(value)) + value for value in column]))


def register(adapters: AdaptersMap) -> None:
    """Registers the encoded types with a connection, for binary placeholders."""
    for kind, (_, oid) in _OIDS.items():
        adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_EncodedDumper,), {"oid": oid}))


class _EncodedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _array(kind: type[bytes], elements: Sequence[bytes]) -> bytes:
    element = _OIDS[kind][0]
    if not elements:
        return _EMPTY.pack(0, 0, element)
    return _HEAD.pack(1, 1, element, len(elements), 1) + b"".join(elements)
