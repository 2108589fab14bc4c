"""Requesting, reading and watching bookings over gRPC, through the real programs."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from antrian.local.stack import Stack
from antrian.v1.booking_service_pb2 import (
    BatchGetBookingsRequest,
    GetBookingRequest,
    GetQuotaRequest,
    GetQuotaResponse,
)
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    BOOKING_STATE_REJECTED,
    SESSION_AFTERNOON,
    STATUS_REASON_SLOT_FULL,
    Applicant,
    Booking,
)
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.person import PUSAT, Crowd


async def test_a_request_is_accepted_at_once_and_confirmed_soon(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request(office_id="kanim-jakarta-barat", applicants=crowd.people(3))
    pending = await client.send(request)
    assert pending.state == BOOKING_STATE_PENDING
    assert pending.ticket > 0
    assert pending.party_size == 3
    booking = await client.outcome(pending.booking_id, request.account)
    assert booking.state == BOOKING_STATE_CONFIRMED
    first = booking.queue_numbers[0]
    assert list(booking.queue_numbers) == [first, first + 1, first + 2]
    assert len(booking.code) == 10
    assert booking.accept_time.ToDatetime() <= booking.decide_time.ToDatetime() <= booking.read_time.ToDatetime()


async def test_one_invalid_read_in_a_batch_does_not_affect_the_others(client: BookingClient, crowd: Crowd) -> None:
    mine, other = crowd.request(), crowd.request()
    booking_id = (await client.send(mine)).booking_id
    others_id = (await client.send(other)).booking_id
    decided = await client.outcome(booking_id, mine.account)
    found, theirs, unknown, bad = await client.get_bookings(
        [(booking_id, mine.account), (others_id, mine.account), (str(uuid.uuid4()), mine.account), ("x", mine.account)]
    )
    assert isinstance(found, Booking)
    assert (found.booking_id, found.queue_numbers) == (booking_id, decided.queue_numbers)
    assert [refusal.reason for refusal in (theirs, unknown, bad) if isinstance(refusal, RefusedError)] == [
        "BOOKING_NOT_FOUND",
        "BOOKING_NOT_FOUND",
        "INVALID_FIELD",
    ]


async def test_a_batch_read_returns_without_waiting_for_outcomes(client: BookingClient) -> None:
    query = GetBookingRequest(booking_id=str(uuid.uuid4()), account="ani", wait=Duration(seconds=1))
    response = await client.stub.BatchGetBookings(BatchGetBookingsRequest(requests=[query]))
    assert RefusedError.of_status(response.results[0].error).metadata["field"] == "wait"


async def test_repeating_a_request_returns_the_same_booking(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request()
    responses = await asyncio.gather(*(client.send(request) for _ in range(20)))
    assert {(b.booking_id, b.ticket) for b in responses} == {(responses[0].booking_id, responses[0].ticket)}
    await client.outcome(responses[0].booking_id, request.account)
    again = await client.send(request)
    assert (again.booking_id, again.state) == (responses[0].booking_id, BOOKING_STATE_CONFIRMED)


async def test_repeating_a_request_from_another_province_returns_the_same_booking(
    client: BookingClient, crowd: Crowd
) -> None:
    request = crowd.request()
    first = await client.send(request)
    moved = crowd.request(
        request_id=request.request_id, account=request.account, applicants=request.applicants, province_code="ID-PA"
    )
    assert (await client.send(moved)).booking_id == first.booking_id


async def test_a_request_id_reused_with_other_content_is_refused(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request()
    await client.send(request)
    for change in (
        {"session": SESSION_AFTERNOON},
        {"service_date": crowd.dates[1].isoformat()},
        {"applicants": crowd.people(1)},
        {"office_id": "kanim-jakarta-utara"},
        {"account": "somebody-else"},
        {"applicants": [Applicant(nik=request.applicants[0].nik, full_name="Siti Rahmah")]},
    ):
        other = crowd.request(
            **{"request_id": request.request_id, "account": request.account, "applicants": request.applicants} | change
        )
        with pytest.raises(RefusedError) as caught:
            await client.send(other)
        assert caught.value.reason == "REQUEST_ID_REUSED", change


async def test_a_booking_lists_its_people_in_the_order_of_the_first_request(
    client: BookingClient, crowd: Crowd
) -> None:
    dewi, umar = crowd.people(2)
    dewi.full_name, umar.full_name = "Dewi\u200b Lestari", "‘Umar  Al-Farouq"
    request = crowd.request(applicants=[dewi, umar])
    told = [("De** Le*****", dewi.nik[-4:]), ("'Um** A*-Fa****", umar.nik[-4:])]

    def people(booking: Booking) -> list[tuple[str, str]]:
        return [(one.masked_name, one.masked_nik.removeprefix("************")) for one in booking.people]

    joined = await client.send(request)
    assert people(joined) == told
    booking = await client.outcome(joined.booking_id, request.account)
    again = crowd.request(request_id=request.request_id, account=request.account, applicants=[umar, dewi])
    for one in (booking, await client.send(again), (await client.list_bookings(request.account))[0]):
        assert people(one) == told
        assert [one.queue_number for one in one.people] == list(booking.queue_numbers)
    await client.cancel_person(booking.booking_id, request.account, booking.queue_numbers[0])
    remaining = await client.get_booking(booking.booking_id, request.account)
    assert people(remaining) == told[1:]
    assert remaining.people[0].queue_number == booking.queue_numbers[1]


async def test_names_and_niks_are_accepted_as_phones_type_them(client: BookingClient, crowd: Crowd) -> None:
    person = crowd.person()
    for nik in (person.nik, f" {person.nik[:6]} {person.nik[6:12]}-{person.nik[12:]}\n", f"'{person.nik}\ufeff"):
        request = crowd.request(applicants=[Applicant(nik=nik, full_name="Nur´Aini\u00a0binti Ana‑Maria\t")])
        request.account = f" {request.account}\u200b"
        booking = await client.outcome((await client.send(request)).booking_id, request.account.strip(" \u200b"))
        assert booking.people[0].masked_name == "Nu*'Ai** bi*** An*-Ma***"
        await client.cancel_booking(booking.booking_id, request.account)


async def test_a_request_id_sent_to_two_offices_at_once_is_accepted_by_one(client: BookingClient, crowd: Crowd) -> None:
    one = crowd.request()
    other = crowd.request(
        request_id=one.request_id, account=one.account, applicants=one.applicants, office_id="kanim-jakarta-utara"
    )
    responses = await asyncio.gather(client.send(one), client.send(other), return_exceptions=True)
    assert sorted(type(response).__name__ for response in responses) == ["Booking", "RefusedError"]


async def test_a_nik_is_booked_only_once_in_the_whole_country(client: BookingClient, crowd: Crowd) -> None:
    person = crowd.person()
    first = crowd.request(applicants=[person])
    booking = await client.send(first)
    with pytest.raises(RefusedError) as caught:
        await client.send(crowd.request(applicants=[person], office_id="kanim-bogor", province_code="ID-JB"))
    assert (caught.value.reason, "booking_id" in caught.value.metadata) == ("ALREADY_BOOKED", False)
    assert caught.value.message.startswith("Applicant 1 (S.) already has an active booking under another account.")
    with pytest.raises(RefusedError) as caught:
        await client.send(crowd.request(applicants=[person], account=first.account))
    assert caught.value.metadata["booking_id"] == booking.booking_id
    assert caught.value.message.startswith("Applicant 1 (S.) already has an active booking under your account.")


async def test_an_overbooked_slot_sells_exactly_its_places_in_arrival_order(
    client: BookingClient, crowd: Crowd
) -> None:
    """Parties of mixed sizes request more places than a small office has, all in one message, and one more comes later."""
    where = {"office_id": "mpp-kota-bogor", "province_code": "ID-JB"}
    quota = next(
        slot
        for slot in (await client.get_quota("mpp-kota-bogor")).slots
        if slot.service_date == crowd.dates[0].isoformat() and slot.session == SESSION_AFTERNOON
    )
    assert quota.remaining == quota.quota
    requests = [
        crowd.request(**where, session=SESSION_AFTERNOON, applicants=crowd.people(1 + n % 4))
        for n in range(quota.quota)
    ]
    pending = [booking for booking in await client.send_batch(requests) if isinstance(booking, Booking)]
    assert len(pending) == len(requests), "all are in the queue before the first is decided"
    outcomes: list[Booking] = await asyncio.gather(
        *(client.outcome(b.booking_id, r.account) for b, r in zip(pending, requests, strict=True))
    )
    remaining, number = quota.quota, 1
    for booking in sorted(outcomes, key=lambda b: b.ticket):
        if booking.party_size <= remaining:
            assert booking.state == BOOKING_STATE_CONFIRMED
            assert list(booking.queue_numbers) == list(range(number, number + booking.party_size))
            remaining, number = remaining - booking.party_size, number + booking.party_size
        else:
            assert (booking.state, booking.status_reason) == (BOOKING_STATE_REJECTED, STATUS_REASON_SLOT_FULL)
    after = next(
        slot
        for slot in (await client.get_quota("mpp-kota-bogor")).slots
        if (slot.service_date, slot.session) == (quota.service_date, quota.session)
    )
    assert (after.quota, after.remaining) == (quota.quota, remaining)
    refused = next(b for b in outcomes if b.state == BOOKING_STATE_REJECTED)
    assert 1 <= len(refused.alternatives) <= 5
    assert all(choice.remaining >= refused.party_size for choice in refused.alternatives)
    assert refused.alternatives[0].office_id == "mpp-kota-bogor"
    late = crowd.request(**where, session=SESSION_AFTERNOON, applicants=crowd.people(remaining + 1))
    with pytest.raises(RefusedError, match="SLOT_FULL: This session is full") as full:
        await client.send(late)
    assert full.value.metadata["remaining"] == str(remaining)
    assert full.value.alternatives[0].office_id == "mpp-kota-bogor"
    assert not full.value.uncertain
    assert (await client.send(requests[0])).state == BOOKING_STATE_CONFIRMED, "a repeat is not refused"
    accounts = {b.booking_id: r.account for b, r in zip(pending, requests, strict=True)}
    for told in await client.get_bookings([(b.booking_id, accounts[b.booking_id]) for b in outcomes]):
        assert isinstance(told, Booking)
        assert bool(told.alternatives) == (told.state == BOOKING_STATE_REJECTED)


async def test_a_watch_stream_sends_the_outcome_and_ends(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request()
    booking = await client.send(request)
    seen = [b async for b in client.watch(booking.booking_id, request.account)]
    assert seen[-1].state == BOOKING_STATE_CONFIRMED
    assert all(b.state == BOOKING_STATE_PENDING and b.ticket == booking.ticket for b in seen[:-1])


async def test_one_invalid_request_in_a_batch_does_not_affect_the_others(client: BookingClient, crowd: Crowd) -> None:
    requests = [crowd.request() for _ in range(50)]
    requests[7] = crowd.request(office_id="kanim-atlantis")
    requests[9] = crowd.request(session=0)
    responses = await client.send_batch(requests)
    reasons = [response.reason if isinstance(response, RefusedError) else "" for response in responses]
    assert reasons == [""] * 7 + ["OFFICE_NOT_FOUND", "", "INVALID_FIELD"] + [""] * 40


async def test_a_booking_is_visible_only_to_its_account(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request()
    booking = await client.send(request)
    for booking_id, account in ((booking.booking_id, "another"), (str(uuid.uuid4()), request.account)):
        with pytest.raises(RefusedError) as caught:
            await client.get_booking(booking_id, account)
        assert caught.value.reason == "BOOKING_NOT_FOUND"


async def test_get_booking_returns_at_once_or_waits_for_the_outcome(client: BookingClient, crowd: Crowd) -> None:
    request = crowd.request()
    booking = await client.send(request)
    assert (await client.get_booking(booking.booking_id, request.account)).ticket == booking.ticket
    outcome = await client.outcome(booking.booking_id, request.account, within=timedelta(seconds=20))
    assert outcome.state == BOOKING_STATE_CONFIRMED


async def test_get_quota_returns_the_days_of_the_window_and_their_remaining_places(
    client: BookingClient, stack: Stack, crowd: Crowd
) -> None:
    response = await client.get_quota(PUSAT)
    assert response.window.open
    assert response.window.first_date == crowd.dates[0].isoformat()
    assert [s.service_date for s in response.slots] == [d.isoformat() for d in crowd.dates for _ in range(2)]
    assert all(0 <= slot.remaining <= slot.quota for slot in response.slots)
    morning, afternoon = response.slots[0].quota, response.slots[1].quota
    assert morning == -(-(morning + afternoon) * 60 // 100)


async def test_a_quota_response_encodes_each_field_once(client: BookingClient) -> None:
    read: Any = client.channel.unary_unary("/antrian.v1.BookingService/GetQuota")
    content = await read(GetQuotaRequest(office_id=PUSAT).SerializeToString(), timeout=5)
    quota = GetQuotaResponse.FromString(content)
    assert quota.window.open
    assert quota.window.first_date
    assert quota.ByteSize() == len(content)
