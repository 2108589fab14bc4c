"""Releasing a stranger's booking, cancelling one of a party, and correcting names."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import aiohttp
import pytest
from click.testing import CliRunner, Result

from antrian.audit.verify import verify
from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    STATUS_REASON_PERSON_CANCELLED_BY_OFFICE,
    STATUS_REASON_RELEASED_BY_OFFICE,
    Applicant,
    Booking,
)
from clients.cli.main import main
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd

WHY: dict[str, Any] = {"staff": "rina", "reason": "NIK dipakai orang lain"}


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with a gateway, one minute into the window."""
    return start_stack(opens + timedelta(minutes=1), gateway=True)


@pytest.fixture(autouse=True)
def _all_promises_hold_in_the_end(stack: Stack) -> Iterator[None]:
    yield
    assert [check for check in verify(stack.settings) if check.violations] == []


@pytest.fixture
async def office(stack: Stack) -> AsyncIterator[OfficeClient]:
    """A client for the staff of every office."""
    async with OfficeClient(stack.address, english=True) as made:
        yield made


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client, as a phone is."""
    async with aiohttp.ClientSession(f"http://{stack.http_address}") as session:
        yield session


async def booked(client: BookingClient, crowd: Crowd, account: str, people: list[Applicant], day: int = 0) -> Booking:
    request = crowd.request(account=account, applicants=people, service_date=crowd.dates[day].isoformat())
    return await client.outcome((await client.send(request)).booking_id, account)


async def remaining(client: BookingClient, day: int = 0) -> int:
    return (await client.get_quota(PUSAT)).slots[2 * day].remaining


async def test_after_a_release_of_a_strangers_booking_the_nik_can_be_booked_at_once(
    client: BookingClient, office: OfficeClient, crowd: Crowd
) -> None:
    me = crowd.person()
    strangers = await booked(client, crowd, "stranger", [me, crowd.person()])
    with pytest.raises(RefusedError, match="ALREADY_BOOKED"):
        await booked(client, crowd, "me", [me])
    before = await remaining(client)

    [found] = [
        entry
        for entry in await office.day_roster(PUSAT, crowd.dates[0], staff="rina")
        if entry.masked_nik[-4:] == me.nik[-4:]
    ]
    for _ in range(2):
        party = await office.release_booking(PUSAT, found.code, **WHY)
        assert {entry.state for entry in party} == {BOOKING_STATE_CANCELLED}
        assert len(party) == 2
    assert await remaining(client) == before + 2
    mine = await booked(client, crowd, "me", [me])
    assert mine.state == BOOKING_STATE_CONFIRMED
    assert mine.queue_numbers[0] > max(strangers.queue_numbers)

    told = await client.get_booking(strangers.booking_id, "stranger")
    assert (told.state, told.status_reason) == (BOOKING_STATE_CANCELLED, STATUS_REASON_RELEASED_BY_OFFICE)
    assert told.status_message_id.startswith("Pendaftaran ini diakhiri oleh kantor.")
    assert "contact the office" in told.status_message_en
    assert WHY["reason"] not in str(told)
    assert mine.status_message_id == ""
    [roster] = [
        entry for entry in await office.day_roster(PUSAT, crowd.dates[0], staff="rina") if entry.code == mine.code
    ]
    assert roster.masked_nik[-4:] == me.nik[-4:]


async def test_cancelling_one_of_five_and_then_the_booking_returns_five_places(
    client: BookingClient, http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    before, people = await remaining(client, 1), crowd.people(5)
    booking = await booked(client, crowd, "family", people, 1)
    gone = booking.queue_numbers[1]
    for _ in range(2):
        path = f"/v1/bookings/{booking.booking_id}:cancelPerson"
        async with http.post(path, json={"account": "family", "queueNumber": gone}) as response:
            told = (await response.json())["booking"]
        assert (told["state"], told["partySize"], told["cancelledQueueNumbers"]) == (
            "BOOKING_STATE_CONFIRMED",
            4,
            [gone],
        )
        assert told["queueNumbers"] == [n for n in booking.queue_numbers if n != gone]
        assert (told["code"], told["statusReason"]) == (booking.code, "STATUS_REASON_UNSPECIFIED")
        assert await remaining(client, 1) == before - 4
    alone = await booked(client, crowd, "family", [people[1]], 2)
    assert alone.state == BOOKING_STATE_CONFIRMED, "free, and one of the account's five"

    others = crowd.person()
    with pytest.raises(RefusedError, match="ACCOUNT_LIMIT"):
        await booked(client, crowd, "family", [others], 2)
    for again in range(2):
        cancelled = await client.cancel_booking(booking.booking_id, "family")
        assert (cancelled.state, cancelled.party_size) == (BOOKING_STATE_CANCELLED, 4), again
        assert await remaining(client, 1) == before
    await asyncio.gather(*(client.cancel_person(booking.booking_id, "family", gone) for _ in range(3)))
    assert await remaining(client, 1) == before


async def test_cancelling_the_last_person_cancels_the_booking(client: BookingClient, crowd: Crowd) -> None:
    before = await remaining(client, 1)
    booking = await booked(client, crowd, "couple", crowd.people(2), 1)
    responses = await asyncio.gather(
        *(client.cancel_person(booking.booking_id, "couple", number) for number in [*booking.queue_numbers] * 3)
    )
    now = await client.get_booking(booking.booking_id, "couple")
    assert (now.state, now.party_size, list(now.queue_numbers)) == (BOOKING_STATE_CANCELLED, 0, [])
    assert list(now.cancelled_queue_numbers) == list(booking.queue_numbers)
    assert all(response.cancelled_queue_numbers for response in responses)
    assert await remaining(client, 1) == before


async def test_staff_cancel_one_of_a_party_and_its_account_sees_it(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    booking = await booked(client, crowd, "group", crowd.people(3), 3)
    first, second, third = booking.queue_numbers

    def antrian(*words: object) -> Result:
        with mock.patch.dict(os.environ):
            return CliRunner().invoke(main, [*map(str, words), "--folder", str(stack.folder)])

    by = ["--staff", "rina", "--reason", "sakit"]
    done = await asyncio.to_thread(antrian, "office", "cancel-person", PUSAT, booking.code, second, *by, "--json")
    assert [entry["queue_number"] for entry in json.loads(done.stdout)] == [first, third]
    shown = await asyncio.to_thread(antrian, "status", booking.booking_id, "--account", "group", "--lang", "en")
    assert "The office cancelled the queue numbers of some of the applicants" in shown.stdout
    assert f"gave up   {second}" in shown.stdout
    now = await client.get_booking(booking.booking_id, "group")
    assert now.status_reason == STATUS_REASON_PERSON_CANCELLED_BY_OFFICE
    mine = await asyncio.to_thread(antrian, "cancel-person", booking.booking_id, first, "--account", "group", "--json")
    assert json.loads(mine.stdout)["queue_numbers"] == [third]
    ended = await asyncio.to_thread(antrian, "office", "release", PUSAT, booking.code, *by)
    assert ended.stdout.count("CANCELLED") == 1


async def test_bookings_of_others_and_undecided_ones_cannot_be_cancelled(
    client: BookingClient, office: OfficeClient, crowd: Crowd
) -> None:
    booking = await booked(client, crowd, "own", crowd.people(2), 4)
    for call in (
        office.release_booking("kanim-jakarta-barat", booking.code, **WHY),
        office.cancel_person("kanim-jakarta-barat", booking.code, booking.queue_numbers[0], **WHY),
    ):
        with pytest.raises(RefusedError, match="CODE_NOT_FOUND"):
            await call
    with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
        await client.cancel_person(booking.booking_id, "another", booking.queue_numbers[0])
    wrong = max(booking.queue_numbers) + 1
    for ask in (
        client.cancel_person(booking.booking_id, "own", wrong),
        office.cancel_person(PUSAT, booking.code, 0, **WHY),
    ):
        with pytest.raises(RefusedError, match="Queue number: this party's queue numbers are") as refused:
            await ask
        assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_FIELD", "queue_number")
    with pytest.raises(RefusedError, match="Reason: say why"):
        await office.release_booking(PUSAT, booking.code, staff="rina", reason="")
    assert (await client.get_booking(booking.booking_id, "own")).state == BOOKING_STATE_CONFIRMED


async def test_an_account_corrects_a_name_once_and_staff_any_number_of_times(
    client: BookingClient, office: OfficeClient, crowd: Crowd
) -> None:
    rina, budi = crowd.people(2)
    rina.full_name, budi.full_name = "Rina Lestri", "Budi"
    request = crowd.request(applicants=[rina, budi])
    booking = await client.outcome((await client.send(request)).booking_id, request.account)
    first, _ = booking.queue_numbers
    whose = booking.booking_id, request.account

    async def names() -> list[str]:
        entries = await office.day_roster(PUSAT, crowd.dates[0], staff="rina")
        return [entry.full_name for entry in entries if entry.code == booking.code]

    for number, name, reason in (
        (first, "Rini Lestarini", "NAME_TOO_DIFFERENT"),
        (first, "R1na", "INVALID_FIELD: Name"),
        (first + 2, "Rina", "INVALID_FIELD: Queue number"),
    ):
        with pytest.raises(RefusedError, match=reason):
            await client.correct_name(*whose, number, name)
    for _ in range(2):
        told = await client.correct_name(*whose, first, "Rina  Lestari")
        assert [one.masked_name for one in told.people] == ["Ri** Le*****", "Bu**"]
    assert await names() == ["Rina Lestari", "Budi"]
    with pytest.raises(RefusedError, match="NAME_CORRECTED_BEFORE"):
        await client.correct_name(*whose, first, "Rina Lestary")
    with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
        await client.correct_name(booking.booking_id, "another", first, "Rina Lestary")
    with pytest.raises(RefusedError, match="CODE_NOT_FOUND"):
        await office.correct_name("kanim-jakarta-barat", booking.code, first, "Siti", **WHY)
    for name in ("Siti Aminah", "Rina Lestary"):
        for _ in range(2):
            party = await office.correct_name(PUSAT, booking.code, first, name, **WHY)
            assert [entry.full_name for entry in party] == [name, "Budi"]
    assert (await client.send(request)).booking_id == booking.booking_id, "the first request stays known"
    await client.cancel_booking(*whose)
    with pytest.raises(RefusedError, match="NOT_CONFIRMED"):
        await client.correct_name(*whose, first, "Rina Lestari")
