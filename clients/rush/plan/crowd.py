"""Plans the requests of a rush: who books what, where and when. The same scenario and seed give the same plan.

Each request is derived from its number alone, so that every process of the generator can plan its own share.
"""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from antrian.booking import Office, Session, Slot
from antrian.v1.booking_service_pb2 import Origin, RequestBookingRequest
from antrian.v1.messages_pb2 import SESSION_AFTERNOON, SESSION_MORNING, Applicant, Location
from clients.rush.plan.demand import weights
from clients.rush.plan.people import People
from clients.rush.plan.scenario import Scenario

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
_RATE_LIMITS = frozenset({"ACCOUNT_RATE_LIMITED", "DEVICE_RATE_LIMITED", "ADDRESS_RATE_LIMITED"})
_SINGAPORE = (1.3000, 103.8500)
_NEIGHBOURS = 3
_PARTY = 5  # people of a broker's booking
_CITIZENS_OF_A_NETWORK = 100
_MOST_PEOPLE = 8  # person numbers reserved for each request
_POLLS, _POLL_EVERY = 4, 3.0

# Companions are requests of the previous person, from another place or phone.
_COMPANIONS = frozenset({"second phone", "neighbour"})


@dataclass(frozen=True)
class PlannedRequest:
    """A planned request. at: when it is submitted, in seconds after the opening. message: what is sent.

    habit: what is special about its person. wrong: what is invalid in it. again: when a person who submitted early submits
    again. repeats: after how many seconds an impatient person repeats it. rival: whether another request is for the same
    people. looks: when the remaining places are read. look_later: how long after acceptance the outcome is read. cancels:
    how long after the outcome the booking is cancelled. buyer: the request that follows the cancellation, after buyer.at
    seconds, for the same slot.
    """

    number: int
    at: float
    slot: Slot
    message: RequestBookingRequest
    habit: str = ""
    wrong: str = ""
    again: float = 0
    repeats: tuple[float, ...] = ()
    rival: bool = False
    gateway: bool = False
    watching: bool = False
    looks: tuple[float, ...] = ()
    look_later: float = 0
    cancels: float | None = None
    buyer: "PlannedRequest | None" = None

    @property
    def bot(self) -> bool:
        """Whether a bot or a broker submits it."""
        return self.habit in {"bot", "broker"}

    @property
    def expected(self) -> frozenset[str]:
        """The reasons with which it may be refused. An invalid request must be refused with one of them."""
        if self.wrong:
            return frozenset({_WRONGS[self.wrong]})
        if self.bot:
            return frozenset({"ALREADY_BOOKED", "ACCOUNT_LIMIT", "PEOPLE_LIMIT", *_RATE_LIMITS})
        return frozenset({"ALREADY_BOOKED"} if self.rival else ())


@dataclass(frozen=True)
class Town:
    """Where the rush happens: the offices, the window's dates, and a later service day.

    nik_codes: the first two digits of NIKs, by province. spots: for each office, points that are in its province and in no
    other.
    """

    offices: Sequence[Office]
    dates: Sequence[date]
    later: date
    nik_codes: Mapping[str, str]
    spots: Mapping[str, Sequence[tuple[float, float]]]


