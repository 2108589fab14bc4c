"""Encryption to a public key: who can read what, and when."""

import pickle
from collections.abc import Iterator
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from antrian.booking import Person
from antrian.encryption import HEADER, Decryptor, Encryptor, new_private_key, pair_id, public_key_of
from antrian.identity import Keys
from tests.support.keys import HASH_KEY, OTHER_PRIVATE_KEY, PRIVATE_KEY, make_keys

NONCE, BOUND = b"n" * 12, b"bound"
OFFICE = make_keys()
BOOKING_ID, BUDI = UUID(int=1), Person("3602041211870001", "Budi Santoso")
KEY = OFFICE.applicant_key(BUDI.nik)
SERVER = Keys(HASH_KEY, OFFICE.public_key)


@given(st.binary(), st.binary())
def test_a_text_is_decrypted_by_the_private_key(text: bytes, bound: bytes) -> None:
    header, encrypted = Encryptor(OFFICE.public_key).encrypt(NONCE, text, bound)
    assert len(header) == HEADER
    assert header[:8] == pair_id(OFFICE.public_key)
    assert Decryptor([OTHER_PRIVATE_KEY, PRIVATE_KEY]).decrypt(header, NONCE, encrypted, bound) == text


def test_a_data_key_is_used_for_an_hour() -> None:
    clock = [0.0]
    encryptor, headers = Encryptor(OFFICE.public_key, clock=lambda: clock[0]), []
    for clock[0] in (0.0, 3599.0, 3600.0, 7199.0, 7200.0):
        headers += [encryptor.encrypt(NONCE, b"", BOUND)[0]]
    assert headers[0] == headers[1] != headers[2] == headers[3] != headers[4]
    assert headers[0] != headers[4]


def _bytes_below(thing: object, seen: set[int]) -> Iterator[bytes]:
    """Yields every byte string that an object refers to."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, bytes):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _bytes_below(value, seen)
    elif isinstance(thing, tuple | list | set | frozenset):
        for one in thing:
            yield from _bytes_below(one, seen)
    elif hasattr(thing, "__dict__"):
        yield from _bytes_below(vars(thing), seen)


def _try_all(keys: Keys, encrypted: bytes) -> bool:
    """Attacks: takes whatever 32 bytes the keys have as the private key. Returns whether any reads the person."""
    for guess in [*_bytes_below(keys, set()), keys.hash_check_value * 2]:
        if len(guess) == 32 and any(guess):
            try:
                thief = Keys(b"t" * 32, b"", (guess,))
                assert thief.decrypt(BOOKING_ID, KEY, encrypted) == BUDI
            except (InvalidTag, ValueError):
                continue
            return True
    return False


def test_a_server_that_only_books_cannot_decrypt_what_it_wrote() -> None:
    encrypted = SERVER.encrypt(BOOKING_ID, KEY, BUDI)
    with pytest.raises(InvalidTag):
        SERVER.decrypt(BOOKING_ID, KEY, encrypted)
    assert not SERVER.fit(BOOKING_ID, KEY, encrypted)
    assert not _try_all(SERVER, encrypted)
    assert SERVER.masked(BOOKING_ID, KEY, encrypted) == Person("************0001", "Bu** Sa*****")
    assert OFFICE.decrypt(BOOKING_ID, KEY, encrypted) == BUDI
    assert _try_all(OFFICE, encrypted), "the attack must find a private key where there is one"


def test_a_data_key_cannot_be_copied_out_of_an_encryptor() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Encryptor(OFFICE.public_key))


def test_people_encrypted_to_different_key_pairs_are_read_together() -> None:
    new = new_private_key()
    after = Keys(HASH_KEY, public_key_of(new), (new, PRIVATE_KEY))
    people = [keys.encrypt(BOOKING_ID, KEY, BUDI) for keys in (OFFICE, after, SERVER)]
    assert [after.decrypt(BOOKING_ID, KEY, encrypted) for encrypted in people] == [BUDI] * 3
    assert [OFFICE.fit(BOOKING_ID, KEY, encrypted) for encrypted in people] == [True, False, True]
    assert [SERVER.masked(BOOKING_ID, KEY, encrypted).full_name for encrypted in people] == ["Bu** Sa*****"] * 3


def test_a_rewrapped_data_key_is_read_by_the_new_private_key_only() -> None:
    encrypted = SERVER.encrypt(BOOKING_ID, KEY, BUDI)
    new = make_keys(HASH_KEY, OTHER_PRIVATE_KEY)
    data_key = Decryptor([PRIVATE_KEY]).unwrap(encrypted[:HEADER])
    rewrapped = Encryptor(new.public_key).wrap(data_key) + encrypted[HEADER:]
    assert len(rewrapped) == len(encrypted)
    assert new.decrypt(BOOKING_ID, KEY, rewrapped) == BUDI
    assert not OFFICE.fit(BOOKING_ID, KEY, rewrapped)


@pytest.mark.parametrize("at", [0, 8, 40, HEADER - 1])
def test_a_tampered_wrapped_key_is_refused(at: int) -> None:
    header, encrypted = Encryptor(OFFICE.public_key).encrypt(NONCE, b"text", BOUND)
    tampered = header[:at] + bytes([header[at] ^ 1]) + header[at + 1 :]
    with pytest.raises(InvalidTag):
        Decryptor([PRIVATE_KEY]).decrypt(tampered, NONCE, encrypted, BOUND)
