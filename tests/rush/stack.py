"""An Antrian whose programs and ledger are sabotaged."""

import sys
from dataclasses import replace
from pathlib import Path

import psycopg

from antrian.ledger.recorder import LedgerRecorder
from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from tests.rush.sabotage import sabotage

REQUESTS = 300
"""Enough to sell out a few slots."""
_CITIES = {"Bogor", "Depok", "Jakarta Selatan"}
_QUOTA_SHARE = 3
_ROOT = Path(__file__).parents[2]


class SabotagedStack(Stack):
    """A Stack with a mode of sabotage, one worker, and a few offices with a third of their places.

    The offices are those that the crowd of short.toml wants, and neighbours in another province. mode: see sabotage().
    """

    def __init__(self, folder: Path, mode: str) -> None:
        super().__init__(folder, workers=1)
        self._mode = mode

    def _prepare_stores(self, redis_url: str, database_url: str) -> None:
        offices = [
            replace(office, daily_quota=office.daily_quota // _QUOTA_SHARE)
            for office in load_offices()
            if office.city in _CITIES
        ]
        with LedgerRecorder(database_url) as ledger:
            ledger.upsert_offices(offices, load_provinces().values())
        super()._prepare_stores(redis_url, database_url)
        self.environment["PYTHONPATH"] = str(_ROOT)  # for tests.rush, wherever we were called
        if statement := sabotage(self._mode).ledger:
            with psycopg.connect(database_url, autocommit=True) as ledger:
                ledger.execute(statement.encode())

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-P", "-m", "tests.rush.program", self._mode, name]
