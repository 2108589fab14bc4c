"""The callers file: what is wrong in it is named with its place, and no hash of a token is."""

import asyncio
import hashlib
import logging
import time
from pathlib import Path

import pytest

from antrian.callers_file import CallersFileError, Role, read_callers
from antrian.errors import AntrianError
from server.auth import ACCESS, Callers, check_access
from server.caller import LOCAL, Caller, system
from tests.support.waiting import until

HASH = "a785ee1a192f38bc946cde9630950471c917b75d590fb5c3f0610b10a63d41e7"
GOOD = f'[[caller]]\nname = "mobile"\nrole = "gateway"\ntoken_sha256 = "{HASH}"\n'
ISSUER = '[[issuer]]\nname = "people"\nissuer = "https://login.example"\naudience = "antrian"\njwks = "keys.json"\n'


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(
        GOOD
        + 'requests_per_second = 5\noffices = ["kanim-bogor"]\nstaff = "rina"\nnot_after = 2027-06-30T07:00:00+07:00\n'
    )
    [entry] = read_callers(file).caller
    assert (entry.name, entry.role, entry.requests_per_second) == ("mobile", Role.GATEWAY, 5)
    assert (entry.offices, entry.names_accounts) == (["kanim-bogor"], False)
    assert (entry.staff, system(entry).may_verify) == ("rina", False)
    assert entry.not_after is not None
    assert entry.not_after.isoformat() == "2027-06-30T07:00:00+07:00"


@pytest.mark.parametrize(
    ("role", "more", "may"),
    [
        ("gateway", "", False),
        ("gateway", "verifies_people = false", False),
        ("gateway", "verifies_people = true", True),
        ("internal", "", True),
        ("staff", "", True),
    ],
)
def test_who_may_call_people_verified(tmp_path: Path, role: str, more: str, may: bool) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(GOOD.replace("gateway", role) + more)
    [entry] = read_callers(file).caller
    assert system(entry).may_verify is may


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "file: must have at least one [[caller]] or [[issuer]]"),
        ("caller = 3", "caller: Input should be a valid list"),
        ("caller = []", "file: must have at least one [[caller]] or [[issuer]]"),
        (ISSUER.replace("keys.json", "http://login.example/keys"), "issuer 1: jwks: must be a file or an https URL"),
        (ISSUER.replace("audience", "aud"), "issuer 1: audience: Field required"),
        (ISSUER + ISSUER.replace("people", "others"), "issuer 2: issuer: is that of another issuer"),
        (ISSUER + ISSUER.replace("https:", "urn:"), "issuer 2: name: is that of another caller or issuer"),
        (GOOD + ISSUER.replace("people", "mobile"), "issuer 1: name: is that of another caller or issuer"),
        ("[[caller]", "cannot be read: "),
        (GOOD + GOOD.replace("gateway", "king"), "caller 2: role: Input should be 'gateway', 'internal' or 'staff'"),
        (
            GOOD.replace("mobile", "app-3171010101900001"),
            "caller 1: name: must not contain a NIK",
        ),
        (GOOD.replace("mobile", "Mobile App"), "caller 1: name: String should match pattern"),
        (
            GOOD.replace("token_sha256", "token"),
            "caller 1: token_sha256: Field required; caller 1: token: Extra inputs",
        ),
        (GOOD.replace(HASH, HASH[:-1]), "caller 1: token_sha256: String should match pattern"),
        (GOOD + "verifies_people = 1", "caller 1: verifies_people: Input should be a valid boolean"),
        (GOOD + 'offices = "kanim-bogor"', "caller 1: offices: Input should be a valid list"),
        (GOOD + "offices = [3]", "caller 1: offices: 1: Input should be a valid string"),
        (GOOD + 'staff = "siti rina"', "caller 1: staff: String should match pattern"),
        (GOOD + 'staff = "3171010101900001"', "caller 1: staff: must not contain a NIK"),
        (GOOD + "requests_per_second = 0", "caller 1: requests_per_second: Input should be greater than 0"),
        (GOOD + "requests_per_second = nan", "caller 1: requests_per_second: Input should be a finite number"),
        (GOOD + "requests_per_second = true", "caller 1: requests_per_second: Input should be a valid number"),
        (GOOD + "not_after = 2027-06-30T00:00:00", "caller 1: not_after: Input should have timezone info"),
        (GOOD + "not_after = 2027-06-30", "caller 1: not_after: Input should be a valid datetime"),
        (GOOD + 'vouches_for = "everybody"', "caller 1: vouches_for: Input should be 'accounts' or 'subject'"),
        (GOOD.replace("gateway", "staff") + 'vouches_for = "accounts"', "caller 1: vouches_for is for callers with"),
        (GOOD + GOOD, "caller 2: token_sha256: is the same as that of caller 1"),
        (GOOD + GOOD.replace("mobile", "web"), "caller 2: token_sha256: is the same as that of caller 1"),
        (
            GOOD + GOOD.replace(HASH, HASH[::-1]) + 'vouches_for = "accounts"',
            "caller 2: vouches_for: differs from that of caller 1, which has the same name",
        ),
    ],
)
def test_each_mistake_is_named_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(text)
    with pytest.raises(CallersFileError) as caught:
        Callers(file)
    assert f"{file}: {says}" in str(caught.value) or f"; {says}" in str(caught.value)
    assert HASH[:-1] not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "callers.toml"
    if content:
        file.write_bytes(content)
    with pytest.raises(CallersFileError, match=f"{file}: cannot be read: "):
        Callers(file)


