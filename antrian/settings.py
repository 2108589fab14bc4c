"""The environment as one frozen Settings; a program refuses to start when it is wrong."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """The environment is wrong; the message names each variable and what is the matter with it."""


def _key(text: object) -> object:
    if isinstance(text, str):
        key = base64.b64decode(text, validate=True)
        if len(key) != 32:
            raise ValueError("must be 32 bytes in base64")
        return key
    return text


Key = Annotated[bytes, BeforeValidator(_key), Field(repr=False)]


class Settings(BaseSettings):
    """What differs from place to place. Each field is the environment variable ANTRIAN_ + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="ANTRIAN_", frozen=True, extra="ignore")

    redis_url: str = Field(description="The lanes' Redis: redis://, rediss:// or unix://.")
    rq_redis_url: str = Field(default="", description="RQ's Redis; the lanes' where it is not given.")
    database_url: str = Field(description="The ledger's Postgres: postgresql://…")
    hash_key: Key = Field(description="32 bytes, base64: makes applicant keys and booking ids. Never change it.")
    seal_key: Key = Field(description="32 bytes, base64: encrypts personal data. Never lose it.")
    listen: str = Field(default="127.0.0.1:7700", description="host:port of the gRPC server.")
    callers_file: Path | None = Field(default=None, description="Who may call: a TOML file, see docs/callers.md.")
    policy_file: Path | None = Field(default=None, description="The rules; the shipped policy.toml where not given.")
    embedded: bool = Field(default=False, description="The stores are this machine's own: no callers file is needed.")
    ready_file: Path | None = Field(default=None, description="Written by the server once it serves.")
    reflection: bool = Field(default=False, description="Serve gRPC reflection; for development.")
    gather_ms: float = Field(default=2, ge=0, le=100, description="How long joins and reads are gathered for one call.")
    worker_processes: int = Field(default=2, ge=1, le=64, description="Processes that `python -m workers` keeps alive.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="What is logged.")

    @model_validator(mode="after")
    def _callers_are_known(self) -> "Settings":
        if not self.embedded and self.callers_file is None:
            raise ValueError("callers_file is needed unless the stores are embedded")
        if self.embedded and self.callers_file is None and not self.listen.startswith(("127.", "localhost:", "[::1]:")):
            raise ValueError("without a callers_file the server listens on loopback only")
        return self

    @property
    def gather_for(self) -> timedelta:
        """How long joins and reads are gathered for one call."""
        return timedelta(milliseconds=self.gather_ms)


def load_settings() -> Settings:
    """The settings of this environment; raises SettingsError."""
    try:
        settings = Settings()  # every field comes from the environment
    except ValidationError as error:
        problems = "; ".join(
            f"{'ANTRIAN_' + str(e['loc'][0]).upper() if e['loc'] else 'ANTRIAN_*'}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(problems) from None
    return settings if settings.rq_redis_url else settings.model_copy(update={"rq_redis_url": settings.redis_url})
