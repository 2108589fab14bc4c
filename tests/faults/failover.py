"""`python -m tests.faults.failover`: plays a rush while Redis's primary is killed and cut off, and says what was lost.

Act 1 kills the primary (SIGKILL). Act 2 cuts its machine off for some seconds, with its sentinel, and with a server and a worker
of Antrian: two primaries take writes then. Network namespaces do that for root; for others, proxies cut off the Redis alone.
Then the history of all callers is compared with the stores. Exits with 0 if nothing was lost or sold twice.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import uvloop

from antrian.lane.consumer import LaneConsumer
from clients.sdk.history import History
from tests.faults.fault import Fault
from tests.faults.load import Load
from tests.faults.run import HISTORY, Result, check_site, count_load
from tests.faults.site import Site
from tests.faults.stores_replicas import cut_the_primary_off, kill_the_primary
from tests.support.waiting import until

_REPLICAS = 2
_CITIZENS, _PAUSE = 80, 0.1
_BEFORE, _AFTER = 8.0, 12.0  # seconds of a rush without a fault
_RECOVERS = 30.0
_LIMIT = 150.0
_FAULT = Fault("failover", kill_the_primary, injections=2, replicas=_REPLICAS)


async def main() -> bool:
    """Plays both acts; returns whether all was kept."""
    result, gaps = Result(_FAULT), dict[str, float]()
    folder = Path(tempfile.mkdtemp(prefix="antrian-failover-"))
    _tell("Starting Redis with two replicas and three sentinels, Postgres, two servers and two workers")
    async with asyncio.timeout(_LIMIT), Site(folder, replicas=_REPLICAS) as site:
        with History(folder / HISTORY) as history:
            offices = [office.office_id for office in site.offices]
            async with Load(site.targets, history, offices, site.dates, citizens=_CITIZENS, pause=_PAUSE) as load:
                _tell("The rush begins")
                await asyncio.sleep(_BEFORE)
                for what, act in (
                    ("Redis's primary was killed", kill_the_primary),
                    ("Redis's primary was cut off", cut_the_primary_off),
                ):
                    gaps[what] = await _play(what, act, site, load, folder)
                await load.stop()
                _tell("The rush is over; everybody hears their outcome")
                await load.ask_again(_RECOVERS)
                count_load(_FAULT, load, result)
                asked = len(load.ended)
            await site.until_idle(_RECOVERS)
        _tell("Checking the promises (antrian verify) and the history of all calls")
        await check_site(site, folder / HISTORY, result)
        with closing(LaneConsumer(site.stores.redis_url)) as lanes:
            closed = sum(not lanes.audit(office).opened for office in offices)
    for line in result.words:
        _tell(f"  {line}")
    for what, seconds in gaps.items():
        _tell(f"{what}: nobody was accepted for {seconds:.1f} s")
    accepted = len(_accepted(folder / HISTORY))
    _tell(f"{asked} requests, {accepted} times accepted")
    _tell(f"lost {result.counts['lost']}, sold twice {result.counts['oversold']}, lanes closed {closed}")
    if result.held and not closed:
        shutil.rmtree(folder)
        return True
    _tell(f"logs and history are in {folder}")
    return False


async def _play(
    what: str, act: Callable[[Site, Load], Awaitable[float]], site: Site, load: Load, folder: Path
) -> float:
    """Returns for how long nobody was accepted around the act."""
    began = await act(site, load)
    _tell(f"{what} {time.monotonic() - began:.1f} s ago")
    await until(lambda: _accepted(folder / HISTORY, since=began + 1), _RECOVERS)
    await asyncio.sleep(_AFTER)
    _tell(f"Redis's primary is {site.redis_nodes.primary()} now")
    moments = [began, *_accepted(folder / HISTORY, since=began)]
    return max(after - before for before, after in pairwise(moments))


def _accepted(history: Path, since: float = 0) -> list[float]:
    """Returns when requests were accepted."""
    asked, moments = set[str](), []
    with history.open() as lines:
        for event in map(json.loads, lines):
            if event["event"] == "invoke" and event["call"] == "request":
                asked.add(event["op"])
            elif event["event"] == "ok" and event["op"] in asked and event["t"] >= since:
                moments.append(event["t"])
    return moments


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    kept = False
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            kept = runner.run(main())
        except Exception as error:
            _tell(f"could not be played to its end: {error!r}")
    _tell("PASS: nothing was lost" if kept else "FAIL")
    sys.exit(0 if kept else 1)
