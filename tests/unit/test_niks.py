"""No value that Antrian keeps in Redis reads like a NIK, and a NIK is found wherever it stands."""

import json
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrian.audit.niks import count_niks
from antrian.booking import Cancel, CloseDate, Command, EncryptedApplicant, Person, Session, SetQuota, Slot, StaffAction
from antrian.lane.codec import pack_request, write_command
from tests.support.keys import make_keys

NIK = "3171010101900001"
GROUPED = "3171-0101-0190-0001"
KEYS = make_keys()
OFFICE = b"kanim-jakarta-pusat"
WORD = st.from_regex(r"[0-9]{1,15}|[a-z0-9][a-z._-][0-9]{1,15}", fullmatch=True)  # such as a phone number, or app-1
COUNT = st.integers(0, 10**12).map(str)
MILLISECONDS = st.integers(10**12, 10**13 - 1)
SLOTS = st.builds(Slot, st.dates(date(2026, 1, 1), date(2030, 1, 1)), st.sampled_from(Session))
REASON = st.text(max_size=40).filter(lambda text: not any(c.isdecimal() for c in text))


@st.composite
def people(draw: st.DrawFn, booking_id: UUID) -> list[EncryptedApplicant]:
    """Up to five people, as they are encrypted: the seals of names of this length are 48 to 57 bytes long, which are digits."""
    made = []
    for number in draw(st.lists(st.integers(1, 9999), min_size=1, max_size=5)):
        nik = f"317101010190{number:04d}"
        key = KEYS.applicant_key(nik)
        made.append(EncryptedApplicant(key, KEYS.encrypt(booking_id, key, Person(nik, "S" * draw(st.integers(1, 20))))))
    return made


@st.composite
def queue_entries(draw: st.DrawFn) -> bytes:
    """What join.lua appends to a line."""
    caller, account, slot = draw(WORD), draw(WORD), draw(SLOTS)
    booking_id = KEYS.booking_id(caller, draw(st.uuids()))
    party = draw(people(booking_id))
    fingerprint = KEYS.fingerprint(OFFICE.decode(), slot, [(one.key, "Siti") for one in party])
    return pack_request(slot, booking_id.bytes, fingerprint, caller, account, party) + b" %d" % draw(MILLISECONDS)


LANES: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {
        "open": st.sampled_from(["0", "1"]),
        "epoch": COUNT,
        "token": st.integers(0, 2**62).map(str),
        "lease": st.just("0") | st.integers(10**15, 10**16 - 1).map(str),
        "ticket": COUNT,
        "settled": COUNT,
        "command": COUNT,
        "leased_command": COUNT,
        "settled_command": COUNT,
        "stocked": st.builds("{} {:08x}".format, st.dates(), st.integers(0, 2**32 - 1)),
        "outbox": st.lists(COUNT.map("CONFIRMED {}".format) | st.just("SLOT_FULL")).map("\n".join),
    }
)
ACTION = {"action_id": st.uuids(), "caller": WORD, "staff": WORD, "why": REASON}
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Cancel, st.uuids(), st.none() | st.integers(1, 300), st.none() | st.builds(StaffAction, **ACTION)),
    st.builds(SetQuota, **ACTION, slot=SLOTS, quota=st.integers(0, 10**6), expected=st.none() | st.integers(0, 10**6)),
    st.builds(CloseDate, **ACTION, service_date=st.dates()),
)


def stream(field: str, text: bytes, number: str) -> list[Any]:
    """One entry of a stream, as redis-py reads it."""
    return [(f"{number}-0".encode(), {field.encode(): text})]


def of_lane(kind: str) -> bytes:
    return b"%b:{%b}" % (kind.encode(), OFFICE)


def in_bytes(value: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): text.encode() for name, text in value.items()}


@given(LANES)
def test_lane_keys_contain_no_nik(lane: dict[str, str]) -> None:
    assert count_niks(of_lane("lane"), in_bytes(lane))[1] == 0


@given(queue_entries(), COUNT)
def test_queue_entries_contain_no_nik(entry: bytes, number: str) -> None:
    assert count_niks(of_lane("queue"), stream("r", entry, number))[1] == 0


@given(COMMANDS, COUNT)
def test_commands_contain_no_nik(entry: Command, number: str) -> None:
    assert count_niks(of_lane("commands"), stream("d", write_command(entry), number))[1] == 0


@given(SLOTS, COUNT, COUNT, COUNT, MILLISECONDS)
def test_counters_contain_no_nik(slot: Slot, quota: str, remaining: str, next_number: str, begins: int) -> None:
    counters = {str(slot): f"{quota} {remaining} {next_number} {begins} 0"}
    assert count_niks(of_lane("counters"), in_bytes(counters))[1] == 0


