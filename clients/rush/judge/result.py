"""A rush in numbers: the source of the table, the report and the comparison; its JSON is the --json file."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from antrian.audit.history import Violation
from antrian.audit.verify import Check


@dataclass(frozen=True)
class Latency:
    """Milliseconds, of an HDR histogram; count says of how many waits."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    most: float


@dataclass(frozen=True)
class Tick:
    """A step of time, counted in seconds from the opening. Rates are a second; latencies are ms, by when it was due.

    offered: submissions; accepted and refused: answers; decided: by the service's clock; again: answers that said "not now"
    or nothing for certain; waiting: accepted and not decided at the end of the step.
    """

    second: float
    offered: float
    accepted: float
    refused: float
    decided: float
    again: float
    waiting: int
    accept_p50: float
    accept_p99: float
    outcome_p50: float
    outcome_p99: float


@dataclass(frozen=True)
class SoldOut:
    """A slot that sold out, and how many seconds after the opening its last place was given (None: not seen)."""

    office_id: str
    name: str
    service_date: str
    session: str
    quota: int
    seconds: float | None


@dataclass(frozen=True)
class OfficeSales:
    """An office's places, sold and in all, by slot ("2026-11-30 MORNING")."""

    office_id: str
    name: str
    slots: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Group:
    """Citizens, or bots: what they asked and what they got. places: people with a place, given back ones included."""

    name: str
    accounts: int
    requests: int
    submissions: int
    accepted: int
    got_places: int
    places: int
    refused: dict[str, int]


@dataclass(frozen=True)
class Account:
    """One of the bots' accounts with the most requests."""

    name: str
    requests: int
    accepted: int
    places: int


@dataclass(frozen=True)
class Arrivals:
    """The slot that most people got places in: its queue numbers (a party's first) by second of acceptance."""

    office_id: str
    service_date: str
    session: str
    points: list[tuple[float, int]]


@dataclass(frozen=True)
class Mark:
    """A moment worth a line in a chart: seconds after the opening, and its name."""

    second: float
    name_id: str
    name_en: str


@dataclass(frozen=True)
class Generator:
    """How well the load was played: submissions left this many ms after they were due."""

    processes: int = 0
    late_p50: float = 0
    late_p99: float = 0
    late_most: float = 0


@dataclass
class RushResult:
    """What happened. Every request is confirmed, cancelled, rejected, refused, unanswered or undecided.

    failures say why the verdict is FAIL, doubts why it is INVALID. confirmed are those that still have their places,
    cancelled those that gave them back. unanswered: never got a certain answer; undecided: accepted and without an
    outcome.
    """

    scenario: str = ""
    title_id: str = ""
    title_en: str = ""
    compression: float = 1
    real_seconds: float = 0
    requests: int = 0
    submissions: int = 0
    accepted: int = 0
    confirmed: int = 0
    cancelled: int = 0
    people_confirmed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    undecided: int = 0
    surprises: int = 0
    surprise_samples: list[str] = field(default_factory=list)
    habits: dict[str, int] = field(default_factory=dict)
    """How many did what: "submitted early", "submitted again", "second phone" and so on."""
    tick: float = 1
    """Seconds of one tick."""
    ticks: list[Tick] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    """The most in one second: offered, accepted, decided; and waiting."""
    latencies: dict[str, Latency] = field(default_factory=dict)
    """accept: due to accepted; outcome: due to decided; screen: due to the outcome on the screen of who waits for it;
    service: accepted to decided, by the service's clock; look: a read of the remaining places."""
    sold_out: list[SoldOut] = field(default_factory=list)
    offices: list[OfficeSales] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    bot_accounts: list[Account] = field(default_factory=list)
    overtakings: int = 0
    """Pairs of requests of an office where who was answered before the other was sent got the larger ticket."""
    arrivals: Arrivals | None = None
    promises: list[Check] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    stores_seen: bool = False
    """Whether the promises were counted in the stores too, or only in what the clients observed."""
    generator: Generator = field(default_factory=Generator)
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds of the run by program: "generator", "server", "workers", "redis", "postgres"."""
    stopped: bool = False
    """Whether it was stopped before its end: then requests without an outcome speak against nobody."""
    unchecked: list[str] = field(default_factory=list)
    """What could not be seen or checked, and why."""
    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    """command, seed, opens, ran, seconds, target, machine, versions."""

    @property
    def verdict(self) -> str:
        """FAIL when a promise broke or a request is not accounted for; else INVALID when the load or the checks were not as planned."""
        return "FAIL" if self.failures else "INVALID" if self.doubts else "PASS"


class ResultError(ValueError):
    """The file is not a rush's result."""


_JSON = TypeAdapter(RushResult)


def write_result(result: RushResult, file: Path) -> None:
    """Writes it as JSON, the verdict first."""
    file.write_bytes(_JSON.dump_json(result, indent=1))


def read_result(file: Path) -> RushResult:
    """The result that write_result wrote. Raises ResultError."""
    try:
        return _JSON.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ResultError(f"{file} is not a result of `antrian rush --json`: {error}") from None
