"""Applicants: checks of NIKs and names, and the keyed hashes, encrypted data and codes that replace them outside.

No error and no repr of this module contains a NIK, a name or a key.
"""

import logging
import os
import re
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from antrian.booking import Person, Policy, Slot
from antrian.encryption import HEADER, NONCE, TAG, Decryptor, Encryptor, public_key_of
from antrian.errors import invalid
from antrian.text import compact

_log = logging.getLogger(__name__)
_WOMAN = 40
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_BIRTHDAYS = frozenset(
    f"{day + woman:02}{month:02}"
    for month, days in enumerate(_DAYS, 1)
    for day in range(1, days + 1)
    for woman in (0, _WOMAN)
)
_LEAP_DAYS = frozenset({"2902", "6902"})
_PLAIN_NAME = re.compile("(?=.*[A-Za-z])[A-Za-z .,'/()-]{1,100}")
_NAME_MARKS = frozenset(" .,'/()-")
_WORD = re.compile("[^ .,'/()-]+")

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CROCKFORD_VALUES = (
    {symbol: value for value, symbol in enumerate(_CROCKFORD)}
    | {symbol.lower(): value for value, symbol in enumerate(_CROCKFORD)}
    | {"O": 0, "o": 0, "I": 1, "i": 1, "L": 1, "l": 1}
)
_CROCKFORD_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_CODE_LENGTH = 10
_BELOW_CODE = 128 - 5 * _CODE_LENGTH


def check_nik(nik: str, field: str, nik_codes: Collection[str]) -> None:
    """Raises INVALID_FIELD for that field unless the NIK could have been issued.

    A NIK has six digits for the area of first registration, beginning with the province's two (nik_codes); the date of birth
    as DDMMYY, with 40 added to a woman's day; and a serial number from 0001. Source: PP 37/2007 article 37, repeated by
    Ditjen Dukcapil. A NIK never changes (PP 40/2019 article 30), so people registered before a province was split keep the
    old province's code. No NIK begins with East Timor's 54: it left in 1999 (TAP MPR V/MPR/1999), before the system that
    assigns NIKs (SIAK, article 37). YY lacks the century, so a date that exists in 19YY or 20YY is accepted.
    """
    if not (len(nik) == 16 and nik.isascii() and nik.isdigit()):
        raise invalid(field, "NIK harus 16 angka", "a NIK must be 16 digits")
    if nik[:2] not in nik_codes:
        raise invalid(
            field,
            "NIK tidak diawali kode provinsi yang dikenal; periksa KTP",
            "the NIK does not begin with a known province's code; check the identity card",
        )
    # 29 February: 00 is the leap year 2000
    if nik[6:10] not in _BIRTHDAYS or (nik[6:10] in _LEAP_DAYS and int(nik[10:12]) % 4):
        raise invalid(
            field,
            "tanggal lahir di dalam NIK (angka ke-7 sampai ke-12) tidak ada; periksa KTP",
            "the date of birth in the NIK (its digits 7 to 12) does not exist; check the identity card",
        )
    if nik.endswith("0000"):
        raise invalid(
            field,
            "nomor urut di akhir NIK tidak boleh 0000; periksa KTP",
            "the serial number that ends a NIK is not 0000; check the identity card",
        )


def check_full_name(name: str, field: str) -> None:
    """Raises INVALID_FIELD for that field unless it is a name: 1 to 100 letters of any script, spaces and _NAME_MARKS."""
    if _PLAIN_NAME.fullmatch(name):  # the fast path of nearly all names
        return
    if not 1 <= len(name) <= 100:
        raise invalid(field, "nama harus 1 sampai 100 huruf", "a name must be 1 to 100 letters")
    kinds = [unicodedata.category(character)[0] for character in name if character not in _NAME_MARKS]
    if "L" not in kinds or not set(kinds) <= {"L", "M"}:
        raise invalid(
            field,
            "nama hanya boleh berisi huruf, spasi dan tanda . , ' - / ( )",
            "a name may have only letters, spaces and the marks . , ' - / ( )",
        )


def check_party(policy: Policy, people: Sequence[Person], nik_codes: Collection[str]) -> None:
    """Raises INVALID_FIELD for the first error: the party's size, a NIK or name, a repeated NIK."""
    if not 1 <= len(people) <= policy.party_people:
        raise invalid(
            "applicants",
            f"harus 1 sampai {policy.party_people} orang dalam satu permohonan",
            f"must be 1 to {policy.party_people} people in one request",
        )
    seen = set[str]()
    for index, person in enumerate(people):
        nik_field, name_field = _fields(index)
        check_nik(person.nik, nik_field, nik_codes)
        if person.nik in seen:
            raise invalid(
                nik_field,
                "NIK ini sudah ada pada pemohon sebelumnya dalam permohonan ini",
                "this NIK is that of an earlier applicant of this request",
            )
        seen.add(person.nik)
        check_full_name(person.full_name, name_field)


