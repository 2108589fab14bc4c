"""`python -m tests.faults.dying_worker STEP [STOP]`: a worker that kills itself after that step of a turn with work in it.

With STOP it is frozen (SIGSTOP) there, once, and goes on where it was when somebody sends SIGCONT.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from antrian.booking import Turn
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.recorder import LedgerRecorder
from antrian.logs import log_to_stderr
from antrian.policy import load_policy
from antrian.settings import load_settings
from workers import worker

STEPS = ("wait", "decide", "record", "settle", "desk")
"""After each of these it dies; desk: between a desk batch's record and its settle."""


def _answered(_: Sequence[Any], response: Any) -> bool:
    return bool(response)


def _decided(_: Sequence[Any], responses: Any) -> bool:
    return any(isinstance(response, Turn) and response.decisions for response in responses)


def _taken(_: Sequence[Any], response: Any) -> bool:
    return _decided(_, [one.decided for one in response[1]])


def _recorded(_: Sequence[Any], responses: Any) -> bool:
    return any(responses)


def _settled(args: Sequence[Any], _: Any) -> bool:
    return any(results for _, results in args[1])


_WHERE: dict[str, list[tuple[type, str, Callable[[Sequence[Any], Any], bool]]]] = {
    "wait": [(LaneConsumer, "wait", _answered)],
    "decide": [(LaneConsumer, "settle_and_decide", _taken), (LaneConsumer, "decide", _decided)],
    "record": [(LedgerRecorder, "record", _recorded)],
    "settle": [(LaneConsumer, "settle_and_decide", _settled)],
    "desk": [(LedgerRecorder, "record_commands", _answered)],
}


def end_at(step: str, number: signal.Signals) -> None:
    """Has this process send itself the signal when that step has been done for the first time."""
    waiting = [number]

    def ends_after(owner: type, method: str, worked: Callable[[Sequence[Any], Any], bool]) -> None:
        whole = getattr(owner, method)

        def last(*args: Any, **named: Any) -> Any:
            response = whole(*args, **named)
            if waiting and worked(args, response):
                os.kill(os.getpid(), waiting.pop())
            return response

        setattr(owner, method, last)

    for place in _WHERE[step]:
        ends_after(*place)


if __name__ == "__main__":
    end_at(sys.argv[1], signal.SIGSTOP if sys.argv[2:] == ["STOP"] else signal.SIGKILL)
    settings = load_settings()
    log_to_stderr(settings.log_level)
    worker.run(settings, load_policy(settings.policy_file))
