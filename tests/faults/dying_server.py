"""`python -m tests.faults.dying_server`: a server that kills itself when Redis has accepted a request, before it answers."""

import os
import signal
import sys
from collections.abc import Sequence

from antrian.lane.front import Joined, JoinRequest, Known, LaneFront, Refused
from server.__main__ import main

_send = LaneFront._send_joins


async def _send_and_die(self: LaneFront, requests: Sequence[JoinRequest]) -> list[Joined | Known | Refused]:
    answers = await _send(self, requests)
    if any(isinstance(answer, Joined) for answer in answers):
        os.kill(os.getpid(), signal.SIGKILL)
    return answers


if __name__ == "__main__":
    LaneFront._send_joins = _send_and_die  # type: ignore[method-assign]
    sys.exit(main())
