"""`antrian policy apply` with a new holiday on a day that is sold out and has requests in the queue."""

import asyncio
import json
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from antrian.booking import Window
from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CANCELLED,
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    BOOKING_STATE_REJECTED,
    SESSION_AFTERNOON,
    SESSION_MORNING,
    STATUS_REASON_DAY_CLOSED,
)
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.person import PUSAT, Crowd
from tests.conftest import given_servers
from tests.support.decree import decreed
from tests.support.town import OFFICES
from tests.support.waiting import until

WHO, WHY = "rina", "SKB 3 Menteri"


def antrian(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "clients.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def is_done(stack: Stack, day: date) -> bool:
    """Whether the day is finished at all offices."""
    with psycopg.connect(stack.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        rows = ledger.execute("select from day_done where service_date = %s", [day]).fetchall()
    return len(rows) == len(OFFICES)


async def refusal(client: BookingClient, crowd: Crowd, day: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await client.send(crowd.request(service_date=day))
    return caught.value.reason


async def test_a_new_holiday_cancels_a_sold_out_day_and_rejects_its_queue(
    stack: Stack, client: BookingClient, crowd: Crowd, window: Window, tmp_path: Path
) -> None:
    friday, folder = window.dates[-1], ["--folder", stack.folder]
    async with OfficeClient(stack.address, english=True, patience=timedelta(seconds=20)) as staff:
        await staff.set_quota(PUSAT, friday, SESSION_MORNING, 8, staff=WHO, reason=WHY)
        owner, *others = [crowd.request(service_date=friday.isoformat(), applicants=crowd.people(2)) for _ in range(3)]
        for request in (owner, *others):
            booking = await client.outcome((await client.send(request)).booking_id, request.account)
            assert booking.state == BOOKING_STATE_CONFIRMED
        with Redis.from_url(stack.environment["ANTRIAN_REDIS_URL"]) as redis:
            redis.hset(
                f"lane:{{{PUSAT}}}", "lease", time.time_ns() // 1000 + 300_000_000
            )  # nobody is decided meanwhile
            in_queue = [crowd.request(service_date=friday.isoformat(), session=n) for n in (1, 2, 1)]
            waiting = [await client.send(request) for request in in_queue]
            assert {booking.state for booking in waiting} == {BOOKING_STATE_PENDING}
            file = tmp_path / "decree.toml"
            file.write_text(decreed(stack.policy, friday).content, "utf-8")
            apply = ["policy", "apply", file, *folder, "--staff", WHO, "--reason", WHY]
            diff = antrian("policy", "diff", file, *folder, "--json")
            assert diff.returncode == 1, diff.stderr
            [here] = [one for one in json.loads(diff.stdout)["closes"] if one["office_id"] == PUSAT]
            assert [here[name] for name in ("bookings", "people", "requests_in_queue")] == [3, 6, 3]
            applying = asyncio.create_task(asyncio.to_thread(antrian, *apply))
            await until(lambda: redis.xlen(f"commands:{{{PUSAT}}}"))
            redis.hset(f"lane:{{{PUSAT}}}", "lease", 0)
        applied = await applying
        assert applied.returncode == 0, applied.stderr
        assert applied.stdout.splitlines()[-1] == "version 2 is in force"
        assert f"{len(OFFICES)} offices" in applied.stdout

        for request, sent in zip(in_queue, waiting, strict=True):
            outcome = await client.outcome(sent.booking_id, request.account)
            assert (outcome.state, outcome.status_reason) == (BOOKING_STATE_REJECTED, STATUS_REASON_DAY_CLOSED)
        told = await client.get_booking((await client.list_bookings(owner.account))[0].booking_id, owner.account)
        assert (told.state, told.status_reason) == (BOOKING_STATE_CANCELLED, STATUS_REASON_DAY_CLOSED)
        assert (await client.send(owner)).state == BOOKING_STATE_CANCELLED, "the same request names the same booking"
        async with asyncio.timeout(10):  # the day is closed at once, servers follow in seconds
            while (reason := await refusal(client, crowd, friday.isoformat())) != "NOT_A_SERVICE_DAY":
                assert reason == "DAY_CLOSED"
        offered = (await client.get_quota(PUSAT)).window
        assert offered.last_date == window.dates[-2].isoformat()
        elsewhere = crowd.request(service_date=window.dates[0].isoformat(), applicants=owner.applicants)
        assert (await client.outcome((await client.send(elsewhere)).booking_id, elsewhere.account)).state == (
            BOOKING_STATE_CONFIRMED
        ), "its people are free"

        assert (await staff.close_date(PUSAT, friday, staff=WHO, reason=WHY)).cancelled_bookings == 3
        with pytest.raises(RefusedError, match="DAY_CLOSED"):
            await staff.set_quota(PUSAT, friday, SESSION_AFTERNOON, 0, staff=WHO, reason=WHY)
        with pytest.raises(RefusedError, match="NOT_A_SERVICE_DAY"):
            await staff.close_date(PUSAT, friday + timedelta(days=2), staff=WHO, reason=WHY)
        await client.cancel_booking((await client.list_bookings(elsewhere.account))[0].booking_id, elsewhere.account)
        again = antrian(*apply)
        assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "version 2 is in force already")

    stack.set_clock(window.opens_at + timedelta(days=8))
    await until(lambda: is_done(stack, friday))
    with psycopg.connect(stack.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        assert ledger.execute("select count(*) from bar").fetchone() == (0,)
    verified = antrian("verify", *folder)
    assert verified.returncode == 0, verified.stdout

    if given_servers() is None:
        stack.stop()
        refused = antrian("up", *folder)
        assert refused.returncode == 2
        assert f'holiday {friday}: "Cuti bersama", gone' in refused.stderr
        assert "`antrian policy apply` carries it out" in refused.stderr
