"""`python -m server`: serves until SIGTERM or SIGINT, then finishes the calls in flight within ten seconds."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import grpc
import uvloop
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from prometheus_client import REGISTRY

from antrian.batching import MESSAGE_LIMIT
from antrian.callers_file import CallersFileError
from antrian.identity import Keys
from antrian.lane.config_check import UnsupportedRedisError
from antrian.lane.producer import LaneProducer
from antrian.ledger.reader import LedgerReader
from antrian.ledger.staff import LedgerStaff
from antrian.logs import log_to_stderr
from antrian.metrics_port import metrics_served
from antrian.policy import PolicyError, load_policy
from antrian.process import freeze_heap, hide_memory, raise_descriptor_limit
from antrian.settings import Settings, SettingsError, load_settings
from antrian.v1 import booking_service_pb2, office_service_pb2
from server.auth import Callers
from server.booking_reader import Bookings
from server.booking_service import LARGEST_BATCH, BookingService
from server.commands import LaneCommands
from server.grpc_server import Handlers, make_server
from server.limits import BatchQueue, ConcurrencyLimiter
from server.middleware import Middleware
from server.names import Names
from server.office_cache import Catalog
from server.office_service import OfficeService
from server.public_services import PublicServices
from server.tls import Certificates
from server.validation import Admission

LIVENESS = "antrian.liveness"
"""The health service's name for the process itself, regardless of its stores."""

STREAMS = 200
"""Concurrent calls and streams per connection. Clients that need more open more connections (docs/callers.md)."""

