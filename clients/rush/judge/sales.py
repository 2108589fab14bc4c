"""What was sold where, and when it was gone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from antrian.booking import Office, Province
from clients.rush.judge.result import OfficeSales, ProvinceSales, SoldOut
from clients.rush.load.record import Record
from clients.rush.load.survey import Quotas, SlotOfOffice


def sold_out(decided: Iterable[Record], quotas: Quotas, offices: Iterable[Office], opens_epoch: float) -> list[SoldOut]:
    """The slots without places in the end, those first that were gone first."""
    names = {office.office_id: office.name for office in offices}
    last = _last_sales(decided, opens_epoch)
    gone = [
        SoldOut(office_id, names[office_id], str(slot.service_date), slot.session, quota, last.get((office_id, slot)))
        for (office_id, slot), (quota, left) in quotas.items()
        if quota > 0 and left == 0
    ]
    return sorted(gone, key=lambda slot: (slot.seconds is None, slot.seconds))


def province_sales(
    records: Iterable[Record],
    decided: Iterable[Record],
    quotas: Quotas,
    offices: Sequence[Office],
    provinces: Mapping[str, Province],
    opens_epoch: float,
) -> list[ProvinceSales]:
    """Every province that has offices, those first that sold most."""
    province_of = {office.office_id: office.province_code for office in offices}
    slots: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for (office_id, _), of_slot in quotas.items():
        slots[province_of[office_id]].append(of_slot)
    gone: defaultdict[str, list[float | None]] = defaultdict(list)
    for slot in sold_out(decided, quotas, offices, opens_epoch):
        gone[province_of[slot.office_id]].append(slot.seconds)
    asked: Counter[str] = Counter()
    for record in records:
        if record.office_id in province_of:
            asked[province_of[record.office_id]] += record.party
    found = []
    for code, places in slots.items():
        seen = [seconds for seconds in gone[code] if seconds is not None]
        open_slots = sum(quota > 0 for quota, _ in places)
        all_gone = max(seen) if seen and len(gone[code]) == open_slots else None
        found.append(
            ProvinceSales(
                code, provinces[code].name_id, sum(quota for quota, _ in places),
                sum(quota - left for quota, left in places), asked[code], open_slots, len(gone[code]),
                min(seen, default=None), all_gone,
            )
        )  # fmt: skip
    return sorted(found, key=lambda province: -province.sold)


def office_sales(offices: Iterable[Office], quotas: Quotas) -> list[OfficeSales]:
    """Every office's places, by slot."""
    by_office: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for (office_id, slot), (quota, left) in quotas.items():
        by_office[office_id][f"{slot.service_date} {slot.session}"] = quota - left, quota
    return [OfficeSales(office.office_id, office.name, by_office[office.office_id]) for office in offices]


def _last_sales(decided: Iterable[Record], opens_epoch: float) -> dict[SlotOfOffice, float]:
    last: dict[SlotOfOffice, float] = {}
    for record in decided:
        if record.state == "CONFIRMED":
            slot = record.office_id, record.slot
            last[slot] = max(last.get(slot, 0), record.decided_at - opens_epoch)
    return last
