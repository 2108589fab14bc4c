"""The metrics of a gateway. docs/metrics.md explains each."""

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

requests = Counter("antrian_http_requests", "Requests that ended, by rpc and HTTP status.", ["rpc", "status"])
seconds = Histogram("antrian_http_seconds", "From a request's head to its answer's.", ["rpc"], buckets=_BUCKETS)
in_flight = Gauge("antrian_http_in_flight", "Requests and event streams that are being served.")
streams = Gauge("antrian_http_event_streams", "Event streams that are open.")
connections = Gauge("antrian_http_connections", "Connections of phones that are open; looked at every five seconds.")
