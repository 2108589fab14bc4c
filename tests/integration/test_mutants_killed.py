"""What small faults in the schema and the statements showed to be untested; see tests/mutants. One test a claim."""

import uuid
from dataclasses import replace
from datetime import timedelta
from itertools import product
from zoneinfo import ZoneInfo

import psycopg
import pytest

from antrian.booking import Cancel, CloseDate, CommandBatch, Session, SetQuota, Slot, State, Turn
from antrian.errors import Reason
from antrian.lane.producer import JoinRequest
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from antrian.ledger.reader import RecordedBooking
from tests.support.decree import decreed
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World

_ACTION = "insert into staff_action values ({}, {}, {}, current_date, {}, '', '', '', '{{}}', '{{}}', null, now())"
_ID = f"'{uuid.UUID(int=1)}'"

CONSTRAINTS = {
    "province_nik_code_key": "insert into province values ('ID-JB', '', '', '31', '')",
    "office_province_code_fkey": "update office set province_code = 'ID-XX'",
    "office_daily_quota_check": "update office set daily_quota = -1",
    "office_morning_percent_check": "update office set morning_percent = 101",
    "slot_office_id_fkey": "update slot set office_id = 'kanim-x' where slot_id = (select max(slot_id) from slot)",
    "slot_session_check": "update slot set session = 'NIGHT'",
    "slot_quota_check": "update slot set quota = -1",
    "lane_office_id_fkey": "insert into lane values ('kanim-x')",
    "booking_ticket_check": "update booking set ticket = 0",
    "booking_party_size_check": "update booking set party_size = 0",
    "booking_state_check": "insert into booking select gen_random_uuid(), office_id, 99, slot_id, 1, 'WAITING', null, 9, '', '', now(), now() from booking",
    "booking_first_number_check": "update booking set first_number = 0",
    "booking_reason_known": "update booking set reason = 'BAD_LUCK'",
    "booking_reason_when_rejected": "update booking set reason = 'SLOT_FULL'",
    "booking_someone_is_left": "update booking set cancelled_people = 1",
    "booking_number_when_confirmed": "update booking set first_number = null",
    "applicant_number_check": "update applicant set number = 0",
    "applicant_applicant_key_check": "update applicant set applicant_key = '\\x00'",
    "applicant_cancelled_is_gone": "update applicant set cancelled_at = now()",
    "applicant_present_or_live": "update applicant set present_at = now()",
    "bar_applicant_key_check": "insert into bar select '\\x00', booking_id, current_date, now() from booking",
    "bar_booking_id_fkey": f"insert into bar select applicant_key, {_ID}, current_date, now() from applicant",
    "bar_once": "insert into bar select applicant_key, booking_id, now(), now() from applicant, generate_series(1, 2)",
    "clock_pkey": "insert into clock default values",
    "clock_one_check": "insert into clock values (false)",
    "clock_ahead_check": "update clock set ahead = '-1 second'",
    "day_done_office_id_fkey": "insert into day_done values ('kanim-x', current_date, now(), 0)",
    "day_done_once": f"insert into day_done select '{PUSAT}', current_date, now(), 0 from generate_series(1, 2)",
    "staff_action_pkey": ";".join([_ACTION.format(_ID, "'CHECK_IN'", f"'{PUSAT}'", "null")] * 2),
    "policy_version_pkey": "insert into policy_version select * from policy_version",
    "policy_version_version_check": "insert into policy_version values (0, '', now(), '', '')",
    "staff_action_kind_check": _ACTION.format(_ID, "'TEA'", f"'{PUSAT}'", "null"),
    "staff_action_office_id_fkey": _ACTION.format(_ID, "'CHECK_IN'", "'kanim-x'", "null"),
    "staff_action_session_check": _ACTION.format(_ID, "'CHECK_IN'", f"'{PUSAT}'", "'NIGHT'"),
}  # fmt: skip


async def test_each_constraint_of_the_schema_refuses_what_it_is_for(world: World) -> None:
    await world.ticket(world.request(1))
    world.turn()
    met = {}
    for name, statement in CONSTRAINTS.items():
        try:
            world.sql(statement)
        except psycopg.IntegrityError as error:
            met[name] = error.diag.constraint_name
    assert met == {name: name for name in CONSTRAINTS}


