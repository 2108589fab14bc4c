"""What is in Redis as join.lua and send_command.lua write it: moments, the entries of a line, the text of a command."""

import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from pydantic import TypeAdapter

from antrian.booking import Command, EncryptedApplicant, QueueEntry, Slot

_COMMANDS: dict[bytes, TypeAdapter[Command]] = {kind.__name__.encode(): TypeAdapter(kind) for kind in get_args(Command)}
# How many people, slot, booking id, fingerprint, how long caller and account are.
_REQUEST, _LENGTH, _MOMENT = struct.Struct("!B11s16s8sBB"), struct.Struct("!H"), len(" 1764150000000")


def milliseconds(moment: datetime) -> int:
    """A moment as Redis keeps it."""
    return round(moment.timestamp() * 1000)


def whole_hours(moment: datetime) -> int:
    """A moment as Redis keeps it where nothing depends on the minute: hours, rounded up."""
    return math.ceil(moment.timestamp() / 3600)


def moment(milliseconds: int) -> datetime:
    """A moment that Redis kept, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def pack_request(
    slot: Slot,
    booking_id: bytes,
    fingerprint: bytes,
    caller: str,
    account: str,
    applicants: Sequence[EncryptedApplicant],
) -> bytes:
    """A request as a line entry has it, before the moment when it was accepted; prelude.lua knows where what is."""
    names = caller.encode(), account.encode()
    keys, encrypted = [one.key for one in applicants], []
    for one in applicants:
        encrypted += [_LENGTH.pack(len(one.encrypted)), one.encrypted]
    head = _REQUEST.pack(len(keys), str(slot).encode(), booking_id, fingerprint, *map(len, names))
    return b"".join([head, *keys, *names, *encrypted])


def read_queue_entry(text: bytes) -> tuple[QueueEntry, bool]:
    """What a line entry has, and whether all of its people's encrypted data is there. Raises ValueError when it is none."""
    try:
        people, slot, booking_id, fingerprint, caller, account = _REQUEST.unpack_from(text)
    except struct.error as error:
        raise ValueError("a line entry was cut off") from error
    name = _REQUEST.size + 16 * people
    ends = name + caller + account
    applicants, at, sound = [], ends, True
    for n in range(_REQUEST.size, name, 16):
        begins = at + 2
        at = begins + int.from_bytes(text[at:begins])
        sound &= begins < at
        applicants.append(EncryptedApplicant(text[n : n + 16], text[begins:at]))
    entry = QueueEntry(
        int(text[-_MOMENT:]), Slot.parse(slot.decode()), booking_id, fingerprint, text[name : name + caller],
        text[name + caller : ends], tuple(applicants),
    )  # fmt: skip
    return entry, sound and at == len(text) - _MOMENT


def read_bars(entry: bytes) -> list[tuple[bytes, datetime, str]]:
    """The bars of a person's entry in Redis: missed booking, end, last day; none when a booking holds the person."""
    bars = [entry[n : n + 41] for n in range(1, len(entry), 41)] if entry[:1] == b"X" else []
    return [(bar[:16], moment(int(bar[17:30])), bar[31:].decode()) for bar in bars]


def write_command(entry: Command) -> bytes:
    """What is asked of a desk, as text: its kind, a blank, its fields."""
    kind = type(entry).__name__.encode()
    return kind + b" " + _COMMANDS[kind].dump_json(entry)


def read_command(text: bytes) -> Command:
    """What was asked. Raises ValueError when it cannot be read."""
    kind, _, fields = text.partition(b" ")
    if kind not in _COMMANDS:
        raise ValueError("no entry of a desk")
    return _COMMANDS[kind].validate_json(fields)
