"""The result of a rush, from which the table, the report and the comparison are made. Its JSON is the --json file."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from antrian.audit.check import Check
from antrian.audit.history import Violation


@dataclass(frozen=True)
class Latency:
    """Percentiles of an HDR histogram in milliseconds. count: the number of values."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    most: float


@dataclass(frozen=True)
class Tick:
    """One step of time. second: when it begins, in seconds after the opening.

    offered, accepted, refused, decided, again: rates per second of submissions, responses, outcomes by the service's clock,
    and responses after which clients retried. waiting: requests that are accepted but undecided at the end of the step. The
    latencies are milliseconds of the requests that were due in the step.
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
    """A slot that sold out. seconds: when its last place was sold, after the opening, or None if unknown."""

    office_id: str
    name: str
    service_date: str
    session: str
    quota: int
    seconds: float | None


@dataclass(frozen=True)
class OfficeSales:
    """The sold places and the quota of an office, by slot ("2026-11-30 MORNING")."""

    office_id: str
    name: str
    slots: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Group:
    """The numbers of citizens, or of bots. places: people with a place, including cancelled ones."""

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
class Brokers:
    """What brokers got at the offices that they wanted.

    places: people of their accounts with a place, including those whose places they gave back. of: the places that
    anybody took there. hand_overs: bookings that they cancelled for a buyer. reached: those whose buyer got places.
    """

    accounts: int
    requests: int
    places: int
    of: int
    hand_overs: int
    reached: int


@dataclass(frozen=True)
class Arrivals:
    """The slot with most bookings. points: when each party was accepted, in seconds, and its first queue number."""

    office_id: str
    service_date: str
    session: str
    points: list[tuple[float, int]]


@dataclass(frozen=True)
class Mark:
    """A named moment in a chart, in seconds after the opening."""

    second: float
    name_id: str
    name_en: str


@dataclass(frozen=True)
class Generator:
    """How well the load was played: by how many milliseconds submissions were late."""

    processes: int = 0
    late_p50: float = 0
    late_p99: float = 0
    late_most: float = 0


@dataclass
class RushResult:
    """The result. Every request is confirmed, cancelled, rejected, refused, unanswered or undecided.

    failures: why the verdict is FAIL. doubts: why it is INVALID. confirmed: requests that still have their places. cancelled:
    those that were confirmed and then cancelled. unanswered: those without a certain response. undecided: accepted requests
    without an outcome.
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
    """The number of requests by habit: "submitted early", "submitted again", "second phone" and so on."""
    tick: float = 1
    """The length of a tick in seconds."""
    ticks: list[Tick] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    """The highest rates per second of offered, accepted and decided, and the highest number waiting."""
    latencies: dict[str, Latency] = field(default_factory=dict)
    """accept: due to accepted. outcome: due to decided. screen: due to outcome displayed, for people who wait for it.
    service: accepted to decided, by the service's clock. look: a read of the remaining places."""
    sold_out: list[SoldOut] = field(default_factory=list)
    offices: list[OfficeSales] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    bot_accounts: list[Account] = field(default_factory=list)
    brokers: Brokers | None = None
    limits: bool = True
    """Whether the policy limits accounts, devices and address prefixes; of other than embedded Antrians it is not looked at."""
    overtakings: int = 0
    """Requests that got a smaller ticket than one that was answered before they were sent."""
    arrivals: Arrivals | None = None
    promises: list[Check] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    stores_seen: bool = False
    """Whether the stores were checked, too, or only what the clients observed."""
    generator: Generator = field(default_factory=Generator)
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds of the run by program: "generator", "server", "workers", "redis", "postgres"."""
    stopped: bool = False
    """Whether the rush was stopped early. Requests without an outcome are then no failures."""
    unchecked: list[str] = field(default_factory=list)
    """What could not be checked, and why."""
    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    """command, seed, opens, ran, seconds, target, machine, versions."""

    @property
    def verdict(self) -> str:
        """FAIL on a violation or an unaccounted request, INVALID if load or checks were not as planned, otherwise PASS."""
        return "FAIL" if self.failures else "INVALID" if self.doubts else "PASS"


class ResultError(ValueError):
    """The file is not the result of a rush."""


_JSON = TypeAdapter(RushResult)


def write_result(result: RushResult, file: Path) -> None:
    """Writes a result as JSON."""
    file.write_bytes(_JSON.dump_json(result, indent=1))


def read_result(file: Path) -> RushResult:
    """Reads a result that write_result wrote. Raises ResultError."""
    try:
        return _JSON.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ResultError(f"{file} is not a result of `antrian rush --json`: {error}") from None
