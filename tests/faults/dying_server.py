"""`python -m tests.faults.dying_server`: a server that kills itself when Redis has accepted a request, before it answers."""

import os
import signal
import sys
from collections.abc import Sequence

from antrian.lane.producer import Joined, JoinRequest, JoinResult, LaneProducer
from server.__main__ import main

_send = LaneProducer._send_joins


async def _send_and_die(self: LaneProducer, requests: Sequence[JoinRequest]) -> list[JoinResult]:
    responses = await _send(self, requests)
    if any(isinstance(response, Joined) for response in responses):
        os.kill(os.getpid(), signal.SIGKILL)
    return responses


if __name__ == "__main__":
    LaneProducer._send_joins = _send_and_die  # type: ignore[method-assign]
    sys.exit(main())
