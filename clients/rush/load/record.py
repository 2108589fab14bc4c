"""What became of one request, as its client saw it."""

from dataclasses import dataclass, field

from antrian.audit.history import Response
from antrian.booking import Slot


@dataclass(slots=True, frozen=True)
class Observation:
    """One call about a request ("request", "read", "cancel") and its answer, or the reason why there was none.

    Times are seconds after the opening; uncertain: nobody knows what became of the call.
    """

    call: str
    started: float
    ended: float
    response: Response | None
    reason: str = ""
    uncertain: bool = False


@dataclass(slots=True)
class Record:
    """One request's story. Times are seconds after the opening, by one clock for all.

    due is when the submission that counts was due, answered when its first acceptance or its refusal came, seen when the
    outcome did; submissions are all moments at which it was due, early ones and repeats included. accepted_at, decided_at
    and ended_at are the service's own times (epoch). passing counts answers that say "not now" or nothing for certain.
    """

    number: int
    office_id: str
    slot: Slot
    account: str
    request_id: str
    people: tuple[str, ...]
    habit: str = ""
    due: float = 0
    answered: float = 0
    submissions: list[float] = field(default_factory=list)
    early: bool = False
    refusal: str = ""
    surprise: str = ""
    passing: int = 0
    observations: list[Observation] = field(default_factory=list)
    booking_id: str = ""
    ticket: int = 0
    ahead: int = 0
    state: str = ""
    reason: str = ""
    numbers: tuple[int, ...] = ()
    seen: float = 0
    watched: bool = False
    accepted_at: float = 0
    decided_at: float = 0
    ended_at: float = 0

    @property
    def party(self) -> int:
        """How many people it is for."""
        return len(self.people)

    @property
    def bot(self) -> bool:
        """Whether a broker's machine asked."""
        return self.habit == "bot"

    @property
    def accepted(self) -> bool:
        """Whether it was accepted and has a ticket."""
        return bool(self.booking_id)

    @property
    def decided(self) -> bool:
        """Whether its outcome is known."""
        return self.state not in {"", "PENDING"}

    @property
    def got_places(self) -> bool:
        """Whether the party got its places; it may have given them back."""
        return self.state in {"CONFIRMED", "CANCELLED"}


@dataclass(frozen=True, slots=True)
class Share:
    """What one process of the generator brings home: the records, how late its submissions were, and more.

    lags: seconds by which each submission left late; looks: for each read of the remaining places, when it was due and how many
    seconds it took; cpu: seconds of it that the play took; cut: why it was stopped before its end, empty where it was not.
    """

    records: list[Record]
    lags: list[float]
    looks: list[tuple[float, float]]
    cpu: float
    cut: str = ""