async def test_bookings_are_listed_per_account_newest_first_in_pages(world: World) -> None:
    mine = [world.request(n, account="a", slot=TUESDAY if n == 3 else MONDAY) for n in (1, 2, 3)]
    for request in (*mine[:2], world.request(4, account="b"), world.request(5, account="a", caller="other")):
        await world.ticket(request)
    world.turn()
    await world.ticket(mine[2])
    world.turn()
    await world.ask(Cancel(mine[0].booking_id))
    world.sql("update booking set decided_at = (select min(decided_at) from booking) where ticket in (1, 2)")

    async def ids(most: int = 10, before: RecordedBooking | None = None, **only: object) -> list[RecordedBooking]:
        page = (before.decided_at, before.booking_id) if before else None
        return await world.reader.account_bookings("gateway", "a", most, before=page, **only)  # type: ignore[arg-type]

    every = await ids()
    together = sorted((request.booking_id for request in mine[:2]), reverse=True)  # decided at the same moment
    assert [b.booking_id for b in every] == [mine[2].booking_id, *together]
    pages, last = [], None
    while page := await ids(1, last):
        [last] = page
        pages += page
    assert [b.booking_id for b in pages] == [b.booking_id for b in every]
    assert [b.booking_id for b in await ids(state=State.CANCELLED)] == [mine[0].booking_id]
    assert [b.booking_id for b in await ids(service_date=TUESDAY.service_date)] == [mine[2].booking_id]


async def test_the_roster_lists_the_offices_people_of_the_day_without_cancelled_ones(world: World) -> None:
    afternoon = replace(MONDAY, session=Session.AFTERNOON)
    requests = [
        world.request(1, [1, 2]),
        world.request(2, [3, 4], slot=afternoon),
        world.request(3, [5]),
        world.request(4, [6], slot=TUESDAY),
        world.request(5, [7], office_id=BOGOR),
    ]
    for request in requests:
        await world.ticket(request)
    world.turn()
    world.turn(BOGOR)
    await world.ask(Cancel(requests[2].booking_id))

    async def numbers(session: Session | None = None) -> list[tuple[Session, int]]:
        after, rows = None, []
        while page := await world.staff.roster(PUSAT, MONDAY.service_date, session, after, 1):
            [row] = page
            after = row.session, row.number
            rows.append(after)
        return rows

    morning, later = [(Session.MORNING, 1), (Session.MORNING, 2)], [(Session.AFTERNOON, 1), (Session.AFTERNOON, 2)]
    assert await numbers() == morning + later
    assert await numbers(Session.MORNING) == morning
    assert await numbers(Session.AFTERNOON) == later
    assert len(await world.staff.roster(PUSAT, MONDAY.service_date, None, None, 10)) == 4


async def test_a_program_that_has_the_newest_policy_hears_of_no_other(world: World) -> None:
    world.apply(decreed(world.policy, TUESDAY.service_date))
    assert world.policy.version == 2
    assert await world.reader.other_policy(2) is None
    newest = await world.reader.other_policy(1)
    assert newest
    assert newest.version == 2


async def test_a_desk_cancels_nothing_of_another_office(world: World) -> None:
    request = world.request(1)
    await world.ticket(request)
    world.turn()
    await world.ask(Cancel(request.booking_id), BOGOR)
    assert (await world.recorded(request)).state is State.CONFIRMED


async def test_closing_a_day_affects_only_that_day_of_that_office(world: World) -> None:
    monday = await confirmed(world, 1, [1, 2])
    others = [await confirmed(world, 2, [3], slot=TUESDAY), await confirmed(world, 3, [4], office_id=BOGOR)]
    cancelled = await confirmed(world, 4, [5])
    await world.ask(Cancel(cancelled.booking_id))
    entry = CloseDate(uuid.uuid4(), "desk", "rina", "banjir", MONDAY.service_date)
    await world.ask(entry)
    await world.ask(entry)
    assert [(await world.recorded(r)).state for r in others] == [State.CONFIRMED] * 2
    assert ((await world.recorded(cancelled)).reason, (await world.recorded(monday)).reason) == (None, "DAY_CLOSED")
    done = await world.staff.action(entry.action_id)
    assert done
    assert done.before == {
        "slots": [
            {"session": "MORNING", "quota": 6, "taken": 2, "closed": False},
            {"session": "AFTERNOON", "quota": 4, "taken": 0, "closed": False},
        ]
    }
    assert (done.after, done.refused) == ({"closed": True, "bookings": 1, "people": 2}, None)
    assert world.sql("select office_id, service_date, session, taken from slot where closed order by session") == [
        (PUSAT, MONDAY.service_date, "AFTERNOON", 0), (PUSAT, MONDAY.service_date, "MORNING", 0),
    ]  # fmt: skip
    assert await world.staff.closed_bookings(PUSAT, MONDAY.service_date) == 1
    assert await world.staff.closed_bookings(PUSAT, TUESDAY.service_date) == 0
    assert await world.staff.closed_bookings(BOGOR, MONDAY.service_date) == 0
    assert (world.remaining(TUESDAY), world.remaining(MONDAY, BOGOR)) == (5, 5)


