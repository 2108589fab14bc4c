"""An issuer of persons' tokens: makes keys, their JWKS, and tokens."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

URL = "https://login.example"
AUDIENCE = "antrian"
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_ALGORITHMS: dict[str, Any] = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}


def make_key(algorithm: str, *, bits: int = 2048) -> PrivateKey:
    """Makes a private key for the algorithm."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, bits)


def pem(key: PrivateKey) -> bytes:
    """The private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(algorithm: str, key: PrivateKey, kid: str, *, private: bool = False) -> dict[str, Any]:
    """The public half of a key as a JWK; with private, both halves."""
    of: Any = key if private else key.public_key()
    made: dict[str, Any] = json.loads(_ALGORITHMS[algorithm].to_jwk(of))
    return made | {"kid": kid}


class Issuer:
    """Signs tokens with one key of each algorithm, whose kid is the algorithm's name, and writes their JWKS."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.keys = {algorithm: make_key(algorithm) for algorithm in _ALGORITHMS}
        self.publish()

    @property
    def jwks(self) -> str:
        """The JWKS."""
        return json.dumps({"keys": [jwk(algorithm, key, algorithm) for algorithm, key in self.keys.items()]})

    def publish(self) -> None:
        """Writes the JWKS."""
        self.file.write_text(self.jwks)

    def token(self, subject: str, algorithm: str = "EdDSA", *, header: Any = None, **claims: Any) -> str:
        """A token for the subject, valid for an hour. A claim that is None is left out."""
        given = {"iss": URL, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 3600} | claims
        payload = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(payload, self.keys[algorithm], algorithm, {"kid": algorithm} | (header or {}))

    def entry(self, name: str = "people", more: str = "") -> str:
        """The [[issuer]] table of the callers file."""
        return (
            f'[[issuer]]\nname = "{name}"\nissuer = "{URL}"\naudience = "{AUDIENCE}"\njwks = "{self.file.name}"\n{more}'
        )
