"""What strangers and brokers try, through the real programs: each attack must fail to get through."""

import asyncio
import hashlib
import uuid
from collections import Counter
from datetime import datetime, timedelta

import aiohttp
import pytest
from google.protobuf.json_format import MessageToDict

from antrian.local.stack import Stack
from antrian.v1.booking_service_pb2 import Origin, RequestBookingRequest
from antrian.v1.messages_pb2 import BOOKING_STATE_CANCELLED, Applicant
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd

_CALLER = '[[caller]]\nname = "{0}"\nrole = "{1}"\ntoken_sha256 = "{2}"\n'
_ADDRESS = "5.6.7.8"


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """An Antrian with a gateway behind one proxy. Its callers have their names as tokens."""
    callers = tmp_path_factory.mktemp("callers") / "callers.toml"
    callers.write_text(
        "".join(
            _CALLER.format(name, role, hashlib.sha256(name.encode()).hexdigest()) + more
            for name, role, more in (("app", "gateway", 'vouches_for = "accounts"\n'), ("ministry", "internal", ""))
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(callers))
        patch.setenv("ANTRIAN_GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8")
        return start_stack(opens + timedelta(minutes=1), gateway=True)


async def answer(client: BookingClient, message: RequestBookingRequest) -> tuple[str, str]:
    """What an account can see of the answer: the reason and the applicant, or JOINED."""
    try:
        await client.send(message)
    except RefusedError as error:
        return error.reason, error.metadata.get("field", "")
    return "JOINED", ""


async def test_an_account_at_its_limit_learns_nothing_about_a_nik(stack: Stack, crowd: Crowd) -> None:
    """The oracle of 26,880 tries: a full account asked for one NIK after the other, and nothing ever happened."""
    async with BookingClient(stack.address, token="app") as client:
        booked = crowd.people(20)
        for person in booked:
            await client.send(crowd.request(applicants=[person], service_date=crowd.dates[1].isoformat()))
        await client.send(crowd.request(account="spy", applicants=crowd.people(5)))
        known = {await answer(client, crowd.request(account="spy", applicants=[person])) for person in booked}
        free = {await answer(client, crowd.request(account="spy")) for _ in range(20)}
    assert known == free == {("ACCOUNT_LIMIT", "account")}


async def test_an_account_learns_of_fifteen_strangers_at_most(stack: Stack, crowd: Crowd) -> None:
    async with BookingClient(stack.address, token="app") as client:
        booked = crowd.people(20)
        for person in booked:
            await client.send(crowd.request(applicants=[person], service_date=crowd.dates[1].isoformat()))
        told = [await answer(client, crowd.request(account="curious", applicants=[person])) for person in booked]
        assert Counter(reason for reason, _ in told) == {"ALREADY_BOOKED": 15, "PEOPLE_LIMIT": 5}
        hidden = [await answer(client, crowd.request(account="curious")) for _ in range(3)]
        assert {reason for reason, _ in hidden} <= {"PEOPLE_LIMIT", "ACCOUNT_RATE_LIMITED"}, "free people look the same"
        party = [_copy(person) for person in booked[-4:]]
        assert (await answer(client, crowd.request(account="curious", applicants=party)))[0] != "ALREADY_BOOKED"


def _copy(person: Applicant) -> Applicant:
    return Applicant(nik=person.nik, full_name="Orang Lain")


async def test_a_phone_books_for_many_accounts_and_forges_where_it_is(stack: Stack, crowd: Crowd) -> None:
    """It names other devices in the body, and other addresses in front of the one that the proxy saw."""
    headers = {"Authorization": "Bearer app", "Accept-Language": "en", "X-Device-Key": f"phone-{crowd.seed}"}
    async with aiohttp.ClientSession(f"http://{stack.http_address}", headers=headers) as http:

        async def book(n: int) -> tuple[int, str, str]:
            body = MessageToDict(crowd.request(origin=Origin(device_key=f"forged-{n}", address=f"6.6.{n}.6")))
            forged = {"Idempotency-Key": body["requestId"], "X-Forwarded-For": f"6.6.{n}.6, {_ADDRESS}"}
            async with http.post("/v1/bookings", json=body, headers=forged) as response:
                error = (await response.json()).get("error", {})
                return response.status, error.get("reason", ""), response.headers.get("Retry-After", "")

        results = [await book(n) for n in range(30)]
        batch = {"requests": [MessageToDict(crowd.request(origin=Origin(device_key=f"b{n}"))) for n in range(30)]}
        async with http.post("/v1/bookings:batchRequest", json=batch) as response:
            joined = [result for result in (await response.json())["results"] if "booking" in result]
    assert Counter(result[:2] for result in results) == {(200, ""): 10, (429, "DEVICE_RATE_LIMITED"): 20}
    assert all(int(wait) > 60 for status, _, wait in results if status == 429)
    assert not joined, "a batch is no way around"


async def test_the_refusal_says_which_limit_it_is_and_when_to_try_again(stack: Stack, crowd: Crowd) -> None:
    origin = Origin(device_key=f"tablet-{crowd.seed}")
    async with BookingClient(stack.address, token="app", english=True) as client:
        await asyncio.gather(*(client.send(crowd.request(origin=origin)) for _ in range(10)))
        with pytest.raises(RefusedError) as caught:
            await client.send(crowd.request(origin=origin))
    assert (caught.value.reason, caught.value.metadata["field"]) == ("DEVICE_RATE_LIMITED", "origin.device_key")
    assert caught.value.metadata["limit"] == "10"
    assert caught.value.message.startswith("Too many bookings were requested from this device")
    assert caught.value.retry_after is not None
    assert timedelta(minutes=5) < caught.value.retry_after <= timedelta(minutes=6)


async def test_a_broker_cannot_hand_over_a_party_person_by_person(stack: Stack, crowd: Crowd) -> None:
    async with BookingClient(stack.address, token="app", english=True) as client:
        message = crowd.request(applicants=crowd.people(5), service_date=crowd.dates[2].isoformat())
        booking = await client.send(message)
        booking = await client.outcome(booking.booking_id, message.account)
        numbers = [*booking.queue_numbers]
        results = await asyncio.gather(
            *(client.cancel_person(booking.booking_id, message.account, number) for number in numbers),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, RefusedError)]
        assert [(error.reason, error.metadata["limit"]) for error in refused] == [("CANCELLED_PEOPLE_LIMIT", "2")] * 3
        after = await client.get_booking(booking.booking_id, message.account)
        assert len(after.queue_numbers) == 3
        again = await client.cancel_person(booking.booking_id, message.account, after.cancelled_queue_numbers[0])
        assert list(again.queue_numbers) == list(after.queue_numbers), "a repeat is no further change"
        assert (await client.cancel_booking(booking.booking_id, message.account)).state == BOOKING_STATE_CANCELLED


async def test_an_origin_counts_only_from_callers_that_act_for_citizens(stack: Stack, crowd: Crowd) -> None:
    """A counter of the ministry books for many people; nobody is limited since another caller names their device."""
    origin, sent = Origin(device_key=f"counter-{crowd.seed}", address="not an address"), []
    async with BookingClient(stack.address, token="ministry") as ministry:
        for _ in range(15):
            message = crowd.request(province_code="ID-JK", origin=origin, office_id=PUSAT, account=str(uuid.uuid4()))
            sent.append(await answer(ministry, message))
    assert set(sent) == {("JOINED", "")}
    async with BookingClient(stack.address, token="app") as client:
        good = Origin(device_key=origin.device_key)
        assert (await answer(client, crowd.request(origin=good)))[0] == "JOINED"
        assert await answer(client, crowd.request(origin=origin)) == ("INVALID_FIELD", "origin.address")
