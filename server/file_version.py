"""Notices that a file has changed."""

from pathlib import Path


def file_version(file: Path | None) -> tuple[int, ...]:
    """Returns numbers that change whenever the file is written or replaced. Empty if there is no such file."""
    try:
        stat = file.stat() if file else None
    except OSError:
        stat = None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size) if stat else ()
