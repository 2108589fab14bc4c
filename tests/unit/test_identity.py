"""What a NIK may be, and what stands for people outside: hashes, seals and codes that tell nothing."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from antrian.booking import Person, Session, Slot
from antrian.encryption import pair_id
from antrian.errors import AntrianError, Reason
from antrian.identity import (
    Keys,
    booking_code,
    check_full_name,
    check_nik,
    check_party,
    code_range,
    mask_name,
    mask_nik,
)
from antrian.offices.provinces import load_provinces
from antrian.policy import load_policy
from tests.support.keys import make_keys

POLICY = load_policy()
CODES = frozenset({"17", "31", "32", "36", "95"})
PRIVATE, OTHER = bytes(range(32, 64)), bytes(range(64, 96))
KEYS = make_keys(bytes(range(32)), PRIVATE)
REQUEST = UUID("0d9c3b4e-5f60-4172-8394-a5b6c7d8e9fa")
SLOT = Slot(date(2026, 11, 30), Session.MORNING)
BUDI = Person("3602041211870001", "Budi Santoso")
SITI = Person("1702196905120001", "Siti")


def refusal_of(nik: str) -> AntrianError:
    with pytest.raises(AntrianError) as refusal:
        check_nik(nik, "applicants[1].nik", CODES)
    return refusal.value


# The NIK


@pytest.mark.parametrize(
    "nik",
    [
        "3602041211870001",  # the example that Dukcapil explains: 12 November 1987
        "1702196905120001",  # a girl of 29 May 2012
        "3273056010900009",  # a woman of 20 October 1990
        "3101017112999999",  # a woman of the 31st
        "3101012902000001",  # 29 February 2000
        "3101016902000001",
        "3101012902040001",
        "9501010101010001",  # Papua Pegunungan
    ],
)
def test_a_valid_nik_is_accepted(nik: str) -> None:
    check_nik(nik, "applicants[0].nik", CODES)


@pytest.mark.parametrize(
    ("nik", "what"),
    [
        ("", "16 digits"),
        ("360204121187000", "16 digits"),
        ("36020412118700011", "16 digits"),
        ("3602041211870001\n", "16 digits"),
        (" 3602041211870001", "16 digits"),
        ("36020412118700O1", "16 digits"),
        ("+602041211870001", "16 digits"),
        ("٣٦٠٢٠٤١٢١١٨٧٠٠٠١", "16 digits"),
        ("3602041211870\uff10\uff10\uff11", "16 digits"),  # fullwidth digits
        ("9902041211870001", "province"),
        ("0002041211870001", "province"),
        ("3101013102990001", "date of birth"),  # 31 February
        ("3101013002990001", "date of birth"),
        ("3101012902010001", "date of birth"),  # 29 February of 1901 or 2001
        ("3101013104990001", "date of birth"),
        ("3101010001990001", "date of birth"),
        ("3101010100990001", "date of birth"),
        ("3101010113990001", "date of birth"),
        ("3101013201990001", "date of birth"),
        ("3101014001990001", "date of birth"),  # neither a man's 40th nor a woman's 0th
        ("3101017201990001", "date of birth"),
        ("3101017102990001", "date of birth"),  # a woman's 31 February
        ("3602041211870000", "0000"),
    ],
)
def test_an_invalid_nik_is_refused_with_field_and_cause_and_without_the_nik(nik: str, what: str) -> None:
    refusal = refusal_of(nik)
    assert (refusal.reason, refusal.field) == (Reason.INVALID_FIELD, "applicants[1].nik")
    assert refusal.problem is not None
    assert what in refusal.problem.english
    if nik:
        assert nik.strip() not in f"{refusal!r} {refusal} {refusal.problem} {refusal.metadata}"


def test_province_codes_are_those_of_all_provinces_without_east_timor() -> None:
    codes = {province.nik_code for province in load_provinces().values()}
    assert len(codes) == 38
    for code in codes:
        check_nik(f"{code}01010101900001", "nik", codes)
    with pytest.raises(AntrianError) as refused:
        check_nik("5401010101900001", "nik", codes)
    assert refused.value.problem is not None
    assert "province" in refused.value.problem.english


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.booleans())
def test_every_birthday_of_two_centuries_is_accepted_for_men_and_women(born: date, woman: bool) -> None:
    check_nik(f"320101{born.day + 40 * woman:02}{born:%m%y}0001", "nik", CODES)


@given(st.from_regex("[0-9]{6}", fullmatch=True))
def test_only_existing_dates_are_accepted(digits: str) -> None:
    day, month, year = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    dates = {
        start + timedelta(days=number)
        for start in (date(1900 + year, 1, 1), date(2000 + year, 1, 1))
        for number in range(366)
    }
    exists = any((born.month, born.year % 100, born.day) == (month, year, day - 40 * (day > 40)) for born in dates)
    try:
        check_nik(f"320101{digits}0001", "nik", CODES)
    except AntrianError:
        assert not exists
    else:
        assert exists


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("Dewi Lestari", "De** Le*****"),
        ("Budi", "Bu**"),
        ("Al", "A*"),
        ("H. M. Nur'aini", "H. M. Nu*'ai**"),
        ("Ana-Maria (Ani)", "An*-Ma*** (An*)"),
        ("李小龍", "李小*"),
    ],
)
def test_a_masked_name_shows_how_each_word_begins(name: str, masked: str) -> None:
    assert mask_name(name) == masked


def test_a_masked_nik_shows_four_digits() -> None:
    assert mask_nik(BUDI.nik) == "************0001"


# Names and parties


@pytest.mark.parametrize(
    "name",
    [
        "Budi",
        "B",
        "Siti Nur'aini",
        "dr. H. Ahmad, S.H.",
        "Anne-Marie (Ani)",
        "Nur'aini bt. Abd/Ali",
        "José Ñandú",
        "李小龍",
        "محمد",
        "ज्योति",
        "a" * 100,
    ],
)
def test_names_in_any_script_are_accepted(name: str) -> None:
    check_full_name(name, "applicants[0].full_name")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "...",
        "a" * 101,
        "é" * 101,
        "Budi 2",
        "Budi²",
        "Budi٣",
        "Budi\n",
        "Bu\x00di",
        "Budi\u202e",
        "<b>Budi</b>",
        "Budi🙂",
        "\u0301",
        "Budi\ud800",
    ],
)
def test_an_invalid_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(AntrianError) as refusal:
        check_full_name(name, "applicants[0].full_name")
    assert (refusal.value.reason, refusal.value.field) == (Reason.INVALID_FIELD, "applicants[0].full_name")
    assert "Bu" not in f"{refusal.value} {refusal.value.problem}"


def test_a_party_is_one_to_five_different_people() -> None:
    people = [replace(BUDI, nik=f"360204121187000{number}") for number in range(1, 6)]
    for size in range(1, 6):
        check_party(POLICY, people[:size], CODES)


@pytest.mark.parametrize(
    ("people", "field"),
    [
        ([], "applicants"),
        ([BUDI] * 6, "applicants"),
        ([BUDI, SITI, BUDI], "applicants[2].nik"),
        ([BUDI, replace(SITI, nik="17")], "applicants[1].nik"),
        ([BUDI, replace(SITI, full_name="S1ti")], "applicants[1].full_name"),
    ],
)
def test_an_invalid_party_is_refused_at_its_first_wrong_field(people: list[Person], field: str) -> None:
    with pytest.raises(AntrianError) as refusal:
        check_party(POLICY, people, CODES)
    assert (refusal.value.reason, refusal.value.field) == (Reason.INVALID_FIELD, field)


# Keyed hashes


def test_hashes_do_not_change_between_releases() -> None:
    """What is stored depends on these: a change of them loses every booking and bar."""
    key = KEYS.applicant_key(BUDI.nik)
    assert key.hex() == "220854038bc1536f3ae6abb6004fbaf5"
    assert str(KEYS.booking_id("gateway", REQUEST)) == "d01855ec-93b6-86d4-aeed-d063cf55415e"
    assert KEYS.fingerprint("kanim-bogor", SLOT, [(key, BUDI.full_name)]) == b"mz7bGc-2"
    assert KEYS.owner("gateway", "u-1").hex() == "bc6af446bd9fa2b1"
    assert booking_code(UUID("d01855ec-93b6-86d4-aeed-d063cf55415e")) == "T0C5BV4KPT"


@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_booking_id_is_a_uuid_of_version_8(request_id: UUID, caller: str) -> None:
    booking_id = KEYS.booking_id(caller, request_id)
    assert (booking_id.version, booking_id.variant) == (8, "specified in RFC 4122")


def test_a_booking_id_depends_on_caller_request_and_key() -> None:
    other = make_keys(b"x" * 32)
    ids = {
        KEYS.booking_id("a", REQUEST),
        KEYS.booking_id("b", REQUEST),
        KEYS.booking_id("a", UUID(int=REQUEST.int + 1)),
        other.booking_id("a", REQUEST),
    }
    assert len(ids) == 4
    assert KEYS.booking_id("a", REQUEST) in ids


def test_hashes_of_different_kinds_never_collide() -> None:
    text = BUDI.nik
    hashes = [KEYS.applicant_key(text)[:8], KEYS.owner("", text), KEYS.owner(text, "")]
    assert len(set(hashes)) == 3


def test_owner_hashes_separate_caller_and_account() -> None:
    assert KEYS.owner("ab", "c") != KEYS.owner("a", "bc")
    assert len(KEYS.owner("ab", "c")) == 8


def test_a_fingerprint_covers_office_slot_and_people_in_any_order() -> None:
    one, two = (KEYS.applicant_key(BUDI.nik), BUDI.full_name), (KEYS.applicant_key(SITI.nik), SITI.full_name)
    same = KEYS.fingerprint("kanim-bogor", SLOT, [one, two])
    assert KEYS.fingerprint("kanim-bogor", SLOT, iter([two, one])) == same
    others = {
        KEYS.fingerprint("kanim-depok", SLOT, [one, two]),
        KEYS.fingerprint("kanim-bogor", replace(SLOT, session=Session.AFTERNOON), [one, two]),
        KEYS.fingerprint("kanim-bogor", replace(SLOT, service_date=date(2026, 12, 1)), [one, two]),
        KEYS.fingerprint("kanim-bogor", SLOT, [one]),
        KEYS.fingerprint("kanim-bogor", SLOT, [one, (two[0], "Siti S")]),
        KEYS.fingerprint("kanim-bogor", SLOT, [one, two], [one[0]]),
        KEYS.fingerprint("kanim-bogor", SLOT, [one, two], [two[0]]),
    }
    assert len(others | {same}) == 8
    assert len(same) == 8


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ((bytes(range(31)),), "32 bytes"),
        ((KEYS.hash_key, PRIVATE[1:]), "32 bytes"),
        ((KEYS.hash_key, b"", (PRIVATE[1:],)), "32 bytes"),
        ((bytes(32),), "all zero"),
        ((KEYS.hash_key, bytes(32)), "all zero"),
        ((KEYS.hash_key, b"", (bytes(32),)), "all zero"),
        ((PRIVATE, KEYS.public_key, (PRIVATE,)), "differ from one another"),
        ((KEYS.public_key, KEYS.public_key), "differ from one another"),
        ((KEYS.hash_key, KEYS.public_key, (OTHER,)), "belong to one of the private keys"),
        ((KEYS.hash_key, b"\1" + bytes(31)), "not a point of X25519"),
    ],
)
def test_unsafe_keys_are_refused(keys: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Keys(*keys)


def test_keys_are_never_printed() -> None:
    assert repr(KEYS) == "Keys()"


# Encrypted data


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_encrypted_data_round_trips(name: str) -> None:
    person = replace(BUDI, full_name=name)
    booking_id, key = KEYS.booking_id("a", REQUEST), KEYS.applicant_key(BUDI.nik)
    encrypted = KEYS.encrypt(booking_id, key, person)
    assert KEYS.decrypt(booking_id, key, encrypted) == person
    assert KEYS.masked(booking_id, key, encrypted) == Person(mask_nik(person.nik), mask_name(name))
    assert KEYS.fit(booking_id, key, encrypted)


def test_data_decrypts_only_with_its_booking_applicant_and_key() -> None:
    booking_id, key = KEYS.booking_id("a", REQUEST), KEYS.applicant_key(BUDI.nik)
    encrypted = KEYS.encrypt(booking_id, key, BUDI)
    for keys, other_id, other_key, text in (
        (KEYS, UUID(int=booking_id.int ^ 1), key, encrypted),
        (KEYS, booking_id, KEYS.applicant_key(SITI.nik), encrypted),
        (make_keys(KEYS.hash_key, OTHER), booking_id, key, encrypted),
        (KEYS, booking_id, key, encrypted[:-1] + bytes([encrypted[-1] ^ 1])),
    ):
        with pytest.raises(InvalidTag):
            keys.decrypt(other_id, other_key, text)


def test_a_damaged_person_is_masked_and_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever byte of it is changed, also of the wrapped data key, and wherever it is cut off."""
    booking_id, key = KEYS.booking_id("a", REQUEST), KEYS.applicant_key(BUDI.nik)
    encrypted, masked = KEYS.encrypt(booking_id, key, BUDI), Person("****************", "")
    for at in range(len(encrypted)):
        changed = encrypted[:at] + bytes([encrypted[at] ^ 1]) + encrypted[at + 1 :]
        readings = [KEYS.person(booking_id, key, changed), KEYS.masked(booking_id, key, changed)]
        assert masked in readings
        assert all(one in (masked, BUDI, Person(mask_nik(BUDI.nik), mask_name(BUDI.full_name))) for one in readings)
        assert KEYS.person(booking_id, key, encrypted[:at]) == masked
    assert f"a person of booking {booking_id}, encrypted to the key pair {encrypted[:8].hex()}, cannot" in caplog.text
    assert "Budi" not in caplog.text


