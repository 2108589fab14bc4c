"""`python -m tests.faults.small_server BOUND`: a server with its own lane bound instead of the policy's."""

import sys
from typing import Any

from antrian.lane.producer import LaneProducer
from server.__main__ import main

_BOUND = int(sys.argv.pop())
_set_bounds = LaneProducer.set_bounds


def _small(self: LaneProducer, *, lane_bound: int, **others: Any) -> None:
    _set_bounds(self, lane_bound=min(lane_bound, _BOUND), **others)


if __name__ == "__main__":
    LaneProducer.set_bounds = _small  # type: ignore[method-assign]
    sys.exit(main())
