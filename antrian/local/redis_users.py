"""The users of an embedded Redis and its sentinels: passwords, and the ACL files with their hashes (antrian/data/users.acl)."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

ADMIN = "admin"
"""Who may do everything. Only what starts the stores is this user; it is in no file of antrian/data."""

USERS = ("server", "worker", "auditor", "operator", "rq", "replica", "sentinel")
"""The users of users.acl."""

_ALL = "on #SHA256_OF_ADMIN allkeys allchannels +@all"


def kept_passwords(folder: Path) -> dict[str, str]:
    """Returns the password of each user on this folder, which is made with new ones at the first start."""
    file = folder / "passwords.json"
    if not file.exists():
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            json.dump({user: secrets.token_hex(32) for user in (ADMIN, *USERS)}, output, indent=2)
        new.replace(file)
    passwords: dict[str, str] = json.loads(file.read_text())
    return passwords


def write_acl(file: Path, passwords: Mapping[str, str], template: str = "users.acl") -> None:
    """Writes a template of antrian/data as Redis reads it, with ADMIN."""
    lines = files("antrian.data").joinpath(template).read_text().splitlines()
    users = [line for line in lines if not line.startswith("#")] + [f"user {ADMIN} {_ALL}"]
    hashed = {user.upper(): hashlib.sha256(password.encode()).hexdigest() for user, password in passwords.items()}
    text = re.sub(r"SHA256_OF_(\w+)", lambda found: hashed[found[1]], "\n".join(users) + "\n")
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
    new.replace(file)
