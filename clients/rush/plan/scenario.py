"""Scenarios: how many come, who, when and where to; TOML files, those of scenarios/ by their names."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.rush.plan.pace import second_of

SHIPPED = Path(__file__).with_name("scenarios")

Share = Annotated[float, Field(ge=0, le=1)]
_HOUR = 3600.0


class ScenarioError(ValueError):
    """The scenario is not there or is wrong; the message names each key and what is wrong with it."""


class _Part(BaseModel):
    """A part of a scenario: no unknown keys, nothing changes it."""

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
    """After so long time passes twice as fast as in life, then ever faster: see pace.py."""
    compression: Annotated[float, Field(ge=1)]
    """So many times faster at the most: with 1,500 an hour takes 2.4 s."""
    hours: Annotated[float, Field(gt=0)]
    """From the opening to the end; 50 is the whole weekend."""
    waiting: Share
    """Those who sit and wait for 14:00:00."""
    reaction_s: Annotated[float, Field(gt=0)]
    """How late these submit, on average (exponential)."""
    early: Share
    """Those of the waiting who submit before it, are refused, and submit again."""
    early_s: Annotated[float, Field(gt=0, le=60)] = 8
    """So long before it they begin; nobody does anything earlier."""
    tail_minutes: Annotated[float, Field(gt=0)]
    """Half of the tail comes within so many minutes, nine tenths within nine times as many (Lomax, shape 1)."""
    waves: tuple[Wave, ...] = ()
    """The weekend's."""


class Demand(_Part):
    """What is wanted."""

    by_population: bool
    """Whether a province's people count; else only the offices' quotas and popularity."""
    popularity: dict[str, float]
    """By an office's city: how many times more people than elsewhere. "*" is for all other cities; 0 is nobody."""
    days: tuple[Annotated[float, Field(ge=0)], ...]
    """Weights of the first, second … service day."""
    morning: Share
    """Those who want the morning."""
    parties: tuple[Annotated[float, Field(ge=0)], ...]
    """Weights of parties of one, two … people."""


class Habits(_Part):
    """What citizens do besides submitting once; shares of the citizens' requests."""

    gateway: Share
    """Come through a gateway, in batches; the others call by themselves."""
    impatient: Share
    """Submit again, up to three times, with the same request_id."""
    second_phone: Share
    """Are a second request for the same people, from another phone."""
    neighbour: Share
    """Are tried at an office of the neighbouring province, by somebody who then books at home."""
    wrong: Share
    """Have wrong input."""
    slow: Share
    """Come from slow phones: the first answer never arrives, so they submit again; they read their stream slowly."""
    polling: Share
    """Read the remaining places every few seconds before they submit, and again when they got none."""
    watching: Share
    """Watch the booking (a stream) until it is decided."""
    staring: Share
    """Of those who do not watch: wait for the outcome at once. The others look later."""
    look_later_s: Annotated[float, Field(gt=0)]
    """How much later these look, at the most."""
    patience_s: Annotated[float, Field(gt=0)] = 120
    """So long people go on while the service does not answer for certain, and wait for an outcome. Then they give up."""
    cancel: Share
    """Give the places back a while after they got them."""


class Bots(_Part):
    """Brokers' accounts, which book by machine as in 2017: some 200 made 72,000 bookings, one of them 4,000."""

    share: Share
    """Of all requests."""
    per_account: Annotated[int, Field(ge=1)] = 360
    """Requests of an account, on average."""
    largest: Share = 1 / 18
    """The largest account's share of the bots' requests."""
    one_nik: Share
    """Accounts that ask for one person again and again, at many offices; the others have a new person each time."""
    seconds: Annotated[float, Field(gt=0)]
    """They keep on for so long, beginning with the opening."""


class Scenario(_Part):
    """A whole rush. The same scenario, number of requests and seed make the same one."""

    name: str = ""
    """The file's name."""
    title_id: str
    """The report's title."""
    title_en: str
    """The same in English."""
    requests: Annotated[int, Field(ge=1)]
    """How many, of citizens and bots together."""
    arrivals: Arrivals
    demand: Demand
    habits: Habits
    bots: Bots

    def second_of(self, hour: float) -> float:
        """When what happens so many hours after the opening is played, in seconds after it."""
        return second_of(hour * _HOUR, self.arrivals.real_seconds, self.arrivals.compression)

    @property
    def span(self) -> float:
        """Seconds from the opening until the last one comes."""
        return self.second_of(self.arrivals.hours)


def shipped() -> list[str]:
    """The names of the shipped scenarios."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def load_scenario(name: str, *, requests: int | None = None, compression: float | None = None) -> Scenario:
    """The shipped scenario of that name, or that of a file; with these values instead of its own. Raises ScenarioError."""
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
        "arrivals.waiting and the waves' shares": arrivals.waiting + sum(wave.share for wave in arrivals.waves),
        "habits.second_phone, neighbour, wrong, slow and impatient": habits.second_phone
        + habits.neighbour
        + habits.wrong
        + habits.slow
        + habits.impatient,
    }
    for what, total in sums.items():
        if total > 1:
            raise ScenarioError(f"{path}: {what} make {total:.2f}, more than 1")
    for what, weights in {"days": scenario.demand.days, "parties": scenario.demand.parties}.items():
        if not 1 <= len(weights) <= 5 or sum(weights) <= 0:
            raise ScenarioError(f"{path}: demand.{what}: one to five weights, not all 0")
