"""The environment: what is wrong is named, and docs/settings.md lists what the code reads."""

import base64
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from antrian.local.private_file import write_private
from antrian.loopback import is_loopback
from antrian.settings import Settings, SettingsError, given_database_url, load_settings, read_keys
from clients.cli.main import main
from clients.gateway.settings import GatewaySettings, load_gateway_settings
from clients.sdk.booking_client import BookingClient
from clients.sdk.calls import CleartextError
from clients.sdk.office_client import OfficeClient

LISTED = (Path(__file__).parents[2] / "docs/settings.md").read_text()
KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that has just what is needed."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ANTRIAN_{name.upper()}", raising=False)
    values = {"REDIS_URL": "redis://r", "DATABASE_URL": "postgresql://p", "HASH_KEY": KEY, "PUBLIC_KEY": KEY}
    for name, value in (values | {"EMBEDDED": "1"}).items():
        monkeypatch.setenv(f"ANTRIAN_{name}", value)
    return monkeypatch


def test_heads_need_a_file_and_a_key(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ANTRIAN_HEADS_FILE", str(tmp_path / "heads.jsonl"))
    with pytest.raises(SettingsError, match="set both heads_file and signing_key_file"):
        load_settings()
    good.setenv("ANTRIAN_SIGNING_PUBLIC_KEY_FILE", str(tmp_path / "signing.pub"))
    assert load_settings().signing_key_file is None


def test_rq_uses_the_lanes_redis_by_default(good: pytest.MonkeyPatch) -> None:
    assert load_settings().rq_redis_url == "redis://r"
    good.setenv("ANTRIAN_RQ_REDIS_URL", "redis://q")
    assert load_settings().rq_redis_url == "redis://q"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", None),
        ("DATABASE_URL", None),
        ("REDIS_URL", "localhost:secret"),
        ("REDIS_URL", "redis://:secret@localhost:port/0"),
        ("RQ_REDIS_URL", "redis://:secret@localhost?db=zero"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "postgresql://antrian:secret@localhost:port/antrian"),
        ("DATABASE_URL", "postgresql://antrian:secret@one,two/antrian?target_session_attrs=any"),
        ("DATABASE_URL", "postgresql://antrian:secret@one,two/antrian?target_session_attrs=standby"),
        ("LISTEN", "7700"),
        ("HASH_KEY", "short"),
        ("PUBLIC_KEY", base64.b64encode(bytes(31)).decode()),
        ("PRIVATE_KEYS", f"{KEY} {base64.b64encode(bytes(31)).decode()}"),
        ("BATCH_WINDOW_MS", "-1"),
        ("WORKER_PROCESSES", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("METRICS_LISTEN", "9100"),
        ("AUDIT_SECONDS", "-1"),
    ],
)
def test_an_invalid_setting_is_named_without_its_value(good: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        good.delenv(f"ANTRIAN_{name}")
    else:
        good.setenv(f"ANTRIAN_{name}", value)
    with pytest.raises(SettingsError, match=f"ANTRIAN_{name}: ") as caught:
        load_settings()
    assert "KEY" not in name or not value or value not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"hash_key": "c2Vjcm',
        "[]",
        "{}",
        f'{{"hash_key": "{KEY}", "public_key": "{KEY}", "private_keys": "c2VjcmV0"}}',
        "\x00",
    ],
)
def test_a_damaged_key_file_is_named_without_any_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "secrets.json"
    write_private(file, content)
    with pytest.raises(SettingsError, match=f"{file} cannot be read: .* docs/runbook.md") as caught:
        read_keys(file)
    assert not any(key in str(caught.value) for key in (KEY, "c2Vjcm"))
    file.unlink()
    with pytest.raises(SettingsError, match=f"{file} cannot be read: No such file"):
        read_keys(file)


def test_an_invalid_database_url_is_refused_by_commands_that_need_only_it(good: pytest.MonkeyPatch) -> None:
    good.setenv("ANTRIAN_DATABASE_URL", "secret")
    with pytest.raises(SettingsError, match=r"^ANTRIAN_DATABASE_URL: must be a URL like") as caught:
        given_database_url()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "session"),
    [
        ("postgresql://antrian@one:5432,two:5433/antrian", "read-write"),
        ("postgresql:///antrian?host=/one,/two&port=5432,5433", "read-write"),
        ("postgresql://antrian@one,two/antrian?target_session_attrs=read-write", "read-write"),
        ("postgresql://antrian@one,two/antrian?target_session_attrs=primary", "primary"),
        ("postgresql://antrian@one/antrian", None),
    ],
)
def test_of_several_hosts_the_primary_is_used(good: pytest.MonkeyPatch, url: str, session: str | None) -> None:
    good.setenv("ANTRIAN_DATABASE_URL", url)
    expected = conninfo_to_dict(url) | ({"target_session_attrs": session} if session else {})
    assert conninfo_to_dict(load_settings().database_url) == expected
    assert given_database_url() == load_settings().database_url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTRIAN_GATEWAY_LISTEN", "7780"),
        ("ANTRIAN_GATEWAY_CA_FILE", __file__),
        ("ANTRIAN_METRICS_LISTEN", "9464"),
        ("ANTRIAN_LOG_LEVEL", "LOUD"),
    ],
)
def test_all_invalid_settings_of_the_gateway_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load_gateway_settings()


