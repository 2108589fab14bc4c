"""Callers are identified by bearer tokens, have permissions, and see only their own bookings."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antrian.local.stack import Stack
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd

CALLERS = """
[[caller]]
name = "{name}"
role = "{role}"
token_sha256 = "{hash}"
{more}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The callers file: each caller has its name as the token."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    text = [
        CALLERS.format(name=name, role=role, hash=hashlib.sha256(name.encode()).hexdigest(), more=more)
        for name, role, more in (
            ("phone", "gateway", 'vouches_for = "accounts"'),
            ("web", "gateway", 'vouches_for = "accounts"'),
            ("kiosk", "gateway", ""),
            ("old", "gateway", "not_after = 2026-01-01T00:00:00Z"),
            ("ministry", "internal", ""),
            ("counter", "staff", f'offices = ["{PUSAT}"]'),
        )
    ]
    file.write_text("".join(text))
    return file


@pytest.fixture(scope="module")
def guarded(file: Path, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with that callers file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1))


async def refusal(stack: Stack, token: str, crowd: Crowd, **changes: object) -> str:
    async with BookingClient(stack.address, token=token, patience=timedelta(seconds=10)) as client:
        with pytest.raises(RefusedError) as caught:
            await client.send(crowd.request(**changes))
    return caught.value.reason


async def test_a_missing_or_unknown_token_is_refused(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "", crowd) == "UNAUTHENTICATED"
    assert await refusal(guarded, "phone2", crowd) == "UNAUTHENTICATED"


async def test_an_expired_token_is_refused(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "old", crowd) == "TOKEN_EXPIRED"


@contextmanager
def added(file: Path, text: str) -> Iterator[None]:
    """Adds the text to the callers file while the context lasts."""
    before = file.read_text()
    file.write_text(before + text)
    try:
        yield
    finally:
        file.write_text(before)


async def is_known(stack: Stack, token: str) -> bool:
    async with BookingClient(stack.address, token=token, patience=timedelta(0)) as client:
        try:
            await client.get_quota(PUSAT)
        except RefusedError as refusal:
            if refusal.reason != "UNAUTHENTICATED":
                raise
            return False
    return True


async def test_a_token_is_added_and_revoked_without_a_restart(guarded: Stack, file: Path) -> None:
    entry = CALLERS.format(name="new", role="gateway", hash=hashlib.sha256(b"brand new").hexdigest(), more="")
    pid, ends = guarded.pids()["server"], time.monotonic() + 30
    assert not await is_known(guarded, "brand new")
    with added(file, entry):
        while not await is_known(guarded, "brand new"):
            assert time.monotonic() < ends
    with added(file, "[[caller]"):  # revokes nothing and nobody, and does not end the server
        os.kill(pid, signal.SIGHUP)
        assert await is_known(guarded, "phone")
    while await is_known(guarded, "brand new"):
        assert time.monotonic() < ends
    os.kill(pid, signal.SIGHUP)
    assert await is_known(guarded, "phone")
    assert guarded.pids()["server"] == pid


async def test_a_caller_that_does_not_vouch_for_accounts_names_none(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="kiosk") as kiosk,
    ):
        booking = await phone.send(request)
        await phone.outcome(booking.booking_id, request.account)
        assert (await kiosk.get_quota(PUSAT)).office_id == PUSAT
        for account in (request.account, "kiosk", ""):
            for call in (
                kiosk.send(crowd.request(account=account)),
                kiosk.get_booking(booking.booking_id, account),
                kiosk.list_bookings(account),
                kiosk.cancel_booking(booking.booking_id, account),
                kiosk.cancel_person(booking.booking_id, account, 1),
                kiosk.correct_name(booking.booking_id, account, 1, "Dewi Lestari"),
            ):
                with pytest.raises(RefusedError) as caught:
                    await call
                assert caught.value.reason == "PERMISSION_DENIED"
                assert caught.value.metadata == {"field": "account"}


async def test_only_an_internal_system_may_state_a_province_instead_of_a_location(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "phone", crowd, province_code="ID-JK") == "LOCATION_REQUIRED"
    async with BookingClient(guarded.address, token="ministry") as client:
        assert (await client.send(crowd.request(province_code="ID-JK"))).ticket > 0


async def test_request_ids_and_bookings_are_scoped_to_their_caller(guarded: Stack, crowd: Crowd) -> None:
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


@pytest.mark.parametrize("token", ["phone", "ministry"])
async def test_only_staff_may_use_the_office_service(guarded: Stack, token: str) -> None:
    async with OfficeClient(guarded.address, token=token) as office:
        with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
            await office.day_roster(PUSAT)


async def test_staff_may_see_and_change_only_their_own_office(guarded: Stack, crowd: Crowd) -> None:
    day = crowd.dates[0]
    async with OfficeClient(guarded.address, token="counter") as office:
        await office.day_roster(PUSAT, day)
        for other in ("kanim-bogor", "kanim-atlantis"):
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.day_roster(other, day)
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.close_date(other, day, staff="rina", reason="banjir")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.retire_office(other, staff="rina", reason="pindah")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.check_in(other, "0000000000", staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.bars(other)
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.lift_bar(other, "0000000000", 1, staff="rina", reason="banjir")
            for way_back in (office.excuse_no_show, office.undo_check_in, office.late_attendance):
                with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                    await way_back(other, "0000000000", staff="rina", reason="banjir")


async def test_another_callers_booking_is_neither_listed_nor_cancelled(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="web") as web,
    ):
        booking = await phone.send(request)
        await phone.outcome(booking.booking_id, request.account)
        assert await web.list_bookings(request.account) == []
        for client, account in ((web, request.account), (phone, "somebody-else")):
            with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
                await client.cancel_booking(booking.booking_id, account)
        assert [b.booking_id for b in await phone.list_bookings(request.account)] == [booking.booking_id]
