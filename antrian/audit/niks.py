"""Finds NIKs in the content of Redis (P14).

Values are split into parts in which Antrian itself never writes 16 digits in a row, so that such a run is a NIK. Text typed by
people is also searched for NIKs in groups.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from antrian.lane.codec import read_queue_entry
from antrian.text import has_nik

_NIK = re.compile(rb"[0-9]{16}")
# RQ uses ids of 32 hex digits, of which 16 in a row may be decimal.
_NIK_AMONG_HEX = re.compile(rb"(?<![0-9a-f])[0-9]{16}(?![0-9a-f])")
# Fields of a lane whose numbers reach 16 digits: microseconds, and tokens that start at multiples of 2^32.
_LONG_NUMBERS = {b"lease", b"token"}


def count_niks(key: bytes, value: Any) -> tuple[int, int]:
    """Returns the number of texts in a key and its value, and how many of them contain a NIK."""
    nik = _NIK_AMONG_HEX if key.startswith(b"rq:") else _NIK
    texts = [key, *_texts(_parts(key, value))]
    return len(texts), sum(has_nik(text) if isinstance(text, str) else bool(nik.search(text)) for text in texts)


def _parts(key: bytes, value: Any) -> Any:
    """Returns the value split by its structure. Text typed by people becomes str.

    This keeps adjacent digits of two parts from reading as one number, and leaves out long numbers.
    """
    if key.startswith(b"lane:") and isinstance(value, dict):
        return {name: text for name, text in value.items() if name not in _LONG_NUMBERS or not text.isdigit()}
    read = {b"queue": _entry_parts, b"commands": _command_parts}.get(key.partition(b":")[0])
    if read and isinstance(value, list):
        return [(name, {field: read(text) for field, text in fields.items()}) for name, fields in value]
    return value


def _command_parts(text: bytes) -> Any:
    """Returns a command's fields, or the text itself if it is not a command."""
    try:
        return json.loads(text.partition(b" ")[2])
    except ValueError:
        return text


def _entry_parts(text: bytes) -> list[bytes | str]:
    """Returns a queue entry's parts, or the text itself if it is not a valid entry."""
    try:
        entry, sound = read_queue_entry(text)
    except ValueError:
        return [text]
    if not sound:
        return [text]
    people = [part for one in entry.applicants for part in (one.key, one.encrypted)]
    return [
        entry.booking_id,
        entry.fingerprint,
        entry.caller.decode("latin-1"),
        entry.account.decode("latin-1"),
        *people,
    ]


def _texts(value: Any) -> Iterator[bytes | str]:
    if isinstance(value, bytes | str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)
