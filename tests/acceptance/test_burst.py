"""Many calls at the same moment, as when a window opens: none is dropped without a response."""

import asyncio
import os
import socket
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from antrian.local.stack import Stack
from antrian.v1.booking_service_pb2 import GetQuotaRequest, WatchBookingRequest
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from clients.sdk.calls import RefusedError
from tests.acceptance.person import PUSAT
from tests.support.waiting import until

if TYPE_CHECKING:
    from antrian.v1.booking_service_pb2_grpc import BookingServiceAsyncStub

_CALLS = 3000
Stubs = list["BookingServiceAsyncStub"]


@pytest.fixture(params=[1, 4], ids=["one channel", "four channels"])
async def stubs(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Stubs]:
    """Stubs on separate, established connections."""
    async with AsyncExitStack() as undo:
        apart = [("grpc.use_local_subchannel_pool", 1)]
        made = [grpc.aio.insecure_channel(stack.address, options=apart) for _ in range(request.param)]
        for channel in made:
            await undo.enter_async_context(channel)
            await channel.channel_ready()
        yield [BookingServiceStub(channel) for channel in made]


async def _responses(calls: Iterable[Awaitable[Any]]) -> dict[str, int]:
    """Counts the calls by outcome: OK, the reason of a refusal, or a gRPC code where the refusal has no reason."""

    async def outcome_of_call(call: Awaitable[Any]) -> str:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return RefusedError.of_error(error).reason
        return "OK"

    begun = list(calls)  # all of them before any is awaited
    return Counter(await asyncio.gather(*map(outcome_of_call, begun)))


@pytest.fixture
async def small(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a second server, which accepts a hundred concurrent calls."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    own = {"LISTEN": address, "MOST_CALLS": "100", "READY_FILE": str(tmp_path / "ready"), "METRICS_LISTEN": ""}
    environment = os.environ | stack.environment | {f"ANTRIAN_{name}": value for name, value in own.items()}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "server", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until((tmp_path / "ready").exists)
        yield address
    finally:
        program.terminate()
        await program.wait()


async def test_every_unary_call_of_a_burst_is_answered(stubs: Stubs) -> None:
    asked = GetQuotaRequest(office_id=PUSAT)
    calls = (stubs[n % len(stubs)].GetQuota(asked, timeout=60) for n in range(_CALLS))
    assert await _responses(calls) == {"OK": _CALLS}


async def test_every_stream_of_a_burst_is_answered(stubs: Stubs) -> None:
    asked = WatchBookingRequest(booking_id=str(uuid.uuid4()), account="nobody")
    calls = (stubs[n % len(stubs)].WatchBooking(asked, timeout=60).read() for n in range(_CALLS))
    assert await _responses(calls) == {"BOOKING_NOT_FOUND": _CALLS}


async def test_calls_over_the_limit_in_a_burst_are_refused_with_server_busy(small: str) -> None:
    async with grpc.aio.insecure_channel(small) as channel:
        await channel.channel_ready()
        stub, asked = BookingServiceStub(channel), GetQuotaRequest(office_id=PUSAT)
        told = await _responses(stub.GetQuota(asked, timeout=60) for _ in range(_CALLS))
    assert told.keys() <= {"OK", "SERVER_BUSY"}, told
    assert told["OK"] >= 100
