"""The settings of the gateway, from the environment. The gateway does not start with invalid settings."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from antrian.settings import SettingsError, read_certificates


class GatewaySettings(BaseSettings):
    """The settings. Each field is the environment variable ANTRIAN_GATEWAY_ + its name in capitals.

    metrics_listen and log_level are the variables of all programs: ANTRIAN_METRICS_LISTEN, ANTRIAN_LOG_LEVEL.
    """

    model_config = SettingsConfigDict(env_prefix="ANTRIAN_GATEWAY_", frozen=True, extra="ignore", env_ignore_empty=True)

    listen: str = Field(default="127.0.0.1:7780", description="host:port for HTTP.")
    target: str = Field(default="127.0.0.1:7700", description="host:port of the gRPC servers.")
    ca_file: Path | None = Field(default=None, description="Speak TLS with servers that this CA (PEM) vouches for.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins of web pages that may call, with commas between; none by default."
    )
    batch_window_ms: float = Field(
        default=5, ge=0, le=100, description="How long requests are gathered for one BatchRequestBookings."
    )
    most_requests: int = Field(
        default=10_000, ge=10, description="Requests and event streams that are served at once; more are refused."
    )
    body_seconds: float = Field(default=10, gt=0, description="How long a request's body may take.")
    proxies: int = Field(
        default=0,
        ge=0,
        le=8,
        description="How many proxies pass requests on, each of which appends to X-Forwarded-For whom it was called by.",
    )
    metrics_listen: str = Field(
        default="",
        pattern=r"^$|^[^\s/]+:[0-9]{1,5}$",
        validation_alias="ANTRIAN_METRICS_LISTEN",
        description="host:port for Prometheus.",
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        validation_alias="ANTRIAN_LOG_LEVEL",
        description="What is logged.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("ca_file")
    @classmethod
    def _is_certificate(cls, value: Path | None) -> Path | None:
        if value:
            read_certificates(value)
        return value

    @field_validator("listen", "target")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError("must be host:port")
        return value

    @property
    def batch_window(self) -> timedelta:
        """How long requests are collected for a batch."""
        return timedelta(milliseconds=self.batch_window_ms)


def load_gateway_settings() -> GatewaySettings:
    """Returns the settings of the environment. Raises SettingsError."""
    try:
        return GatewaySettings()
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(*e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        )
        raise SettingsError(problems) from None


def _variable(*place: int | str) -> str:
    name = "_".join(map(str, place)).upper()
    return name if name.startswith("ANTRIAN_") else f"ANTRIAN_GATEWAY_{name}"
