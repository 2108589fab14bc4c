"""Runs a fault: load, injections, how long each took to recover, and all promises checked at the end."""

import asyncio
import json
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from antrian.audit.history import Violation, check_history, read_facts, read_history
from antrian.audit.verify import verify
from clients.sdk.history import History
from tests.faults.fault import Fault
from tests.faults.load import Asked, Load
from tests.faults.site import Site
from tests.support.waiting import until

HISTORY = "history.jsonl"
_SHOWN = 20  # violations, of each fault
_PATIENCE = 3  # times the limit: for so long we wait for what does not come
COUNTED = ("lost", "duplicated", "overtaken", "oversold", "other")
_COLUMNS = {"P1": "oversold", "P2": "lost", "P3": "overtaken", "P4": "duplicated", "P5": "duplicated"}


@dataclass
class Result:
    """What came of a fault: requests under way at its injections, seconds to recover, violations by kind and in words.

    undecided_lost: accepted tickets that went with Redis's disk, of faults that may take them.
    """

    fault: Fault
    under_way: int = 0
    recovery: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    undecided_lost: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether nothing was broken, and it recovered in time."""
        return not self.words and not self.counts.total()

    @property
    def median(self) -> float:
        """The middle of the times to recover."""
        return median(self.recovery) if self.recovery else 0.0

    @property
    def worst(self) -> float:
        """The longest time to recover."""
        return max(self.recovery, default=0.0)

    def row(self) -> dict[str, Any]:
        """For programs."""
        return {
            "fault": self.fault.name,
            "injections": len(self.recovery),
            "under_way": self.under_way,
            "recovery_median_s": round(self.median, 2),
            "recovery_worst_s": round(self.worst, 2),
            "limit_s": self.fault.within,
            **{column: self.counts[column] for column in COUNTED},
            "undecided_lost": self.undecided_lost,
            "held": self.held,
            "words": self.words,
        }


async def run_fault(
    fault: Fault, site: Site, injections: int, progress: Callable[[str], object] = lambda _: None
) -> Result:
    """Injects it so often, under load, and checks the site afterwards."""
    result = Result(fault)
    path = site.folder / HISTORY
    with History(path) as history:
        async with Load(
            site.targets,
            history,
            [office.office_id for office in site.offices],
            site.dates,
            refusals=fault.refusals,
        ) as load:
            await _warm(load)
            for number in range(1, injections + 1):
                try:
                    seconds = await _inject(fault, site, load, history, result)
                except Exception as error:  # it could not be injected, or what it expects did not happen
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    result.words.append(f"injection {number}: {error!r} in {where.filename}:{where.lineno}")
                    progress(f"{fault.name}: {result.words[-1]}")
                    await load.follow_all(
                        _PATIENCE * fault.within
                    )  # else the next one would wait for what this one began
                    continue
                progress(f"{fault.name}: {number} of {injections}, recovered in {seconds:.1f} s")
                if seconds > fault.within:
                    result.words.append(
                        f"injection {number}: {seconds:.1f} s to recover, the limit is {fault.within:g}"
                    )
            await load.stop()
            await load.ask_again(_PATIENCE * fault.within)
            count_load(fault, load, result)
        try:
            await site.until_idle(_PATIENCE * fault.within)
        except AssertionError:
            result.words.append("lanes still had work long after the load")
    await check_site(site, path, result)
    return result


async def _warm(load: Load) -> None:
    """Until people have got their outcomes."""
    await until(lambda: len(load.ended) > 50)


async def _inject(fault: Fault, site: Site, load: Load, history: History, result: Result) -> float:
    await load.until_busy()
    with history.fault(fault.name, loses_undecided=fault.loses_undecided):
        waiting = set(load.under_way)
        since = await fault.inject(site, load)
        waiting |= load.under_way
        result.under_way += len(waiting)
        new = {load.begin(office.office_id) for office in site.offices}  # and every lane moves
        following = [asyncio.create_task(load.follow(asked)) for asked in new]
        with suppress(AssertionError):
            await until(lambda: all(asked.ended for asked in waiting | new), _PATIENCE * fault.within)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    seconds = max((asked.ended or time.monotonic()) - since for asked in waiting | new)
    result.recovery.append(max(0.0, seconds))
    return result.recovery[-1]


def count_load(fault: Fault, load: Load, result: Result) -> None:
    """Adds what the load has lost, and what it was refused, to the result."""
    everything: list[Asked] = [*load.ended, *load.under_way]
    vanished = sum(asked.vanished for asked in everything)
    if fault.loses_undecided:
        result.undecided_lost = vanished
    elif vanished:
        result.words.append(f"{vanished} accepted requests were not there when read")
    # Of what the fault took, a repeat may come too late for a place.
    lost = [one for one in everything if one.lost and not (fault.loses_undecided and one.refused == "SLOT_FULL")]
    result.counts["lost"] += len(lost)
    result.words += [f"lost: {asked.request.request_id} {asked.refused or 'never decided'}" for asked in lost]
    result.words += [f"never decided: {asked.request.request_id}" for asked in load.under_way if not asked.lost]
    result.words += [f"{count} refused with {reason}" for reason, count in load.errors.items()]


async def check_site(site: Site, path: Path, result: Result) -> None:
    """Adds every violation that the stores or the history in `path` show to the result."""
    findings = await asyncio.to_thread(lambda: check_history(read_history([path]), read_facts(site.settings)))
    checks = [*await asyncio.to_thread(verify, site.settings), *findings.checks]
    for check in checks:
        if check.violations:
            result.counts[_COLUMNS.get(check.promise, "other")] += check.violations
            result.words.append(f"{check.promise} {check.what}: {check.violations} of {check.examined}")
    result.words += [_told(violation) for violation in findings.violations[:_SHOWN]]


def _told(violation: Violation) -> str:
    """A violation with the smallest part of the history that shows it."""
    head = f"{violation.promise} at {violation.office}: {violation.words}; meanwhile: {', '.join(violation.faults) or 'no fault'}"
    return "\n      ".join([head, *(json.dumps(event, default=str) for event in violation.events)])
