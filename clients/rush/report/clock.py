"""Converts seconds of a play to real times, and places the ticks of time axes."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from clients.rush.judge.result import RushResult
from clients.rush.plan.pace import real_of, second_of
from clients.rush.report.words import Language

_STEPS = (86_400, 43_200, 21_600, 10_800, 3600, 1800, 600, 300, 60, 30, 10, 5, 1)  # each a part of the one before
_WIB = ZoneInfo("Asia/Jakarta")
_FRIDAY = "2026-11-27T14:00:00+07:00"  # any Friday would do
_MINUTES = 300.0  # a shorter axis shows seconds


@dataclass(frozen=True)
class PlayClock:
    """Converts between played and real seconds after the opening, by pace.py. days: their names, from Monday."""

    opens: datetime
    real_seconds: float
    compression: float
    days: tuple[str, ...]

    def real(self, second: float) -> float:
        """Converts a second of the play to real seconds after the opening."""
        return real_of(second, self.real_seconds, self.compression)

    def second(self, real: float) -> float:
        """Converts real seconds after the opening to a second of the play."""
        return second_of(real, self.real_seconds, self.compression)

    def time(self, real: float, *, seconds: bool = False) -> str:
        """Returns the time of day, without seconds if they are zero."""
        moment = self.opens + timedelta(seconds=real)
        return f"{moment:%H:%M:%S}" if seconds or moment.second else f"{moment:%H:%M}"

    def day(self, real: float) -> str:
        """Returns the abbreviated day of the week."""
        return self.days[(self.opens + timedelta(seconds=real)).weekday()][:3]

    def ticks(self, first: float, last: float, most: int) -> tuple[list[float], list[str]]:
        """Returns at most `most` ticks and their labels: the opening and round times of day."""
        gap = (last - first) / most
        begins, ends = self.real(first), self.real(last)
        midnight = self.opens.hour * 3600 + self.opens.minute * 60
        reals = [0.0] if first <= 0 <= last else []
        for step in _STEPS:
            real = math.ceil((begins + midnight) / step) * step - midnight
            # Time only gets faster: once steps are too close together, all later ones are.
            while real <= ends and self.second(real) - self.second(real - step) >= gap:
                if all(abs(self.second(real) - self.second(other)) >= gap for other in reals):
                    reals.append(real)
                real += step
        return self._labelled(sorted(reals), ends - begins < _MINUTES)

    def _labelled(self, reals: list[float], seconds: bool) -> tuple[list[float], list[str]]:
        labels, day = [], ""
        days = {self.day(real) for real in reals}
        for real in reals:
            new = self.day(real) if self.day(real) != day and len(days) > 1 else ""
            labels.append(self.time(real, seconds=seconds) + (f"\n{new}" if new else ""))
            day = new or day
        return [self.second(real) for real in reals], labels


def play_clock(result: RushResult, language: Language) -> PlayClock:
    """Returns the clock of a run, which opens on Friday at 14:00 by default."""
    opens = datetime.fromisoformat(result.about.get("opens") or _FRIDAY)
    opens = (opens + timedelta(seconds=30)).astimezone(_WIB).replace(second=0, microsecond=0)
    return PlayClock(opens, result.real_seconds, max(result.compression, 1), language.days)
