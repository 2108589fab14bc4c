"""`python -m tests.bench --only drain`: bookings that workers decide and commit, beside the bare ways to write them.

The lanes get a backlog by the real way in while the workers stand still (SIGSTOP); then one worker process, or two, go on.
Counted are tickets settled, so decided in Redis and committed in Postgres, from the first twentieth of them to the last.
Everything runs on the same embedded stores, one thing after the other, each beginning with empty tables.
"""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from antrian.local.embedded import EmbeddedStores
from tests.bench.drain_lanes import Lanes
from tests.bench.drain_references import BATCH, CONNECTIONS, QUEUES, JobQueue, References
from tests.bench.row import Measure, Plan, Row, row, side_by_side

COMMAND = "python -m tests.bench --only drain"
_TICKETS = 16_000
_FEW, _MANY = 1, 185
_COUNTS = 1, 5, 20, 60, 185
_TARGETED_QUEUE = "RQ, SimpleWorker"

Values = dict[str, list[float]]


def rows(plan: Plan) -> Iterator[Row]:
    """The rows, when all rounds are over. Raises BrokenPromise when what was drained broke one."""
    values = _measured(plan)
    for lanes in (_FEW, _MANY):
        one = _workers(1, lanes)
        yield _row(values, one, _COPY, 0.5)
        yield _row(values, one, _queue(_TARGETED_QUEUE), 150)
        yield _row(values, one, _ALONE, 6)
    yield _row(values, _workers(2, _MANY), _workers(1, _MANY), 1.6)
    if not plan.quick:
        for lanes in _COUNTS[1:]:
            yield _row(values, _workers(1, lanes), _workers(1, _FEW))
        for name in (_HOT, *(_queue(name) for name in QUEUES if name != _TARGETED_QUEUE)):
            yield _row(values, _workers(1, _FEW), name)


_COPY = f"COPY of the same rows, {BATCH} a commit"
_ALONE, _HOT = (f"Postgres alone, {CONNECTIONS} connections, {what}" for what in ("any slot", "one slot"))


def _workers(count: int, lanes: int) -> str:
    return f"{('one worker', 'two workers')[count - 1]}, {lanes} lane{'s' * (lanes > 1)}"


def _queue(name: str) -> str:
    return f"one job a booking: {name}"


def _row(values: Values, name: str, reference: str, target: float | None = None) -> Row:
    return row(name, values[name], reference, values[reference], "bookings/s", target, COMMAND)


def _measured(plan: Plan) -> Values:
    with ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):  # either undoes it all; who stands still would stay else
            undo.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="antrian-bench"))
        stores = undo.enter_context(EmbeddedStores(Path(folder)))
        lanes = undo.enter_context(Lanes(stores))
        references = References(stores)

        def drain(count: int, workers: int = 1) -> Measure:
            return lambda _: lanes.drain(count, workers, _TICKETS)

        measures: dict[str, Measure] = {
            _workers(1, _FEW): drain(_FEW),
            _COPY: lambda _: references.copy(),
            _queue(_TARGETED_QUEUE): lambda _: references.jobs(QUEUES[_TARGETED_QUEUE]),
            _workers(1, _MANY): drain(_MANY),
            _ALONE: lambda _: references.alone(hot=False),
            _workers(2, _MANY): drain(_MANY, 2),
        }
        if not plan.quick:
            measures |= {_workers(1, count): drain(count) for count in _COUNTS[1:-1]}
            measures[_HOT] = lambda _: references.alone(hot=True)
            others = {name: queue for name, queue in QUEUES.items() if name != _TARGETED_QUEUE}
            measures |= {_queue(name): partial(_jobs, references, queue) for name, queue in others.items()}
        lanes.empty()
        lanes.drain(_MANY, 2, _TICKETS // 4)  # nobody's first time is measured
        values: Values = {name: [] for name in measures}
        for nth in range(plan.rounds):
            print(f"  round {nth + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            lanes.empty()
            for name, measured in side_by_side(measures, 1).items():
                values[name] += measured
            lanes.check()
        return values


def _jobs(references: References, queue: JobQueue, _: int) -> float:
    return references.jobs(queue)
