"""Scenarios: how many people come, when, where to, and how they behave. TOML files; scenarios/ has the shipped ones."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.rush.plan.pace import second_of

SHIPPED = Path(__file__).with_name("scenarios")

Share = Annotated[float, Field(ge=0, le=1)]
_HOUR = 3600.0


class ScenarioError(ValueError):
    """The scenario is missing or invalid. The message names each invalid key and the problem."""


class _Part(BaseModel):
    """A part of a scenario: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Wave(_Part):
    """People who come around an hour after the opening."""

    hour: Annotated[float, Field(ge=0)]
    """Hours after the opening: 19 is Saturday 9:00."""
    hours_wide: Annotated[float, Field(gt=0)]
    """The standard deviation around it."""
    share: Share
    """Of the citizens' requests."""
    name_id: str
    """For the report: "Sabtu pagi"."""
    name_en: str
    """The same in English."""


class Arrivals(_Part):
    """When citizens submit. Those who neither wait for the opening nor come in a wave come in the tail."""

    real_seconds: Annotated[float, Field(gt=0)]
    """The seconds after which time passes twice as fast as in reality, then faster and faster: see pace.py."""
    compression: Annotated[float, Field(ge=1)]
    """The highest factor by which time is compressed: with 1,500 an hour takes 2.4 s."""
    hours: Annotated[float, Field(gt=0)]
    """From the opening to the end; 50 is the whole weekend."""
    waiting: Share
    """The share who wait for the opening."""
    reaction_s: Annotated[float, Field(gt=0)]
    """How long after the opening these submit, on average (exponential)."""
    early: Share
    """The share of these who submit before the opening, are refused, and submit again."""
    early_s: Annotated[float, Field(gt=0, le=60)] = 8
    """How long before the opening the first of them submit."""
    tail_minutes: Annotated[float, Field(gt=0)]
    """Half of the tail comes within this time, nine tenths within nine times as long (Lomax, shape 1)."""
    waves: tuple[Wave, ...] = ()
    """The waves of the weekend."""


class Demand(_Part):
    """Which offices, days and parties people choose."""

    by_population: bool
    """Whether demand follows the population of provinces. Otherwise only quotas and popularity count."""
    popularity: dict[str, float]
    """The weight of offices by city. "*" is for all other cities."""
    days: tuple[Annotated[float, Field(ge=0)], ...]
    """Weights of the first, second … service day."""
    morning: Share
    """The share who choose the morning."""
    parties: tuple[Annotated[float, Field(ge=0)], ...]
    """Weights of parties of one, two … people."""


class Habits(_Part):
    """What citizens do besides submitting once, as shares of the citizens' requests."""

    gateway: Share
    """Use a gateway, which sends batches. The others call the service directly."""
    impatient: Share
    """Submit again, up to three times, with the same request_id."""
    second_phone: Share
    """Are a second request for the same people, from another phone."""
    neighbour: Share
    """Try an office of a neighbouring province before they book at home."""
    wrong: Share
    """Have wrong input."""
    slow: Share
    """Come from slow phones: the first response never arrives, so they submit again. They read their stream slowly."""
    polling: Share
    """Read the remaining places every few seconds before they submit, and again if they get none."""
    watching: Share
    """Watch the booking (a stream) until it is decided."""
    staring: Share
    """Of those who do not watch: wait for the outcome at once. The others read it later."""
    look_later_s: Annotated[float, Field(gt=0)]
    """How much later these read it, at most."""
    patience_s: Annotated[float, Field(gt=0)] = 120
    """After how long people give up when the service does not respond, or has no outcome."""
    cancel: Share
    """Cancel the booking a while after it is confirmed."""


