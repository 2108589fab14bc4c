"""The environment: what is wrong is named, and the README's table is what the code reads."""

import base64
from pathlib import Path

import pytest

from antrian.settings import Settings, SettingsError, load_settings

README = (Path(__file__).parents[2] / "README.md").read_text()
KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that has just what is needed."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ANTRIAN_{name.upper()}", raising=False)
    values = {"REDIS_URL": "redis://r", "DATABASE_URL": "postgresql://p", "HASH_KEY": KEY, "SEAL_KEY": KEY}
    for name, value in (values | {"EMBEDDED": "1"}).items():
        monkeypatch.setenv(f"ANTRIAN_{name}", value)
    return monkeypatch


def test_rq_uses_the_lanes_redis_unless_it_has_its_own(good: pytest.MonkeyPatch) -> None:
    assert load_settings().rq_redis_url == "redis://r"
    good.setenv("ANTRIAN_RQ_REDIS_URL", "redis://q")
    assert load_settings().rq_redis_url == "redis://q"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", None),
        ("DATABASE_URL", None),
        ("HASH_KEY", "short"),
        ("SEAL_KEY", base64.b64encode(bytes(31)).decode()),
        ("GATHER_MS", "-1"),
        ("WORKER_PROCESSES", "0"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(good: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        good.delenv(f"ANTRIAN_{name}")
    else:
        good.setenv(f"ANTRIAN_{name}", value)
    with pytest.raises(SettingsError, match=f"ANTRIAN_{name}: ") as caught:
        load_settings()
    assert "KEY" not in name or not value or value not in str(caught.value)


def test_callers_must_be_known_unless_all_is_on_this_machine(good: pytest.MonkeyPatch) -> None:
    good.setenv("ANTRIAN_LISTEN", "0.0.0.0:7700")
    with pytest.raises(SettingsError, match="loopback"):
        load_settings()
    good.delenv("ANTRIAN_EMBEDDED")
    with pytest.raises(SettingsError, match="callers_file"):
        load_settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_readme_lists_it(name: str) -> None:
    description = Settings.model_fields[name].description
    assert any(f"`ANTRIAN_{name.upper()}`" in line and str(description) in line for line in README.splitlines())
