"""Lifting bars, excusing no-shows and undoing check-ins over gRPC keeps all promises."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from datetime import time as clock
from typing import TypedDict
from zoneinfo import ZoneInfo

import pytest

from antrian import rules
from antrian.audit.check import Check
from antrian.audit.verify import verify
from antrian.local.stack import Stack
from antrian.policy import load_policy
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_ATTENDED,
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_EXCUSED,
    BOOKING_STATE_NO_SHOW,
    Applicant,
    Booking,
)
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.person import PUSAT, Crowd

JAKARTA = ZoneInfo("Asia/Jakarta")


class By(TypedDict):
    """The staff member and the reason of an action."""

    staff: str
    reason: str


BY: By = {"staff": "rina", "reason": "surat dokter"}


@pytest.fixture
async def office(stack: Stack) -> AsyncIterator[OfficeClient]:
    """An SDK client of the office's staff, in English."""
    async with OfficeClient(stack.address, english=True, patience=timedelta(seconds=20)) as made:
        yield made


def violations(stack: Stack) -> list[Check]:
    return [check for check in verify(stack.settings) if check.violations]


def logs(stack: Stack) -> str:
    return "".join(path.read_text() for path in (stack.folder / "log").iterdir() if path.is_file())


async def booked(client: BookingClient, crowd: Crowd, account: str, people: list[Applicant], day: int = 0) -> Booking:
    request = crowd.request(account=account, applicants=people, service_date=crowd.dates[day].isoformat())
    booking = await client.outcome((await client.send(request)).booking_id, account)
    assert booking.state == BOOKING_STATE_CONFIRMED
    return booking


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    ends = time.monotonic() + 30
    while not await true():
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)


async def rebuild(stack: Stack) -> int:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "workers.rebuild", env=os.environ | stack.environment,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await program.wait()


async def test_late_attendance_undone_check_ins_and_lifted_bars_keep_all_promises(
    stack: Stack, client: BookingClient, office: OfficeClient, crowd: Crowd
) -> None:
    five, single, excused = crowd.people(5), crowd.people(1), crowd.people(3)
    party = await booked(client, crowd, "five", five)
    alone = await booked(client, crowd, "alone", single)
    pair = await booked(client, crowd, "pair", excused)
    numbers, gone = list(party.queue_numbers), pair.queue_numbers[2]
    pair = await client.cancel_person(pair.booking_id, "pair", gone)
    day = datetime.combine(crowd.dates[0], clock.min, JAKARTA)

    # On the day three of five come, and one of them was somebody else.
    stack.set_clock(day + timedelta(hours=9))
    with pytest.raises(RefusedError, match="NOT_MISSED"):
        await office.late_attendance(PUSAT, party.code, **BY)
    with pytest.raises(RefusedError, match="INVALID_FIELD") as wrong:
        await office.undo_check_in(PUSAT, party.code, numbers=[99], **BY)
    assert wrong.value.metadata["field"] == "queue_numbers"
    await office.check_in(PUSAT, party.code, staff="rina", present=numbers[:3])
    for _ in range(2):
        entries = await office.undo_check_in(PUSAT, party.code, numbers=[numbers[2]], **BY)
        assert [entry.present for entry in entries] == [True, True, False, False, False]
    await office.check_in(PUSAT, alone.code, staff="rina")
    undone = await office.undo_check_in(PUSAT, alone.code, **BY)
    assert [entry.state for entry in undone] == [BOOKING_STATE_CONFIRMED]
    assert (await client.get_booking(alone.booking_id, "alone")).state == BOOKING_STATE_CONFIRMED
    assert violations(stack) == []

    # The morning after, one more turns out to have come.
    stack.set_clock(day + timedelta(hours=33))

    async def day_is_over() -> bool:
        return len(await office.bars(PUSAT, staff="rina")) == 6

    await until(day_is_over)
    with pytest.raises(RefusedError, match="late attendance"):
        await office.check_in(PUSAT, party.code, staff="rina")
    with pytest.raises(RefusedError, match="only be undone on the day of the visit"):
        await office.undo_check_in(PUSAT, party.code, **BY)
    for _ in range(2):
        entries = await office.late_attendance(PUSAT, party.code, present=[numbers[3]], **BY)
        assert [entry.present for entry in entries] == [True, True, False, True, False]
    assert violations(stack) == []
    for ask in (
        office.late_attendance(PUSAT, pair.code, present=[gone], **BY),
        office.lift_bar(PUSAT, pair.code, gone, **BY),
        office.undo_check_in(PUSAT, pair.code, numbers=[gone], **BY),
    ):
        with pytest.raises(RefusedError, match="this party's queue numbers are"):
            await ask
    for _ in range(2):
        entries = await office.excuse_no_show(PUSAT, pair.code, **BY)
        assert [entry.state for entry in entries] == 2 * [BOOKING_STATE_EXCUSED]
    with pytest.raises(RefusedError, match="NOT_MISSED"):
        await office.excuse_no_show(PUSAT, party.code, **BY)
    assert violations(stack) == []
    listed = await office.bars(PUSAT, staff="rina")
    assert [(bar.queue_number, bar.lifted) for bar in listed] == [
        (numbers[2], False),
        (numbers[3], True),
        (numbers[4], False),
        (alone.queue_numbers[0], False),
        *((number, True) for number in pair.queue_numbers),
    ]
    assert not any(bar.masked_nik.isdigit() for bar in listed)
    [mine] = await office.bars(PUSAT, single[0].nik, staff="rina")
    assert (mine.code, mine.full_name, mine.lifted) == (alone.code, "Siti Rahma", False)

    # A bar is lifted while the lanes are rebuilt.
    stack.set_clock(day + timedelta(hours=36))
    with pytest.raises(RefusedError, match="ATTENDANCE_CLOSED"):
        await office.late_attendance(PUSAT, party.code, present=[numbers[4]], **BY)
    with pytest.raises(RefusedError, match="BAR_NOT_FOUND") as nothing:
        await office.lift_bar(PUSAT, party.code, numbers[0], **BY)
    assert nothing.value.metadata["field"] == "queue_number"
    code, bar = await asyncio.gather(rebuild(stack), office.lift_bar(PUSAT, alone.code, mine.queue_number, **BY))
    assert (code, bar.lifted) == (0, True)
    assert (await office.lift_bar(PUSAT, alone.code, mine.queue_number, **BY)) == bar
    assert (await client.get_booking(alone.booking_id, "alone")).state == BOOKING_STATE_NO_SHOW
    assert (await client.get_booking(party.booking_id, "five")).state == BOOKING_STATE_ATTENDED
    assert violations(stack) == []

    # Who may book again in the next window.
    window = rules.next_opening(load_policy(), day + timedelta(hours=36))
    stack.set_clock(window.opens_at + timedelta(minutes=1))
    for person, barred in zip([*five, *single, *excused], [0, 0, 1, 0, 1, 0, 0, 0, 0], strict=True):
        request = crowd.request(applicants=[person], service_date=window.dates[0].isoformat())
        if barred:
            with pytest.raises(RefusedError, match="BARRED"):
                await client.send(request)
        else:
            assert (await client.outcome((await client.send(request)).booking_id, request.account)).queue_numbers
    assert violations(stack) == []
    assert not any(person.nik in logs(stack) for person in [*five, *single, *excused])
