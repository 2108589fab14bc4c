"""antrian health asks a running server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from clients.cli.main import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="antrian")


@pytest.fixture
def health_of() -> Iterator[tuple[HealthServicer, str]]:
    """A server's health service, and where it is."""
    server, servicer = grpc.server(ThreadPoolExecutor(1)), HealthServicer()
    add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("service", "status", "told", "exit_code"),
    [
        ("antrian.v1.BookingService", "SERVING", "SERVING", 0),
        ("antrian.v1.BookingService", "NOT_SERVING", "NOT_SERVING", 1),
        ("", "SERVING", "NOT_FOUND", 1),  # another program's port
    ],
)
def test_health_exits_0_only_while_the_service_serves(
    health_of: tuple[HealthServicer, str], service: str, status: str, told: str, exit_code: int
) -> None:
    servicer, target = health_of
    servicer.set(service, HealthCheckResponse.ServingStatus.Value(status))
    result = run("health", "--target", target)
    assert (result.exit_code, told in result.output) == (exit_code, True)
    result = run("health", "--target", target, "--json")
    assert result.exit_code == exit_code
    assert json.loads(result.stdout) == {"target": target, "status": told}


def test_health_exits_1_without_a_server(tmp_path: Path) -> None:
    result = run("health", "--target", f"unix:{tmp_path}/nobody")
    assert result.exit_code == 1
    assert "UNAVAILABLE" in result.stderr