@pytest.mark.parametrize("token", ["", "\n", "password", "password\n", "secret", "123456", "antrian", "changeme"])
def test_an_empty_or_well_known_token_is_refused(tmp_path: Path, token: str) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(GOOD.replace(HASH, hashlib.sha256(token.encode()).hexdigest()))
    with pytest.raises(CallersFileError, match="caller 1: token_sha256: is the hash of an empty or well-known token"):
        read_callers(file)


METHOD = "/antrian.v1.BookingService/GetQuota"


def entry(token: str, more: str = "") -> str:
    return GOOD.replace(HASH, hashlib.sha256(token.encode()).hexdigest()) + more


def identified(callers: Callers, token: str) -> Caller | str:
    try:
        return callers.identify([("authorization", f"Bearer {token}")])
    except AntrianError as refusal:
        return refusal.reason


def test_a_caller_may_have_several_tokens(tmp_path: Path) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(entry("first token") + entry("second token", "not_after = 2027-06-30T00:00:00Z"))
    callers = Callers(file)
    assert identified(callers, "first token") == identified(callers, "second token")


@pytest.mark.parametrize("token", ["", " ", "third token", HASH])
def test_no_other_token_is_accepted(tmp_path: Path, token: str) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(entry("first token"))
    assert identified(Callers(file), token) == "UNAUTHENTICATED"


def test_a_token_ends_at_its_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(entry("first token", "not_after = 2027-06-30T00:00:00Z"))
    callers, ends = Callers(file), 1_814_313_600.0
    monkeypatch.setattr(time, "time", lambda: ends - 0.001)
    assert isinstance(identified(callers, "first token"), Caller)
    monkeypatch.setattr(time, "time", lambda: ends)
    assert identified(callers, "first token") == "TOKEN_EXPIRED"


async def test_a_changed_file_is_read_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.auth._POLL", 0.01)
    file = tmp_path / "callers.toml"
    file.write_text(entry("first token"))
    callers = Callers(file)
    following = asyncio.create_task(callers.keep_fresh())
    file.write_text(entry("second token"))
    await until(lambda: isinstance(identified(callers, "second token"), Caller))
    assert identified(callers, "first token") == "UNAUTHENTICATED"
    other = tmp_path / "other"
    other.write_text(entry("third token"))
    other.replace(file)
    await until(lambda: isinstance(identified(callers, "third token"), Caller))
    assert identified(callers, "second token") == "UNAUTHENTICATED"
    following.cancel()


@pytest.mark.parametrize("content", ["", "[[caller]", entry("first token") * 2, None])
def test_an_invalid_new_file_keeps_the_callers(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(entry("first token"))
    callers = Callers(file)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with caplog.at_level(logging.ERROR):
        callers.reload()
    assert isinstance(identified(callers, "first token"), Caller)
    assert "the callers stay as they were" in caplog.text


def test_nobody_may_call_an_rpc_without_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.auth.ACCESS", {name: roles for name, roles in ACCESS.items() if name != METHOD})
    with pytest.raises(AntrianError, match="PERMISSION_DENIED"):
        check_access(LOCAL, METHOD)
