"""The server's metrics: calls, their duration, and refusals. docs/metrics.md explains each.

The labels `service` and `rpc` split a gRPC path as gRPC's own exporters do: two services may have an rpc of the same name.
"""

import time

import grpc
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from antrian.errors import Reason

disable_created_metrics()  # otherwise each series appears twice

# Up to a minute: GetBooking may wait that long, WatchBooking longer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_LABELS = ["service", "rpc"]
_calls = Counter("antrian_rpc_calls", "Calls that ended, by rpc and gRPC code.", [*_LABELS, "code"])
_seconds = Histogram("antrian_rpc_seconds", "From a call's arrival to its end.", _LABELS, buckets=_BUCKETS)
_in_flight = Gauge("antrian_rpc_in_flight", "Calls in flight.", _LABELS)
_refusals = Counter(
    "antrian_refusals", "Refusals by rpc and ErrorReason, including those of a batch's items.", [*_LABELS, "reason"]
)
_denials = Counter(
    "antrian_denials", "Refusals because of who called, by caller and ErrorReason.", ["caller", "reason"]
)
_requests = Counter("antrian_caller_requests", "Requests by caller. Each request of a batch counts.", ["caller"])


class Calls:
    """The metrics of one rpc: begin() at a call's arrival, end() with its code. Looks all series up once, for speed."""

    def __init__(self, path: str) -> None:
        labels = _split(path)
        self._by_code = {code: _calls.labels(*labels, code.name) for code in grpc.StatusCode}
        self._seconds = _seconds.labels(*labels)
        self._in_flight = _in_flight.labels(*labels)
        _refusals.labels(*labels, Reason.INTERNAL)  # exists from the start, so that alerts see the first increase

    def begin(self) -> float:
        """Counts a call that arrived; returns the start time, for end()."""
        self._in_flight.inc()
        return time.perf_counter()

    def end(self, began: float, code: grpc.StatusCode) -> None:
        """Counts a call that ended."""
        self._seconds.observe(time.perf_counter() - began)
        self._by_code[code].inc()
        self._in_flight.dec()


def count_refusal(path: str, reason: Reason) -> None:
    """Counts a refusal of a call, or of one item of a batch. path: "/package.Service/Method"."""
    _refusals.labels(*_split(path), reason).inc()


def count_denial(caller: str, reason: Reason) -> None:
    """Counts a refusal because of who called."""
    _denials.labels(caller, reason).inc()


def count_requests(caller: str, requests: int) -> None:
    """Counts requests of a caller that are within its rate."""
    _requests.labels(caller).inc(requests)


def _split(path: str) -> tuple[str, str]:
    service, _, rpc = path.removeprefix("/").partition("/")
    return service, rpc