class Crowd:
    """Plans the requests of a scenario in a town."""

    def __init__(self, scenario: Scenario, town: Town, seed: int) -> None:
        self.scenario, self.town, self.seed = scenario, town, seed
        self._people = People(seed)
        self._weights = list(accumulate(weights(scenario, town.offices)))
        self._neighbours = _neighbours(town.offices)
        self.bots = round(scenario.requests * scenario.bots.share)
        self.brokers = round(scenario.requests * scenario.brokers.share) if scenario.brokers else 0
        self._citizens = scenario.requests - self.bots - self.brokers
        self._accounts = _accounts(scenario, self.bots)

    def requests(self, share: int = 0, of: int = 1) -> Iterator[PlannedRequest]:
        """Yields the requests of one of `of` shares, by number."""
        for number in range(share, self.scenario.requests, of):
            if number < self._citizens:
                yield self._citizen(number)
            else:
                yield self._bot(number) if number < self._citizens + self.bots else self._broker(number)

    def _citizen(self, number: int) -> PlannedRequest:
        habit = self._habit(number)
        if habit in _COMPANIONS:
            return self._companion(number, habit)
        planned = self._plain(number)
        rng = self._random(number, "habit")
        rival = number + 1 < self._citizens and self._habit(number + 1) == "second phone"
        planned = replace(planned, habit=habit, rival=rival)
        if habit == "wrong":
            return self._go_wrong(replace(planned, at=abs(planned.at)), rng)
        if habit == "impatient":
            planned = replace(planned, repeats=tuple(sorted(rng.uniform(0.05, 5) for _ in range(rng.randint(1, 3)))))
        elif habit == "slow":
            planned = replace(planned, at=abs(planned.at), gateway=False)
        return planned

    def _habit(self, number: int) -> str:
        habit = self._drawn_habit(number)
        alone = number == 0 or self._drawn_habit(number - 1) in {*_COMPANIONS, "wrong"}
        return "" if habit in _COMPANIONS and alone else habit

    def _drawn_habit(self, number: int) -> str:
        draw, habits = self._random(number, "kind").random(), self.scenario.habits
        for habit, share in (
            ("wrong", habits.wrong),
            ("second phone", habits.second_phone),
            ("neighbour", habits.neighbour),
            ("slow", habits.slow),
            ("impatient", habits.impatient),
        ):
            if draw < share:
                return habit
            draw -= share
        return ""

    def _companion(self, number: int, habit: str) -> PlannedRequest:
        rng, base = self._random(number, "habit"), self._plain(number - 1)
        planned = replace(base, number=number, habit=habit, looks=(), cancels=None)
        planned.message.request_id = _uuid(rng)
        planned.message.origin.device_key += f"-{habit.replace(' ', '-')}"
        if habit == "second phone":
            return replace(planned, at=max(base.at, 0) + rng.uniform(0.2, 4), rival=True)
        planned.message.office_id = rng.choice(self._neighbours[planned.message.office_id])
        return replace(
            planned, at=max(base.at - rng.uniform(1, 6), -self.scenario.arrivals.early_s), wrong="another province"
        )

    def _plain(self, number: int) -> PlannedRequest:
        rng, habits = self._random(number, "plain"), self.scenario.habits
        at, size = self._moment(rng), 1 + _pick(rng, self.scenario.demand.parties)
        office = self._office(rng)
        code = self.town.nik_codes[office.province_code]
        people = [self._people.person(number * _MOST_PEOPLE + n, code) for n in range(size)]
        slot, message = self._message(rng, f"warga-{self.seed}-{number}", office)
        message.origin.CopyFrom(self._home(number))
        message.applicants.extend(people)
        watching = rng.random() < habits.watching
        staring = watching or rng.random() < habits.staring
        polls = _POLLS if rng.random() < habits.polling else 0
        return PlannedRequest(
            number,
            at,
            slot,
            message,
            again=min(rng.expovariate(1 / 0.3), 2.0),
            watching=watching,
            gateway=rng.random() < habits.gateway,
            looks=tuple(
                sorted(
                    max(at - (n + rng.random()) * _POLL_EVERY, -self.scenario.arrivals.early_s) for n in range(polls)
                )
            ),
            look_later=0 if staring else rng.uniform(0, habits.look_later_s),
            cancels=rng.uniform(1, 10) if rng.random() < habits.cancel else None,
        )

    def _bot(self, number: int) -> PlannedRequest:
        nth = number - self._citizens
        account = self._accounts[nth]
        rng, bots = self._random(number, "bot"), self.scenario.bots
        office = self._office(rng)
        one_nik = self._random(account, "account").random() < bots.one_nik
        person = (self.scenario.requests + account if one_nik else number) * _MOST_PEOPLE
        slot, message = self._message(rng, f"calo-{self.seed}-{account}", office)
        message.applicants.append(self._people.person(person, self.town.nik_codes[office.province_code]))
        message.origin.device_key = f"bot-{self.seed}-{account}"
        if one_nik:  # the same NIK at every office
            message.applicants[0].CopyFrom(self._people.person(person, min(self.town.nik_codes.values())))
        return PlannedRequest(number, rng.uniform(0, bots.seconds), slot, message, habit="bot", gateway=True)

    def _broker(self, number: int) -> PlannedRequest:
        brokers = self.scenario.brokers
        assert brokers
        rng = self._random(number, "broker")
        offices = [office for office in self.town.offices if office.city in brokers.cities]
        office = rng.choices(offices, [office.daily_quota for office in offices])[0]
        slot, message = self._message(rng, f"calo-{self.seed}-{number}", office)
        message.applicants.extend(self._party(number, office))
        network = rng.randrange(brokers.networks)
        message.origin.device_key = f"calo-{self.seed}-{number // brokers.per_device}"
        message.origin.address = f"198.18.{network}.{rng.randint(1, 254)}"
        planned = PlannedRequest(number, rng.uniform(0, brokers.seconds), slot, message, habit="broker", gateway=True)
        if rng.random() >= brokers.hand_over:
            return planned
        buyer, later = RequestBookingRequest(), self.scenario.requests + number
        buyer.CopyFrom(message)
        buyer.request_id, buyer.account = _uuid(rng), f"pembeli-{self.seed}-{number}"
        buyer.ClearField("applicants")
        buyer.applicants.extend(self._party(later, office))
        buyer.origin.CopyFrom(self._home(later))
        wait = rng.expovariate(1 / brokers.buyer_s)
        return replace(
            planned,
            cancels=rng.expovariate(1 / brokers.hold_s),
            buyer=PlannedRequest(later, wait, slot, buyer, habit="buyer", gateway=True),
        )

    def _party(self, number: int, office: Office) -> list[Applicant]:
        code = self.town.nik_codes[office.province_code]
        return [self._people.person(number * _MOST_PEOPLE + n, code) for n in range(_PARTY)]

    def _home(self, number: int) -> Origin:
        """Returns a phone of its own, behind one of the addresses that mobile networks share (RFC 6598)."""
        network = number % max(1, self.scenario.requests // _CITIZENS_OF_A_NETWORK)
        high, low = divmod(network, 256)
        return Origin(device_key=f"hp-{self.seed}-{number}", address=f"100.{64 + high % 64}.{low}.{1 + number % 254}")

    def _message(self, rng: Random, account: str, office: Office) -> tuple[Slot, RequestBookingRequest]:
        demand = self.scenario.demand
        dates = self.town.dates[: len(demand.days)]
        day = dates[_pick(rng, demand.days[: len(dates)])]
        slot = Slot(day, Session.MORNING if rng.random() < demand.morning else Session.AFTERNOON)
        latitude, longitude = rng.choice(self.town.spots[office.office_id])
        return slot, RequestBookingRequest(
            request_id=_uuid(rng),
            account=account,
            office_id=office.office_id,
            service_date=day.isoformat(),
            session=SESSION_MORNING if slot.session is Session.MORNING else SESSION_AFTERNOON,
            location=Location(latitude=latitude, longitude=longitude, accuracy_m=rng.choice((5, 12, 30, 80))),
        )

    def _office(self, rng: Random) -> Office:
        return rng.choices(self.town.offices, cum_weights=self._weights)[0]

    def _moment(self, rng: Random) -> float:
        arrivals = self.scenario.arrivals
        if rng.random() < arrivals.waiting:
            if rng.random() < arrivals.early:
                return -rng.uniform(0.3, arrivals.early_s)
            hour = rng.expovariate(1 / arrivals.reaction_s) / 3600
        else:
            hour = self._hour_of_wave(rng)
        return self.scenario.second_of(hour % arrivals.hours)

    def _hour_of_wave(self, rng: Random) -> float:
        arrivals = self.scenario.arrivals
        draw = rng.uniform(0, 1 - arrivals.waiting)
        for wave in arrivals.waves:
            if draw < wave.share:
                return abs(rng.gauss(wave.hour, wave.hours_wide))
            draw -= wave.share
        within = arrivals.hours / (arrivals.tail_minutes / 60 + arrivals.hours)
        share = rng.random() * within
        return arrivals.tail_minutes / 60 * share / (1 - share)

    def _go_wrong(self, planned: PlannedRequest, rng: Random) -> PlannedRequest:
        wrong = rng.choice(list(_WRONGS))
        message = planned.message
        match wrong:
            case "bad NIK":
                message.applicants[0].nik = message.applicants[0].nik[:15]
            case "malformed request_id":
                message.request_id = "bukan-uuid"
            case "six people":
                one = message.applicants[0]
                del message.applicants[:]
                message.applicants.extend([one] * 6)
            case "unknown office":
                message.office_id = "kanim-atlantis"
            case "weekend":
                message.service_date = self._weekend().isoformat()
            case "later week":
                message.service_date = self.town.later.isoformat()
            case "another province":
                message.office_id = rng.choice(self._neighbours[message.office_id])
            case "coarse location":
                message.location.accuracy_m = 5000
            case _:
                message.location.latitude, message.location.longitude = _SINGAPORE
        return replace(planned, wrong=wrong, watching=False)

    def _weekend(self) -> date:
        day = self.town.dates[0]
        return day + timedelta(days=5 - day.weekday())

    def _random(self, number: int, what: str) -> Random:
        return Random(f"{self.seed}/{number}/{what}")  # noqa: S311 - a plan must be reproducible


def submissions(planned: PlannedRequest) -> Iterator[float]:
    """Yields when a request is submitted, including early and repeated submissions."""
    yield planned.at
    if planned.at < 0 and not planned.wrong:
        yield planned.again
    for delay in planned.repeats:
        yield planned.at + delay


def _neighbours(offices: Sequence[Office]) -> dict[str, list[str]]:
    """Returns the nearest offices of other provinces, for each office."""

    def nearest(office: Office) -> list[str]:
        others = [o for o in offices if o.province_code != office.province_code]
        others.sort(key=lambda o: math.dist((o.latitude, o.longitude), (office.latitude, office.longitude)))
        return [other.office_id for other in others[:_NEIGHBOURS]]

    return {office.office_id: nearest(office) for office in offices}


def _accounts(scenario: Scenario, requests: int) -> list[int]:
    """Returns the account of each bot request. The first account has the largest share, the others equal shares."""
    accounts = max(1, round(requests / scenario.bots.per_account))
    largest = requests if accounts == 1 else round(requests * scenario.bots.largest)
    return [0 if n < largest else 1 + n % (accounts - 1) for n in range(requests)]


def _pick(rng: Random, weights: Sequence[float]) -> int:
    return rng.choices(range(len(weights)), weights)[0]


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
