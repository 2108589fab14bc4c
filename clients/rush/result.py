"""A rush in numbers: everything that the table, the report and the exit code are made of; JSON-able."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

from antrian.booking import Office, Province
from antrian.history import Breach
from antrian.verify import Check
from clients.rush.fairness import SlotOfOffice
from clients.rush.record import Record, Share

_PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_SAMPLES = 10
LATE = 0.25
"""A generator whose presses leave this many seconds late (p99) has fallen behind: its latencies are too good."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds. percentiles has pairs of a percentile and its value."""

    count: int
    p50: float
    p99: float
    most: float
    percentiles: list[tuple[float, float]]


@dataclass(frozen=True)
class Second:
    """One second of the rush, counted from the opening; latency p99 of the requests due in it, in milliseconds."""

    second: int
    offered: int
    accepted: int
    decided: int
    accept_p50: float
    accept_p99: float


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
class ProvinceSales:
    """A province's places in the week, and how many of them were sold."""

    code: str
    name: str
    places: int
    sold: int


@dataclass(frozen=True)
class OfficeSales:
    """An office's places, sold and in all, by slot ("2026-11-30 MORNING")."""

    office_id: str
    name: str
    slots: dict[str, tuple[int, int]]


@dataclass
class RushResult:
    """What happened. Every request is confirmed, rejected, refused or undecided."""

    requests: int = 0
    presses: int = 0
    accepted: int = 0
    confirmed: int = 0
    people_confirmed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    undecided: int = 0
    early: int = 0
    repeated: int = 0
    mismatches: int = 0
    looks: int = 0
    surprises: int = 0
    surprise_samples: list[str] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    peak_offered: int = 0
    peak_accepted: int = 0
    peak_decided: int = 0
    accept: Latency | None = None
    outcome: Latency | None = None
    outcome_in_service: Latency | None = None
    sold_out: list[SoldOut] = field(default_factory=list)
    provinces: list[ProvinceSales] = field(default_factory=list)
    offices: list[OfficeSales] = field(default_factory=list)
    promises: list[Check] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    generator_late_ms: float = 0
    generator_behind: bool = False
    generator_held: int = 0
    generator_cpu_seconds: float = 0
    failures: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.failures


def summarise(
    shares: Sequence[Share],
    quotas: Mapping[SlotOfOffice, tuple[int, int]],
    offices: Sequence[Office],
    provinces: Mapping[str, Province],
    opens_epoch: float,
) -> RushResult:
    """The result of what the generator brought home.

    quotas: places and places left in the end; opens_epoch: when booking opened, by the service's clock.
    """
    records = [record for share in shares for record in share.records]
    accepted = [record for record in records if record.accepted]
    decided = [record for record in accepted if record.state not in {"", "PENDING"}]
    surprises = [f"request {r.number} ({r.office_id}): {r.surprise}" for r in records if r.surprise]
    lags = sorted(lag for share in shares for lag in share.lags) or [0.0]
    late = lags[len(lags) * 99 // 100]
    seconds = _seconds(records, accepted, decided)
    return RushResult(
        requests=len(records),
        presses=sum(len(record.presses) for record in records),
        accepted=len(accepted),
        confirmed=sum(record.confirmed for record in decided),
        people_confirmed=sum(record.party for record in decided if record.confirmed),
        rejected=_count(record.reason for record in decided if not record.confirmed),
        refused=_count(record.refusal for record in records if not record.accepted),
        undecided=len(accepted) - len(decided),
        early=sum(record.early for record in records),
        repeated=sum(record.repeats for record in records),
        mismatches=sum(len(record.answers) > 1 for record in records),
        looks=sum(share.looks for share in shares),
        surprises=len(surprises),
        surprise_samples=surprises[:_SAMPLES],
        seconds=seconds,
        peak_offered=max((second.offered for second in seconds), default=0),
        peak_accepted=max((second.accepted for second in seconds), default=0),
        peak_decided=max((second.decided for second in seconds), default=0),
        accept=_latency(accepted, lambda record: record.answered - record.intended),
        outcome=_latency(decided, lambda record: record.seen - record.intended),
        outcome_in_service=_latency(decided, lambda record: record.decided_at - record.accepted_at),
        sold_out=_sold_out(decided, quotas, offices, opens_epoch),
        provinces=_provinces(quotas, offices, provinces),
        offices=[_office(office, quotas) for office in offices],
        generator_late_ms=late * 1000,
        generator_behind=late > LATE,
        generator_held=sum(share.held for share in shares),
        generator_cpu_seconds=sum(share.cpu for share in shares),
    )


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _latency(records: Iterable[Record], seconds: Callable[[Record], float]) -> Latency | None:
    histogram = HdrHistogram(1, 600_000_000, 3)
    for record in records:
        histogram.record_value(max(1, round(seconds(record) * 1e6)))
    if not histogram.get_total_count():
        return None
    values = [(percent, histogram.get_value_at_percentile(percent) / 1000) for percent in _PERCENTILES]
    by_percent = dict(values)
    return Latency(histogram.get_total_count(), by_percent[50.0], by_percent[99.0], by_percent[100.0], values)


def _seconds(records: Sequence[Record], accepted: Sequence[Record], decided: Sequence[Record]) -> list[Second]:
    offered = Counter(int(press // 1) for record in records for press in record.presses)
    taken = Counter(int(record.answered // 1) for record in accepted)
    ended = Counter(int(record.seen // 1) for record in decided)
    waits = defaultdict(list)
    for record in accepted:
        waits[int(record.intended // 1)].append((record.answered - record.intended) * 1000)
    every = offered.keys() | taken.keys() | ended.keys()
    if not every:
        return []

    def quantile(second: int, share: float) -> float:
        values = sorted(waits[second])
        return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0

    return [
        Second(at, offered[at], taken[at], ended[at], quantile(at, 0.5), quantile(at, 0.99))
        for at in range(min(every), max(every) + 1)
    ]


def _sold_out(
    decided: Sequence[Record],
    quotas: Mapping[SlotOfOffice, tuple[int, int]],
    offices: Sequence[Office],
    opens_epoch: float,
) -> list[SoldOut]:
    last: dict[SlotOfOffice, float] = {}
    for record in decided:
        if record.confirmed:
            slot = record.office_id, record.slot
            last[slot] = max(last.get(slot, 0), record.decided_at - opens_epoch)
    names = {office.office_id: office.name for office in offices}
    gone = [
        SoldOut(office_id, names[office_id], str(slot.service_date), slot.session, quota, last.get((office_id, slot)))
        for (office_id, slot), (quota, left) in quotas.items()
        if quota > 0 and left == 0
    ]
    return sorted(gone, key=lambda slot: (slot.seconds is None, slot.seconds))


def _provinces(
    quotas: Mapping[SlotOfOffice, tuple[int, int]], offices: Sequence[Office], provinces: Mapping[str, Province]
) -> list[ProvinceSales]:
    province_of = {office.office_id: office.province_code for office in offices}
    places: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    for (office_id, _), (quota, left) in quotas.items():
        places[province_of[office_id]] += quota
        sold[province_of[office_id]] += quota - left
    return [
        ProvinceSales(code, provinces[code].name_id, total, sold[code])
        for code, total in sorted(places.items(), key=lambda item: -sold[item[0]])
    ]


def _office(office: Office, quotas: Mapping[SlotOfOffice, tuple[int, int]]) -> OfficeSales:
    slots = {
        f"{slot.service_date} {slot.session}": (quota - left, quota)
        for (office_id, slot), (quota, left) in quotas.items()
        if office_id == office.office_id
    }
    return OfficeSales(office.office_id, office.name, slots)
