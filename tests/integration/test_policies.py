"""The policy is data of the ledger: who may start, who follows, and how its calendar is carried to days that exist."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, time, timedelta

import psycopg
import pytest

from antrian.audit.verify import verify
from antrian.booking import CloseDate, Policy, Session, State, StatusReason
from antrian.errors import Reason
from antrian.lane.producer import Joined, Known
from antrian.ledger.policies import WrongPolicyError, apply_policy, claim_policy
from antrian.policy import PolicyError, load_policy, read_policy
from server.office_cache import Catalog
from tests.support.decree import decreed, without
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World

SHIPPED = load_policy()
LONGER = read_policy(SHIPPED.content.replace('closes = "SUN 16:00"', 'closes = "SUN 18:00"'), "longer")
TUESDAY_0000 = datetime.combine(TUESDAY.service_date, time.min, OPENS.tzinfo)
NEW = ("P10", "days without service are closed and have no bookings")


def versions(database_url: str) -> list[tuple[int, str, str]]:
    with psycopg.connect(database_url) as ledger:
        return ledger.execute("select version, staff, why from policy_version order by version").fetchall()


def violations(world: World) -> set[tuple[str, str]]:
    return {(check.promise, check.what) for check in world.verify()}


async def book(world: World, name: int, people: int = 1, *, serve: bool = True) -> None:
    await world.ticket(world.request(name, [10 * name + n for n in range(people)]))
    if serve:
        world.turn()


def carry_out(world: World) -> None:
    """Serves both desks, and what waits in the lines behind them."""
    for office_id in (PUSAT, PUSAT, BOGOR):
        world.turn(office_id)


def done(world: World) -> list[str]:
    """The offices where Monday is done."""
    day = MONDAY.service_date
    return [office_id for (office_id,) in world.sql(f"select office_id from day_done where service_date = '{day}'")]


def test_an_empty_ledger_adopts_the_first_policy_and_refuses_others(database_url: str) -> None:
    assert claim_policy(database_url, SHIPPED) == replace(SHIPPED, version=1)
    assert claim_policy(database_url, SHIPPED).version == 1
    with pytest.raises(WrongPolicyError) as refusal:
        claim_policy(database_url, LONGER)
    assert 'window.closes: "SUN 16:00", becomes "SUN 18:00"' in str(refusal.value)
    assert "`antrian policy apply`" in str(refusal.value)
    assert [row[:2] for row in versions(database_url)] == [(1, "antrian")]


def test_one_of_two_concurrent_first_policies_is_refused(database_url: str) -> None:
    def claim(policy: Policy) -> int:
        try:
            return claim_policy(database_url, policy).version
        except WrongPolicyError:
            return 0

    with ThreadPoolExecutor(8) as threads:
        claimed = sorted(threads.map(claim, [SHIPPED, LONGER] * 4))
    assert claimed == [0] * 4 + [1] * 4
    assert len(versions(database_url)) == 1


def test_applying_a_policy_is_idempotent_and_an_earlier_one_may_return(database_url: str) -> None:
    for policy, version in [(SHIPPED, 1), (SHIPPED, 1), (LONGER, 2), (LONGER, 2), (SHIPPED, 3)]:
        assert apply_policy(database_url, policy, "ops-1", "trial").version == version
    assert versions(database_url) == [(n, "ops-1", "trial") for n in (1, 2, 3)]


def test_policy_versions_are_immutable(database_url: str) -> None:
    claim_policy(database_url, SHIPPED)
    with psycopg.connect(database_url, autocommit=True) as ledger:
        for statement in ("update policy_version set why = ''", "delete from policy_version"):
            with pytest.raises(psycopg.IntegrityError):
                ledger.execute(statement)


async def test_a_new_holiday_cancels_bookings_and_rejects_queued_requests(world: World) -> None:
    await book(world, 1, 2)
    await book(world, 2)
    await book(world, 3, serve=False)
    of_a_server_that_does_not_know_yet = world.request(4)
    world.apply(decreed(world.policy, MONDAY.service_date))
    assert violations(world) == {NEW}
    world.nightly()
    carry_out(world)
    for name, state in [(1, State.CANCELLED), (2, State.CANCELLED), (3, State.REJECTED)]:
        request = world.request(name, [10 * name + n for n in range(2 if name == 1 else 1)])
        booking = await world.recorded(request)
        assert (booking.state, booking.reason) == (state, StatusReason.DAY_CLOSED), name
    assert (await world.refusal(of_a_server_that_does_not_know_yet)).reason == Reason.DAY_CLOSED
    assert isinstance(await world.join(world.request(5, [10, 11], slot=TUESDAY)), Joined), "they are free"
    world.turn()
    assert violations(world) == set()
    assert world.sql("select distinct kind, caller, staff, why, refused from staff_action") == [
        ("CLOSE_DATE", "antrian", "policy", "policy version 2", None)
    ]
    world.nightly()
    assert world.sql("select count(*) from staff_action") == [(2,)], "one of each office, and none again"
    world.set_clock(OPENS + timedelta(days=7))
    world.nightly()
    assert world.sql("select count(*) from bar") == [(2,)], "of the party that missed the Tuesday"


async def test_concurrent_workers_close_a_day_once(world: World) -> None:
    await book(world, 1)
    world.apply(decreed(world.policy, MONDAY.service_date))
    for _ in range(3):
        world.nightly()
    carry_out(world)
    assert world.sql("select count(*) from staff_action") == [(2,)]
    assert violations(world) == set()


async def test_a_past_day_without_service_bars_nobody(world: World) -> None:
    await book(world, 1)
    world.apply(decreed(world.policy, MONDAY.service_date))
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    world.nightly()
    assert done(world) == []
    carry_out(world)
    world.nightly()
    assert len(done(world)) == 2
    assert (await world.recorded(world.request(1, [10]))).state is State.CANCELLED
    assert world.sql("select count(*) from bar") == [(0,)]
    assert violations(world) == set()


async def test_a_finished_day_does_not_change(world: World) -> None:
    await book(world, 1)
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    world.turn()
    world.nightly()
    world.apply(decreed(world.policy, MONDAY.service_date))
    world.nightly()
    await world.ask(CloseDate(uuid.uuid4(), "desk", "rina", "SKB 3 Menteri", MONDAY.service_date))
    assert (await world.recorded(world.request(1, [10]))).state is State.NO_SHOW
    assert world.sql("select refused from staff_action") == [("DAY_BEGUN",)]
    assert violations(world) == set()


async def test_a_removed_service_weekday_is_closed_like_a_holiday(world: World) -> None:
    await book(world, 1)
    rest = read_policy(world.policy.content.replace('["MON", ', "["), "no Mondays")
    world.apply(rest)
    assert violations(world) == {NEW}
    world.nightly()
    carry_out(world)
    assert violations(world) == set()
    assert (await world.recorded(world.request(1, [10]))).state is State.CANCELLED


async def test_a_closed_lane_keeps_its_day_open_until_the_rebuild(world: World) -> None:
    await book(world, 1)
    world.consumer.quarantine(world.take())
    world.apply(decreed(world.policy, MONDAY.service_date))
    world.set_clock(TUESDAY_0000 + timedelta(hours=1))
    world.nightly()
    world.turn(BOGOR)
    world.nightly()
    assert done(world) == [BOGOR]
    world.rebuild()
    world.nightly()
    world.turn()
    world.nightly()
    assert (await world.recorded(world.request(1, [10]))).state is State.CANCELLED
    assert violations(world) == set()


async def test_a_closed_day_stays_closed_when_its_holiday_is_removed(world: World) -> None:
    await book(world, 1)
    world.apply(decreed(world.policy, MONDAY.service_date))
    world.nightly()
    carry_out(world)
    world.apply(without(world.policy, MONDAY.service_date))
    world.nightly()
    world.turn()
    assert (await world.refusal(world.request(2))).reason == Reason.DAY_CLOSED
    assert violations(world) == set()


async def test_a_rebuild_restores_the_requests_of_a_day_without_service(world: World) -> None:
    await book(world, 1)
    world.apply(decreed(world.policy, MONDAY.service_date))
    world.nightly()
    carry_out(world)
    world.redis.flushdb()
    world.consumer.set_clock(world.recorder.clock_ahead())
    world.rebuild()
    assert await world.join(world.request(1, [10])) == Known()
    assert violations(world) == set()


async def test_each_decision_records_its_policy_version(world: World) -> None:
    await book(world, 1)
    world.apply(decreed(world.policy, date(2035, 12, 31)))
    await book(world, 2)
    await world.ticket(world.request(3, slot=replace(MONDAY, session=Session.AFTERNOON)))
    world.turn()
    assert world.sql("select ticket, policy_version from booking order by ticket") == [(1, 1), (2, 2), (3, 2)]


async def test_a_server_adopts_new_versions_and_survives_an_unreadable_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(load_policy(world.settings.policy_file), world.producer, world.reader, world.keys)
    await catalog.refresh()
    assert (catalog.policy.version, catalog.refuse_day(MONDAY.service_date)) == (1, None)
    world.apply(decreed(world.policy, MONDAY.service_date))
    await catalog.refresh()
    refusal = catalog.refuse_day(MONDAY.service_date)
    assert refusal
    assert (catalog.policy.version, refusal.reason) == (2, Reason.NOT_A_SERVICE_DAY)
    assert catalog.windows_of(MONDAY.service_date) == ()
    assert MONDAY.service_date not in catalog.last_window.dates
    newer = f"{world.policy.content}[moon]\nphase = 1\n"
    world.sql(f"insert into policy_version select 3, '{newer}', now(), 'ops-1', 'newer'")
    await catalog.refresh()
    assert catalog.policy.version == 2
    assert "version 3 of the policy in the ledger: moon" in caplog.text
    with pytest.raises(PolicyError, match="version 3 of the policy in the ledger: moon"):
        verify(world.settings)


async def test_a_server_refuses_to_start_with_another_policy(world: World) -> None:
    catalog = Catalog(decreed(world.policy, MONDAY.service_date), world.producer, world.reader, world.keys)
    with pytest.raises(WrongPolicyError, match=f"holiday {MONDAY.service_date}: new"):
        await catalog.refresh()
