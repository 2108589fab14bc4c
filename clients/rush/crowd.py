"""Who asks for what, where and when: the whole rush as a plan, the same for the same seed."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from antrian.booking import Office, Session, Slot
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import SESSION_AFTERNOON, SESSION_MORNING, Location
from clients.rush.people import People

_POPULAR = {
    **dict.fromkeys(("Jakarta Selatan", "Jakarta Pusat", "Jakarta Barat", "Jakarta Timur", "Jakarta Utara"), 9.0),
    **dict.fromkeys(("Bogor", "Bekasi", "Depok", "Tangerang", "Tangerang Selatan", "Cibinong"), 7.0),
    **dict.fromkeys(("Surabaya", "Sidoarjo", "Bandung"), 6.0),
    **dict.fromkeys(("Medan", "Semarang", "Makassar", "Denpasar", "Sleman", "Batam"), 2.5),
}
_DAY_WEIGHTS = (40, 22, 15, 11, 12)
_MORNING = 0.72
_PARTY_WEIGHTS = {1: 60, 2: 24, 3: 8, 4: 5, 5: 3}
_WRONGS = {
    "bad NIK": "INVALID_FIELD",
    "malformed request_id": "INVALID_FIELD",
    "six people": "INVALID_FIELD",
    "unknown office": "OFFICE_NOT_FOUND",
    "weekend": "NOT_A_SERVICE_DAY",
    "later week": "DATE_NOT_OFFERED",
    "another province": "OFFICE_OUTSIDE_PROVINCE",
    "coarse location": "LOCATION_TOO_COARSE",
    "Singapore": "OUTSIDE_INDONESIA",
}
_SINGAPORE = (1.3000, 103.8500)


@dataclass(frozen=True)
class Scenario:
    """How many there are and how they behave; shares are of the requests, times in seconds."""

    requests: int = 20_000
    seed: int = 1
    span: float = 45
    """From the opening to the last request."""
    burst: float = 0.04
    """The share that presses at the very opening."""
    early: float = 0.03
    """Those who press before it, are told that it is closed, and press again at it."""
    decay: float = 20
    """After so long, the rest of the crowd comes at 1/e of its first pace."""
    impatient: float = 0.06
    second_phone: float = 0.02
    wrong: float = 0.015
    watching: float = 0.04
    looking: float = 0.04
    """Those who look at the places left before they press."""
    gateway: float = 0.7
    """The share that comes through a gateway, in batches: most phones do."""


@dataclass(frozen=True)
class Ask:
    """One request: when it is pressed (seconds after the opening), what is sent, and how its person behaves.

    again is when one who pressed early presses again, repeats when an impatient one presses the same once more, wrong
    what is the matter with it. rival tells that another request is for the same people.
    """

    number: int
    at: float
    slot: Slot
    message: RequestBookingRequest
    again: float = 0
    repeats: tuple[float, ...] = ()
    rival: bool = False
    wrong: str = ""
    watching: bool = False
    looks_at: float | None = None
    gateway: bool = False

    @property
    def expected(self) -> frozenset[str]:
        """The reasons with which it may be refused; one that is wrong must be."""
        if self.wrong:
            return frozenset({_WRONGS[self.wrong]})
        return frozenset({"ALREADY_BOOKED"} if self.rival else ())


class Crowd:
    """Makes the asks of a scenario for the offices and the dates of a window.

    later is a service day that the window is not for; spots has points inside the province of each office; nik_codes
    each province's two digits.
    """

    def __init__(
        self,
        scenario: Scenario,
        offices: Sequence[Office],
        dates: Sequence[date],
        later: date,
        nik_codes: Mapping[str, str],
        spots: Mapping[str, Sequence[tuple[float, float]]],
    ) -> None:
        self.scenario = scenario
        self.offices, self._dates, self._later = offices, dates, later
        self._nik_codes, self._spots = nik_codes, spots
        self._office_weights = list(accumulate(o.daily_quota * popularity(o) for o in offices))
        self._rng = Random(scenario.seed)  # noqa: S311 - a plan is to be the same again
        self._people = People(self._rng)

    def asks(self) -> list[Ask]:
        """All asks, in order of their numbers."""
        made: list[Ask] = []
        while len(made) < self.scenario.requests:
            made.extend(self._citizen(len(made)))
        return made[: self.scenario.requests]

    def _citizen(self, number: int) -> Iterator[Ask]:
        rng, scenario = self._rng, self.scenario
        office = rng.choices(self.offices, cum_weights=self._office_weights)[0]
        ask = self._plain(number, office)
        draw = rng.random()
        if draw < scenario.wrong:
            yield self._go_wrong(replace(ask, at=abs(ask.at)), office)
        elif draw < scenario.wrong + scenario.second_phone and number + 1 < scenario.requests:
            yield replace(ask, rival=True)
            again = RequestBookingRequest()
            again.CopyFrom(ask.message)
            again.request_id = self._uuid()
            yield replace(ask, number=number + 1, at=max(ask.at, 0) + rng.uniform(0.2, 4), message=again, rival=True)
        elif draw < scenario.wrong + scenario.second_phone + scenario.impatient and ask.at >= 0:
            yield replace(ask, repeats=tuple(sorted(rng.uniform(0.05, 5) for _ in range(rng.randint(1, 3)))))
        else:
            yield ask

    def _plain(self, number: int, office: Office) -> Ask:
        rng, scenario = self._rng, self.scenario
        day = rng.choices(self._dates, _DAY_WEIGHTS[: len(self._dates)])[0]
        slot = Slot(day, Session.MORNING if rng.random() < _MORNING else Session.AFTERNOON)
        size = rng.choices(list(_PARTY_WEIGHTS), list(_PARTY_WEIGHTS.values()))[0]
        latitude, longitude = rng.choice(self._spots[office.office_id])
        message = RequestBookingRequest(
            request_id=self._uuid(),
            account=f"warga-{scenario.seed}-{number}",
            office_id=office.office_id,
            service_date=slot.service_date.isoformat(),
            session=SESSION_MORNING if slot.session is Session.MORNING else SESSION_AFTERNOON,
            applicants=self._people.party(size, self._nik_codes[office.province_code]),
            location=Location(latitude=latitude, longitude=longitude, accuracy_m=rng.choice((5, 12, 30, 80))),
        )
        at = self._moment()
        return Ask(
            number,
            at,
            slot,
            message,
            again=min(rng.expovariate(1 / 0.3), 2.0),
            watching=rng.random() < scenario.watching,
            looks_at=at - rng.uniform(0.5, 5) if rng.random() < scenario.looking else None,
            gateway=rng.random() < scenario.gateway,
        )

    def _moment(self) -> float:
        rng, scenario = self._rng, self.scenario
        draw = rng.random()
        if draw < scenario.early:
            return -rng.uniform(0.3, 8)
        if draw < scenario.early + scenario.burst:
            return rng.expovariate(1 / 0.8) % scenario.span
        return rng.expovariate(1 / scenario.decay) % scenario.span

    def _go_wrong(self, ask: Ask, office: Office) -> Ask:
        wrong = self._rng.choice(list(_WRONGS))
        message = ask.message
        match wrong:
            case "bad NIK":
                message.applicants[0].nik = message.applicants[0].nik[:15]
            case "malformed request_id":
                message.request_id = "bukan-uuid"
            case "six people":
                del message.applicants[:]
                message.applicants.extend(self._people.party(6, self._nik_codes[office.province_code]))
            case "unknown office":
                message.office_id = "kanim-atlantis"
            case "weekend":
                message.service_date = self._weekend().isoformat()
            case "later week":
                message.service_date = self._later.isoformat()
            case "another province":
                elsewhere = self._rng.choice([o for o in self.offices if o.province_code != office.province_code])
                place = self._spots[elsewhere.office_id][0]
                message.location.latitude, message.location.longitude = place
            case "coarse location":
                message.location.accuracy_m = 5000
            case _:
                message.location.latitude, message.location.longitude = _SINGAPORE
        return replace(ask, wrong=wrong, watching=False)

    def _weekend(self) -> date:
        day = self._dates[0]
        return day + timedelta(days=5 - day.weekday())

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def popularity(office: Office) -> float:
    """How many times more people than its quota would say want that office."""
    return _POPULAR.get(office.city, 1.0)


def presses(ask: Ask) -> Iterator[float]:
    """When the ask is pressed, the early press and the repeats included."""
    yield ask.at
    if ask.at < 0:
        yield ask.again
    for delay in ask.repeats:
        yield ask.at + delay
