"""The HTTP port from which Prometheus reads a program's metrics, with bounds on connections, threads and time."""

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

_MOST = 8
"""Connections at a time. Each has a thread, and a worker's metrics look at every lane."""
_WITHIN = 10.0
"""Seconds from a connection's start to its end, the default of Prometheus's own timeout."""
_log = logging.getLogger(__name__)


@contextmanager
def metrics_served(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serves the registry to Prometheus on host:port while the context is open; serves nothing if listen is empty.

    Serves at most eight connections at a time, each for at most ten seconds. A further one takes the place of the oldest one of
    the address that has the most, so that nobody can keep Prometheus out.

    Raises:
        RuntimeError: the port cannot be bound.
    """
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        http = _server(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise RuntimeError(f"metrics cannot be served on {listen}: {error}") from error
    http.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=http.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _server(host: str, port: int) -> "_Server":
    class Server(_Server):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]

    return Server((host, port), _Handler)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._began: dict[socket.socket, tuple[str, float]] = {}  # the oldest first
        self._serving = 0
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own, once there is room for it."""
        with self._lock:
            if len(self._began) >= _MOST:
                busiest, _ = Counter(address for address, _ in self._began.values()).most_common(1)[0]
                self._end(next(one for one, (address, _) in self._began.items() if address == busiest))
            # Threads of ended connections may still collect metrics.
            refused = self._serving >= 2 * _MOST
            if not refused:
                self._began[request] = client_address[0], time.monotonic()
                self._serving += 1
        if refused:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves the connection of this thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._began.pop(request, None)
                self._serving -= 1

    def service_actions(self) -> None:
        """Ends connections whose time is over. The server calls this twice a second."""
        with self._lock:
            for request, (_, began) in list(self._began.items()):
                if time.monotonic() - began > _WITHIN:
                    self._end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs as JSON that a client disconnected early. The default prints a traceback."""
        _log.warning("sending metrics failed", exc_info=True)

    def _end(self, request: socket.socket) -> None:
        """Wakes the thread of the connection, which closes it."""
        del self._began[request]
        with suppress(OSError):  # its client has disconnected
            request.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Logs no requests."""
