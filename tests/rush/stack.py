"""An Antrian whose programs and ledger are sabotaged."""

import sys
from pathlib import Path

import psycopg

from antrian.stack import Stack
from tests.rush.sabotage import MODES

_ROOT = Path(__file__).parents[2]


class SabotagedStack(Stack):
    """A Stack that keeps no more than the mode (of MODES) leaves it, with one worker."""

    def __init__(self, folder: Path, mode: str) -> None:
        super().__init__(folder, workers=1)
        self._mode = mode

    def _prepare_stores(self, redis_url: str, database_url: str) -> None:
        super()._prepare_stores(redis_url, database_url)
        self.environment["PYTHONPATH"] = str(_ROOT)  # for tests.rush, wherever we were called
        if statement := MODES[self._mode].ledger:
            with psycopg.connect(database_url, autocommit=True) as ledger:
                ledger.execute(statement.encode())

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-P", "-m", "tests.rush.program", self._mode, name]
