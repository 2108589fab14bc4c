"""The ledger: Postgres, the truth. Workers and operators use LedgerRecorder, servers LedgerReader and LedgerStaff."""

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """Returns the text of a statement: `sql("record")` is queries/record.sql, whose head comment explains it."""
    return (files(__package__) / "queries" / f"{name}.sql").read_text()
