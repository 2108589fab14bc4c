"""The callers file: what is wrong in it is named with its place, and no hash of a token is."""

from pathlib import Path

import pytest

from server.auth import Callers, CallersFileError, Role

HASH = "a785ee1a192f38bc946cde9630950471c917b75d590fb5c3f0610b10a63d41e7"
GOOD = f'[[caller]]\nname = "mobile"\nrole = "gateway"\ntoken_sha256 = "{HASH}"\n'


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(GOOD + 'requests_per_second = 5\noffices = ["kanim-bogor"]\nstaff = "rina"\n')
    [caller] = (Callers(file)._by_token or {}).values()
    assert (caller.name, caller.per_second) == ("mobile", 5)
    assert caller.roles == {Role.GATEWAY}
    assert not caller.may_verify
    assert caller.staff == "rina"
    assert caller.offices == {"kanim-bogor"}


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
    [caller] = (Callers(file)._by_token or {}).values()
    assert caller.may_verify is may


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "caller: Field required"),
        ("caller = 3", "caller: Input should be a valid list"),
        ("caller = []", "caller: List should have at least 1 item"),
        ("[[caller]", "cannot be read: "),
        (GOOD + GOOD.replace("gateway", "king"), "caller 2: role: Input should be 'gateway', 'internal' or 'staff'"),
        (
            GOOD.replace("mobile", "app-3171010101900001"),
            "caller 1: name: Value error, must not contain a NIK",
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
        (GOOD + 'staff = "3171010101900001"', "caller 1: staff: Value error, must not contain a NIK"),
        (GOOD + "requests_per_second = 0", "caller 1: requests_per_second: Input should be greater than 0"),
        (GOOD + "requests_per_second = nan", "caller 1: requests_per_second: Input should be a finite number"),
        (GOOD + "requests_per_second = true", "caller 1: requests_per_second: Input should be a valid number"),
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
