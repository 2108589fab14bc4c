"""The settings of the gateway, from the environment. The gateway does not start with invalid settings."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from antrian.loopback import CLEARTEXT, is_loopback
from antrian.settings import SettingsError, read_certificates
from clients.gateway.rooms import Network


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
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Balancers whose X-Forwarded-For names the client: networks, with commas between."
    )
    body_seconds: float = Field(default=10, gt=0, description="How long a request's body may take.")
    behind_tls_proxy: bool = Field(
        default=False,
        validation_alias="ANTRIAN_BEHIND_TLS_PROXY",
        description="Whether something else protects what is sent in cleartext.",
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

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
        if isinstance(parts, tuple) and "*" in parts:
            raise ValueError("name each origin; * would let any web page call with a person's token")
        return parts

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

    @model_validator(mode="after")
    def _refuse_cleartext(self) -> "GatewaySettings":
        if not self.behind_tls_proxy:
            if not is_loopback(self.listen):
                raise ValueError(f"listen must be a loopback address, because the gateway has no TLS; {CLEARTEXT}")
            if not self.ca_file and not is_loopback(self.target):
                raise ValueError(f"target is on another machine, so ca_file is required; {CLEARTEXT}")
        return self

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
    name = "_".join(map(str, place)).upper() or "*"
    return name if name.startswith("ANTRIAN_") else f"ANTRIAN_GATEWAY_{name}"
