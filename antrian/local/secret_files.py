"""The secret keys of a running Antrian, in files from which its programs read them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

RUN_SECRETS = "run-secrets"
"""The name of that folder, below the folder of `antrian up`."""


@contextmanager
def secret_files(folder: Path, secrets: Mapping[str, str]) -> Iterator[Path]:
    """Yields a folder with a file for each of these variables, as load_settings reads them. Removes it afterwards.

    Programs do not get their keys in the environment, because it can be read in /proc, and their children inherit it.
    """
    shutil.rmtree(folder, ignore_errors=True)  # left behind by a killed Antrian
    folder.mkdir(mode=0o700)
    try:
        for name, value in secrets.items():
            file = os.open(folder / name.lower(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as output:
                output.write(value)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
