"""What became of one request, as its client saw it."""

from dataclasses import dataclass, field

from antrian.booking import Slot


@dataclass(slots=True)
class Record:
    """One request's story. Times are seconds after the opening, by one clock for all.

    intended is when the press that counts was due, sent when the first one that could be accepted left, answered when
    the first acceptance or the refusal came, seen when the outcome did. accepted_at and decided_at are the service's
    own times (epoch). answers has each booking and ticket that the request was told of, which must be one.
    """

    number: int
    office_id: str
    slot: Slot
    party: int
    intended: float = 0
    sent: float = 0
    answered: float = 0
    presses: list[float] = field(default_factory=list)
    early: bool = False
    refusal: str = ""
    surprise: str = ""
    answers: set[tuple[str, int]] = field(default_factory=set)
    repeats: int = 0
    state: str = ""
    reason: str = ""
    numbers: tuple[int, ...] = ()
    seen: float = 0
    accepted_at: float = 0
    decided_at: float = 0

    @property
    def accepted(self) -> bool:
        """Whether it got a place in the line."""
        return bool(self.answers)

    @property
    def ticket(self) -> int:
        """Its arrival number in the office's line."""
        return min(ticket for _, ticket in self.answers)

    @property
    def confirmed(self) -> bool:
        """Whether the party got its places."""
        return self.state == "CONFIRMED"


@dataclass(frozen=True, slots=True)
class Share:
    """What one process of the generator brings home: the records, how late its presses were, and more.

    held: presses that had to wait because too many were in flight; cpu: the seconds that it took.
    """

    records: list[Record]
    lags: list[float]
    looks: int
    held: int
    cpu: float
