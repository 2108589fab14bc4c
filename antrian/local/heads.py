"""The heads file and the signing key of embedded stores. Both lie in Antrian's folder, outside its Postgres."""

from pathlib import Path

from antrian.audit.heads import new_signing_key

HEADS = "heads.jsonl"
"""The name of the heads file."""

_KEY = "signing.pem"


def ensure_signing_key(folder: Path) -> None:
    """Creates the folder's signing key, readable only by this user, if it has none."""
    if not (folder / _KEY).exists():
        new = folder / f"{_KEY}.new"
        new.unlink(missing_ok=True)
        new.touch(0o600)
        new.write_bytes(new_signing_key())
        new.replace(folder / _KEY)


def heads_environment(folder: Path) -> dict[str, str]:
    """Returns the settings of the folder's heads."""
    folder = folder.absolute()
    return {"ANTRIAN_HEADS_FILE": str(folder / HEADS), "ANTRIAN_SIGNING_KEY_FILE": str(folder / _KEY)}
