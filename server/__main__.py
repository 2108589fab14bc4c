"""`python -m server`: answers calls until SIGTERM or SIGINT, then drains within ten seconds."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2
from prometheus_client import REGISTRY

from antrian.batching import MESSAGE_LIMIT
from antrian.identity import Keys
from antrian.lane.config_check import UnsupportedRedisError
from antrian.lane.producer import LaneProducer
from antrian.ledger.reader import LedgerReader
from antrian.ledger.staff import LedgerStaff
from antrian.logs import log_to_stderr
from antrian.policy import PolicyError, load_policy
from antrian.process import freeze_heap, metrics_served, raise_descriptor_limit
from antrian.settings import Settings, SettingsError, load_settings
from antrian.v1 import booking_service_pb2, office_service_pb2
from server.auth import Callers, CallersFileError
from server.booking_reader import Bookings
from server.booking_service import BookingService
from server.commands import LaneCommands
from server.grpc_server import Handlers, make_server
from server.limits import ConcurrencyLimiter
from server.middleware import Middleware
from server.names import Names
from server.office_cache import Catalog
from server.office_service import OfficeService
from server.public_services import Strangers
from server.validation import Admission

LIVENESS = "antrian.liveness"
"""The name under which the health service says whether the process is well, whatever its stores do."""

STREAMS = 200
"""Calls and streams at once on one connection; clients with more make more connections (docs/callers.md)."""

_GRACE = 8.0
_BURST = 25_000
_BOOKING_SERVICE = booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"]
_OFFICE_SERVICE = office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"]


async def serve(settings: Settings) -> None:
    """Serves until a signal comes. The health service says SERVING while both stores answer, and LIVENESS as long as we run."""
    policy, callers = load_policy(settings.policy_file), Callers(settings.callers_file)
    producer = LaneProducer(
        settings.redis_url,
        lane_bound=policy.lane_bound,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        remembered=policy.remembered,
        batch_window=settings.batch_window,
    )
    ledger, staff = (
        LedgerReader(settings.database_url, batch_window=settings.batch_window),
        LedgerStaff(settings.database_url),
    )
    keys, commands = Keys(settings.hash_key, settings.encryption_key), LaneCommands(producer)
    catalog = Catalog(policy, producer, ledger, keys)
    most = settings.most_calls
    each = most // 2 if settings.callers_file else most  # without a file everybody is one caller
    bookings = Bookings(catalog, producer, ledger, keys, watching=ConcurrencyLimiter(most * 4 // 5, each * 4 // 5))
    admission, names = Admission(catalog, keys), Names(catalog, staff, keys)
    booking_service, office_service = (
        BookingService(catalog, producer, admission, bookings, commands, names),
        OfficeService(catalog, producer, staff, keys, commands, names),
    )

    health_servicer, strangers, middleware = (
        health.aio.HealthServicer(),
        Strangers(most),
        Middleware(callers, ConcurrencyLimiter(most, each)),
    )
    handlers = [
        middleware.handlers(_BOOKING_SERVICE, booking_service),
        middleware.handlers(_OFFICE_SERVICE, office_service),
        strangers.health(health_servicer),
    ]
    if settings.reflection or settings.embedded:
        handlers += strangers.reflection(_BOOKING_SERVICE.full_name, _OFFICE_SERVICE.full_name, health.SERVICE_NAME)
    server = _make_server(handlers, most)
    statuses = health_pb2.HealthCheckResponse

    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def changed(ready: bool) -> None:
        status = statuses.SERVING if ready else statuses.NOT_SERVING
        for name in ("", _BOOKING_SERVICE.full_name, _OFFICE_SERVICE.full_name):
            task = loop.create_task(health_servicer.set(name, status))
            pending.add(task)
            task.add_done_callback(pending.discard)
        if ready and settings.ready_file:
            settings.ready_file.write_text(settings.listen)

    changed(False)
    await health_servicer.set(LIVENESS, statuses.SERVING)
    await producer.start()
    await ledger.start()
    await staff.start()
    _listen(server, settings)
    freeze_heap()
    await server.start()
    freshener = loop.create_task(catalog.keep_fresh(changed))

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A server that no longer follows its stores, or that gRPC has ended, must not go on as if it did.
    serving = loop.create_task(server.wait_for_termination())
    for task in (freshener, serving):
        task.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await health_servicer.enter_graceful_shutdown()
    freshener.cancel()
    await server.stop(_GRACE)
    await producer.close()
    await ledger.close()
    await staff.close()
    await asyncio.wait([freshener], timeout=1)
    if freshener.done() and not freshener.cancelled():
        freshener.result()
    await serving


def _make_server(handlers: Sequence[Handlers], most: int) -> grpc.aio.Server:
    burst = max(most, _BURST)  # a server that takes on few has to tell just as many so
    options = [
        # One byte more than we take would cut the clear answer that the gate gives.
        ("grpc.max_receive_message_length", 8 * MESSAGE_LIMIT),
        # Two servers on one port by mistake would share its calls.
        ("grpc.so_reuseport", 0),
        # Streams of callers that are gone without a word end after these two; callers may ask us every 5 s whether we live.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        # A connection that nobody uses costs a descriptor; clients make another when they need one.
        ("grpc.max_connection_idle_ms", 120_000),
        # Else two connections fill a server with calls that are reset at once, faster than any can be refused.
        ("grpc.max_concurrent_streams", STREAMS),
        # Calls that the client knows to have ended count until we are through with them, too: without room for these,
        # gRPC refuses calls of a burst that keeps to the limit.
        ("grpc.http2.max_deallocating_streams", 2 * STREAMS),
        # gRPC would drop calls of a burst beyond 1,000, at random and without a word, before they come to the gate.
        ("grpc.server.max_pending_requests", burst),
        ("grpc.server.max_pending_requests_hard_limit", 2 * burst),
    ]
    # The gate refuses with a clear answer long before 2 * burst; this holds what never comes that far.
    return make_server(handlers, 2 * burst, options)


def _listen(server: grpc.aio.Server, settings: Settings) -> None:
    if settings.tls_cert_file and settings.tls_key_file:
        pair = (settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())
        server.add_secure_port(settings.listen, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(settings.listen)


def main() -> int:
    """Runs until a signal comes; exits 2 when the settings or Redis's are wrong, 1 when a port cannot be had."""
    argparse.ArgumentParser(
        "python -m server", description="Answer gRPC calls. Settings come from ANTRIAN_* in the environment."
    ).parse_args()
    try:
        settings = load_settings()
        log_to_stderr(settings.log_level)
        raise_descriptor_limit("ANTRIAN_MOST_CALLS", settings.most_calls)
        with metrics_served(settings.metrics_listen, REGISTRY):
            uvloop.run(serve(settings))
    except (SettingsError, PolicyError, CallersFileError, UnsupportedRedisError) as error:
        print(f"server: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:  # OSError: the ready file
        print(f"server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