@given(st.uuids(), WORD, WORD, st.integers(1, 9999), MILLISECONDS, COUNT)
def test_keys_of_people_requests_and_accounts_contain_no_nik(
    request_id: UUID, caller: str, account: str, person: int, ends: int, ticket: str
) -> None:
    booking_id, owner = KEYS.booking_id(caller, request_id), KEYS.owner(caller, account)
    key = KEYS.applicant_key(f"317101010190{person:04d}")
    print_ = KEYS.fingerprint(OFFICE.decode(), Slot(date(2026, 11, 30), Session.MORNING), [(key, "Siti")])
    for name, value in {
        b"applicants:abc": {key: b"B" + booking_id.bytes + owner},
        b"applicants:abd": {key: b"X" + b"0123456789abcdef" + b" %d 2026-12-30" % ends},
        b"requests:abc": {booking_id.bytes: b"%b %b %b 498889" % (print_, OFFICE, ticket.encode())},
        b"accounts:abc": {owner: booking_id.bytes + b"\5" + booking_id.bytes + b"\1"},
        b"clock": str(ends).encode(),
        b"ready": [OFFICE],
        b"synced": [b"day"],
    }.items():
        assert count_niks(name, value)[1] == 0


ENTRY = (
    Slot(date(2026, 11, 30), Session.MORNING), bytes(range(16)), b"abcdefgh", "gateway", "ani",
    [EncryptedApplicant(bytes(range(16)), bytes(range(60)))],
)  # fmt: skip
CLOSES = CloseDate(UUID("12345678-1234-4123-8123-123456789012"), "desk", "rina", "flood", date(2026, 11, 30))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"nik:" + NIK.encode(), b"1"),
        (b"note", f"nik {NIK}.".encode()),
        (b"note", f"{NIK}2026".encode()),
        (of_lane("lane"), {b"last": NIK.encode()}),
        (of_lane("lane"), {b"token": f"of {NIK}".encode()}),
        (of_lane("queue"), stream("r", pack_request(*ENTRY[:4], NIK, ENTRY[5]) + b" 1764150000000", "1")),
        (of_lane("queue"), stream("r", pack_request(*ENTRY[:3], f"1{NIK}", *ENTRY[4:]) + b" 1764150000000", "1")),
        (of_lane("queue"), stream("r", pack_request(*ENTRY[:4], GROUPED, ENTRY[5]) + b" 1764150000000", "1")),
        (of_lane("queue"), stream("r", pack_request(*ENTRY)[:-30] + NIK.encode(), "1")),
        (of_lane("queue"), stream("nik", NIK.encode(), "1")),
        (of_lane("commands"), stream("d", json.dumps({"why": NIK}).encode(), "1")),
        (of_lane("commands"), stream("d", write_command(replace(CLOSES, why=f"for {GROUPED}")), "1")),
        (of_lane("commands"), stream("d", write_command(replace(CLOSES, staff=GROUPED)), "1")),
        (of_lane("counters"), {b"2026-11-30M": NIK.encode()}),
        (b"applicants:abc", {NIK.encode(): b"B" + bytes(24)}),
        (b"applicants:abc", {bytes(16): b"B" + NIK.encode() + b"12345678"}),
        (b"requests:abc", {bytes(16): b"abcdefgh kanim-bogor 1 498889 " + NIK.encode()}),
        (b"ready", [NIK.encode()]),
        (b"rq:job:1", {b"data": b'{"args": ["%b"]}' % NIK.encode()}),
    ],
)  # fmt: skip
def test_a_nik_is_found_anywhere_in_redis(key: bytes, value: Any) -> None:
    assert count_niks(key, value)[1] == 1


@pytest.mark.parametrize("encrypted", [NIK.encode() + b"Siti", b"7" + NIK.encode()])
def test_a_nik_in_place_of_a_ciphertext_or_key_is_found(encrypted: bytes) -> None:
    for one in (EncryptedApplicant(bytes(16), encrypted), replace(ENTRY[5][0], key=NIK.encode())):
        entry = pack_request(*ENTRY[:5], [one]) + b" 1764150000000"
        assert count_niks(of_lane("queue"), stream("r", entry, "1"))[1] == 1


def test_names_made_by_rq_are_hexadecimal() -> None:
    assert count_niks(b"rq:worker:c22fe791caf0431684611504960a64f4", b"1") == (2, 0)
