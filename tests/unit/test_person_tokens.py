"""Tokens of persons: what an issuer has signed for Antrian is accepted, and whatever else an attacker makes is refused."""

import asyncio
import base64
import hmac
import json
import logging
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from antrian.callers_file import CallersFileError, Role
from antrian.errors import AntrianError
from antrian.v1.booking_service_pb2 import (
    CancelBookingRequest,
    GetQuotaRequest,
    RequestBookingRequest,
)
from server.auth import Callers, check_access
from server.caller import Caller
from server.key_sets import KeySet, parse_keys
from tests.support.issuer import AUDIENCE, URL, Issuer, jwk, make_key, pem
from tests.support.waiting import until

METHOD = "/antrian.v1.BookingService/RequestBooking"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer") / "keys.json")


@pytest.fixture
def callers(issuer: Issuer) -> Callers:
    file = issuer.file.with_name("callers.toml")
    file.write_text(issuer.entry())
    return Callers(file)


def identify(callers: Callers, token: str, method: str = METHOD) -> Caller | str:
    """The caller with this token, or the reason why there is none."""
    try:
        caller = callers.identify([("authorization", f"Bearer {token}")])
        check_access(caller, method)
    except AntrianError as refusal:
        return refusal.reason
    return caller


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(header: Any, claims: Any) -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"


def claims(**changes: Any) -> dict[str, Any]:
    return {"iss": URL, "aud": AUDIENCE, "sub": "ani", "exp": int(time.time()) + 3600} | changes


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_person_is_identified_by_a_signed_token(callers: Callers, issuer: Issuer, algorithm: str) -> None:
    caller = identify(callers, issuer.token("ani", algorithm))
    assert isinstance(caller, Caller)
    assert caller == Caller("people", frozenset({Role.GATEWAY}), names_accounts=False, subject="ani")
    assert identify(callers, issuer.token("ani", algorithm, aud=["other", AUDIENCE])) == caller


def test_a_person_may_not_use_the_office_service(callers: Callers, issuer: Issuer) -> None:
    refused = identify(callers, issuer.token("ani"), "/antrian.v1.OfficeService/ListRosterEntries")
    assert refused == "PERMISSION_DENIED"


def _with_own_key(_: Issuer) -> str:
    own = make_key("EdDSA")
    return jwt.encode(claims(), own, "EdDSA", {"kid": "EdDSA", "jwk": jwk("EdDSA", own, "EdDSA"), "jku": "https://a.b"})


def _swapped(issuer: Issuer) -> str:
    head, _, signature = issuer.token("ani").split(".")
    return f"{head}.{issuer.token('budi').split('.')[1]}.{signature}"


_FORGED: dict[str, Callable[[Issuer], str]] = {
    "none": lambda _: unsigned({"alg": "none", "kid": "RS256"}, claims()) + ".",
    "None with a signature": lambda i: unsigned({"alg": "None", "kid": "EdDSA"}, claims()) + "." + i.token("x")[-86:],
    "no signature": lambda i: i.token("ani").rpartition(".")[0] + ".",
    "another key": lambda _: jwt.encode(claims(), make_key("EdDSA"), "EdDSA", {"kid": "EdDSA"}),
    "the key of another algorithm": lambda i: jwt.encode(claims(), i.keys["ES256"], "ES256", {"kid": "RS256"}),
    "an unknown kid": lambda i: i.token("ani", header={"kid": "EdDSA2"}),
    "no kid": lambda i: jwt.encode(claims(), i.keys["EdDSA"], "EdDSA"),
    "a kid that is a path": lambda i: i.token("ani", header={"kid": "../../dev/null"}),
    "a weaker algorithm of the same key": lambda i: jwt.encode(claims(), i.keys["RS256"], "RS384", {"kid": "RS256"}),
    "PSS": lambda i: jwt.encode(claims(), i.keys["RS256"], "PS256", {"kid": "RS256"}),
    "its own key in the header": _with_own_key,
    "another audience": lambda i: i.token("ani", aud="another"),
    "no audience": lambda i: i.token("ani", aud=None),
    "another issuer": lambda i: i.token("ani", iss="https://login.evil"),
    "no issuer": lambda i: i.token("ani", iss=None),
    "an issuer that is a list": lambda i: unsigned({"alg": "EdDSA", "kid": "EdDSA"}, claims(iss=[URL])) + ".AA",
    "no expiry": lambda i: i.token("ani", exp=None),
    "not valid yet": lambda i: i.token("ani", nbf=int(time.time()) + 600),
    "no subject": lambda i: i.token("ani", sub=None),
    "an empty subject": lambda i: i.token(""),
    "a subject that is no text": lambda i: i.token("ani", sub=["ani"]),
    "a NIK as the subject": lambda i: i.token("3271015503910001"),
    "a subject with a blank": lambda i: i.token(" ani"),
    "full-width digits in the subject": lambda i: i.token("ani\uff11"),
    "5 KB": lambda i: i.token("ani", more="x" * 5000),
    "another person's payload": _swapped,
    "a critical extension": lambda i: i.token("ani", header={"crit": ["bound"], "bound": "x"}),
    "deep JSON": lambda _: f"{b64(b'[' * 1400)}.{b64(b'[' * 1400)}.AA",
    "deep claims": lambda _: f"{b64(json.dumps({'alg': 'EdDSA', 'kid': 'EdDSA'}).encode())}.{b64(b'[' * 2000)}.AA",
    "long numbers": lambda _: f"{b64(b'9' * 1400)}.{b64(b'9' * 1400)}.AA",
    "claims that are a list": lambda _: unsigned({"alg": "EdDSA", "kid": "EdDSA"}, [1]) + ".AA",
    "a header that is a list": lambda _: unsigned(["EdDSA"], claims()) + ".AA",
    "no base64": lambda _: "a.b.c",
    "dots": lambda _: "..",
}


