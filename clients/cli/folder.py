"""The folder of an Antrian that is not running, emptied for the next one."""

import shutil
from pathlib import Path

_DATA = ("redis", "postgres", "postgres.new", "log")


def is_antrians(folder: Path) -> bool:
    """Whether an Antrian has run there."""
    return (folder / "children.lock").is_file()


def empty(folder: Path, *files: str) -> list[str]:
    """Removes the embedded stores, the logs, run.json and these files; the names of those that were there.

    Whoever calls it holds the folder (antrian.local.child.hold). Raises OSError.
    """
    removed = []
    for name in _DATA:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
            removed.append(f"{name}/")
    for name in ("run.json", *files):
        if (folder / name).exists():
            (folder / name).unlink()
            removed.append(name)
    return removed
