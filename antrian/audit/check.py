"""The result of one check of `antrian verify`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: the promise, what was checked, and the numbers of examined facts and of violations.

    first: the first violation, for checks that name it.
    """

    promise: str
    what: str
    examined: int
    violations: int
    first: str = ""
