"""Everything has a bound (P12): a caller that is too fast is told so, at once and for certain."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from antrian.stack import Stack
from clients.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack

CALLERS = """
[[caller]]
name = "phone"
role = "gateway"
token_sha256 = "{phone}"

[[caller]]
name = "slow"
role = "gateway"
token_sha256 = "{slow}"
requests_per_second = 5
"""


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with a caller that may ask five times a second."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    file.write_text(CALLERS.format(**{name: hashlib.sha256(name.encode()).hexdigest() for name in ("phone", "slow")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1))


@pytest.fixture
async def phone(paced: Stack) -> AsyncIterator[BookingClient]:
    """A caller without a limit, who does not try again."""
    async with BookingClient(paced.address, token="phone", patience=timedelta(0), english=True) as client:
        yield client


async def test_a_caller_that_is_too_fast_is_told_when_to_come_and_others_are_not_held_up(
    paced: Stack, phone: BookingClient
) -> None:
    async with BookingClient(paced.address, token="slow", patience=timedelta(0), english=True) as slow:
        answers = await asyncio.gather(*(slow.get_quota("kanim-bogor") for _ in range(100)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert 50 < len(refused) <= 90
    assert {error.code for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {error.message for error in refused} == {"More than 5 requests a second; not accepted. Slow down."}
    assert all(error.retry_after and error.retry_after < timedelta(seconds=1) for error in refused)
    await phone.get_quota("kanim-bogor")


async def test_liveness_is_a_name_of_its_own(paced: Stack) -> None:
    async with grpc.aio.insecure_channel(paced.address) as channel:
        health = HealthStub(channel)
        for name in ("", "antrian.v1.BookingService", "antrian.liveness"):
            answer = await health.Check(HealthCheckRequest(service=name), timeout=5)
            assert answer.status == HealthCheckResponse.SERVING