async def test_a_day_can_be_closed_until_it_is_finished(world: World) -> None:
    for day, refused in [(3, None), (4, "DAY_BEGUN")]:
        world.set_clock(OPENS.replace(hour=23, minute=59) + timedelta(days=day))
        world.nightly()
        entry = CloseDate(uuid.uuid4(), "desk", "rina", "banjir", MONDAY.service_date)
        await world.ask(entry)
        done = await world.staff.action(entry.action_id)
        assert done
        assert (done.refused, done.after["closed"]) == (refused, refused is None)


async def test_a_quota_change_affects_only_its_slot(world: World) -> None:
    entry = SetQuota(uuid.uuid4(), "desk", "rina", "mesin rusak", MONDAY, 9, None)
    await world.ask(entry)
    await world.ask(entry)
    changed = "select office_id, service_date, session, quota from slot where quota not in (6, 4)"
    assert world.sql(changed) == [(PUSAT, MONDAY.service_date, "MORNING", 9)]
    assert world.sql("select count(*) from staff_action") == [(1,)]


async def test_commands_advance_only_their_own_lane(world: World) -> None:
    other = f"select * from lane where office_id = '{BOGOR}'"
    before = world.sql(other)
    await world.ask(Cancel(uuid.uuid4()))
    assert world.sql(other) == before
    assert world.sql(f"select last_command from lane where office_id = '{PUSAT}'") == [(1,)]


async def test_a_quota_change_frees_nobody(world: World) -> None:
    await confirmed(world, 1, [1])
    await world.ask(SetQuota(uuid.uuid4(), "desk", "rina", "mesin rusak", MONDAY, 9, None))
    assert (await world.refusal(world.request(2, [1]))).reason == Reason.ALREADY_BOOKED


async def test_the_ledger_begins_a_day_at_midnight_in_the_offices_zone(world: World) -> None:
    world.recorder.upsert_offices([replace(world.offices[BOGOR], time_zone=ZoneInfo("Asia/Jayapura"))], [])
    decided = {}
    for name, office_id in enumerate((PUSAT, BOGOR)):
        await world.ticket(world.request(name, [name], office_id=office_id))
        lease = world.take(office_id)
        decided[office_id] = lease, world.decide(lease)
    world.set_clock(OPENS.replace(hour=23) + timedelta(days=2))  # Sunday here, and Monday there
    assert [world.record(*decided[office_id]) for office_id in (PUSAT, BOGOR)] == ["K", "R"]


async def test_a_rebuild_restores_holders_of_old_bookings(world: World) -> None:
    await confirmed(world, 1, [1])
    world.set_clock(OPENS + timedelta(days=63, minutes=1))
    world.redis.flushdb()
    world.rebuild()
    later = replace(MONDAY, service_date=MONDAY.service_date + timedelta(days=63))
    assert (await world.refusal(world.request(2, [1], slot=later))).reason == Reason.ALREADY_BOOKED


async def test_a_rebuild_includes_the_current_day(world: World) -> None:
    world.set_clock(OPENS.replace(hour=9) + timedelta(days=3))
    world.redis.flushdb()
    world.rebuild()
    assert world.remaining() == 6


async def test_offices_are_ordered_by_id(world: World) -> None:
    assert [office.office_id for office in world.recorder.offices()] == [BOGOR, PUSAT]
    assert await world.reader.offices() == world.recorder.offices()


@pytest.mark.parametrize("lanes", ["a newer token has recorded as far", "another lane stands there"])
async def test_a_fenced_off_consumer_writes_nothing(world: World, lanes: str) -> None:
    await world.ticket(world.request(1))
    lease = world.take()
    decisions = world.decide(lease)
    if lanes.startswith("another"):
        world.sql(f"update lane set token = {lease.token}, last_ticket = 1 where office_id = '{BOGOR}'")
    last = 0 if lanes.startswith("another") else 1
    world.sql(f"update lane set token = {lease.token + 1}, last_ticket = {last} where office_id = '{PUSAT}'")
    with pytest.raises(LedgerFencedError):
        world.record(lease, decisions)
    assert world.sql("select count(*) from booking") == [(0,)]


async def test_a_gap_under_the_same_token_writes_nothing(world: World) -> None:
    await world.ticket(world.request(1))
    lease = world.take()
    [decision] = world.decide(lease)
    world.record(lease, [decision])
    with pytest.raises(LedgerGapError):
        world.record(lease, [replace(decision, entry=decision.entry._replace(booking_id=uuid.uuid4().bytes), ticket=7)])
    assert world.sql("select count(*) from booking") == [(1,)]