@given(st.binary(max_size=200))
def test_random_bytes_are_read_as_a_damaged_person(encrypted: bytes) -> None:
    booking_id, key = KEYS.booking_id("a", REQUEST), KEYS.applicant_key(BUDI.nik)
    for keys in (KEYS, Keys(KEYS.hash_key)):
        for text in (encrypted, pair_id(KEYS.public_key) + encrypted):
            assert keys.person(booking_id, key, text) == keys.masked(booking_id, key, text) == Person("*" * 16, "")
            assert not keys.fit(booking_id, key, text)


def test_ciphertexts_hide_the_data_and_are_never_equal() -> None:
    booking_id, key = KEYS.booking_id("a", REQUEST), KEYS.applicant_key(BUDI.nik)
    one, two = (KEYS.encrypt(booking_id, key, BUDI) for _ in range(2))
    assert one != two
    for hidden in (BUDI.nik, BUDI.nik[-4:], "Budi", "Bu**"):
        assert hidden.encode() not in one


# Codes


@given(st.uuids())
def test_a_booking_code_maps_to_a_range_of_ids_with_its_booking(request_id: UUID) -> None:
    booking_id = KEYS.booking_id("a", request_id)
    code = booking_code(booking_id)
    assert len(code) == 10
    assert not set(code) & set("ILOU")
    low, high = code_range(code)
    assert low <= booking_id <= high
    assert booking_code(low) == booking_code(high) == code
    assert booking_code(UUID(int=high.int + 1)) != code != booking_code(UUID(int=low.int - 1))


@pytest.mark.parametrize(
    "typed",
    [
        "ol234abcdi",
        "OI234ABCDL",
        "0123-4abcd-1",
        " 01234ABCD1",
        "01234ABCD1\r\n",
        "01234ABCD1\t",
        "01234 ABCD1",
        "01234‐ABCD1",
        "01234‑ABCD1",
        "01234‒ABCD1",
        "01234–ABCD1",
        "\ufeff01234\u00a0ABCD1",
        "０１２３４ＡＢＣＤ１",
        "٠١٢٣٤ABCD١",
    ],
)
def test_a_code_is_read_as_typed_by_people_and_scanners(typed: str) -> None:
    assert code_range(typed) == code_range("01234ABCD1")


@pytest.mark.parametrize("code", ["", "012345678", "0123456789A", "012345678U", "012345678 ", "012345678é", "\n" * 10])
def test_an_invalid_code_is_refused(code: str) -> None:
    with pytest.raises(AntrianError) as refusal:
        code_range(code)
    assert (refusal.value.reason, refusal.value.field) == (Reason.INVALID_FIELD, "code")
