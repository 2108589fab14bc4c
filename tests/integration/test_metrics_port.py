"""Half requests on the metrics port neither pile up nor keep Prometheus out."""

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from antrian import metrics_port
from antrian.metrics_port import metrics_served
from tests.support.waiting import until

_HALF = b"GET /metrics HTTP/1.1\r\nHost: "
_ATTACKER = "127.0.0.2"


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with one metric."""
    registry = CollectorRegistry()
    Counter("bookings", "Bookings.", registry=registry).inc()
    return registry


@pytest.fixture
def listen(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves the registry with a tenth of the usual time for a connection."""
    monkeypatch.setattr(metrics_port, "_WITHIN", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with metrics_served(address, registry):
        yield address


def attack(listen: str, undo: ExitStack, times: int) -> list[socket.socket]:
    """Opens connections of one address, each with half a request."""
    host, _, port = listen.rpartition(":")
    opened = []
    for _ in range(times):
        one = socket.create_connection((host, int(port)), timeout=20, source_address=(_ATTACKER, 0))
        opened.append(undo.enter_context(one))
        one.sendall(_HALF)
    return opened


def is_read(listen: str) -> bool:
    """Whether Prometheus can read the metrics."""
    with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as response:
        return b"bookings_total 1.0" in response.read()


async def test_half_requests_take_few_threads_and_do_not_keep_prometheus_out(listen: str) -> None:
    before = threading.active_count()
    with ExitStack() as undo:
        attack(listen, undo, 100)
        assert is_read(listen)
        await until(lambda: threading.active_count() <= before + metrics_port._MOST)
        assert is_read(listen)


def test_half_requests_are_ended(listen: str) -> None:
    with ExitStack() as undo:
        for one in attack(listen, undo, metrics_port._MOST):
            assert one.recv(1) == b""
    assert is_read(listen)


async def test_the_attack_does_take_a_thread_for_each_half_request_elsewhere(registry: CollectorRegistry) -> None:
    before = threading.active_count()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        with ExitStack() as undo:
            attack(f"127.0.0.1:{server.server_port}", undo, 40)
            await until(lambda: threading.active_count() >= before + 40)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    await until(lambda: threading.active_count() <= before)
