"""People who ask for a booking: every request one that is taken while there is room in the line."""

from collections.abc import Iterator
from itertools import count
from uuid import UUID

from antrian.offices.catalog import load_offices
from antrian.v1 import booking_service_pb2 as wire
from clients.rush.load.survey import make_town
from clients.rush.plan.crowd import Crowd
from clients.rush.plan.people import People
from clients.rush.plan.scenario import load_scenario
from tests.support.window import window_to_come

_TEMPLATES = 2000


class Townsfolk:
    """Requests of people who have not asked before, for all offices alike."""

    def __init__(self) -> None:
        scenario = load_scenario("opening", requests=_TEMPLATES)
        plain = dict.fromkeys(("wrong", "second_phone", "neighbour"), 0)
        scenario = scenario.model_copy(
            update={
                "demand": scenario.demand.model_copy(update={"by_population": False, "popularity": {"*": 1}}),
                "habits": scenario.habits.model_copy(update=plain),
                "bots": scenario.bots.model_copy(update={"share": 0}),
            }
        )
        town = make_town(load_offices(), window_to_come())
        self._asks, self._people = [ask.message for ask in Crowd(scenario, town, 1).requests()], People(1)

    def __iter__(self) -> Iterator[wire.RequestBookingRequest]:
        """Endless; each is good until the next."""
        for number in count(1):
            message = self._asks[number % _TEMPLATES]
            message.request_id, message.account = str(UUID(int=number, version=4)), f"warga-{number}"
            for nth, applicant in enumerate(message.applicants):
                person = self._people.person(5 * number + nth, applicant.nik[:2])
                applicant.CopyFrom(person)
            yield message
