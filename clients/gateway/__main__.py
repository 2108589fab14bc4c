"""`python -m clients.gateway`: serves HTTP until SIGTERM or SIGINT, then drains within ten seconds."""

import argparse
import asyncio
import signal
import sys

import uvloop
from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server
from prometheus_client import REGISTRY, disable_created_metrics
from starlette.middleware.cors import CORSMiddleware

from antrian.logs import log_to_stderr
from antrian.metrics_port import metrics_served
from antrian.process import forbid_core_dumps
from antrian.settings import SettingsError, read_certificates
from clients.gateway.app import Gateway
from clients.gateway.connections import most_connections, tend_connections
from clients.gateway.requests import BODY_LIMIT
from clients.gateway.settings import GatewaySettings, load_gateway_settings
from clients.gateway.upstream import Upstream

disable_created_metrics()

_HEADERS_WITHIN_MS, _HEADERS_LIMIT = 10_000, 32 * 1024
_STREAMS = 100
_STREAMS_END_WITHIN = 1.0
_GRACE = 8.0
_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Device-Key",
    "X-Request-Id",
    "Accept-Language",
    "If-None-Match",
]
_RESPONSE_HEADERS = ["ETag", "Retry-After", "X-Request-Id"]


async def serve(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT."""
    connections = most_connections(settings.most_requests)
    upstream = Upstream(
        settings.target, settings.batch_window, read_certificates(settings.ca_file) if settings.ca_file else None
    )
    gateway = Gateway(settings, upstream)
    app = CORSMiddleware(
        gateway,  # type: ignore[arg-type]  # starlette's Scope is a MutableMapping
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=600,
    )
    host, _, port = settings.listen.rpartition(":")
    server = Server(
        app if settings.cors_origins else gateway,
        host.strip("[]"),
        int(port),
        interface=Interfaces.ASGINL,
        backlog=2048,
        # Granian makes connections above this wait. The gateway's own limit is lower, and refuses requests with an error.
        backpressure=connections,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_WITHIN_MS, max_buffer_size=_HEADERS_LIMIT),
        http2_settings=HTTP2Settings(
            max_headers_size=_HEADERS_LIMIT,
            max_concurrent_streams=_STREAMS,
            # What a client may send ahead of our reading, in all and for one request.
            initial_connection_window_size=2 * BODY_LIMIT,
            initial_stream_window_size=BODY_LIMIT,
        ),
        log_enabled=False,
    )
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = loop.create_task(server.serve())
    stopping = loop.create_task(stop.wait())
    tending = loop.create_task(tend_connections(int(port), connections))
    await asyncio.wait([serving, stopping, tending], return_when=asyncio.FIRST_COMPLETED)
    gateway.draining.set()
    await asyncio.wait([serving], timeout=_STREAMS_END_WITHIN)  # load balancers read /readyz, event streams end
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([serving], timeout=_GRACE)
    await upstream.close()
    for task in (serving, tending):
        if task.done():
            task.result()
    tending.cancel()


def main() -> int:
    """Serves until a signal. Returns exit code 2 for invalid settings, 1 if a port cannot be opened."""
    argparse.ArgumentParser(
        "python -m clients.gateway", description="Serve HTTP. Settings come from ANTRIAN_GATEWAY_* in the environment."
    ).parse_args()
    forbid_core_dumps()
    try:
        settings = load_gateway_settings()
        log_to_stderr(settings.log_level)
        with metrics_served(settings.metrics_listen, REGISTRY):
            uvloop.run(serve(settings))
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
