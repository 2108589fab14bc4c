"""Empties the folder of a stopped Antrian."""

import shutil
from pathlib import Path

from antrian.local.heads import HEADS

_DATA = ("redis", "redis-*", "sentinel-*", "postgres", "postgres.new", "log", "run-secrets")


def is_antrians(folder: Path) -> bool:
    """Returns whether an Antrian has run on the folder."""
    return (folder / "children.lock").is_file()


def empty(folder: Path, *files: str) -> list[str]:
    """Removes the embedded stores, the logs, run.json, the signed heads and these files. Returns the names of those that existed.

    The caller must hold the folder (antrian.local.child.hold). Raises OSError.
    """
    removed = []
    for data in (found for pattern in _DATA for found in sorted(folder.glob(pattern))):
        shutil.rmtree(data)
        removed.append(f"{data.name}/")
    for name in ("run.json", HEADS, *files):
        if (folder / name).exists():
            (folder / name).unlink()
            removed.append(name)
    return removed
