"""How many people want each office."""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from antrian.booking import Office
from clients.rush.plan.scenario import Scenario

_POPULATION = Path(__file__).with_name("population.toml")


def popularity(scenario: Scenario, office: Office) -> float:
    """Returns how many times as many people want the office as one with popularity 1."""
    wanted = scenario.demand.popularity
    return wanted.get(office.city, wanted.get("*", 1.0))


def weights(scenario: Scenario, offices: Sequence[Office]) -> Iterator[float]:
    """Yields the weight of each office: its share of the province's people (or its places) times its popularity."""
    people = tomllib.loads(_POPULATION.read_text("utf-8"))
    places: defaultdict[str, int] = defaultdict(int)
    for office in offices:
        places[office.province_code] += office.daily_quota
    for office in offices:
        code = office.province_code
        inhabitants = people[code] / places[code] if scenario.demand.by_population else 1
        yield office.daily_quota * inhabitants * popularity(scenario, office)
