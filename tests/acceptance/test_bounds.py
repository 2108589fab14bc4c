"""Everything is bounded (P12): a caller over its limit is refused at once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.local.stack import Stack
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import Crowd

SHARE = 400
"""How many calls one caller may hold."""
CALLERS = """
[[caller]]
name = "phone"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{phone}"

[[caller]]
name = "other"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{other}"

[[caller]]
name = "slow"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{slow}"
requests_per_second = 5

[[caller]]
name = "batching"
role = "gateway"
token_sha256 = "{batching}"
requests_per_second = 5
"""


QUOTA = "/antrian.v1.BookingService/GetQuota"


async def unfinished(channel: grpc.aio.Channel, path: str, token: str) -> Any:
    """The response to a call whose message never arrives."""
    call: Any = channel.stream_unary(path)
    return await call(timeout=20, metadata=[("authorization", f"Bearer {token}")])


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with few concurrent calls, and a caller that is limited to five calls a second."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    file.write_text(
        CALLERS.format(
            **{name: hashlib.sha256(name.encode()).hexdigest() for name in ("phone", "other", "slow", "batching")}
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        patch.setenv("ANTRIAN_MOST_CALLS", str(2 * SHARE))
        return start_stack(opens + timedelta(minutes=1))


@pytest.fixture
async def phone(paced: Stack) -> AsyncIterator[BookingClient]:
    """A caller without a rate limit, which does not retry."""
    async with BookingClient(paced.address, token="phone", patience=timedelta(0), english=True) as client:
        yield client


async def test_a_caller_over_its_rate_gets_a_retry_delay_and_others_are_not_slowed(
    paced: Stack, phone: BookingClient
) -> None:
    async with BookingClient(paced.address, token="slow", patience=timedelta(0), english=True) as slow:
        responses = await asyncio.gather(*(slow.get_quota("kanim-bogor") for _ in range(100)), return_exceptions=True)
    refused = [response for response in responses if isinstance(response, RefusedError)]
    assert 50 < len(refused) <= 90
    assert {error.code for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {error.message for error in refused} == {
        "This app sent more than 5 requests per second; the request was not accepted. Try again in a moment."
    }
    assert all(error.retry_after and error.retry_after < timedelta(seconds=1) for error in refused)
    await phone.get_quota("kanim-bogor")


async def test_each_request_of_a_batch_counts_against_the_rate(paced: Stack, crowd: Crowd) -> None:
    async with BookingClient(paced.address, token="batching", patience=timedelta(0)) as batching:
        await batching.send_batch([crowd.request() for _ in range(60)])
        with pytest.raises(RefusedError) as caught:
            await batching.get_quota("kanim-bogor")
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.retry_after
    assert caught.value.retry_after > timedelta(seconds=5)  # fifty more than the ten that it may send at once


async def test_a_caller_at_its_concurrency_limit_is_refused_and_others_are_served(
    paced: Stack, phone: BookingClient
) -> None:
    """The messages of its calls never arrive. It needs several connections, as one would not carry that many calls."""

    def hold() -> asyncio.Task[Any]:
        return asyncio.create_task(unfinished(phone.channel, QUOTA, "phone"))

    async def ask_on() -> None:
        while True:
            await phone.get_quota("kanim-bogor")
            for n, call in enumerate(held):
                if call.done():  # it came when a question of ours had the last place
                    assert isinstance(call.exception(), grpc.aio.AioRpcError)
                    held[n] = hold()

    held = [hold() for _ in range(SHARE)]
    with pytest.raises(RefusedError) as caught:
        await asyncio.wait_for(ask_on(), 10)
    assert (caught.value.reason, caught.value.metadata) == ("CALLER_BUSY", {"limit": str(SHARE)})
    assert caught.value.retry_after
    assert not caught.value.uncertain
    async with BookingClient(paced.address, token="other", patience=timedelta(0)) as other:
        await other.get_quota("kanim-bogor")
    for call in held:
        call.cancel()
    async with BookingClient(paced.address, token="phone") as patient:
        await patient.get_quota("kanim-bogor")


async def test_a_call_without_a_token_is_refused_before_its_message_arrives(phone: BookingClient) -> None:
    for path in (QUOTA, "/antrian.v1.BookingService/WatchBooking"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unfinished(phone.channel, path, "nobody")
        assert RefusedError.of_error(caught.value).reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("rpc", ["Check", "Watch"])
async def test_concurrent_health_checks_are_limited_per_address(phone: BookingClient, rpc: str) -> None:
    path = f"/grpc.health.v1.Health/{rpc}"
    held = [asyncio.create_task(unfinished(phone.channel, path, "")) for _ in range(101)]
    refused = next(asyncio.as_completed(held))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refused
    assert RefusedError.of_error(caught.value).reason == "CALLER_BUSY"
    for call in held:
        call.cancel()
    await phone.get_quota("kanim-bogor")


async def test_liveness_is_a_health_service_name_of_its_own(paced: Stack) -> None:
    async with grpc.aio.insecure_channel(paced.address) as channel:
        health = HealthStub(channel)
        for name in ("", "antrian.v1.BookingService", "antrian.liveness"):
            response = await health.Check(HealthCheckRequest(service=name), timeout=5)
            assert response.status == HealthCheckResponse.SERVING
