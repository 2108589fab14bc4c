"""How far the rush is: one live line on a terminal, else a plain line every few seconds."""

import time
from types import TracebackType

from rich.console import Console
from rich.status import Status

_EVERY = 5.0


class Progress:
    """A context manager; show takes the generator's counts."""

    def __init__(self, console: Console, requests: int) -> None:
        self._console, self._requests = console, requests
        self._status = Status("The crowd gathers …", console=console) if console.is_terminal else None
        self._shown, self._before, self._pace = time.monotonic(), 0, 0.0

    def __enter__(self) -> "Progress":
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, counts: dict[str, int]) -> None:
        """Tells how many were sent, accepted and decided."""
        now = time.monotonic()
        if now - self._shown < (0.5 if self._status else _EVERY):
            return
        self._pace = (counts["sent"] - self._before) / (now - self._shown)
        self._shown, self._before = now, counts["sent"]
        text = (
            f"pressed {counts['sent']:>7,} ({self._pace:,.0f}/s)   accepted {counts['accepted']:>7,}   "
            f"decided {counts['decided']:>7,}   refused {counts['refused']:>5,}"
        )
        if self._status:
            self._status.update(text)
        else:
            self._console.print(text, highlight=False)
