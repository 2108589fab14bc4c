"""What a fault is, and the list of all faults."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.load import Load
from tests.faults.site import Site

Inject = Callable[[Site, Load], Awaitable[float]]
"""Breaks something, waits until it really is broken, and repairs it. Returns the moment (time.monotonic()) from which the
time to recover counts: that of the repair, or of the kill."""


@dataclass(frozen=True)
class Fault:
    """A way to break a running Antrian. The docstring of inject says what is expected.

    injections: how often `make faults` injects it. quick: how often `make test` does; 0 for most. within: seconds in which
    every request must have its outcome. loses_undecided: accepted tickets that were not decided may be lost (P9).
    environment: variables of the site's programs. standby: whether its ledger has a synchronous standby. replicas: how many
    replicas its Redis has. refusals: reasons by which requests may be refused meanwhile.
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
    replicas: int = 0


FAULTS: list[Fault] = []
"""All faults of the imported modules; tests/faults/every.py imports all of them."""


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
    replicas: int = 0,
) -> Callable[[Inject], Inject]:
    """Adds the decorated function to the list; see Fault."""

    def add(inject: Inject) -> Inject:
        FAULTS.append(
            Fault(
                name,
                inject,
                injections,
                quick,
                within,
                loses_undecided,
                dict(environment or {}),
                refusals,
                standby,
                replicas,
            )
        )
        return inject

    return add
