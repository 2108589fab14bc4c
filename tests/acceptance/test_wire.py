"""Attacks on the gRPC port without a token: unfinished messages, large metadata, watches of health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.local.stack import Stack
from clients.sdk.booking_client import BookingClient
from tests.acceptance.conftest import StartStack
from tests.support.h2_flood import Flood
from tests.support.waiting import until

ATTACKER = "127.0.0.2"
PER_ADDRESS = 20
MIB = 2**20


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """An Antrian with one caller."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    token = sha256(b"mobile").hexdigest()
    file.write_text(
        f'[[caller]]\nname = "mobile"\nrole = "gateway"\nvouches_for = "accounts"\ntoken_sha256 = "{token}"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1))


@pytest.fixture
async def mobile(stack: Stack) -> AsyncIterator[BookingClient]:
    """A client with a token, which does not retry."""
    async with BookingClient(stack.address, token="mobile", patience=timedelta(0)) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/antrian.v1.BookingService/RequestBooking",
        "/antrian.v1.BookingService/BatchRequestBookings",
        "/antrian.v1.BookingService/WatchBooking",
        "/antrian.v1.OfficeService/ListBars",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/no.Service/Method",
    ],
)
@pytest.mark.parametrize("size", [2 * MIB, 256 * 1024])
async def test_unfinished_messages_without_a_token_take_little_memory(
    stack: Stack, mobile: BookingClient, path: str, size: int
) -> None:
    """It was 190 MiB for 100 messages of 2 MiB."""
    server = psutil.Process(stack.pids()["server"])
    before, flood = server.memory_info().rss, Flood(path, 100, size)
    await flood.run(stack.address, ATTACKER, 3)
    assert server.memory_info().rss - before < 48 * MIB
    assert flood.ended >= (100 if size > MIB else 100 - PER_ADDRESS)
    await mobile.get_quota("kanim-bogor")


@pytest.mark.parametrize("size", [20_000, 100_000])
async def test_metadata_above_16_kib_is_refused(stack: Stack, mobile: BookingClient, size: int) -> None:
    call: Any = mobile.channel.unary_unary("/antrian.v1.BookingService/GetQuota")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", metadata=[("authorization", "Bearer mobile"), ("x-filler", "x" * size)], timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await mobile.get_quota("kanim-bogor")


async def test_watches_of_one_address_keep_nobody_from_health(stack: Stack, mobile: BookingClient) -> None:
    path, request = "/grpc.health.v1.Health/Watch", HealthCheckRequest().SerializeToString()
    async with AsyncExitStack() as undo:
        channel = await undo.enter_async_context(grpc.aio.insecure_channel(stack.address))
        watches: list[Any] = [channel.unary_stream(path)(request) for _ in range(200)]
        ended = [asyncio.create_task(_end_of(watch)) for watch in watches]
        await until(lambda: sum(task.done() for task in ended) >= 200 - PER_ADDRESS)
        assert {task.result() for task in ended if task.done()} == {grpc.StatusCode.UNAVAILABLE}
        health = HealthStub(await undo.enter_async_context(grpc.aio.insecure_channel(stack.address)))
        response = await health.Check(HealthCheckRequest(), timeout=5)
        assert response.status == HealthCheckResponse.SERVING
        await mobile.get_quota("kanim-bogor")


async def _end_of(watch: Any) -> grpc.StatusCode:
    """The code with which a stream ends."""
    try:
        async for _ in watch:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
