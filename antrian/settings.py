"""Settings from the environment. A program refuses to start if they are invalid."""

import base64
import json
import os
import re
import ssl
import stat
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from antrian.identity import Keys
from antrian.ledger.standby import has_several_hosts
from antrian.loopback import CLEARTEXT, is_loopback
from antrian.redis_primary import parse_redis_url

KEY_VARIABLES = ("ANTRIAN_HASH_KEY", "ANTRIAN_PUBLIC_KEY", "ANTRIAN_PRIVATE_KEYS")
"""The variables of the keys."""

_SECRETS = Path("/run/secrets")
_PRIVATE_FILES = ("antrian_hash_key", "antrian_private_keys")


class SettingsError(ValueError):
    """The environment is invalid. The message names each variable and what is wrong with it."""


def _key(text: object) -> object:
    if isinstance(text, str):
        try:
            key = base64.b64decode(text, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError("must be 32 bytes in base64")
        return key
    return text


def _keys(text: object) -> object:
    return tuple(_key(part) for part in text.split()) if isinstance(text, str) else text


def _redis_url(url: str) -> str:
    try:
        if url:
            parse_redis_url(url)
    except ValueError:  # its message may quote a password, so it is dropped
        raise ValueError(
            "must be a URL like redis://HOST:PORT/0, rediss://HOST:PORT/0, unix:///PATH or redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/SERVICE/0"
        ) from None
    return url


def _database_url(url: str) -> str:
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:  # likewise
        given = {"port": "none"}
    if not re.fullmatch("[0-9,]*", str(given.get("port", ""))):
        raise ValueError(
            "must be a URL like postgresql://USER@HOST:PORT/DATABASE or postgresql://USER@HOST,HOST/DATABASE"
        )
    if not has_several_hosts(url):
        return url
    session = given.get("target_session_attrs", "read-write")
    if session not in {"read-write", "primary"}:
        raise ValueError(
            "target_session_attrs must be read-write or primary, because a standby may lack the latest bookings"
        )
    return make_conninfo(url, target_session_attrs=session)


Key = Annotated[bytes, BeforeValidator(_key), Field(repr=False)]
_KeyList = Annotated[tuple[bytes, ...], NoDecode, BeforeValidator(_keys), Field(repr=False)]
_RedisUrl = Annotated[str, AfterValidator(_redis_url)]
_DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
_Kind = TypeVar("_Kind", bound="WorkerSettings")


class WorkerSettings(BaseSettings):
    """The settings of a worker, which has no key and no callers file.

    Each field is read from the environment variable ANTRIAN_ + its name in upper case. If that is not set, it is read from the
    file with that name in lower case in the secrets folder.
    """

    model_config = SettingsConfigDict(env_prefix="ANTRIAN_", frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: _RedisUrl = Field(description="The lanes' Redis: redis://, rediss://, unix:// or redis+sentinel://.")
    replicas: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How many replicas of the lanes' Redis must have a request before it is accepted.",
    )
    rq_redis_url: _RedisUrl = Field(default="", description="RQ's Redis. Defaults to the lanes' Redis.")
    database_url: _DatabaseUrl = Field(
        description="The ledger's Postgres: postgresql://…, with all hosts if it has standbys."
    )
    policy_file: Path | None = Field(
        default=None,
        description="TOML file of the policy, which must equal the ledger's. Defaults to the shipped policy.toml.",
    )
    worker_processes: int = Field(
        default=2, ge=1, le=64, description="Number of worker processes that `python -m workers` keeps alive."
    )
    audit_seconds: float = Field(
        default=300, ge=0, description="Seconds between two audits of the promises by workers. 0 disables audits."
    )
    heads_file: Path | None = Field(
        default=None,
        description="File outside the database to which workers append the signed heads of the hash chain.",
    )
    signing_key_file: Path | None = Field(
        default=None, description="The Ed25519 key with which workers sign heads (PEM). Required with heads_file."
    )
    signing_public_key_file: Path | None = Field(
        default=None,
        description="Its public key (PEM), for `antrian verify` where the signing key is not. Defaults to that of the signing key.",
    )
    metrics_listen: str = Field(
        default="",
        pattern=r"^$|^[^\s/]+:[0-9]{1,5}$",
        description="Address for Prometheus, host:port, different for each program. Disabled by default.",
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.",
    )

    @model_validator(mode="after")
    def _check_heads(self) -> "WorkerSettings":
        if (self.heads_file is None) == bool(self.signing_key_file or self.signing_public_key_file):
            raise ValueError("set both heads_file and signing_key_file (or signing_public_key_file), or neither")
        return self


class Settings(WorkerSettings):
    """The settings of a server, and of commands that read personal data: those of a worker and more."""

    hash_key: Key = Field(
        default=b"",
        description="Key of applicant keys and booking ids: 32 bytes, base64. Servers, `antrian rebuild` and `antrian verify` need it. Never change it.",
    )
    public_key: Key = Field(
        default=b"",
        description="The offices' public key, which encrypts personal data: X25519, 32 bytes, base64. Servers need it.",
    )
    private_keys: _KeyList = Field(
        default=(),
        description="The offices' private keys, which decrypt personal data: X25519, 32 bytes each, base64, separated by blanks or line ends. Servers for offices' staff, `antrian verify` and `antrian keys` need them. Never lose them.",
    )
    listen: str = Field(
        default="127.0.0.1:7700", pattern=r"^[^\s/]+:[0-9]{1,5}$", description="Address of the gRPC server, host:port."
    )
    callers_file: Path | None = Field(default=None, description="TOML file of the callers, see docs/callers.md.")
    tls_cert_file: Path | None = Field(
        default=None, description="The server's TLS certificate (PEM). Without it, the server does not use TLS."
    )
    tls_key_file: Path | None = Field(default=None, description="The private key of the certificate (PEM).")
    tls_client_ca_file: Path | None = Field(
        default=None,
        description="CA certificates (PEM). With it, clients need a certificate of one of these CAs, besides their token.",
    )
    behind_tls_proxy: bool = Field(
        default=False,
        description="Whether something else protects what is sent in cleartext, so that no TLS is needed off loopback.",
    )
    embedded: bool = Field(
        default=False,
        description="Whether the stores are embedded ones on this machine, so that no callers file is needed.",
    )
    ready_file: Path | None = Field(default=None, description="File that the server writes as soon as it can serve.")
    reflection: bool = Field(default=False, description="Whether to serve gRPC reflection, for development.")
    batch_window_ms: float = Field(
        default=2,
        ge=0,
        le=100,
        description="Minimum milliseconds between two batches of joins, and of reads. Calls that arrive in between share a batch.",
    )
    most_calls: int = Field(
        default=25_000,
        ge=10,
        description="Maximum calls and streams in flight per server. At most four fifths of them may wait for outcomes.",
    )

    @model_validator(mode="after")
    def _refuse_cleartext(self) -> "Settings":
        if not (self.tls_cert_file or self.behind_tls_proxy or is_loopback(self.listen)):
            raise ValueError(
                f"listen is not a loopback address, so tls_cert_file and tls_key_file are required; {CLEARTEXT}"
            )
        return self

    @model_validator(mode="after")
    def _check_certificate(self) -> "Settings":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("set both tls_cert_file and tls_key_file, or neither")
        if self.tls_cert_file and self.tls_key_file:
            for name, file in (("tls_cert_file", self.tls_cert_file), ("tls_key_file", self.tls_key_file)):
                if not (file.is_file() and os.access(file, os.R_OK)):
                    raise ValueError(f"{name}: {file} is not a readable file")
            try:
                # The password callback keeps OpenSSL from asking for a passphrase on the terminal.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert_file, self.tls_key_file, str)
            except OSError as error:
                raise ValueError(
                    f"tls_cert_file and tls_key_file are not a matching pair of PEM files: {error}"
                ) from None
        if self.tls_client_ca_file:
            if not self.tls_cert_file:
                raise ValueError("tls_client_ca_file requires tls_cert_file and tls_key_file")
            try:
                read_certificates(self.tls_client_ca_file)
            except SettingsError as error:
                raise ValueError(f"tls_client_ca_file: {error}") from None
        return self

    def check_callers_file(self) -> None:
        """Raises SettingsError unless there is a callers file, or the stores are embedded and only this machine can call."""
        if not self.embedded and self.callers_file is None:
            raise SettingsError("ANTRIAN_CALLERS_FILE: it is required unless the stores are embedded")
        if self.embedded and self.callers_file is None and not is_loopback(self.listen):
            raise SettingsError("ANTRIAN_LISTEN: without ANTRIAN_CALLERS_FILE, it must be a loopback address")

    def make_keys(self, *needed: Literal["public_key", "private_keys"]) -> Keys:
        """Returns the keys. Raises SettingsError if hash_key or a needed one is not set, or they cannot be used together."""
        if missing := [name for name in ("hash_key", *needed) if not getattr(self, name)]:
            raise SettingsError("; ".join(f"ANTRIAN_{name.upper()}: this program needs it" for name in missing))
        try:
            return Keys(self.hash_key, self.public_key, self.private_keys)
        except ValueError as error:
            raise SettingsError(f"ANTRIAN_HASH_KEY, ANTRIAN_PUBLIC_KEY, ANTRIAN_PRIVATE_KEYS: {error}") from None

    @property
    def batch_window(self) -> timedelta:
        """The minimum time between two batches of joins, and of reads."""
        return timedelta(milliseconds=self.batch_window_ms)


def given_database_url() -> str | None:
    """Returns the database_url as load_settings finds it, for programs that need no other setting, or None if not given.

    Raises:
        SettingsError: it is not the URL of a database, or its file cannot be read.
    """
    url = os.environ.get("ANTRIAN_DATABASE_URL") or _read_secrets_file("antrian_database_url")
    if url:
        try:
            return _database_url(url)
        except ValueError as error:
            raise SettingsError(f"ANTRIAN_DATABASE_URL: {error}") from None
    return url


def _read_secrets_file(name: str) -> str | None:
    try:
        return Path(os.environ.get("ANTRIAN_SECRETS_DIR") or _SECRETS, name).read_text().strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secrets file {name} cannot be read: {type(error).__name__}") from None


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Returns the settings of that environment alone, without secrets files. Raises SettingsError."""
    prefix = "ANTRIAN_"
    values = {
        n.removeprefix(prefix).lower(): value for n, value in environment.items() if n.startswith(prefix) and value
    }
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_problems(error)) from None


class _Secrets(BaseModel):
    hash_key: Key
    public_key: Key
    private_keys: _KeyList


def read_keys(file: Path) -> dict[str, str]:
    """Returns the keys of a secrets.json as variables ANTRIAN_*. Raises SettingsError."""
    try:
        check_private(file)
        content = file.read_text()
        _Secrets.model_validate_json(content)
    except (OSError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        what = error.strerror if isinstance(error, OSError) else "it does not have the keys as they were written"
        raise SettingsError(
            f"{file} cannot be read: {what}. Without its keys the bookings cannot be used: put the file back, see "
            '"A key does not fit" in docs/runbook.md'
        ) from None
    return {
        f"ANTRIAN_{name.upper()}": value for name, value in json.loads(content).items() if name in _Secrets.model_fields
    }


def check_private(file: Path) -> None:
    """Raises SettingsError if all users of this machine may read the file, and OSError if there is none."""
    if file.stat().st_mode & stat.S_IROTH:
        raise SettingsError(f"{file} has keys that every user of this machine can read: chmod o-r {file}")


def read_certificates(file: Path) -> bytes:
    """Returns the content of a file of CA certificates (PEM). Raises SettingsError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        return file.read_bytes()
    except OSError as error:
        why = "it has no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{file} cannot be read: {why}") from None


