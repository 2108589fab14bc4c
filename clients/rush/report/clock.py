"""The clock of a play: what time it is in life when so many seconds are played, and the ticks of a time axis."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from clients.rush.judge.result import RushResult
from clients.rush.plan.pace import real_of, second_of
from clients.rush.report.words import Language

_STEPS = (86_400, 43_200, 21_600, 10_800, 3600, 1800, 600, 300, 60, 30, 10, 5, 1)  # each a part of the one before
_WIB = ZoneInfo("Asia/Jakarta")
_FRIDAY = "2026-11-27T14:00:00+07:00"  # as good as any
_MINUTES = 300.0  # a shorter axis shows seconds


@dataclass(frozen=True)
class PlayClock:
    """Converts seconds after the opening, as played and as in life; pace.py has the formula. days: names, from Monday."""

    opens: datetime
    real_seconds: float
    compression: float
    days: tuple[str, ...]

    def real(self, second: float) -> float:
        """Seconds of life after the opening."""
        return real_of(second, self.real_seconds, self.compression)

    def second(self, real: float) -> float:
        """The second in which it is played."""
        return second_of(real, self.real_seconds, self.compression)

    def time(self, real: float, *, seconds: bool = False) -> str:
        """The time of day, without seconds unless it has some."""
        moment = self.opens + timedelta(seconds=real)
        return f"{moment:%H:%M:%S}" if seconds or moment.second else f"{moment:%H:%M}"

    def day(self, real: float) -> str:
        """The day of the week, abbreviated."""
        return self.days[(self.opens + timedelta(seconds=real)).weekday()][:3]

    def ticks(self, first: float, last: float, most: int) -> tuple[list[float], list[str]]:
        """Where an axis has its ticks and what they say: the opening and round times of day, as many as there is room."""
        gap = (last - first) / most
        begins, ends = self.real(first), self.real(last)
        midnight = self.opens.hour * 3600 + self.opens.minute * 60
        reals = [0.0] if first <= 0 <= last else []
        for step in _STEPS:
            real = math.ceil((begins + midnight) / step) * step - midnight
            # Time only gets faster: where steps have no more room, none has after it.
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
    """The clock of a run; it opens on Friday 14:00 unless the run says otherwise."""
    opens = datetime.fromisoformat(result.about.get("opens") or _FRIDAY)
    opens = (opens + timedelta(seconds=30)).astimezone(_WIB).replace(second=0, microsecond=0)
    return PlayClock(opens, result.real_seconds, max(result.compression, 1), language.days)
