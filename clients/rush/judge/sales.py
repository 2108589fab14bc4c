"""Which places were sold, and when each slot sold out."""

from collections import defaultdict
from collections.abc import Iterable

from antrian.booking import Office
from clients.rush.judge.result import OfficeSales, SoldOut
from clients.rush.load.record import Record
from clients.rush.load.survey import Quotas, SlotOfOffice


def sold_out(decided: Iterable[Record], quotas: Quotas, offices: Iterable[Office], opens_epoch: float) -> list[SoldOut]:
    """Returns the slots that sold out, in the order in which they did."""
    names = {office.office_id: office.name for office in offices}
    last = _last_sales(decided, opens_epoch)
    gone = [
        SoldOut(office_id, names[office_id], str(slot.service_date), slot.session, quota, last.get((office_id, slot)))
        for (office_id, slot), (quota, remaining) in quotas.items()
        if quota > 0 and remaining == 0
    ]
    return sorted(gone, key=lambda slot: (slot.seconds is None, slot.seconds))


def office_sales(offices: Iterable[Office], quotas: Quotas) -> list[OfficeSales]:
    """Returns the sold places and the quotas of every office, by slot."""
    by_office: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for (office_id, slot), (quota, remaining) in quotas.items():
        by_office[office_id][f"{slot.service_date} {slot.session}"] = quota - remaining, quota
    return [OfficeSales(office.office_id, office.name, by_office[office.office_id]) for office in offices]


def _last_sales(decided: Iterable[Record], opens_epoch: float) -> dict[SlotOfOffice, float]:
    last: dict[SlotOfOffice, float] = {}
    for record in decided:
        if record.state == "CONFIRMED":
            slot = record.office_id, record.slot
            last[slot] = max(last.get(slot, 0), record.decided_at - opens_epoch)
    return last