def given_keys() -> dict[str, str]:
    """Returns the variables of the keys if the environment has all of them: they override a secrets.json."""
    keys = {name: os.environ.get(name, "") for name in KEY_VARIABLES}
    return keys if all(keys.values()) else {}


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'ANTRIAN_' + str(e['loc'][0]).upper() if e['loc'] else 'ANTRIAN_*'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()
    )


def secrets_folder() -> Path | None:
    """Returns the secrets folder: ANTRIAN_SECRETS_DIR, else /run/secrets if it exists."""
    if named := os.environ.get("ANTRIAN_SECRETS_DIR"):
        return Path(named)
    return _SECRETS if os.access(_SECRETS, os.R_OK | os.X_OK) else None


def load_settings() -> Settings:
    """Returns the settings of this environment and its secrets folder: ANTRIAN_SECRETS_DIR, else /run/secrets if it exists.

    Raises:
        SettingsError: they are invalid, or a secrets file cannot be read.
    """
    return _load(Settings)


def load_worker_settings() -> WorkerSettings:
    """Returns those of a worker in the same way. Raises SettingsError."""
    return _load(WorkerSettings)


def _load(kind: type[_Kind]) -> _Kind:
    named = os.environ.get("ANTRIAN_SECRETS_DIR")
    if named and not Path(named).is_dir():
        raise SettingsError(f"ANTRIAN_SECRETS_DIR: {named} is not a folder")
    folder = secrets_folder()
    for file in [folder / name for name in _PRIVATE_FILES] if folder else []:
        if file.exists():
            check_private(file)
    try:
        settings = kind(_secrets_dir=folder)
    except (OSError, UnicodeDecodeError, SourceError) as error:
        what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(f"a secrets file cannot be read: {what}") from None
    except ValidationError as error:
        raise SettingsError(_problems(error)) from None
    return settings if settings.rq_redis_url else settings.model_copy(update={"rq_redis_url": settings.redis_url})