async def test_a_turn_without_its_slot_moves_nothing_and_keeps_no_other_lane_from_moving(world: World) -> None:
    turns = []
    for name, office_id in enumerate((PUSAT, BOGOR), 1):
        await world.ticket(world.request(name, office_id=office_id))
        lease = world.take(office_id)
        turns.append(Turn(office_id, lease.token, world.decide(lease)))
    world.sql(
        f"delete from slot where office_id = '{PUSAT}' and service_date = '{MONDAY.service_date}' and session = 'MORNING'"
    )
    refused, recorded = world.recorder.record(turns, world.policy.version)
    assert isinstance(refused, LedgerGapError)
    assert recorded == "K"
    assert world.sql("select office_id, last_ticket from lane order by office_id") == [(BOGOR, 1), (PUSAT, 0)]
    assert world.sql("select office_id, account from booking") == [(BOGOR, "account-2")]


async def test_turns_of_one_batch_need_only_their_own_slots(world: World) -> None:
    turns = []
    for name, office_id, slot in [(1, PUSAT, TUESDAY), (2, BOGOR, MONDAY)]:
        await world.ticket(world.request(name, office_id=office_id, slot=slot))
        lease = world.take(office_id)
        turns.append(Turn(office_id, lease.token, world.decide(lease)))
    world.sql(f"delete from slot where office_id = '{BOGOR}' and service_date = '{TUESDAY.service_date}'")
    assert world.recorder.record(turns, world.policy.version) == ["K", "K"]


async def test_each_booking_of_a_batch_is_in_its_own_office_and_slot(world: World) -> None:
    afternoon = replace(MONDAY, session=Session.AFTERNOON)
    wanted = [
        (office_id, slot.service_date, slot.session.value, f"account-{n}")
        for n, (office_id, slot) in enumerate(product((BOGOR, PUSAT), (afternoon, MONDAY, TUESDAY)), 1)
    ]
    for n, (office_id, service_date, session, _) in enumerate(wanted, 1):
        await world.ticket(world.request(n, office_id=office_id, slot=Slot(service_date, Session(session))))
    turns = []
    for office_id in (BOGOR, PUSAT):
        lease = world.take(office_id)
        turns.append(Turn(office_id, lease.token, world.decide(lease)))
    assert world.recorder.record(turns, world.policy.version) == ["KKK", "KKK"]
    rows = world.sql(
        "select b.office_id, s.service_date, s.session, b.account from booking as b join slot as s using (slot_id) "
        "where s.office_id = b.office_id order by b.account"
    )
    assert rows == wanted
    assert world.sql("select count(distinct decided_at) from booking") == [(1,)], "in one statement, not lane by lane"


async def test_the_clock_may_be_set_again_but_not_back(world: World) -> None:
    ahead = world.recorder.clock_ahead()
    world.recorder.set_clock(ahead)
    with pytest.raises(ValueError, match="forward"):
        world.recorder.set_clock(ahead - timedelta(seconds=1))
    assert world.recorder.clock_ahead() == ahead


async def test_commands_return_the_slots_and_people_that_they_changed(world: World) -> None:
    monday, tuesday = await confirmed(world, 1, [1, 2]), await confirmed(world, 2, [3], slot=TUESDAY)
    stays, elsewhere = await confirmed(world, 3, [4], slot=TUESDAY), await confirmed(world, 4, [5], office_id=BOGOR)
    await world.ask(Cancel(elsewhere.booking_id), BOGOR)
    afternoon = replace(MONDAY, session=Session.AFTERNOON)
    closing = CloseDate(uuid.uuid4(), "desk", "rina", "banjir", MONDAY.service_date)
    asked: list[tuple[Cancel | CloseDate, set[Slot], JoinRequest]] = [
        (Cancel(tuesday.booking_id), {TUESDAY}, tuesday),
        (closing, {MONDAY, afternoon}, monday),
    ]
    for entry, slots, freed in asked:
        await world.producer.send_command(PUSAT, entry)
        lease = world.take()
        batch = world.decide_any(lease, 256)
        assert isinstance(batch, CommandBatch)
        said = world.recorder.record_commands(PUSAT, lease.token, batch)
        assert sorted(row.slot for row in said.slots) == sorted(slots)
        assert sorted(said.freed) == sorted((freed.booking_id.bytes, a.key) for a in freed.applicants)
        world.lease_ends()
        world.turn()
    assert (await world.recorded(stays)).state is State.CONFIRMED


async def confirmed(
    world: World,
    name: int,
    people: list[int],
    *,
    slot: Slot = MONDAY,
    office_id: str = PUSAT,
    booking_id: uuid.UUID | None = None,
) -> JoinRequest:
    """A booking in the ledger."""
    request = world.request(name, people, slot=slot, office_id=office_id)
    request = replace(request, booking_id=booking_id or request.booking_id)
    await world.ticket(request)
    world.turn(office_id)
    return request