class Bots(_Part):
    """Brokers' bots, as in 2017: some 200 accounts made 72,000 bookings, one of them 4,000."""

    share: Share
    """Of all requests."""
    per_account: Annotated[int, Field(ge=1)] = 360
    """The average number of requests per account."""
    largest: Share = 1 / 18
    """The largest account's share of the bots' requests."""
    one_nik: Share
    """The share of accounts that request for one person again and again, at many offices. The others use new people."""
    seconds: Annotated[float, Field(gt=0)]
    """How long after the opening they submit."""


class Brokers(_Part):
    """Brokers as seen in 2026: one account for every five strangers, and bookings that are handed over to buyers.

    To hand over, a broker cancels a booking, and the buyer books the same slot from an own account and phone.
    """

    share: Share
    """Of all requests. Each is a booking for five people, from an account of its own."""
    cities: Annotated[tuple[str, ...], Field(min_length=1)]
    """The cities whose offices they want."""
    seconds: Annotated[float, Field(gt=0)]
    """How long after the opening they submit."""
    per_device: Annotated[int, Field(ge=1)]
    """How many of their accounts share a device."""
    networks: Annotated[int, Field(ge=1, le=256)]
    """Over how many address prefixes."""
    hand_over: Share
    """The share of their bookings that they hand over."""
    hold_s: Annotated[float, Field(gt=0)]
    """How long after the outcome they begin to do so, on average."""
    buyer_s: Annotated[float, Field(gt=0)]
    """How long after the cancellation the buyer submits, on average."""


class Scenario(_Part):
    """A complete rush. The same scenario, number of requests and seed give the same rush."""

    name: str = ""
    """The file's name."""
    title_id: str
    """The report's title."""
    title_en: str
    """The same in English."""
    requests: Annotated[int, Field(ge=1)]
    """The number of requests of citizens, bots and brokers together."""
    arrivals: Arrivals
    demand: Demand
    habits: Habits
    bots: Bots
    brokers: Brokers | None = None

    def second_of(self, hour: float) -> float:
        """Converts hours after the opening to seconds of the play."""
        return second_of(hour * _HOUR, self.arrivals.real_seconds, self.arrivals.compression)

    @property
    def span(self) -> float:
        """Seconds of the play from the opening until the last request."""
        return self.second_of(self.arrivals.hours)


def shipped() -> list[str]:
    """Returns the names of the shipped scenarios."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def load_scenario(name: str, *, requests: int | None = None, compression: float | None = None) -> Scenario:
    """Loads a shipped scenario by name, or a file. The options replace its values. Raises ScenarioError."""
    path = SHIPPED / f"{name}.toml" if name in shipped() else Path(name)
    try:
        values = tomllib.loads(path.read_text("utf-8")) | {"name": path.stem}
        if requests is not None:
            values["requests"] = requests
        if compression is not None:
            values["arrivals"]["compression"] = compression
        scenario = Scenario.model_validate(values)
    except FileNotFoundError:
        raise ScenarioError(f"no scenario {name}: there are {', '.join(shipped())}, or give a file's path") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise ScenarioError(f"{path}: {problems}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from None
    _check(path, scenario)
    return scenario


def _check(path: Path, scenario: Scenario) -> None:
    arrivals, habits = scenario.arrivals, scenario.habits
    sums = {
        "bots.share and brokers.share": scenario.bots.share + (scenario.brokers.share if scenario.brokers else 0),
        "arrivals.waiting and the waves' shares": arrivals.waiting + sum(wave.share for wave in arrivals.waves),
        "habits.second_phone, neighbour, wrong, slow and impatient": habits.second_phone
        + habits.neighbour
        + habits.wrong
        + habits.slow
        + habits.impatient,
    }
    for what, total in sums.items():
        if total > 1:
            raise ScenarioError(f"{path}: {what} add up to {total:.2f}, more than 1")
    for what, weights in {"days": scenario.demand.days, "parties": scenario.demand.parties}.items():
        if not 1 <= len(weights) <= 5 or sum(weights) <= 0:
            raise ScenarioError(f"{path}: demand.{what}: one to five weights, not all 0")
