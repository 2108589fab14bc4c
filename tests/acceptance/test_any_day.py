"""A rush can be played from any moment, or explains why not.

One Antrian visits the moments in order, as its clock only moves forward.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from importlib.resources import files
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from antrian import rules
from antrian.booking import Window
from antrian.local.stack import Stack
from antrian.policy import load_policy
from clients.rush.judge.result import RushResult
from clients.rush.load.generator import RushError
from clients.rush.load.live import Live
from clients.rush.plan.scenario import Scenario, load_scenario
from clients.rush.play import Orders, Site, rush_running, site_before_opening
from clients.sdk.calls import Target
from tests.acceptance.conftest import StartStack

JAKARTA = ZoneInfo("Asia/Jakarta")
SEEDS = count(1)
MOMENTS: dict[str, tuple[Callable[[Window], datetime], str]] = {
    "Monday 09:00": (lambda window: window.opens_at - timedelta(days=4, hours=5), "booking opens at"),
    "Friday 13:59:50": (lambda window: window.opens_at - timedelta(seconds=10), ""),
    "Friday 14:00:01": (lambda window: window.opens_at + timedelta(seconds=1), ""),
    "Saturday 02:00": (lambda window: window.opens_at + timedelta(hours=12), ""),
    "Sunday 15:58": (lambda window: window.closes_at - timedelta(minutes=2), "booking closes at"),
    "Sunday 16:00:01": (lambda window: window.closes_at + timedelta(seconds=1), "booking opens at"),
}
"""Of the next window: a moment to begin at, and why a rush cannot be played on an Antrian as it is then."""


def plan() -> Scenario:
    """A two-second rush: the tests check when it can be played, not its results."""
    short = load_scenario("tests/rush/short.toml", requests=60)
    arrivals = short.arrivals.model_copy(update={"hours": 0.0006, "early_s": 1, "reaction_s": 1, "tail_minutes": 0.02})
    habits = short.habits.model_copy(update={"slow": 0, "impatient": 0, "look_later_s": 0.5, "cancel": 0})
    bots = short.bots.model_copy(update={"share": 0})
    return short.model_copy(update={"arrivals": arrivals, "habits": habits, "bots": bots})


def play(site: Site) -> RushResult:
    """Plays a rush at that moment, judged by what clients see, because the stores hold bookings of other rushes too."""
    orders = Orders(plan(), next(SEEDS), 1, "a test")
    return rush_running(replace(site, settings=None), orders, Live(Console(quiet=True), 60, ""))


def played(result: RushResult) -> bool:
    """Whether people booked and every promise held. Submissions may be late, because other tests run at the same time."""
    assert result.failures == []
    return result.accepted > 0


def next_date(after: datetime, month: int, day: int) -> datetime:
    """Noon of the next such day; 29 February exists only in leap years."""
    for year in count(after.year):
        try:
            moment = datetime(year, month, day, 12, tzinfo=JAKARTA)
        except ValueError:
            continue
        if moment > after:
            return moment
    raise AssertionError


@pytest.fixture(scope="module")
def closed_week(window: Window) -> date:
    """The Monday of a week without service days, like the week of Lebaran 2027."""
    return window.dates[0] + timedelta(weeks=26)


@pytest.fixture(scope="module")
def stack(
    start_stack: StartStack, window: Window, closed_week: date, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """An Antrian whose policy has that week."""
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    shipped = files("antrian").joinpath("policy.toml").read_text("utf-8")
    leave = "".join(f'\n{closed_week + timedelta(days=n)} = "Cuti bersama"' for n in range(5))
    policy.write_text(shipped.replace("[service.holidays_added]", f"[service.holidays_added]{leave}"), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_POLICY_FILE", str(policy))
        yield start_stack(window.closes_at)


@pytest.mark.parametrize("name", MOMENTS)
def test_a_rush_can_be_played_from_any_moment_of_the_week(stack: Stack, name: str) -> None:
    moment, refused = MOMENTS[name]
    stack.set_clock(moment(rules.next_opening(stack.policy, stack.now() + timedelta(days=5))))

    as_it_is = Site(Target(stack.address))
    if refused:
        with pytest.raises(RushError, match=refused):
            play(as_it_is)
    else:
        assert played(play(as_it_is))
    assert played(play(site_before_opening(stack, plan())))


def test_a_rush_can_be_played_around_a_week_without_service(stack: Stack, closed_week: date) -> None:
    friday = datetime.combine(closed_week - timedelta(days=3), load_policy().opens_time, JAKARTA)
    stack.set_clock(friday)
    with pytest.raises(RushError, match="booking opens at"):
        play(Site(Target(stack.address)))
    assert played(play(site_before_opening(stack, plan())))
    assert stack.now() > friday + timedelta(days=6)


@pytest.mark.last  # years may pass
@pytest.mark.parametrize(("month", "day"), [(12, 31), (2, 29)])
def test_a_rush_can_be_played_from_any_day_of_the_year(stack: Stack, month: int, day: int) -> None:
    stack.set_clock(next_date(stack.now(), month, day))
    assert played(play(site_before_opening(stack, plan())))
