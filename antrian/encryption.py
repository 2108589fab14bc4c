"""Encryption to the offices' public key, so that a server that only books cannot read what it wrote.

A process encrypts with a data key (AES-256-GCM) that it makes for itself, and replaces after an hour. The data key is wrapped
once with HPKE (RFC 9180) to the offices' public key (X25519), and the wrapped key is stored with every text. Only a holder of
the private key can unwrap it. A process can decrypt what it encrypted with its present data key, and nothing older.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

HEADER = 8 + 80
"""Bytes of a header: the id of the key pair, then the wrapped data key (32 bytes encapsulation, 32 key, 16 tag)."""

NONCE, TAG = 12, 16
"""Bytes of a nonce, and that encryption adds to a text."""

_LIFETIME = timedelta(hours=1)
_UNWRAPPED = 10_000
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"antrian data key"


def new_private_key() -> bytes:
    """Returns a new private key: 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    """Returns the public key of a private key: 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def pair_id(public_key: bytes) -> bytes:
    """Returns the id of a key pair: 8 bytes, a hash of its public key."""
    return blake2b(public_key, digest_size=8, person=b"key pair").digest()


class Encryptor:
    """Encrypts to a public key.

    clock: returns seconds that only grow. A data key is used for an hour, which is far below the 2**32 texts that AES-GCM
    allows with random nonces (NIST SP 800-38D).
    """

    def __init__(self, public_key: bytes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.pair_id = pair_id(public_key)
        self._public_key = X25519PublicKey.from_public_bytes(public_key)
        self._clock = clock
        self._renew()

    def encrypt(self, nonce: bytes, text: bytes, bound: bytes) -> tuple[bytes, bytes]:
        """Returns the header and the encrypted text. nonce: random. bound: what must be given again to decrypt it."""
        if self._clock() >= self._ends:
            self._renew()
        return self._header, self._data_key.encrypt(nonce, text, bound)

    def wrap(self, data_key: bytes) -> bytes:
        """Returns the header of a data key."""
        return self.pair_id + _SUITE.encrypt(data_key, self._public_key, _INFO)

    def _renew(self) -> None:
        data_key = AESGCM.generate_key(256)
        self._header, self._data_key = self.wrap(data_key), AESGCM(data_key)
        self._ends = self._clock() + _LIFETIME.total_seconds()


class Decryptor:
    """Decrypts with private keys. It keeps the data keys that it unwrapped last, because unwrapping takes 80 µs."""

    def __init__(self, private_keys: Iterable[bytes]) -> None:
        self._private_keys = {
            pair_id(public_key_of(key)): X25519PrivateKey.from_private_bytes(key) for key in private_keys
        }
        self._data_key = lru_cache(maxsize=_UNWRAPPED)(lambda header: AESGCM(self.unwrap(header)))

    def decrypt(self, header: bytes, nonce: bytes, encrypted: bytes, bound: bytes) -> bytes:
        """Returns the text.

        Raises:
            cryptography.exceptions.InvalidTag: it was encrypted to another public key or is bound to something else, or it
                or its header was modified.
        """
        return self._data_key(header).decrypt(nonce, encrypted, bound)

    def unwrap(self, header: bytes) -> bytes:
        """Returns the data key of a header. Raises InvalidTag if none of the private keys unwraps it."""
        private_key = self._private_keys.get(header[:8])
        if private_key is None or len(header) != HEADER:
            raise InvalidTag
        return _SUITE.decrypt(header[8:], private_key, _INFO)
