"""A gateway with a low limit of file descriptors, and phones that connect and stay idle."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.acceptance.test_gateway import HTTP2_BEGINS
from tests.support.waiting import until

_FILES, _FEW = 256, 56
"""How many files it may have open, and how many connections that leaves."""
_HASTY = """
import resource, sys
from clients.gateway import __main__, connections
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {files}))
connections._EVERY, connections._SILENT, connections._QUIET = 0.1, 0.5, 1.5
sys.exit(__main__.main())
"""
_ASKS = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Gateway:
    """A running gateway with a hundredth of the usual timeouts."""

    port: int
    process: asyncio.subprocess.Process
    log: Path

    async def connect(self, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a connection and sends these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(said)
        return reader, writer

    def lines(self) -> list[dict[str, str]]:
        """Its log lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


async def start(folder: Path, files: int) -> Gateway:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", _HASTY.format(files=files), stderr=output,
            env=os.environ | {"ANTRIAN_GATEWAY_LISTEN": f"127.0.0.1:{port}", "ANTRIAN_METRICS_LISTEN": ""},
        )  # fmt: skip
    return Gateway(port, process, log)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway without a service behind it."""
    made = await start(tmp_path, _FILES)

    def responses() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", made.port)) == 0

    await until(responses)
    yield made
    made.process.terminate()
    await made.process.wait()


async def test_idle_connections_are_closed_to_make_room_when_descriptors_run_out(gateway: Gateway) -> None:
    idle = [await gateway.connect() for _ in range(_FILES + 50)]
    process = psutil.Process(gateway.process.pid)
    before = sum(process.cpu_times()[:2])
    reader, writer = await gateway.connect(_ASKS)
    async with asyncio.timeout(20):
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for silent, _ in idle:
            assert await silent.read() == b""
    assert sum(process.cpu_times()[:2]) - before < 1
    assert process.num_fds() < _FILES - _FEW
    told = [line["message"] for line in gateway.lines() if line["level"] == "WARNING"]
    assert "ANTRIAN_GATEWAY_MOST_REQUESTS is 10000" in told[0]
    assert f"all {_FEW} connections are in use; new ones wait" in told
    for _, one in (*idle, (reader, writer)):
        one.close()


@pytest.mark.parametrize("said", [b"", b"P", b"GET / HTT", HTTP2_BEGINS], ids=["nothing", "P", "GET", "HTTP/2"])
async def test_idle_connections_are_closed_and_active_ones_kept(gateway: Gateway, said: bytes) -> None:
    idle, its = await gateway.connect(said)
    reader, writer = await gateway.connect(_ASKS)
    ended = asyncio.create_task(idle.read())
    async with asyncio.timeout(10):
        while not ended.done():
            await asyncio.wait([ended], timeout=0.2)
            writer.write(_ASKS)
        for _ in range(4):
            assert await reader.readuntil(b'{"status":"ok"}')
    its.close()
    writer.close()


async def test_the_gateway_refuses_to_start_with_too_few_descriptors(tmp_path: Path) -> None:
    made = await start(tmp_path, 128)
    assert await asyncio.wait_for(made.process.wait(), 20) == 2
    assert made.log.read_text().splitlines()[-1].endswith("raise the limit (ulimit -n)")