@pytest.mark.parametrize("forge", _FORGED.values(), ids=_FORGED)
def test_a_forged_token_is_refused(callers: Callers, issuer: Issuer, forge: Callable[[Issuer], str]) -> None:
    assert identify(callers, forge(issuer)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_a_public_key_is_no_shared_secret(callers: Callers, issuer: Issuer, form: PublicFormat) -> None:
    public = issuer.keys["RS256"].public_key().public_bytes(Encoding.PEM, form)
    for secret in (public, public.strip(), json.dumps(jwk("RS256", issuer.keys["RS256"], "RS256")).encode()):
        signed = unsigned({"alg": "HS256", "typ": "JWT", "kid": "RS256"}, claims())
        token = f"{signed}.{b64(hmac.digest(secret, signed.encode(), sha256))}"
        assert identify(callers, token) == "UNAUTHENTICATED"


def test_an_expired_token_says_so_also_when_it_was_verified_before(
    callers: Callers, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert identify(callers, issuer.token("ani", exp=int(time.time()) - 60)) == "TOKEN_EXPIRED"
    token = issuer.token("ani", exp=int(time.time()) - 5)  # within the leeway for clocks
    assert isinstance(identify(callers, token), Caller)
    assert callers._known
    digest = sha256(token.encode()).hexdigest()
    callers._known.persons._verified[digest] = (callers._known.persons._verified[digest][0], time.time() - 60)
    monkeypatch.setattr("server.person_tokens._LEEWAY", 0.0)
    assert identify(callers, token) == "TOKEN_EXPIRED"


def test_a_verified_token_is_verified_once_and_few_are_remembered(
    callers: Callers, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.person_tokens._MOST_VERIFIED", 3)
    tokens, verified = [issuer.token(f"ani{n}") for n in range(5)], list[str]()
    original = jwt.decode

    def decode(token: str, *rest: Any, **others: Any) -> Any:
        verified.append(token)
        return original(token, *rest, **others)

    monkeypatch.setattr("jwt.decode", decode)
    for token in tokens:
        for _ in range(3):
            assert isinstance(identify(callers, token), Caller)
    assert verified == tokens
    assert callers._known
    assert len(callers._known.persons._verified) == 3


ANI = Caller("people", frozenset({Role.GATEWAY}), names_accounts=False, subject="ani")


def test_a_request_gets_the_account_of_the_person() -> None:
    for account in ("", "ani"):
        request = RequestBookingRequest(account=account)
        ANI.take_account(request)
        assert request.account == "ani"
    ANI.take_account(GetQuotaRequest(office_id="kanim-bogor"))


@pytest.mark.parametrize("account", ["budi", "ANI", "ani ", " ", "ani\0", "an\u0456"])
def test_a_person_may_not_name_another_account(account: str) -> None:
    with pytest.raises(AntrianError, match="PERMISSION_DENIED") as caught:
        ANI.take_account(CancelBookingRequest(account=account))
    assert caught.value.field == "account"


async def test_keys_that_are_withdrawn_end_their_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("server.auth._POLL", 0.01)
    issuer = Issuer(tmp_path / "keys.json")
    file = tmp_path / "callers.toml"
    file.write_text(issuer.entry())
    callers, token = Callers(file), issuer.token("ani")
    following = asyncio.create_task(callers.keep_fresh())
    assert isinstance(identify(callers, token), Caller)
    with caplog.at_level(logging.ERROR):
        issuer.file.write_text('{"keys": []}')
        await until(lambda: "the keys stay as they were" in caplog.text)
    assert isinstance(identify(callers, token), Caller)
    issuer.keys["EdDSA"] = make_key("EdDSA")
    issuer.publish()
    await until(lambda: isinstance(identify(callers, issuer.token("ani")), Caller))
    assert identify(callers, token) == "UNAUTHENTICATED"
    file.write_text(issuer.entry("app"))
    await until(lambda: getattr(identify(callers, issuer.token("ani")), "name", "") == "app")
    following.cancel()


_ES384 = {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "a"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([], "has no key for EdDSA"),
        ([jwk("EdDSA", make_key("EdDSA"), "a") | {"kid": None}], "has no key for EdDSA"),
        ([jwk("EdDSA", make_key("EdDSA"), "a") | {"use": "enc"}], "has no key for EdDSA"),
        ([jwk("RS256", make_key("RS256"), "a") | {"alg": "RS512"}], "has no key for EdDSA"),
        ([_ES384], "has no key for EdDSA"),
        ([jwk("RS256", make_key("RS256", bits=1024), "a")], "has an RSA key of less than 2048 bits"),
        ([jwk("EdDSA", make_key("EdDSA"), "a", private=True)], "has a private or symmetric key"),
        ([jwk("EdDSA", make_key("EdDSA"), "a"), {"kty": "oct", "k": "AA", "kid": "b"}], "has a private or symmetric"),
        (
            [jwk("EdDSA", make_key("EdDSA"), "a"), jwk("ES256", make_key("ES256"), "a")],
            "has two keys with the same kid",
        ),
        ([jwk("EdDSA", make_key("EdDSA"), "a") | {"x": "AA"}], "has a malformed key"),
        ([3], "is not a JSON Web Key Set"),
        (3, "is not a JSON Web Key Set"),
    ],
)
def test_unusable_keys_are_refused(keys: Any, says: str) -> None:
    with pytest.raises(CallersFileError, match=says):
        parse_keys(json.dumps({"keys": keys}).encode())


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", pem(make_key("EdDSA"))])
def test_a_server_does_not_start_without_the_keys_of_a_file(tmp_path: Path, content: bytes | None) -> None:
    issuer = Issuer(tmp_path / "keys.json")
    if content is None:
        issuer.file.unlink()
    else:
        issuer.file.write_bytes(content)
    file = tmp_path / "callers.toml"
    file.write_text(issuer.entry())
    with pytest.raises(CallersFileError, match=f"{issuer.file}: "):
        Callers(file)


async def test_keys_are_fetched_on_time_and_for_unknown_keys_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    issuer, now, fetched = Issuer(tmp_path / "keys.json"), [1000.0], list[str]()
    content = [b"gone"]

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return content[0]

    async def moved(seconds: float) -> int:
        """How often the keys were fetched in the first ten looks after that many seconds."""
        now[0] += seconds
        before = len(fetched)
        for _ in range(10):
            await keys.refresh()
        return len(fetched) - before

    monkeypatch.setattr("server.key_sets._fetch", fetch)
    monkeypatch.setattr("server.key_sets.time.monotonic", lambda: now[0])
    keys = KeySet("https://login.example/keys", tmp_path)
    with caplog.at_level(logging.ERROR):
        assert await moved(0) == 1
    assert "the keys stay as they were: https://login.example/keys: is not a JSON Web Key Set" in caplog.text
    assert await moved(59) == 0
    content[0] = issuer.jwks.encode()
    assert await moved(1) == 1  # without any keys, it tries again after a minute
    assert keys.find("EdDSA")
    assert await moved(299) == 0
    assert await moved(1) == 1
    for _ in range(1000):
        assert keys.find("unknown") is None
    assert await moved(59) == 0
    assert await moved(1) == 1
    content[0] = b"gone"
    with caplog.at_level(logging.ERROR):
        assert await moved(300) == 1
    assert keys.find("EdDSA")  # an issuer that is down ends nobody's session
