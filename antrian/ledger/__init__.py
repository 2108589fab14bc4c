"""THE BOOK (Postgres): the truth. Recorder is the workers' and operators' side (sync), Reader the server's (async)."""

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """Returns the text of a statement: `sql("record")` is queries/record.sql, whose head comment explains it."""
    return (files(__package__) / "queries" / f"{name}.sql").read_text()
