"""Computes the numbers of a result from the records of the generator."""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from antrian.booking import Office
from clients.rush.judge.result import Account, Arrivals, Brokers, Generator, Group, Latency, Mark, RushResult, Tick
from clients.rush.judge.sales import office_sales, sold_out
from clients.rush.load.record import Record, Share
from clients.rush.load.survey import Quotas, SlotOfOffice
from clients.rush.plan.scenario import Scenario

_SAMPLES, _ACCOUNTS, _POINTS = 10, 10, 1000
_MOST_TICKS = 600
_LONGEST = 3_600_000_000  # microseconds that a histogram can hold


@dataclass(frozen=True)
class Played:
    """The data of a played rush. quotas: at the end. opens_epoch: the opening by the service's clock.

    readings: those of the meter, by seconds after the opening.
    """

    scenario: Scenario
    shares: Sequence[Share]
    offices: Sequence[Office]
    quotas: Quotas
    opens_epoch: float
    readings: Sequence[tuple[float, Mapping[str, float]]]

    @property
    def records(self) -> list[Record]:
        """The records of all shares."""
        return [record for share in self.shares for record in share.records]


def summarise(played: Played) -> RushResult:
    """Returns the result without the promises, the reasons of the verdict, and the facts about the run."""
    records, scenario = played.records, played.scenario
    accepted = [record for record in records if record.accepted]
    decided = [record for record in accepted if record.decided]
    answered = [record for record in records if not record.accepted and record.refusal]
    surprises = [f"request {r.number} ({r.office_id}): {r.surprise}" for r in records if r.surprise]
    seconds = _seconds(records, accepted, decided, played.opens_epoch)
    ticks = _ticks(seconds, accepted, decided, played.opens_epoch)
    return RushResult(
        scenario=scenario.name,
        title_id=scenario.title_id,
        title_en=scenario.title_en,
        compression=scenario.arrivals.compression,
        real_seconds=scenario.arrivals.real_seconds,
        requests=len(records),
        submissions=sum(len(record.submissions) for record in records),
        accepted=len(accepted),
        confirmed=sum(record.state == "CONFIRMED" for record in decided),
        cancelled=sum(record.state == "CANCELLED" for record in decided),
        people_confirmed=sum(record.party for record in decided if record.state == "CONFIRMED"),
        rejected=_count(record.reason for record in decided if record.state == "REJECTED"),
        refused=_count(record.refusal for record in answered),
        unanswered=len(records) - len(accepted) - len(answered),
        undecided=len(accepted) - len(decided),
        surprises=len(surprises),
        surprise_samples=surprises[:_SAMPLES],
        habits=_habits(played, records),
        tick=_width(ticks),
        ticks=ticks,
        marks=[Mark(scenario.second_of(w.hour), w.name_id, w.name_en) for w in scenario.arrivals.waves],
        peaks={name: float(max(seconds[name].values(), default=0)) for name in ("offered", "accepted", "decided")}
        | {"waiting": float(max((tick.waiting for tick in ticks), default=0))},
        latencies=_latencies(played, accepted, decided),
        sold_out=sold_out(decided, played.quotas, played.offices, played.opens_epoch),
        offices=office_sales(played.offices, played.quotas),
        groups=[_group("people", [r for r in records if not r.bot]), _group("bots", [r for r in records if r.bot])],
        bot_accounts=_bot_accounts(records),
        brokers=_brokers(records),
        arrivals=_arrivals(decided, played.opens_epoch),
        generator=_generator(played.shares),
        cpu=_cpu(played.readings),
    )


def latency(values: Iterable[float]) -> Latency | None:
    """Returns the percentiles of values in seconds, or None without values."""
    histogram = HdrHistogram(1, _LONGEST, 3)
    for value in values:
        histogram.record_value(min(max(1, round(value * 1e6)), _LONGEST))
    if not histogram.get_total_count():
        return None
    at = (histogram.get_value_at_percentile(percent) / 1000 for percent in (50, 90, 99, 99.9, 100))
    return Latency(histogram.get_total_count(), *at)


def _latencies(played: Played, accepted: Sequence[Record], decided: Sequence[Record]) -> dict[str, Latency]:
    opens = played.opens_epoch
    kinds = {
        "accept": (record.answered - record.due for record in accepted),
        "outcome": (record.decided_at - opens - record.due for record in decided if record.habit != "slow"),
        "screen": (record.seen - record.due for record in decided if record.watched and record.habit != "slow"),
        "service": (record.decided_at - record.accepted_at for record in decided),
        "look": (seconds for share in played.shares for _, seconds in share.looks),
    }
    found = {name: latency(values) for name, values in kinds.items()}
    return {name: one for name, one in found.items() if one}


def _seconds(
    records: Sequence[Record], accepted: Sequence[Record], decided: Sequence[Record], opens: float
) -> dict[str, Counter[int]]:
    """Returns the number of events in each second after the opening."""
    return {
        "offered": Counter(math.floor(moment) for record in records for moment in record.submissions),
        "accepted": Counter(math.floor(record.answered) for record in accepted),
        "refused": Counter(math.floor(record.answered) for record in records if record.refusal),
        "decided": Counter(math.floor(record.decided_at - opens) for record in decided),
        "again": Counter(
            math.floor(each.ended)
            for record in records
            if record.passing
            for each in record.observations
            if each.call == "request" and not each.response and each.reason != record.refusal
        ),
    }


