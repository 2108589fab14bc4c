"""Describes the changes of an import of offices, as text and as JSON."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from antrian.booking import Office
from antrian.offices.catalog import Cell, differences, doubts

_KINDS = ("new", "changed", "unchanged", "not in file")
_OF_SLOTS = ("daily_quota", "morning_percent")


class Import:
    """Compares the offices of a file with those of the ledger.

    planned: the last day that has slots, by office. Days until then keep their quota.
    """

    def __init__(self, before: Sequence[Office], offices: Sequence[Office], planned: Mapping[str, date]) -> None:
        known, imported = ({office.office_id: office for office in some} for some in (before, offices))
        self._all, self._planned = known | imported, planned
        self._retired = {office.office_id for office in before if office.retired}
        both = [office_id for office_id in imported if office_id in known]
        self._fields = {office_id: differences(known[office_id], imported[office_id]) for office_id in both}
        self._kinds = {
            **{office_id: "new" for office_id in imported if office_id not in known},
            **{office_id: "changed" for office_id in both if self._fields[office_id]},
            **{office_id: "unchanged" for office_id in both if not self._fields[office_id]},
            **{office_id: "not in file" for office_id in known if office_id not in imported},
        }
        touched = {office_id for office_id, kind in self._kinds.items() if kind in {"new", "changed"}}
        in_use = [office for office_id, office in self._all.items() if office_id not in self._retired]
        self.doubts = doubts(in_use, touched)
        """Warnings about changes that may be mistakes."""

    def as_text(self, *, dry_run: bool) -> str:
        """Returns a line per office that is new, changed or not in the file, and the number of offices of each kind."""
        lines = [
            f"{kind:11}  {office_id}: {self._description(office_id, kind)}"
            for office_id, kind in self._kinds.items()
            if kind != "unchanged"
        ]
        counts = Counter(self._kinds.values())
        last = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS)
        return "\n".join([*lines, f"{'dry run, nothing was imported' if dry_run else 'imported'}: {last}"])

    def as_json(self, *, dry_run: bool) -> str:
        """Returns a JSON object that lists every office and its change."""
        offices = [self._entry(office_id, kind.replace(" ", "_")) for office_id, kind in self._kinds.items()]
        return json.dumps(
            {"dry_run": dry_run, "offices": offices, "warnings": self.doubts}, ensure_ascii=False, indent=2
        )

    def _entry(self, office_id: str, change: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"office_id": office_id, "change": change, "retired": office_id in self._retired}
        if fields := self._fields.get(office_id):
            entry["fields"] = {column: {"before": before, "after": after} for column, (before, after) in fields.items()}
            if (planned := self._planned.get(office_id)) and not fields.keys().isdisjoint(_OF_SLOTS):
                entry["quota_holds_after"] = planned.isoformat()
        return entry

    def _description(self, office_id: str, kind: str) -> str:
        if kind == "new":
            return f"{self._all[office_id].name}, {self._all[office_id].city}"
        if kind == "not in file":
            return "stays retired" if office_id in self._retired else "stays"
        changes = []
        for column, (before, after) in self._fields[office_id].items():
            change = f"{column} {_shown(before)} -> {_shown(after)}"
            if column in _OF_SLOTS and (planned := self._planned.get(office_id)):
                change += f" (for days after {planned}; earlier days keep their places)"
            changes.append(change)
        return "; ".join(changes)


def _shown(cell: Cell) -> str:
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, str) else "none" if cell is None else f"{cell}"
