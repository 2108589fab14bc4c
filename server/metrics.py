"""What a server counts: its calls, how long they took, and its refusals. docs/metrics.md explains each."""

import time

import grpc
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from antrian.errors import Reason

disable_created_metrics()  # else each series comes twice

# To a minute: a GetBooking may wait that long, a WatchBooking longer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_calls = Counter("antrian_rpc_calls", "Calls that ended, by rpc and gRPC code.", ["rpc", "code"])
_seconds = Histogram("antrian_rpc_seconds", "From a call's arrival to its end.", ["rpc"], buckets=_BUCKETS)
_in_flight = Gauge("antrian_rpc_in_flight", "Calls that are being served.", ["rpc"])
_refusals = Counter(
    "antrian_refusals", "Refusals by rpc and ErrorReason, those of a batch's items included.", ["rpc", "reason"]
)


class Calls:
    """The metrics of one rpc: begin a call, and end it with its code. All at once, so that it costs microseconds."""

    def __init__(self, rpc: str) -> None:
        self._by_code = {code: _calls.labels(rpc, code.name) for code in grpc.StatusCode}
        self._seconds = _seconds.labels(rpc)
        self._in_flight = _in_flight.labels(rpc)
        _refusals.labels(rpc, Reason.INTERNAL)  # there from the start: an alarm shall see its first increase

    def begin(self) -> float:
        """Counts a call that arrived; answers what end() needs."""
        self._in_flight.inc()
        return time.perf_counter()

    def end(self, began: float, code: grpc.StatusCode) -> None:
        """Counts a call that ended."""
        self._seconds.observe(time.perf_counter() - began)
        self._by_code[code].inc()
        self._in_flight.dec()


def count_refusal(rpc: str, reason: Reason) -> None:
    """Counts a refusal of a call, or of an item of a batch."""
    _refusals.labels(rpc, reason).inc()