_CLEARLY_REFUSED, _METADATA_LIMIT = 64 * 1024, 16 * 1024
_CONNECTION_IDLE_MS, _HANDSHAKE_MS = 120_000, 10_000
_CONNECTION_AGE_MS, _CONNECTION_GRACE_MS = 30 * 60_000, 10 * 60_000
_GRACE = 8.0
_BURST = 25_000
_BOOKING_SERVICE = booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"]
_OFFICE_SERVICE = office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"]


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT.

    The health service reports SERVING while both stores respond, and LIVENESS as SERVING for as long as the process runs.
    """
    loop = asyncio.get_running_loop()
    policy, keys = load_policy(settings.policy_file), settings.make_keys("public_key")
    producer = LaneProducer(
        settings.redis_url,
        lane_bound=policy.lane_bound,
        account_people=policy.account_people,
        tried_people=policy.tried_people,
        limits=policy.limits,
        remembered=policy.remembered,
        batch_window=settings.batch_window,
        replicas=settings.replicas,
    )
    ledger = LedgerReader(settings.database_url, batch_window=settings.batch_window)
    staff = LedgerStaff(settings.database_url)
    catalog, health_servicer = Catalog(policy, producer, ledger, keys), health.aio.HealthServicer()
    callers = Callers(settings.callers_file)
    handlers = _make_handlers(settings, callers, catalog, producer, ledger, staff, keys, health_servicer)
    server, readiness = _make_server(handlers, settings.most_calls), _Readiness(health_servicer, settings)

    readiness.report(False)
    await health_servicer.set(LIVENESS, HealthCheckResponse.SERVING)
    for store in (producer, ledger, staff):
        await store.start()
    _listen(server, settings)
    freeze_heap()
    await server.start()
    refreshers = [loop.create_task(catalog.keep_fresh(readiness.report)), loop.create_task(callers.keep_fresh())]

    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, callers.reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The process must not outlive the tasks that follow the stores and the callers file, nor the gRPC server.
    serving = loop.create_task(server.wait_for_termination())
    for task in (*refreshers, serving):
        task.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await health_servicer.enter_graceful_shutdown()
    for task in refreshers:
        task.cancel()
    await server.stop(_GRACE)
    for store in (producer, ledger, staff):
        await store.close()
    ended, _ = await asyncio.wait(refreshers, timeout=1)
    for task in ended:
        if not task.cancelled():
            task.result()
    await serving


class _Readiness:
    """Reports to the health service whether the server can serve, and writes the ready file when it can."""

    def __init__(self, health_servicer: health.aio.HealthServicer, settings: Settings) -> None:
        self._health, self._settings = health_servicer, settings
        self._tasks = set[asyncio.Task[None]]()  # the event loop has only weak references

    def report(self, ready: bool) -> None:
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        for name in ("", _BOOKING_SERVICE.full_name, _OFFICE_SERVICE.full_name):
            task = asyncio.get_running_loop().create_task(self._health.set(name, status))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if ready and self._settings.ready_file:
            self._settings.ready_file.write_text(self._settings.listen)


def _make_handlers(
    settings: Settings,
    callers: Callers,
    catalog: Catalog,
    producer: LaneProducer,
    ledger: LedgerReader,
    staff: LedgerStaff,
    keys: Keys,
    health_servicer: health.aio.HealthServicer,
) -> list[Handlers]:
    limit = settings.most_calls
    per_caller = limit // 2 if settings.callers_file else limit  # without a callers file, all calls have one caller
    middleware = Middleware(callers, ConcurrencyLimiter(limit, per_caller))
    bookings = Bookings(
        catalog, producer, ledger, keys, watching=ConcurrencyLimiter(limit * 4 // 5, per_caller * 4 // 5)
    )
    commands, names = LaneCommands(producer), Names(catalog, staff, keys)
    # Two large batches, so that one is checked while another waits for the stores. A single caller need not be fair.
    batches = BatchQueue(2 * LARGEST_BATCH if settings.callers_file else None)
    booking_service = BookingService(catalog, producer, Admission(catalog, keys), bookings, commands, names, batches)
    office_service = OfficeService(catalog, producer, staff, keys, commands, names)
    public = PublicServices()
    without = () if keys.private_keys else ("CorrectName",)  # it compares the new name with the old one
    handlers = [
        middleware.handlers(_BOOKING_SERVICE, booking_service, without=without),
        *[middleware.handlers(_OFFICE_SERVICE, office_service)] * bool(keys.private_keys),
        public.health(health_servicer),
    ]
    if settings.reflection or settings.embedded:
        handlers += public.reflection(_BOOKING_SERVICE.full_name, _OFFICE_SERVICE.full_name, health.SERVICE_NAME)
    return handlers


def _make_server(handlers: Sequence[Handlers], limit: int) -> grpc.aio.Server:
    burst = max(limit, _BURST)  # a server with a low limit must refuse just as many calls
    options = [
        # A little above the middleware's limit, so that the middleware can refuse most larger messages with a clear error.
        ("grpc.max_receive_message_length", MESSAGE_LIMIT + _CLEARLY_REFUSED),
        # The size of a call's metadata above which gRPC refuses it.
        ("grpc.max_metadata_size", _METADATA_LIMIT),
        ("grpc.absolute_max_metadata_size", _METADATA_LIMIT),
        # Without this, two servers started on one port by mistake would share its calls.
        ("grpc.so_reuseport", 0),
        # Pings end the streams of clients that vanished. Clients may ping every 5 s.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        # An idle connection costs a file descriptor, and clients reconnect when they need to.
        ("grpc.max_connection_idle_ms", _CONNECTION_IDLE_MS),
        # Clients reconnect without an error, unless a stream lasts longer than the grace. So no connection stays for good.
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
        # Within this time, a client must have shown that it speaks HTTP/2 (and TLS).
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # Otherwise two connections that reset their calls at once could fill a server faster than it can refuse them.
        ("grpc.max_concurrent_streams", STREAMS),
        # A call counts until the server is done with it, even if the client has seen its end. Without this allowance, gRPC
        # would refuse calls of a burst that respects the limit.
        ("grpc.http2.max_deallocating_streams", 2 * STREAMS),
        # By default, gRPC drops calls of a burst beyond 1,000 at random, without an error, before the middleware sees them.
        ("grpc.server.max_pending_requests", burst),
        ("grpc.server.max_pending_requests_hard_limit", 2 * burst),
    ]
    # The middleware refuses calls with a clear error long before 2 * burst; this bounds those that never reach it.
    return make_server(handlers, 2 * burst, options)


def _listen(server: grpc.aio.Server, settings: Settings) -> None:
    if settings.tls_cert_file and settings.tls_key_file:
        certificates = Certificates(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
        server.add_secure_port(settings.listen, certificates.credentials())
    else:
        server.add_insecure_port(settings.listen)


def main() -> int:
    """Serves until a signal. Returns 2 if the settings or Redis's configuration are invalid, 1 if a port is unavailable."""
    argparse.ArgumentParser(
        "python -m server", description="Serve gRPC calls. Settings come from ANTRIAN_* in the environment."
    ).parse_args()
    hide_memory()
    try:
        settings = load_settings()
        settings.check_callers_file()
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