@lru_cache
def _fields(index: int) -> tuple[str, str]:
    return f"applicants[{index}].nik", f"applicants[{index}].full_name"


def mask_name(name: str) -> str:
    """Returns the name with only two letters of each word visible, one if it has two: "De** Le*****"."""
    return _WORD.sub(_mask_word, name)


def _mask_word(match: "re.Match[str]") -> str:
    word = match[0]
    shown = 2 if len(word) > 2 else 1
    return word[:shown] + "*" * (len(word) - shown)


def mask_nik(nik: str) -> str:
    """Returns the NIK with only its last four digits visible."""
    return f"************{nik[-4:]}"


@dataclass(frozen=True)
class Keys:
    """The keys of a program, 32 bytes each: hash_key for keyed hashes, the others for personal data.

    public_key: the offices' public key, by which personal data are encrypted; empty for a program that encrypts none.
    private_keys: the offices' private keys, old and new ones, by which personal data are decrypted; empty for a program that
    only books.

    Hashes are BLAKE2b, personalised per kind so that hashes of different kinds never collide. What is encrypted for a person
    has two parts. The NIK and the name are encrypted to the public key (antrian/encryption.py). The masked name and the last
    four digits, which every server shows to the booking's account, are encrypted with AES-256-GCM under a key that is derived
    from hash_key.
    """

    hash_key: bytes = field(repr=False)
    public_key: bytes = field(default=b"", repr=False)
    private_keys: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        given = [self.hash_key, *[self.public_key] * bool(self.public_key), *self.private_keys]
        if any(len(key) != 32 for key in given):
            raise ValueError("keys must be 32 bytes each")
        if not all(map(any, given)):
            raise ValueError("a key must not be all zero")
        if len(set(given)) < len(given):
            raise ValueError("keys must differ from one another")
        if self.public_key and self.private_keys and self.public_key not in map(public_key_of, self.private_keys):
            raise ValueError("the public key must belong to one of the private keys")
        if self.public_key:
            try:
                _ = self._encryptor
            except ValueError:
                raise ValueError("the public key is not a point of X25519") from None

    @cached_property
    def _encryptor(self) -> Encryptor:
        return Encryptor(self.public_key)

    @cached_property
    def _decryptor(self) -> Decryptor:
        return Decryptor(self.private_keys)

    @cached_property
    def _masked(self) -> AESGCM:
        return AESGCM(blake2b(digest_size=32, key=self.hash_key, person=b"masked").digest())

    @cached_property
    def _applicant(self) -> Any:
        return self._kind(b"applicant", 16)

    @cached_property
    def _booking(self) -> Any:
        return self._kind(b"booking", 16)

    @cached_property
    def _fingerprint(self) -> Any:
        return self._kind(b"fingerprint", 6)

    @cached_property
    def _owner(self) -> Any:
        return self._kind(b"owner", 8)

    @cached_property
    def _asker(self) -> Any:
        return self._kind(b"asker", 8)

    def _kind(self, kind: bytes, size: int) -> Any:
        return blake2b(digest_size=size, key=self.hash_key, person=kind)

    @property
    def hash_check_value(self) -> bytes:
        """The key check value of hash_key, 16 bytes: it identifies the key without revealing it."""
        return blake2b(b"hash", digest_size=16, key=self.hash_key, person=b"check value").digest()

    def applicant_key(self, nik: str) -> bytes:
        """Returns the keyed hash that replaces a NIK in Redis, Postgres and logs: 16 bytes."""
        return _hash(self._applicant, nik.encode())

    def booking_id(self, caller: str, request_id: UUID) -> UUID:
        """Returns the id of the booking for a caller's request, the same on every retry and server (UUID version 8)."""
        name = bytearray(_hash(self._booking, request_id.bytes + caller.encode()))
        # RFC 9562, 5.8: bits 48 to 51 are the version, 64 and 65 the variant, the other 122 are free.
        name[6], name[8] = name[6] & 0x0F | 0x80, name[8] & 0x3F | 0x80
        return UUID(bytes=bytes(name))

    def fingerprint(
        self, office_id: str, slot: Slot, people: Iterable[tuple[bytes, str]], verified: Collection[bytes] = ()
    ) -> bytes:
        """Returns a hash of a request's content: eight letters, 48 bits.

        people: applicant key and full name, in any order. verified: the keys of those who are verified.
        """
        names = [b"%b%b%c" % (key, name.encode(), key in verified) for key, name in sorted(people)]
        content = b"%c%b%b%b" % (len(names), b"".join(names), str(slot).encode(), office_id.encode())
        return urlsafe_b64encode(_hash(self._fingerprint, content))

    def owner(self, caller: str, account: str) -> bytes:
        """Returns the keyed hash of a caller's account: 8 bytes."""
        name = caller.encode()
        return _hash(self._owner, len(name).to_bytes(4, "big") + name + account.encode())

    def asker(self, kind: Literal["d", "p"], text: str) -> bytes:
        """Returns a device key ("d") or an address prefix ("p") as limits.lua counts it: the letter and a keyed hash, 9 bytes."""
        return kind.encode() + _hash(self._asker, (kind + text).encode())

    def encrypt(self, booking_id: UUID, key: bytes, person: Person) -> bytes:
        """Encrypts the applicant's personal data, bound to the booking and the applicant key."""
        nonce, bound = os.urandom(NONCE), booking_id.bytes + key
        header, full = self._encryptor.encrypt(nonce, (person.nik + person.full_name).encode(), bound)
        shown = (person.nik[-4:] + mask_name(person.full_name)).encode()
        masked = self._masked.encrypt(nonce, shown, bound)  # the nonce may be the same, because the key is another
        return b"%b%b%b%b%b" % (header, nonce, len(masked).to_bytes(2), masked, full)

    def decrypt(self, booking_id: UUID, key: bytes, encrypted: bytes) -> Person:
        """Decrypts personal data.

        Raises:
            cryptography.exceptions.InvalidTag: none of private_keys decrypts it, it was encrypted for another booking or
                applicant, or it was modified.
        """
        nonce, _, full = _parts(encrypted)
        text = self._decryptor.decrypt(encrypted[:HEADER], nonce, full, booking_id.bytes + key).decode()
        return Person(text[:16], text[16:])

    def person(self, booking_id: UUID, key: bytes, encrypted: bytes) -> Person:
        """Decrypts personal data. Returns an empty name and a NIK of asterisks if they were erased, or, logged, unreadable."""
        if not encrypted:
            return Person(16 * "*", "")
        try:
            return self.decrypt(booking_id, key, encrypted)
        except InvalidTag:  # one damaged row must not hide the other people
            _log.error(
                "a person of booking %s, encrypted to the key pair %s, cannot be read", booking_id, encrypted[:8].hex()
            )
            return Person(16 * "*", "")

    def masked(self, booking_id: UUID, key: bytes, encrypted: bytes) -> Person:
        """Returns a person with the name and the NIK masked, which needs no private key.

        If that fails, logs it and returns an empty name and a NIK of asterisks.
        """
        try:
            nonce, masked, _ = _parts(encrypted)
            text = self._masked.decrypt(nonce, masked, booking_id.bytes + key).decode()
        except InvalidTag:  # likewise
            _log.error("a masked person of booking %s cannot be read", booking_id)
            return Person(16 * "*", "")
        return Person(12 * "*" + text[:4], text[4:])

    def fit(self, booking_id: UUID, key: bytes, encrypted: bytes) -> bool:
        """Returns whether these keys decrypt the data, and the applicant key is that of the NIK in it."""
        try:
            return self.applicant_key(self.decrypt(booking_id, key, encrypted).nik) == key
        except InvalidTag:
            return False


