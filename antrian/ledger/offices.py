"""Converts rows of offices.sql, for the reader and the recorder."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from antrian.booking import Office


def office_of(row: Sequence[Any]) -> Office:
    """Returns the office of a row of offices.sql, whose columns are the fields of Office in their order."""
    values = list(row)
    values[5] = ZoneInfo(values[5])
    return Office(*values)
