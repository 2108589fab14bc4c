"""What an attacker would have a worker call: leaves a file behind."""

import os
from pathlib import Path

VARIABLE = "TEST_MARK"
"""The environment variable that names the file."""


def mark(*_: object) -> None:
    """Creates the file; accepts the arguments of any callback."""
    Path(os.environ[VARIABLE]).touch()


class Mark:
    """An object whose unpickling calls mark."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return mark, ()
