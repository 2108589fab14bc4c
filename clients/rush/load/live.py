"""Shows the progress of a rush: a live view on a terminal, otherwise a line every five seconds."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clients.rush.load.tally import Counts

_EVERY = 5.0
_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 60
_LANES = 6


class Live:
    """The progress display, a context manager."""

    def __init__(self, console: Console, requests: int, title: str) -> None:
        self._console, self._requests, self._title = console, requests, title
        self._live = RichLive(Text("Planning the requests …"), console=console, transient=True, auto_refresh=False)
        self._opening: float | None = None
        self._before: Counts | None = None
        self._at = self._printed_at = time.monotonic()
        self._rates = {name: deque[float](maxlen=_HISTORY) for name in ("submitted", "accepted", "decided")}
        self._latency = "-"

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def opens(self, opening: float) -> None:
        """Sets when booking opens, by time.monotonic()."""
        self._opening = opening

    def show(self, counts: Counts) -> None:
        """Updates the display. Call it about twice a second."""
        now = time.monotonic()
        seconds = now - self._at
        if self._before and seconds < 0.2:
            return
        if self._before:
            for name, rates in self._rates.items():
                rates.append((counts.counts[name] - self._before.counts[name]) / seconds)
            half, most = (counts.latency_since(self._before, share) for share in (0.5, 0.99))
            self._latency = f"{half:,.0f} / {most:,.0f} ms" if half and most else "-"
        self._before, self._at = counts, now
        if self._console.is_terminal:
            self._live.update(self._view(counts), refresh=True)
        elif now - self._printed_at >= _EVERY:
            self._printed_at = now
            self._console.print(self._line(counts), highlight=False)

    def _clock(self) -> str:
        if self._opening is None:
            return "…"
        seconds = time.monotonic() - self._opening
        return f"opens in {-seconds:.0f} s" if seconds < 0 else f"{seconds:.0f} s after the opening"

    def _line(self, counts: Counts) -> str:
        counted = counts.counts
        pace = self._rates["submitted"][-1] if self._rates["submitted"] else 0
        return (
            f"{self._clock():>24}   submitted {counted['submitted']:>8,} ({pace:,.0f}/s)   accepted {counted['accepted']:>8,}   "
            f"decided {counted['decided']:>8,}   refused {counted['refused']:>7,}   until accepted {self._latency}"
        )

    def _view(self, counts: Counts) -> RenderableType:
        counted = counts.counts
        flow = Table.grid(padding=(0, 2))
        flow.add_column(min_width=10)
        flow.add_column(justify="right", min_width=9)
        flow.add_column(justify="right", min_width=9)
        flow.add_column()
        most = max((max(rates, default=0) for rates in self._rates.values()), default=0)
        for name, colour in (("submitted", "white"), ("accepted", "cyan"), ("decided", "green")):
            rates = self._rates[name]
            pace = f"{rates[-1]:,.0f}/s" if rates else ""
            flow.add_row(name, f"{counted[name]:,}", pace, Text(_sparkline(rates, most), style=colour))
        flow.add_row("refused", f"{counted['refused']:,}")
        flow.add_row("retried", f"{counted['again']:,}", "", "the service was busy or did not respond")
        if counted["surprises"]:
            flow.add_row("[red]surprises", f"[red]{counted['surprises']:,}")
        flow.add_row("until accepted", "", "", f"{self._latency}  (p50 / p99, last half second)")
        flow.add_row(
            "no outcome yet", f"{counted['accepted'] - counted['decided']:,}", "", "in a queue, or not read yet"
        )
        lanes = Table.grid(padding=(0, 2))
        longest = sorted(counts.waiting.items(), key=lambda lane: -lane[1])[:_LANES]
        for office, waiting in longest:
            if waiting > 1:
                lanes.add_row(
                    office, f"{waiting:,}", ProgressBar(total=max(longest[0][1], 1), completed=waiting, width=30)
                )
        done = counted["decided"] + counted["refused"]
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"[bold]{self._title}[/]", self._clock(), ProgressBar(self._requests, done, width=30), f"{done:,} done"
        )
        return Group(
            head, "", flow, "", Text("longest queues, as of their latest accepted request", style="dim"), lanes
        )


def _sparkline(values: deque[float], most: float) -> str:
    return "".join(_BARS[min(int(value / most * 8 + 0.5), 8)] for value in values) if most else ""
