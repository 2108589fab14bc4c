"""What is in Redis as join.lua and desk.lua write it: moments, the people of a line entry, the text of a desk entry."""

import math
import struct
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import TypeAdapter

from antrian.booking import DeskEntry, SealedApplicant

_DESK_ENTRY: TypeAdapter[DeskEntry] = TypeAdapter(DeskEntry)


def milliseconds(moment: datetime) -> int:
    """A moment as Redis keeps it."""
    return round(moment.timestamp() * 1000)


def whole_hours(moment: datetime) -> int:
    """A moment as Redis keeps it where nothing depends on the minute: hours, rounded up."""
    return math.ceil(moment.timestamp() / 3600)


def moment(milliseconds: int) -> datetime:
    """A moment that Redis kept, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def pack_people(applicants: Iterable[SealedApplicant]) -> tuple[bytes, bytes]:
    """Applicants as a line entry has them: their keys joined, and their sealed data, each after its length."""
    keys, sealed = [], []
    for applicant in applicants:
        keys.append(applicant.key)
        sealed.append(struct.pack(">H", len(applicant.sealed)) + applicant.sealed)
    return b"".join(keys), b"".join(sealed)


def unpack_people(keys: bytes, sealed: bytes) -> tuple[tuple[SealedApplicant, ...], bool]:
    """The applicants of a line entry, and whether all of their sealed data is there."""
    people, at = [], 0
    for n in range(0, len(keys), 16):
        length = int.from_bytes(sealed[at : at + 2])
        people.append(SealedApplicant(keys[n : n + 16], sealed[at + 2 : at + 2 + length]))
        at += 2 + length
    return tuple(people), at == len(sealed) and all(person.sealed for person in people)


def write_desk_entry(entry: DeskEntry) -> bytes:
    """What is asked of a desk, as text; its fields tell which kind it is."""
    return _DESK_ENTRY.dump_json(entry)


def read_desk_entry(text: bytes) -> DeskEntry:
    """What was asked."""
    return _DESK_ENTRY.validate_json(text)
