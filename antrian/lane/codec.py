"""Encodes and decodes what join.lua and send_command.lua store in Redis: moments, queue entries, commands."""

import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from pydantic import TypeAdapter

from antrian.booking import Command, EncryptedApplicant, QueueEntry, Slot
from antrian.encryption import HEADER

_COMMANDS: dict[bytes, TypeAdapter[Command]] = {kind.__name__.encode(): TypeAdapter(kind) for kind in get_args(Command)}
# Number of people, slot, booking id, fingerprint, lengths of caller and account.
_REQUEST, _MOMENT = struct.Struct("!B11s16s8sBB"), len(" 1764150000000")
# Of a person's encrypted data: the length of what follows, and how much of the first person's comes before it.
_PART = struct.Struct("!HB")


def milliseconds(moment: datetime) -> int:
    """Returns a moment as Redis stores it: milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def whole_hours(moment: datetime) -> int:
    """Returns a moment as Redis stores it if minutes do not matter: hours since 1970, rounded up."""
    return math.ceil(moment.timestamp() / 3600)


def moment(milliseconds: int) -> datetime:
    """Returns a moment that Redis stored, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def pack_request(
    slot: Slot,
    booking_id: bytes,
    fingerprint: bytes,
    caller: str,
    account: str,
    applicants: Sequence[EncryptedApplicant],
) -> bytes:
    """Returns a request as a queue entry has it, without the time of acceptance. lane.lua reads the same layout.

    Encrypted data that begin with the header of the first person's are packed without it.
    """
    names = caller.encode(), account.encode()
    keys, encrypted = [one.key for one in applicants], []
    header = applicants[0].encrypted[:HEADER] if applicants else b""
    for n, one in enumerate(applicants):
        shared = len(header) if n and one.encrypted.startswith(header) and one.encrypted != header else 0
        encrypted += [_PART.pack(len(one.encrypted) - shared, shared), one.encrypted[shared:]]
    head = _REQUEST.pack(len(keys), str(slot).encode(), booking_id, fingerprint, *map(len, names))
    kinds = b"".join([b"V" if one.verified else b"B" for one in applicants])
    return b"".join([head, *keys, kinds, *names, *encrypted])


def read_queue_entry(text: bytes) -> tuple[QueueEntry, bool]:
    """Returns a queue entry, and whether the encrypted data of all of its people is complete. Raises ValueError if it is none."""
    try:
        people, slot, booking_id, fingerprint, caller, account = _REQUEST.unpack_from(text)
    except struct.error as error:
        raise ValueError("a queue entry was cut off") from error
    kinds = _REQUEST.size + 16 * people
    name = kinds + people
    ends = name + caller + account
    applicants, at, sound = list[EncryptedApplicant](), ends, True
    for n in range(people):
        key, begins = _REQUEST.size + 16 * n, at + _PART.size
        header = applicants[0].encrypted[: int.from_bytes(text[begins - 1 : begins])] if n else b""
        at = begins + int.from_bytes(text[at : begins - 1])
        sound &= begins < at
        verified = text[kinds + n : kinds + n + 1] == b"V"
        applicants.append(EncryptedApplicant(text[key : key + 16], header + text[begins:at], verified))
    entry = QueueEntry(
        int(text[-_MOMENT:]), Slot.parse(slot.decode()), booking_id, fingerprint, text[name : name + caller],
        text[name + caller : ends], tuple(applicants),
    )  # fmt: skip
    return entry, sound and at == len(text) - _MOMENT


def read_bars(entry: bytes) -> list[tuple[bytes, datetime, str]]:
    """Returns the bars of a person's entry in Redis: missed booking, end, last day. It has none while a booking holds the person."""
    bars = [entry[n : n + 41] for n in range(1, len(entry), 41)] if entry[:1] == b"X" else []
    return [(bar[:16], moment(int(bar[17:30])), bar[31:].decode()) for bar in bars]


def write_command(entry: Command) -> bytes:
    """Returns a command as text: its kind, a blank, its fields as JSON."""
    kind = type(entry).__name__.encode()
    return kind + b" " + _COMMANDS[kind].dump_json(entry)


def read_command(text: bytes) -> Command:
    """Returns a command from its text. Raises ValueError if it cannot be read."""
    kind, _, fields = text.partition(b" ")
    if kind not in _COMMANDS:
        raise ValueError("no command")
    return _COMMANDS[kind].validate_json(fields)
