"""Signed heads: the newest hash of the chain, signed with Ed25519 and kept in a file outside the database.

Each line of the file is a JSON object: link and hash of the head, time, previous (the SHA-256 of the line before), and
signature, which covers the others.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from antrian.settings import SettingsError, WorkerSettings

_FIRST = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """A line of the file. problem: what is wrong with the line itself, empty if it is signed and follows the one before."""

    line: int
    link: int
    hash: str
    problem: str


def new_signing_key() -> bytes:
    """Returns a new private key as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing_key(settings: WorkerSettings) -> Ed25519PrivateKey | None:
    """Returns the key that signs heads, None if the settings name none. Raises SettingsError."""
    if settings.signing_key_file is None:
        return None
    key = _read(settings.signing_key_file, "signing_key_file", "private")
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"ANTRIAN_SIGNING_KEY_FILE: {settings.signing_key_file} is not an Ed25519 private key (PEM)"
        )
    return key


def public_key(settings: WorkerSettings) -> Ed25519PublicKey | None:
    """Returns the key that checks heads: the named one, else that of the signing key. Raises SettingsError."""
    if settings.signing_public_key_file is None:
        key = signing_key(settings)
        return key.public_key() if key else None
    public = _read(settings.signing_public_key_file, "signing_public_key_file", "public")
    if not isinstance(public, Ed25519PublicKey):
        raise SettingsError(
            f"ANTRIAN_SIGNING_PUBLIC_KEY_FILE: {settings.signing_public_key_file} is not an Ed25519 public key (PEM)"
        )
    return public


def append_head(file: Path, key: Ed25519PrivateKey, link: int, hash_: bytes) -> None:
    """Signs a head and appends it to the file, on disk when this returns. Raises OSError."""
    with file.open("ab+") as heads:
        heads.seek(0)
        lines = heads.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):  # a crash cut the last line off
            heads.truncate(sum(map(len, lines[:-1])))
            del lines[-1]
        head = {
            "link": link,
            "hash": hash_.hex(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous": sha256(lines[-1]).hexdigest() if lines else _FIRST,
        }
        head["signature"] = b64encode(key.sign(_signed(head))).decode()
        heads.write(json.dumps(head).encode() + b"\n")
        heads.flush()
        os.fsync(heads.fileno())


def read_heads(file: Path, key: Ed25519PublicKey) -> Iterator[Head]:
    """Yields the heads of the file in order; none if it does not exist. A last line without its end is left out."""
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    previous = _FIRST
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            return
        yield _head(number, line, previous, key)
        previous = sha256(line).hexdigest()


def _head(number: int, line: bytes, previous: str, key: Ed25519PublicKey) -> Head:
    try:
        head = json.loads(line)
        key.verify(b64decode(head["signature"]), _signed(head))
        missing = "" if head["previous"] == previous else "a line before it was removed or changed"
        return Head(number, int(head["link"]), str(head["hash"]), missing)
    except InvalidSignature:
        return Head(number, 0, "", "its signature is not one of the signing key")
    except (ValueError, LookupError, TypeError):
        return Head(number, 0, "", "it is not a signed head")


def _signed(head: dict[str, Any]) -> bytes:
    return json.dumps([head[name] for name in ("link", "hash", "time", "previous")]).encode()


def _read(file: Path, setting: str, kind: str) -> object:
    try:
        content = file.read_bytes()
        return load_pem_private_key(content, None) if kind == "private" else load_pem_public_key(content)
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a PEM file without a passphrase"
        raise SettingsError(f"ANTRIAN_{setting.upper()}: {file} cannot be read: {why}") from None
