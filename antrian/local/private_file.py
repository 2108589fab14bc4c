"""Files that only this user may read."""

import os
from pathlib import Path

from antrian.local.embedded import sync_folder


def write_private(file: Path, text: str) -> None:
    """Writes a file atomically and durably, readable only by this user."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
    sync_folder(file.parent)
