"""An enemy books a person's NIK. The person gets the place once a caller that may do so has verified the person."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import aiohttp
import pytest
from click.testing import CliRunner

from antrian.audit.verify import verify
from antrian.local.stack import Stack
from antrian.settings import Settings
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    STATUS_REASON_RECLAIMED,
    Applicant,
    Booking,
)
from clients.cli.main import main
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd

CALLERS = """
[[caller]]
name = "phone"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{phone}"
[[caller]]
name = "selfie"
role = "gateway"
vouches_for = "accounts"
token_sha256 = "{selfie}"
verifies_people = true
[[caller]]
name = "ministry"
role = "internal"
token_sha256 = "{ministry}"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with a gateway and three callers, each with its name as the token."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    names = ("phone", "selfie", "ministry")
    file.write_text(CALLERS.format_map({name: hashlib.sha256(name.encode()).hexdigest() for name in names}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1), gateway=True)


@pytest.fixture(autouse=True)
def _all_promises_hold_in_the_end(guarded: Stack) -> Iterator[None]:
    yield
    with pytest.MonkeyPatch.context() as patch:
        for name, value in guarded.environment.items():
            patch.setenv(name, value)
        assert [check for check in verify(Settings()) if check.violations] == []


def verified(person: Applicant) -> Applicant:
    return Applicant(nik=person.nik, full_name=person.full_name, verified=True)


def client_of(stack: Stack, token: str) -> BookingClient:
    return BookingClient(stack.address, token=token, english=True, patience=timedelta(seconds=20))


async def enemy_books(stack: Stack, crowd: Crowd, people: list[Applicant]) -> Booking:
    async with client_of(stack, "phone") as phone:
        request = crowd.request(account="enemy", applicants=people)
        return await phone.outcome((await phone.send(request)).booking_id, "enemy")


async def enemy_hears(stack: Stack, booking: Booking) -> Booking:
    async with client_of(stack, "phone") as phone:
        return await phone.get_booking(booking.booking_id, "enemy")


@pytest.mark.parametrize("caller", ["selfie", "ministry"])
async def test_a_verified_person_gets_the_place_that_an_enemy_took(guarded: Stack, crowd: Crowd, caller: str) -> None:
    me = crowd.person()
    stolen = await enemy_books(guarded, crowd, [me])
    async with client_of(guarded, caller) as client:
        with pytest.raises(RefusedError, match="ALREADY_BOOKED"):
            await client.send(crowd.request(applicants=[me]))
        mine = crowd.request(account="me", applicants=[verified(me)])
        booking = await client.outcome((await client.send(mine)).booking_id, "me")
        assert booking.state == BOOKING_STATE_CONFIRMED
        assert (await client.send(mine)).booking_id == booking.booking_id, "a repeat"
        with pytest.raises(RefusedError, match="ALREADY_BOOKED"):
            await client.send(crowd.request(account="twin", applicants=[verified(me)]))
    lost = await enemy_hears(guarded, stolen)
    assert (lost.state, lost.status_reason) == (BOOKING_STATE_CANCELLED, STATUS_REASON_RECLAIMED)
    assert lost.status_message_id.startswith("Salah seorang pemohon sudah diperiksa identitasnya")
    assert lost.status_message_en.startswith("One of the applicants, whose identity has been verified")


async def test_a_gateway_that_verifies_nobody_cannot_say_verified(guarded: Stack, crowd: Crowd) -> None:
    me = crowd.person()
    stolen = await enemy_books(guarded, crowd, [me])
    async with client_of(guarded, "phone") as phone:
        with pytest.raises(RefusedError) as refused:
            await phone.send(crowd.request(applicants=[crowd.person(), verified(me)]))
        [result] = await phone.send_batch([crowd.request(applicants=[verified(me)])])
    assert (refused.value.reason, refused.value.metadata["field"]) == ("VERIFIED_NOT_ALLOWED", "applicants[1].verified")
    assert isinstance(result, RefusedError)
    assert result.reason == "VERIFIED_NOT_ALLOWED"
    assert (await enemy_hears(guarded, stolen)).state == BOOKING_STATE_CONFIRMED


async def test_in_a_batch_each_verified_person_is_reclaimed_and_a_family_keeps_the_others(
    guarded: Stack, crowd: Crowd
) -> None:
    people = crowd.people(3)
    family = await enemy_books(guarded, crowd, people)
    requests = [crowd.request(account=f"me-{n}", applicants=[verified(people[n])]) for n in (0, 2)]
    async with client_of(guarded, "selfie") as client:
        for result in await client.send_batch([*requests, crowd.request()]):
            assert isinstance(result, Booking), result
    lost = await enemy_hears(guarded, family)
    assert (lost.state, lost.status_reason) == (BOOKING_STATE_CONFIRMED, STATUS_REASON_RECLAIMED)
    assert list(lost.queue_numbers) == [family.queue_numbers[1]]
    assert lost.code == family.code


async def test_over_http(guarded: Stack, crowd: Crowd) -> None:
    me = crowd.person()
    stolen = await enemy_books(guarded, crowd, [me])
    request = {
        "account": "me", "officeId": PUSAT,
        "serviceDate": crowd.dates[1].isoformat(), "session": "SESSION_MORNING",
        "applicants": [{"nik": me.nik, "fullName": me.full_name, "verified": True}],
        "location": {"latitude": -6.1862, "longitude": 106.8296, "accuracyM": 20},
    }  # fmt: skip
    for token, status in (("phone", 403), ("selfie", 200)):
        headers = {"authorization": f"Bearer {token}", "idempotency-key": str(uuid.uuid4())}
        async with (
            aiohttp.ClientSession(f"http://{guarded.http_address}", headers=headers) as session,
            session.post("/v1/bookings", json=request) as response,
        ):
            assert response.status == status, await response.text()
    assert (await enemy_hears(guarded, stolen)).status_reason == STATUS_REASON_RECLAIMED


async def test_on_the_command_line(guarded: Stack, crowd: Crowd) -> None:
    me = crowd.person()
    stolen = await enemy_books(guarded, crowd, [me])
    arguments = [
        "book", "--target", guarded.address, "--token", "ministry", "--office", PUSAT, "--date", str(crowd.dates[0]),
        "--session", "morning", "--person", f"{me.nik}:{me.full_name}", "--verified", "--account", "me",
        "--province", "ID-JK", "--json",
    ]  # fmt: skip
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["state"] == "BOOKING_STATE_CONFIRMED"
    assert (await enemy_hears(guarded, stolen)).status_reason == STATUS_REASON_RECLAIMED