def _parts(encrypted: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns the nonce, and the masked and the full person as encrypted. Raises InvalidTag if the data are cut off."""
    begins = HEADER + NONCE + 2
    ends = begins + int.from_bytes(encrypted[begins - 2 : begins])
    if ends - begins < TAG or len(encrypted) < ends + TAG:
        raise InvalidTag
    return encrypted[HEADER : begins - 2], encrypted[begins:ends], encrypted[ends:]


def _hash(kind: Any, content: bytes) -> bytes:
    keyed = kind.copy()  # takes half the time of keying a new one
    keyed.update(content)
    digest: bytes = keyed.digest()
    return digest


def booking_code(booking_id: UUID) -> str:
    """Returns the code that an office scans or types: the id's first 50 bits in Crockford's base 32, without I, L, O, U.

    Two of these bits are the UUID's version, which leaves 48: enough that codes of an office's day do not collide.
    """
    bits = booking_id.int >> _BELOW_CODE
    return "".join([_CROCKFORD_PAIRS[bits >> shift & 1023] for shift in (40, 30, 20, 10, 0)])


def code_range(code: str) -> tuple[UUID, UUID]:
    """Returns the lowest and the highest booking id with that code.

    Accepts what people type and scanners read: any case, O for 0, I or L for 1, and blanks, dashes and line ends anywhere
    (see text.compact). Raises INVALID_FIELD for the field "code" otherwise.
    """
    values = [_CROCKFORD_VALUES.get(symbol, -1) for symbol in compact(code)]
    if len(values) != _CODE_LENGTH or -1 in values:
        raise invalid("code", "harus 10 huruf dan angka", "a code must be ten letters and digits")
    bits = 0
    for value in values:
        bits = bits << 5 | value
    return UUID(int=bits << _BELOW_CODE), UUID(int=(bits + 1 << _BELOW_CODE) - 1)
