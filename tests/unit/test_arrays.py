"""Columns in Postgres's binary form: the bytes that psycopg makes of lists, an element at a time."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg.adapt import PyFormat, Transformer

from antrian.ledger.arrays import bigints, blobs, bools, ints, texts, uuids

_IDS = [UUID(int=n << 100 | n) for n in range(3)]
CASES: list[tuple[Callable[[Any], bytes], Sequence[Any], Sequence[Any]]] = [
    (uuids, [one.bytes for one in _IDS], _IDS),
    (bools, [True, False], [True, False]),
    (bigints, [2**40, -1, 2**62], [2**40, -1, 2**62]),
    (blobs, [b"", b"\0\xff", b"x" * 300], [b"", b"\0\xff", b"x" * 300]),
    (texts, [b"", b"Ani", "\u00e9\u4e2d".encode()], ["", "Ani", "\u00e9\u4e2d"]),
]


@pytest.mark.parametrize(("pack", "column", "as_psycopg"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_column_is_encoded_as_psycopg_encodes_the_list(
    pack: Callable[[Any], bytes], column: Sequence[Any], as_psycopg: Sequence[Any]
) -> None:
    dumped = Transformer().get_dumper(list(as_psycopg), PyFormat.BINARY).dump(list(as_psycopg))
    assert dumped is not None
    # The flag that there may be nulls is all that may differ.
    assert pack(column)[8:] == bytes(dumped)[8:]


def test_empty_lists_and_nulls_are_encoded() -> None:
    assert ints([]) == bytes.fromhex("00000000 00000000 00000017")
    assert ints([None, 7]) == bytes.fromhex("00000001 00000001 00000017 00000002 00000001 ffffffff 00000004 00000007")
    assert texts([None])[-4:] == b"\xff\xff\xff\xff"
