"""The stores of a new Antrian: created once, and copied for each test that starts one."""

import subprocess
from pathlib import Path

from antrian.ledger.migrate import migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces

_PROVINCES = {"ID-JK", "ID-JB", "ID-YO", "ID-BA", "ID-MU"}
OFFICES = [office for office in load_offices() if office.province_code in _PROVINCES]
"""Those that a test's Antrian has, when it does not need all 185: their lanes take long to stock."""


def found(database_url: str) -> None:
    """Creates the ledger with the offices, and nothing else."""
    migrate(database_url)
    with LedgerRecorder(database_url) as ledger:
        ledger.upsert_offices(OFFICES, load_provinces().values())


def copy_stores(there: Path, here: Path) -> None:
    """Copies a folder of stopped stores, with the owners of its files, which Postgres checks."""
    here.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", f"{there}/.", here], check=True)


def redis_admin_url(stack: Stack) -> str:
    """The address of the stack's Redis for somebody who may do everything there, such as emptying it."""
    return stack._embedded.redis_url if stack._embedded else stack.environment["ANTRIAN_REDIS_URL"]
