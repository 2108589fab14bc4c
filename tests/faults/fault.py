"""What a fault is, and the list of all of them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.load import Load
from tests.faults.site import Site

Inject = Callable[[Site, Load], Awaitable[float]]
"""Breaks something, waits until it really is broken, and mends it; answers the moment (time.monotonic()) from which the
time to recover counts: when it was mended, or for a kill, when that was."""


@dataclass(frozen=True)
class Fault:
    """A way to break a running Antrian; what is expected of it is in inject's docstring.

    injections: how often in the full run; quick: how often in the quick half, 0 when it is not in it. within: seconds in
    which everything that was asked has to have its outcome. loses_undecided: it may take accepted tickets that were not
    decided (P9). environment: of the site's programs. standby: whether its ledger has a synchronous standby. refusals: reasons by which the load may be refused meanwhile.
    """

    name: str
    inject: Inject
    injections: int
    quick: int = 0
    within: float = 10.0
    loses_undecided: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    refusals: frozenset[str] = frozenset()
    standby: bool = False


FAULTS: list[Fault] = []
"""All faults of the modules that are imported; tests/faults/every.py imports all."""


def fault(
    name: str,
    *,
    injections: int,
    quick: int = 0,
    within: float = 10.0,
    loses_undecided: bool = False,
    environment: Mapping[str, str] | None = None,
    refusals: frozenset[str] = frozenset(),
    standby: bool = False,
) -> Callable[[Inject], Inject]:
    """Adds the function below it to the list; see Fault."""

    def add(inject: Inject) -> Inject:
        FAULTS.append(
            Fault(name, inject, injections, quick, within, loses_undecided, dict(environment or {}), refusals, standby)
        )
        return inject

    return add
