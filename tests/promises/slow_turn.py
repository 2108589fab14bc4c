"""A turn of the real pipeline that pauses before each step, so that tests can end it there or resume it late."""

from queue import SimpleQueue
from threading import Thread
from typing import Any, cast

from antrian.lane.consumer import LaneConsumer
from antrian.lane.replies import FencedError, Lease
from antrian.ledger.fence import LedgerFencedError
from antrian.ledger.recorder import LedgerRecorder
from tests.support.world import World, serve
from workers.lane_setup import LaneSetup

_STEPS = {"decide", "claim", "record", "record_commands", "settle", "settle_commands"}


class _Died(BaseException):
    """Ends a turn that is never resumed."""


class SlowTurn:
    """Runs in its own thread. next_step is the step before which it pauses; "" when the turn is over.

    shut_out tells whether a store refused a step since a newer consumer has the lane.
    """

    def __init__(self, world: World, lease: Lease) -> None:
        self.lease = lease
        self.next_step, self.shut_out = "", False
        self._setup = LaneSetup(
            cast(LaneConsumer, _Gate(world.consumer, self)),
            cast(LedgerRecorder, _Gate(world.recorder, self)),
            world.policy,
        )
        self._offices = world.offices
        self._orders = SimpleQueue[int]()
        self._reached = SimpleQueue[str | BaseException]()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def advance(self, *, times: int = 1) -> str:
        """Lets it do its next step, several times if replies are to be lost. Raises the error that ended the turn."""
        step = self.next_step
        self._orders.put(times)
        self._wait()
        return step

    def die(self) -> None:
        """Ends it before its next step."""
        if self.next_step:
            self._orders.put(0)
            self._thread.join()

    def wait_for_leave(self, step: str) -> int:
        """Blocks the turn's thread until the step may run; returns how often to run it."""
        self._reached.put(step)
        times = self._orders.get()
        if times == 0:
            raise _Died
        return times

    def _run(self) -> None:
        try:
            serve(self._setup, [self.lease], self._offices)
        except BaseException as end:  # handed to whoever let it on
            self._reached.put(end)
        else:
            self._reached.put("")

    def _wait(self) -> None:
        reached = self._reached.get(timeout=30)
        self.next_step = reached if isinstance(reached, str) else ""
        if not self.next_step:
            self._thread.join()
        if isinstance(reached, BaseException):
            raise reached


class _Gate:
    """Wraps a store; the turn pauses before each of its calls."""

    def __init__(self, store: LaneConsumer | LedgerRecorder, turn: SlowTurn) -> None:
        self._store = store
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in _STEPS:
            return method

        def step(*args: Any, **named: Any) -> Any:
            if name == "record" and not any(turn.decisions for turn in args[0]):
                return method(*args, **named)  # writes nothing, so the ledger has nothing to refuse
            responses: list[Any] = []
            for _ in range(self._turn.wait_for_leave(name)):
                try:
                    responses.append(method(*args, **named))
                except (FencedError, LedgerFencedError):
                    self._turn.shut_out = True
                    raise
            last = responses[-1] if isinstance(responses[-1], list) else []
            self._turn.shut_out |= any(isinstance(one, FencedError | LedgerFencedError) for one in last)
            return responses[-1]

        return step
