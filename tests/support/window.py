"""A future window: the only place where tests, faults and benchmarks look at the calendar, so that they work on any day."""

import atexit
import re
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from antrian import rules
from antrian.booking import Window
from antrian.policy import SHIPPED, load_policy

_SOON = timedelta(hours=1)


@cache
def window_to_come() -> Window:
    """The next window that opens in an hour or later and that is for a week of five service days.

    It is in the future, since a service's clock only moves forward, and stays so for as long as the tests run. A process has
    one and the same; who starts another that has to know it tells it.
    """
    policy = load_policy()
    window = rules.next_opening(policy, datetime.now(UTC) + _SOON)
    while len(window.dates) < len(policy.service_weekdays):
        window = rules.next_opening(policy, window.closes_at)
    return window


@cache
def policy_without_holidays(lane_bound: int = 20_000) -> Path:
    """A file with the shipped rules, but for holidays: what tests say of the weeks after a window holds for any window.

    lane_bound: how many requests may wait in a lane.
    """
    shipped = SHIPPED.read_text("utf-8")
    assert "\nbound = 20000" in shipped
    text = _without_holidays(shipped).replace("\nbound = 20000", f"\nbound = {lane_bound}")
    folder = Path(tempfile.mkdtemp(prefix="antrian-policy-"))
    atexit.register(shutil.rmtree, folder)
    file = folder / "policy.toml"
    file.write_text(text, "utf-8")
    return file


def policy_open_now() -> str:
    """The shipped rules, but for holidays and the window, which opened today, closes in a week and is for next week."""
    today = f"{datetime.now(load_policy().window_zone):%a}".upper()
    moments = {"opens": f"{today} 00:01", "closes": f"{today} 00:00"}
    text = _without_holidays(SHIPPED.read_text("utf-8"))
    for name, moment in moments.items():
        text, found = re.subn(rf'(?m)^{name} = "[A-Z]+ [\d:]+"', f'{name} = "{moment}"', text)
        assert found == 1
    return text


def _without_holidays(policy: str) -> str:
    text, found = re.subn(r"(?m)^holiday_categories = \[.*?\]", "holiday_categories = []", policy)
    assert found == 1
    return text
