"""Callers by a file of bearer tokens: who they are, what they may, and that nobody else sees their bookings."""

import hashlib
from datetime import datetime, timedelta

import pytest

from antrian.stack import Stack
from clients.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import Crowd

CALLERS = """
[[caller]]
name = "{name}"
role = "{role}"
token_sha256 = "{hash}"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian that knows three callers; each one's token is its name."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    text = [
        CALLERS.format(name=name, role=role, hash=hashlib.sha256(name.encode()).hexdigest())
        for name, role in (("phone", "gateway"), ("web", "gateway"), ("ministry", "internal"))
    ]
    file.write_text("".join(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1))


async def refusal(stack: Stack, token: str, crowd: Crowd, **changes: object) -> str:
    async with BookingClient(stack.address, token=token, patience=timedelta(seconds=10)) as client:
        with pytest.raises(RefusedError) as caught:
            await client.send(crowd.request(**changes))
    return caught.value.reason


async def test_without_a_token_or_with_a_wrong_one_nobody_is_served(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "", crowd) == "UNAUTHENTICATED"
    assert await refusal(guarded, "phone2", crowd) == "UNAUTHENTICATED"


async def test_a_gateway_does_not_vouch_for_a_province_and_an_internal_system_does(
    guarded: Stack, crowd: Crowd
) -> None:
    assert await refusal(guarded, "phone", crowd, province_code="ID-JK") == "LOCATION_REQUIRED"
    async with BookingClient(guarded.address, token="ministry") as client:
        assert (await client.send(crowd.request(province_code="ID-JK"))).ticket > 0


async def test_callers_have_request_ids_and_bookings_of_their_own(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    other = crowd.request(request_id=request.request_id, account=request.account)
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="web") as web,
    ):
        first, second = await phone.send(request), await web.send(other)
        assert first.booking_id != second.booking_id
        assert (await phone.get_booking(first.booking_id, request.account)).ticket == first.ticket
        with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
            await web.get_booking(first.booking_id, request.account)
