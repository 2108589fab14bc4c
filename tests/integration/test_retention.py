"""Personal data of past days are erased once a day, and nothing else is."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from antrian.booking import Cancel
from antrian.identity import booking_code, code_range
from antrian.lane.producer import JoinRequest
from tests.support.waiting import until
from tests.support.world import OPENS, PUSAT, World, nik
from workers.audit import Audit
from workers.retention import Retention

ON_MONDAY = OPENS + timedelta(days=2, hours=20)


def run(world: World) -> int:
    """A run of the day after the one before."""
    world.redis.delete("retention")
    return Retention(world.settings).once(threading.Event())


def kept(world: World) -> set[str]:
    """The accounts that the ledger still has."""
    return {account for (account,) in world.sql("select account from booking") if account}


def traces(world: World) -> set[str]:
    """Which applicant keys and accounts of the day's people are in the ledger's tables."""
    dump = str([world.sql(f"select * from {table}") for table in ("booking", "applicant", "bar", "staff_action")])
    wanted = {repr(world.keys.applicant_key(nik(person))) for person in range(2, 10)}
    return {trace for trace in wanted | {f"account-{n}" for n in range(1, 5)} if trace in dump}


async def past_day(world: World) -> list[JoinRequest]:
    """A Monday for which one came, one did not, one had cancelled and one was rejected."""
    requests = [world.request(n, [2 * n, 2 * n + 1]) for n in range(1, 5)]
    for request in requests:
        await world.ticket(request)
    world.turn()
    came, _, gone, _ = requests
    await world.ask(Cancel(gone.booking_id))
    world.set_clock(ON_MONDAY)
    await world.staff.check_in(PUSAT, code_range(booking_code(came.booking_id)), [1], "desk", "rina")
    world.set_clock(ON_MONDAY + timedelta(days=1))
    assert world.nightly()
    return requests


def days_later(world: World, days: int) -> None:
    """Midnight at the office, that many days after Monday."""
    world.set_clock(OPENS.replace(hour=0) + timedelta(days=3 + days, seconds=1))
    world.turn()


async def test_nothing_is_erased_before_its_time(world: World) -> None:
    await past_day(world)
    days_later(world, world.policy.personal_data_days)
    assert run(world) == 0
    assert len(kept(world)) == 4


async def test_everything_that_identifies_people_of_a_past_day_is_erased_and_counts_stay(world: World) -> None:
    await past_day(world)
    audit = Audit(world.settings, lambda *_: None)
    audit.once()
    assert len(traces(world)) == 6 + 4  # people with numbers, and accounts
    counts = "select state, reason, count(*), sum(party_size) from booking group by 1, 2 order by 1, 2"
    numbers = "select number, present_at from applicant order by slot_id, number"
    slots = "select slot_id, taken, last_number from slot where last_number > 0"
    before = world.sql(counts), world.sql(numbers), world.sql(slots)
    days_later(world, world.policy.personal_data_days + 1)
    assert run(world) == 4
    assert (world.sql(counts), world.sql(numbers), world.sql(slots)) == before
    assert not traces(world)
    assert world.sql("select distinct encrypted, fingerprint from applicant join booking using (booking_id)") == [
        (b"", "")
    ]
    assert world.verify() == []
    world.redis.delete("audit")
    audit.once()
    assert world.verify() == []
    assert world.sql("select staff, after from staff_action where kind = 'RETENTION'") == [
        ("retention", {"bookings": 4, "days": world.policy.personal_data_days})
    ]
    assert run(world) == 0


async def test_who_holds_a_place_or_is_barred_is_not_erased(world: World) -> None:
    _, missed, *_ = await past_day(world)
    world.sql(f"update bar set ends_at = ends_at + interval '1 year' where booking_id = '{missed.booking_id}'")
    days_later(world, world.policy.personal_data_days + 1)
    world.sql("update booking set state = 'CONFIRMED', ended_at = null where ticket = 1")  # a day that is not finished
    assert run(world) == 2
    assert kept(world) == {"account-1", "account-2"}
    assert run(world) == 0


async def test_batches_end_and_the_next_run_begins_where_nothing_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.retention._BATCH", 2)
    await past_day(world)
    days_later(world, world.policy.personal_data_days + 1)
    assert run(world) == 4
    assert world.sql(f"select erased_ticket from retention where office_id = '{PUSAT}'") == [(4,)]


async def test_only_one_of_two_supervisors_runs_and_a_failed_run_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await past_day(world)
    days_later(world, world.policy.personal_data_days + 1)
    stopped = threading.Event()
    stopped.set()
    assert Retention(world.settings).once(stopped) == 0
    assert Retention(world.settings).once(threading.Event()) == 4
    monkeypatch.setattr(Retention, "_erase", lambda *_: pytest.fail("runs twice"))
    assert Retention(world.settings).once(threading.Event()) == 0


async def test_a_rejected_persons_data_leave_the_log_of_redis(world: World) -> None:
    requests = await past_day(world)
    config: Any = world.redis.config_get("dir", "appenddirname")
    folder = Path(config["dir"]) / config["appenddirname"]
    encrypted = requests[3].applicants[0].encrypted

    def logged() -> bool:
        return any(encrypted in file.read_bytes() for file in folder.iterdir())

    assert logged()
    run(world)
    await until(lambda: not logged())