def test_a_callers_file_is_required_unless_embedded_on_loopback(good: pytest.MonkeyPatch) -> None:
    good.setenv("ANTRIAN_LISTEN", "0.0.0.0:7700")
    good.setenv("ANTRIAN_BEHIND_TLS_PROXY", "1")
    with pytest.raises(SettingsError, match="ANTRIAN_LISTEN: without ANTRIAN_CALLERS_FILE"):
        load_settings().check_callers_file()
    good.delenv("ANTRIAN_EMBEDDED")
    with pytest.raises(SettingsError, match="ANTRIAN_CALLERS_FILE: it is required"):
        load_settings().check_callers_file()


def test_settings_missing_in_the_environment_come_from_secret_files(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    good.delenv("ANTRIAN_HASH_KEY")
    good.delenv("ANTRIAN_DATABASE_URL")
    write_private(tmp_path / "antrian_hash_key", base64.b64encode(b"h" * 32).decode() + "\n")
    write_private(tmp_path / "antrian_private_keys", f"{KEY}\n{base64.b64encode(b'o' * 32).decode()}\n")
    (tmp_path / "antrian_database_url").write_text("postgresql://file\n")
    (tmp_path / "antrian_public_key").write_text(base64.b64encode(b"s" * 32).decode())
    settings = load_settings()
    assert (settings.hash_key, settings.database_url) == (b"h" * 32, "postgresql://file")
    assert settings.private_keys == (b"k" * 32, b"o" * 32)
    assert settings.public_key == b"k" * 32, "the environment goes before the file"


@pytest.mark.parametrize("name", ["antrian_hash_key", "antrian_private_keys"])
def test_a_key_file_that_everybody_can_read_is_refused(good: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    good.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    (tmp_path / "antrian_public_key").write_text(KEY)  # which is no secret
    write_private(tmp_path / name, KEY)
    load_settings()
    (tmp_path / name).chmod(0o604)
    with pytest.raises(
        SettingsError, match=f"{tmp_path / name} has keys that every user of this machine can read: chmod"
    ):
        load_settings()


def test_a_secrets_json_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    write_private(file, "{}")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="every user of this machine can read"):
        read_keys(file)


def test_a_program_is_told_which_keys_it_needs(good: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^ANTRIAN_PRIVATE_KEYS: this program needs it$"):
        load_settings().make_keys("private_keys")
    good.delenv("ANTRIAN_HASH_KEY")
    good.delenv("ANTRIAN_PUBLIC_KEY")
    with pytest.raises(SettingsError, match=r"ANTRIAN_HASH_KEY: .*; ANTRIAN_PUBLIC_KEY: this program needs it"):
        load_settings().make_keys("public_key")


def test_keys_that_are_zero_or_equal_are_refused(good: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="keys must differ from one another"):
        load_settings().make_keys("public_key")  # the fixture's hash key and public key
    good.setenv("ANTRIAN_HASH_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.raises(SettingsError, match="a key must not be all zero"):
        load_settings().make_keys("public_key")


def test_a_missing_secrets_folder_is_named(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=f"ANTRIAN_SECRETS_DIR: {tmp_path / 'none'} is not a folder"):
        load_settings()


def test_an_invalid_secret_file_is_named_without_its_value(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))
    good.delenv("ANTRIAN_HASH_KEY")
    write_private(tmp_path / "antrian_hash_key", "c2VjcmV0")
    with pytest.raises(SettingsError, match=r"ANTRIAN_HASH_KEY: .*32 bytes") as caught:
        load_settings()
    assert "c2VjcmV0" not in str(caught.value)
    (tmp_path / "antrian_hash_key").write_bytes(b"\xff\xfe secret")
    with pytest.raises(SettingsError, match="a secrets file cannot be read") as caught:
        load_settings()
    assert "secret\n" not in str(caught.value)


def test_a_certificate_needs_its_key_and_both_must_be_readable(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    good.setenv("ANTRIAN_TLS_CERT_FILE", str(cert))
    with pytest.raises(SettingsError, match="tls_cert_file and tls_key_file, or neither"):
        load_settings()
    good.setenv("ANTRIAN_TLS_KEY_FILE", str(key))
    cert.write_text("a certificate")
    with pytest.raises(SettingsError, match=f"tls_key_file: {key} is not a readable file"):
        load_settings()
    key.write_text("a key")
    with pytest.raises(SettingsError, match="not a matching pair of PEM files") as caught:
        load_settings()
    assert "a key" not in str(caught.value)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_settings_page_lists_each_setting(name: str) -> None:
    description = Settings.model_fields[name].description
    assert any(f"`ANTRIAN_{name.upper()}`" in line and str(description) in line for line in LISTED.splitlines())


@pytest.mark.parametrize("name", GatewaySettings.model_fields)
def test_the_settings_page_lists_each_setting_of_the_gateway(name: str) -> None:
    field = GatewaySettings.model_fields[name]
    variable = field.validation_alias or f"ANTRIAN_GATEWAY_{name.upper()}"
    words = "" if field.validation_alias else str(field.description)
    assert any(f"`{variable}`" in line and words in line for line in LISTED.splitlines())


def test_an_invalid_setting_of_the_gateway_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTRIAN_GATEWAY_TARGET", "nowhere")
    monkeypatch.setenv("ANTRIAN_GATEWAY_BATCH_WINDOW_MS", "many")
    with pytest.raises(SettingsError, match=r"ANTRIAN_GATEWAY_TARGET: .*host:port.*ANTRIAN_GATEWAY_BATCH_WINDOW_MS"):
        load_gateway_settings()


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:7700", True), ("127.8.9.1:7700", True), ("localhost:7700", True), ("[::1]:7700", True),
        ("ipv4:127.0.0.1:7700", True), ("dns:///localhost:7700", True), ("unix:/run/antrian.sock", True),
        ("unix:///run/antrian.sock", True),
        ("0.0.0.0:7700", False), ("[::]:7700", False), (":7700", False), ("10.0.0.7:7700", False),
        ("127.0.0.1.example:7700", False), ("localhost.example:7700", False), ("server:7700", False),
        ("dns:///server:7700", False), ("ipv4:127.0.0.1:7700,10.0.0.7:7700", False), ("127.0.0.1@evil:7700", False),
    ],
)  # fmt: skip
def test_only_addresses_of_this_machine_are_loopback(address: str, *, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize("listen", ["0.0.0.0:7700", "[::]:7700", "10.0.0.7:7700", "antrian.example:7700"])
def test_a_server_does_not_listen_in_cleartext_off_loopback(
    good: pytest.MonkeyPatch, tmp_path: Path, listen: str
) -> None:
    good.setenv("ANTRIAN_LISTEN", listen)
    good.setenv("ANTRIAN_CALLERS_FILE", str(tmp_path / "callers.toml"))
    with pytest.raises(SettingsError, match="tls_cert_file and tls_key_file are required; ANTRIAN_BEHIND_TLS_PROXY=1"):
        load_settings()
    good.setenv("ANTRIAN_BEHIND_TLS_PROXY", "1")
    assert load_settings().listen == listen


def test_a_gateway_neither_listens_nor_calls_in_cleartext_off_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, says in (
        ("ANTRIAN_GATEWAY_LISTEN", "0.0.0.0:7780", "listen must be a loopback address"),
        ("ANTRIAN_GATEWAY_TARGET", "server:7700", "target is on another machine, so ca_file is required"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(SettingsError, match=says):
                load_gateway_settings()
            patch.setenv("ANTRIAN_BEHIND_TLS_PROXY", "1")
            load_gateway_settings()


@pytest.mark.parametrize("origins", ["*", "https://paspor.example, *"])
def test_a_gateway_lets_not_every_web_page_call(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("ANTRIAN_GATEWAY_CORS_ORIGINS", origins)
    with pytest.raises(SettingsError, match="ANTRIAN_GATEWAY_CORS_ORIGINS: name each origin"):
        load_gateway_settings()


async def test_clients_do_not_send_a_token_in_cleartext_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["quota", "kanim-bogor", "--target", "server.invalid:7700", "--token", "secret"]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, "a token needs TLS" in result.output) == (2, True)
    for kind in (BookingClient, OfficeClient):
        with pytest.raises(CleartextError, match=r"server\.invalid:7700 is on another machine"):
            kind("server.invalid:7700", token="secret")
        await kind("server.invalid:7700").close()
        await kind("server.invalid:7700", token="secret", credentials=grpc.ssl_channel_credentials()).close()
        await kind("127.0.0.1:7700", token="secret").close()
    monkeypatch.setenv("ANTRIAN_BEHIND_TLS_PROXY", "1")
    await BookingClient("server.invalid:7700", token="secret").close()


def test_clients_cas_need_a_certificate_and_be_readable(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ANTRIAN_TLS_CLIENT_CA_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(SettingsError, match="tls_client_ca_file requires tls_cert_file"):
        load_settings()
