"""Made-up keys for tests."""

from base64 import b64encode

from antrian.encryption import public_key_of
from antrian.identity import Keys

HASH_KEY, PRIVATE_KEY, OTHER_PRIVATE_KEY = b"h" * 32, b"s" * 32, b"o" * 32


def make_keys(hash_key: bytes = HASH_KEY, private_key: bytes = PRIVATE_KEY, *older: bytes) -> Keys:
    """Returns the keys of a server for offices' staff, which encrypts to private_key's public key."""
    return Keys(hash_key, public_key_of(private_key), (private_key, *older))


def key_variables(keys: Keys) -> dict[str, str]:
    """Returns the keys as variables ANTRIAN_*."""
    values = {"HASH_KEY": [keys.hash_key], "PUBLIC_KEY": [keys.public_key], "PRIVATE_KEYS": keys.private_keys}
    return {
        f"ANTRIAN_{name}": " ".join(b64encode(key).decode() for key in value if key) for name, value in values.items()
    }