def _ticks(
    seconds: Mapping[str, Counter[int]], accepted: Sequence[Record], decided: Sequence[Record], opens: float
) -> list[Tick]:
    every = set[int]().union(*seconds.values())
    if not every:
        return []
    first, last = min(every), max(every) + 1
    width = math.ceil((last - first) / _MOST_TICKS)
    accepts, outcomes = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    for record in accepted:
        accepts[math.floor(record.due - first) // width].append((record.answered - record.due) * 1000)
    for record in decided:
        if record.habit == "slow":
            continue  # it was decided before its phone got the response
        outcomes[math.floor(record.due - first) // width].append((record.decided_at - opens - record.due) * 1000)
    joins = sorted(record.accepted_at - opens for record in accepted)
    leaves = sorted(record.decided_at - opens for record in decided)

    def rate(what: str, at: int) -> float:
        return sum(seconds[what][second] for second in range(at, at + width)) / width

    return [
        Tick(
            at, rate("offered", at), rate("accepted", at), rate("refused", at), rate("decided", at), rate("again", at),
            bisect_right(joins, at + width) - bisect_right(leaves, at + width),
            *_quantiles(accepts[n]), *_quantiles(outcomes[n]),
        )
        for n, at in enumerate(range(first, last, width))
    ]  # fmt: skip


def _width(ticks: Sequence[Tick]) -> float:
    return ticks[1].second - ticks[0].second if len(ticks) > 1 else 1


def _quantiles(values: list[float]) -> tuple[float, float]:
    values.sort()
    return (values[len(values) // 2], values[len(values) * 99 // 100]) if values else (0.0, 0.0)


def _arrivals(decided: Iterable[Record], opens: float) -> Arrivals | None:
    slots = defaultdict[SlotOfOffice, list[tuple[float, int]]](list)
    for record in decided:
        if record.numbers:
            moment = round(record.accepted_at - opens, 3)
            slots[record.office_id, record.slot].append((moment, record.numbers[0]))
    if not slots:
        return None
    (office_id, slot), points = max(slots.items(), key=lambda item: len(item[1]))
    return Arrivals(
        office_id, slot.service_date.isoformat(), slot.session, sorted(points)[:: 1 + len(points) // _POINTS]
    )


def _habits(played: Played, records: Sequence[Record]) -> dict[str, int]:
    return {
        "submitted early": sum(record.early for record in records),
        "submitted again": sum(len(record.submissions) - 1 for record in records if record.habit == "impatient"),
        "second phone": sum(record.habit == "second phone" for record in records),
        "neighbouring province": sum(record.habit == "neighbour" for record in records),
        "wrong input": sum(record.habit == "wrong" for record in records),
        "slow phone": sum(record.habit == "slow" for record in records),
        "reads of the remaining places": sum(len(share.looks) for share in played.shares),
        "asked to retry by the service": sum(record.passing for record in records),
        "cancelled after confirmation": sum(record.state == "CANCELLED" for record in records),
    }


def _group(name: str, records: Sequence[Record]) -> Group:
    got = [record for record in records if record.got_places]
    return Group(
        name,
        len({record.account for record in records}),
        len(records),
        sum(len(record.submissions) for record in records),
        sum(record.accepted for record in records),
        len(got),
        sum(record.party for record in got),
        _count(record.refusal for record in records if record.refusal and not record.accepted),
    )


def _bot_accounts(records: Iterable[Record]) -> list[Account]:
    accounts = defaultdict[str, list[Record]](list)
    for record in records:
        if record.habit == "bot":
            accounts[record.account].append(record)
    found = [
        Account(name, len(own), sum(r.accepted for r in own), sum(r.party for r in own if r.got_places))
        for name, own in accounts.items()
    ]
    return sorted(found, key=lambda account: -account.requests)[:_ACCOUNTS]


def _brokers(records: Sequence[Record]) -> Brokers | None:
    own = [record for record in records if record.habit == "broker"]
    if not own:
        return None
    buyers = [record for record in records if record.habit == "buyer"]
    wanted = {record.office_id for record in own}
    return Brokers(
        accounts=len({record.account for record in own}),
        requests=len(own),
        places=sum(record.party for record in own if record.got_places),
        of=sum(r.party for r in records if r.got_places and r.office_id in wanted and r.habit != "buyer"),
        hand_overs=len(buyers),
        reached=sum(record.got_places for record in buyers),
    )


def _generator(shares: Sequence[Share]) -> Generator:
    late = latency(max(lag, 0) for share in shares for lag in share.lags)
    return Generator(len(shares), late.p50, late.p99, late.most) if late else Generator(len(shares))


def _cpu(readings: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Returns the CPU seconds between the first reading and the last, by program."""
    if not readings:
        return {}
    first, last = readings[0][1], readings[-1][1]
    return {name: round(seconds - first.get(name, 0.0), 2) for name, seconds in last.items()}


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
