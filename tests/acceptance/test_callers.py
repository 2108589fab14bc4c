"""Callers are identified by bearer tokens, have permissions, and see only their own bookings."""

import hashlib
from datetime import datetime, timedelta

import psycopg
import pytest

from antrian.local.stack import Stack
from clients.sdk.booking_client import SESSION_MORNING, BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd

CALLERS = """
[[caller]]
name = "{name}"
role = "{role}"
token_sha256 = "{hash}"
offices = {offices}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with five callers, each with its name as the token."""
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    text = [
        CALLERS.format(name=name, role=role, hash=hashlib.sha256(name.encode()).hexdigest(), offices=offices)
        for name, role, offices in (
            ("phone", "gateway", []),
            ("web", "gateway", []),
            ("ministry", "internal", []),
            ("counter", "staff", [PUSAT]),
            ("rinas", "staff", [PUSAT]),
        )
    ]
    file.write_text("".join(text) + 'staff = "rina.k"\n')
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
            await office.day_roster(PUSAT, staff="rina")


async def test_staff_may_see_and_change_only_their_own_office(guarded: Stack, crowd: Crowd) -> None:
    day = crowd.dates[0]
    async with OfficeClient(guarded.address, token="counter") as office:
        await office.day_roster(PUSAT, day, staff="rina")
        for other in ("kanim-bogor", "kanim-atlantis"):
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.day_roster(other, day, staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.close_date(other, day, staff="rina", reason="banjir")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.retire_office(other, staff="rina", reason="pindah")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.check_in(other, "0000000000", staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.bars(other, staff="rina")
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


async def test_reads_of_rosters_and_bars_are_recorded_with_who_read_them(guarded: Stack, crowd: Crowd) -> None:
    async with OfficeClient(guarded.address, token="counter") as office:
        people = len(await office.day_roster(PUSAT, crowd.dates[1], SESSION_MORNING, staff="siti"))
        await office.bars(PUSAT, "3171014505920003", staff="siti")
    with psycopg.connect(guarded.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        rows = ledger.execute(
            "select kind, caller, office_id, service_date::text, session, after from staff_action where staff = 'siti' "
            "and kind like 'READ%' order by done_at"
        ).fetchall()
    assert rows[0] == (
        *("READ_ROSTER", "counter", PUSAT, crowd.dates[1].isoformat(), "MORNING"),
        {"people": people, "by_nik": False},
    )
    assert (rows[1][:3], rows[1][4:]) == (("READ_BARS", "counter", PUSAT), (None, {"people": 0, "by_nik": True}))


async def test_a_token_of_one_person_acts_as_that_person_only(guarded: Stack, crowd: Crowd) -> None:
    day = crowd.dates[1]
    async with OfficeClient(guarded.address, token="rinas") as office:
        await office.day_roster(PUSAT, day, staff="")
        await office.day_roster(PUSAT, day, staff="rina.k")
        for act in (office.day_roster(PUSAT, day, staff="siti"), office.bars(PUSAT, staff="siti")):
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await act
        with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
            await office.close_date(PUSAT, day, staff="siti", reason="banjir")
    with psycopg.connect(guarded.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        rows = ledger.execute("select distinct staff, kind from staff_action where caller = 'rinas'").fetchall()
    assert rows == [("rina.k", "READ_ROSTER")]
