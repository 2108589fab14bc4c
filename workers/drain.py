"""The pipeline that settles queues: decide, record, settle. Read it with the scripts and statements of these names."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from antrian.booking import Office, Turn
from antrian.lane.replies import FencedError, LaneBrokenError, Lease, LeasedLane
from antrian.ledger.turns import Recorded
from workers.lane_setup import LaneSetup
from workers.metrics import count_decided
from workers.prepare import prepare_lanes
from workers.quarantine import quarantine_or_yield

MAX_TICKETS = 512
"""The maximum number of tickets in a turn."""

MAX_LANES = 32
"""The maximum number of lanes in a batch. Under load a batch has fewer, so that other workers get a share."""

Batch = list[tuple[Lease, Turn]]
"""Leased turns of different lanes that are recorded in one commit, which costs as much for one turn as for many."""

RecordedTurn = tuple[Lease, Turn, str]
"""A turn that the ledger has recorded, with one result letter per ticket (see antrian.ledger.turns)."""


class LanePipeline:
    """Drains lanes in batches, pipelined: decides batch n + 1 while Postgres commits batch n.

    A crash between two steps loses nothing: the next consumer of the lane gets the same decisions again, and record and
    settle are idempotent. A lease that is not given back expires, and the sweep marks its lane ready again. All methods
    raise the errors of the stores.
    """

    def __init__(self, setup: LaneSetup) -> None:
        self._setup, self._consumer = setup, setup.consumer
        self._writer = ThreadPoolExecutor(1, "record")
        self._recording: tuple[Batch, Future[list[Recorded]]] | None = None
        self._recorded: list[RecordedTurn] = []
        self._now: datetime | None = None  # as of the latest lease

    @property
    def in_flight(self) -> bool:
        """Whether a batch is being recorded or waits to be settled."""
        return bool(self._recording or self._recorded)

    def step(self, offices: Mapping[str, Office], office_id: str = "", *, max_lanes: int = MAX_LANES) -> int:
        """Settles the recorded batch, and decides the next one while the ledger records the batch in between.

        The next batch consists of the given office's lane, if any, and the lanes that have been ready the longest.
        Returns the number of settled tickets.
        """
        recorded, version = self._recorded, self._setup.inventory_version(self._now or self._consumer.now())
        settled, leased = self._consumer.settle_and_decide(
            [(lease, results) for lease, _, results in recorded], version, office_id,
            max_lanes=max_lanes, max_tickets=MAX_TICKETS,
        )  # fmt: skip
        leased_at = time.monotonic()
        self._recorded = []  # only now: when the call above fails, the next step settles the same turns again
        tickets = self._count_settled(recorded, settled)
        batch, others = self._sort_leased(leased, offices)
        if self._recording:
            before, future = self._recording
            self._recording = None
            self._recorded = self._collect_recorded(before, future.result())
        if batch:
            self._recording = batch, self._writer.submit(self._record, batch)
        prepare_lanes(self._setup, others, offices, leased_at)  # last, because the leases of the batch are running
        return tickets

    def flush(self, offices: Mapping[str, Office]) -> int:
        """Finishes what is in flight, without starting another batch. Returns the number of settled tickets."""
        tickets = 0
        while self.in_flight:
            tickets += self.step(offices, max_lanes=0)
        return tickets

    def _record(self, batch: Batch) -> list[Recorded]:
        return self._setup.ledger.record([turn for _, turn in batch], self._setup.policy.version or None)

    def _sort_leased(
        self, leased: Sequence[LeasedLane], offices: Mapping[str, Office]
    ) -> tuple[Batch, list[LeasedLane]]:
        """Returns the turns to record, and the lanes that have commands or lack counters."""
        batch, others = Batch(), []
        for lane in leased:
            self._now = max(self._now or lane.lease.now, lane.lease.now)
            match lane.decided:
                case Turn() as turn:
                    batch.append((lane.lease, turn))
                case FencedError() | LaneBrokenError() as problem:
                    quarantine_or_yield(self._consumer, lane.lease, problem)
                case _ if lane.lease.office_id in offices:
                    others.append(lane)
        return batch, others

    def _collect_recorded(self, batch: Batch, recorded: Sequence[Recorded]) -> list[RecordedTurn]:
        collected = []
        for (lease, turn), result in zip(batch, recorded, strict=True):
            if isinstance(result, str):
                collected.append((lease, turn, result))
            else:
                quarantine_or_yield(self._consumer, lease, result)
        return collected

    def _count_settled(
        self, recorded: Sequence[RecordedTurn], problems: Sequence[FencedError | LaneBrokenError | None]
    ) -> int:
        tickets = 0
        for (lease, turn, results), problem in zip(recorded, problems, strict=True):
            if problem:
                quarantine_or_yield(self._consumer, lease, problem)
            else:
                count_decided(turn.decisions, results)
                tickets += len(results)
        return tickets
