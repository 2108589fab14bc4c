"""Connections to a server end: those that say nothing, idle ones, and old ones with their streams."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest

from server import __main__ as server_program
from server.public_services import PublicServices
from tests.support.http2 import PREFACE, SETTINGS, frame


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server with health only, whose limits of time are some hundredths of ours."""
    for name, milliseconds in (("IDLE", 600), ("AGE", 1500), ("GRACE", 500)):
        monkeypatch.setattr(server_program, f"_CONNECTION_{name}_MS", milliseconds)
    monkeypatch.setattr(server_program, "_HANDSHAKE_MS", 500)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    server = server_program._make_server([PublicServices().health(health.aio.HealthServicer())], 100)
    server.add_insecure_port(listen)
    await server.start()
    yield listen
    await server.stop(None)


@pytest.mark.parametrize("said", [b"", b"PRI", PREFACE, PREFACE + frame(SETTINGS, 0, 0, b"")])
async def test_a_connection_without_calls_is_closed(address: str, said: bytes) -> None:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    async with asyncio.timeout(10):
        while await reader.read(1000):
            pass
    writer.close()


async def test_a_stream_does_not_keep_its_connection_for_good(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        stream = watch(HealthCheckRequest().SerializeToString())
        async with asyncio.timeout(10):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stream:
                    pass
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
