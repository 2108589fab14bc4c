"""Records the progress of each request, as its client observed it."""

from dataclasses import dataclass, field

from antrian.audit.history import Response
from antrian.booking import Slot


@dataclass(slots=True, frozen=True)
class Observation:
    """One call about a request ("request", "read", "cancel") with its response, or the reason why there was none.

    Times are seconds after the opening. uncertain: the call may have taken effect.
    """

    call: str
    started: float
    ended: float
    response: Response | None
    reason: str = ""
    uncertain: bool = False


@dataclass(slots=True)
class Record:
    """One request from its submission to its end. Times are seconds after the opening, by the generator's clock.

    due: when the submission that was accepted or refused was due. answered: when its response arrived. seen: when the
    outcome arrived. submissions: when each submission was due, including early and repeated ones. accepted_at, decided_at
    and ended_at: epoch seconds by the service's clock. passing: the number of responses after which the client retried.
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
        """The number of people in the party."""
        return len(self.people)

    @property
    def bot(self) -> bool:
        """Whether a bot or a broker submitted it."""
        return self.habit in {"bot", "broker"}

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
        """Whether the party got places. It may have cancelled since."""
        return self.state in {"CONFIRMED", "CANCELLED"}


@dataclass(frozen=True, slots=True)
class Share:
    """The result of one process of the generator.

    lags: by how many seconds each submission was sent late. looks: for each read of the remaining places, when it was due
    and how many seconds it took. cpu: the CPU seconds of the process. cut: why it was stopped early, if it was.
    """

    records: list[Record]
    lags: list[float]
    looks: list[tuple[float, float]]
    cpu: float
    cut: str = ""
