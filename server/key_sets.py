"""The public keys by which issuers sign persons' tokens: JSON Web Key Sets, from files and https URLs."""

import asyncio
import json
import logging
import time
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from antrian.callers_file import CallersFileError
from server.file_version import file_version

_PERIOD = 300.0  # seconds between two fetches of a URL
_FLOOR = 60.0  # seconds that must pass before an unknown key id causes another fetch
_TIMEOUT = 5.0
_LARGEST = 256 * 1024
_RSA_BITS = 2048
# A token's algorithm is that of the key: what the token itself says only has to agree.
_ALGORITHMS = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}
_log = logging.getLogger(__name__)


def parse_keys(content: bytes) -> dict[str, PyJWK]:
    """Returns the usable public keys of a JWKS by kid.

    Keys for other purposes or algorithms are ignored. Raises CallersFileError if it is no JWKS, has a secret, or no usable key.
    """
    try:
        listed = json.loads(content)["keys"]
        keys = [(key["kid"], key, _algorithm(key)) for key in listed if isinstance(key.get("kid"), str)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CallersFileError("is not a JSON Web Key Set") from None
    if any("d" in key or "k" in key for key in listed):
        raise CallersFileError("has a private or symmetric key; publish only public keys")
    usable = [(kid, key, algorithm) for kid, key, algorithm in keys if algorithm]
    try:
        found = {kid: PyJWK(key, algorithm) for kid, key, algorithm in usable}
    except (PyJWTError, ValueError):
        raise CallersFileError("has a malformed key") from None
    if len(found) < len(usable):
        raise CallersFileError("has two keys with the same kid")
    if any(isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_BITS for key in found.values()):
        raise CallersFileError(f"has an RSA key of less than {_RSA_BITS} bits")
    if not found:
        raise CallersFileError("has no key for EdDSA (Ed25519), ES256 or RS256 with a kid")
    return found


def _algorithm(key: dict[str, Any]) -> str | None:
    """Returns the algorithm of a key for signatures, or None if it is not to be used."""
    algorithm = _ALGORITHMS.get((key["kty"], key.get("crv")))
    return algorithm if key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm else None


class KeySet:
    """The keys of one issuer, as they are at their source.

    A file is read at once, and raises CallersFileError if it is invalid. A URL has no keys before its first refresh.
    """

    def __init__(self, source: str, folder: Path) -> None:
        self._url = source if "://" in source else ""
        self._file = None if self._url else folder / source
        self._keys: dict[str, PyJWK] = {}
        self._next, self._floor = 0.0, 0.0
        self._version = file_version(self._file)
        if self._file:
            self._keys = _read(self._file)

    def find(self, kid: str) -> PyJWK | None:
        """Returns the key. If it is unknown, a URL is fetched again soon, but not more often than once a minute."""
        key = self._keys.get(kid)
        if key is None:
            self._next = min(self._next, self._floor)
        return key

    async def refresh(self) -> bool:
        """Reads a file that has changed, or a URL whose time has come. Returns whether there are other keys now.

        Keeps the keys and logs an error if the new ones are invalid or unavailable.
        """
        before = self._keys
        try:
            if self._file:
                if (version := file_version(self._file)) == self._version:
                    return False
                self._version = version
                self._keys = _read(self._file)
            else:
                if (now := time.monotonic()) < self._next:
                    return False
                self._next, self._floor = now + _PERIOD, now + _FLOOR
                self._keys = parse_keys(await asyncio.to_thread(_fetch, self._url))
        except (CallersFileError, OSError) as error:
            if self._url and not before:
                self._next = self._floor  # nobody can be identified until it works
            _log.error("the keys stay as they were: %s: %s", self._url or self._file, error)
            return False
        _log.info("read %d keys from %s", len(self._keys), self._url or self._file)
        return True


def _read(file: Path) -> dict[str, PyJWK]:
    try:
        return parse_keys(file.read_bytes())
    except CallersFileError as error:
        raise CallersFileError(f"{file}: {error}") from None
    except OSError as error:
        raise CallersFileError(f"{file}: cannot be read: {error.strerror}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None  # the keys come from the host in the callers file, or not at all


def _fetch(url: str) -> bytes:
    with urllib.request.build_opener(_NoRedirect).open(url, timeout=_TIMEOUT) as response:
        content: bytes = response.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise CallersFileError(f"is larger than {_LARGEST // 1024} KiB")
    return content
