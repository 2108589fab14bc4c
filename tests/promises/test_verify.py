"""`antrian verify` reports nothing for untampered stores, and the promise for tampered ones."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from antrian.audit.verify import verify
from antrian.booking import EncryptedApplicant
from tests.support.decree import decreed
from tests.support.world import MONDAY, OPENS, PUSAT, TUESDAY, World, nik

NIK = "3171010101900001"
PLACES = f"counters:{{{PUSAT}}}"
LANE = f"lane:{{{PUSAT}}}"


async def fill(world: World) -> None:
    for n in range(1, 5):
        await world.join(world.request(n, [n * 2, n * 2 + 1]))
    world.turn()
    await world.join(world.request(9, slot=TUESDAY))


def sql(statement: str) -> Callable[[World], object]:
    return lambda world: world.sql(statement)


def rename_request(world: World) -> None:
    request = world.request(1)
    bucket = f"requests:{request.booking_id.hex[:3]}"
    world.redis.hset(bucket, request.booking_id.bytes, request.fingerprint + b" kanim-bogor 1 498889")


def waiting_longest(world: World) -> None:
    world.redis.zadd("ready", {PUSAT: 1})


STAFF_ACTION = (
    "insert into staff_action (action_id, kind, office_id, service_date, caller, staff, why, before, after, done_at) values "
    "(gen_random_uuid(), 'CLOSE_DATE', 'kanim-pusat', '2026-11-30', 'desk', '{}', '{}', '{{}}', '{{}}', now())"
)


def bar_in_redis_only(world: World) -> None:
    ends = OPENS + timedelta(days=30)
    key = world.keys.applicant_key(nik(30))
    assert world.consumer.release(PUSAT, world.consumer.settled_command(PUSAT), [(bytes(16), key)], ends, "2026-12-30")


TAMPERED: list[tuple[str, str, Callable[[World], object]]] = [
    ("P1", "sold places", sql("update slot set taken = taken - 1 where taken > 0")),
    ("P1", "up to the quota", lambda w: w.redis.hset(PLACES, str(MONDAY), "6 1 7 1795971600000 0")),
    ("P9", "agrees with the ledger", lambda w: w.redis.hset(LANE, "epoch", 7)),
    ("P9", "agrees with the ledger", lambda w: w.redis.hincrby(LANE, "settled", -1)),
    ("P9", "agrees with the ledger", lambda w: w.redis.hincrby(LANE, "settled_command", 1)),
    ("P10", "without service", lambda w: w.apply(decreed(w.policy, MONDAY.service_date))),
    ("P12", "within their bounds", lambda w: [w.redis.xadd(f"commands:{{{PUSAT}}}", {"d": "{}"}) for _ in range(1001)]),
    ("P13", "waits for a worker", waiting_longest),
    ("P15", "longer than a minute", lambda w: w.set_clock(OPENS + timedelta(minutes=3))),
    ("P2", "recorded ticket", sql("update lane set last_ticket = last_ticket + 1 where last_ticket > 0")),
    ("P2", "accepted ticket", lambda w: w.redis.hincrby(LANE, "ticket", 1)),
    ("P2", "accepted ticket", lambda w: w.redis.xtrim(f"queue:{{{PUSAT}}}", maxlen=0)),
    ("P2", "accepted ticket", lambda w: w.redis.hincrby(LANE, "settled", 1)),
    ("P3", "ticket order", sql("update booking set ticket = 99 where ticket = 1")),
    ("P4", "one live booking", sql("update applicant set live = false where number = 1")),
    ("P1", "sold places", sql("update booking set cancelled_people = 1 where ticket = 1")),
    ("P4", "one live booking", sql("update booking set cancelled_people = 1 where ticket = 1")),
    ("P4", "one live booking", sql("update applicant set live = false, cancelled_at = now() where number = 1")),
    ("P5", "names one booking", rename_request),
    ("P6", "queue numbers", sql("update slot set last_number = last_number + 1 where taken > 0")),
    ("P6", "queue numbers", sql("update booking set first_number = 5 where ticket = 1")),
    ("P7", "outcomes come after", sql("update booking set accepted_at = accepted_at + interval '1 hour'")),
    ("P10", "bar the same people", bar_in_redis_only),
    ("P15", "lane is open", lambda w: w.redis.hset(LANE, "open", "0")),
    ("P15", "lane is open", lambda w: w.redis.flushdb()),
    ("P14", "in the ledger", sql(f"update booking set account = 'nik-{NIK}' where ticket = 1")),
    ("P14", "in the ledger", sql("update booking set account = '3171-0141-0790.0779' where ticket = 1")),
    ("P14", "in the ledger", sql(STAFF_ACTION.format("siti", "NIK 3171 0141 0790 0779 salah"))),
    ("P14", "in the ledger", sql(STAFF_ACTION.format("317101-410790-0779", "banjir"))),
    ("P14", "in the ledger", sql(f"update applicant set encrypted = '{NIK}' where number = 1")),
    ("P14", "in Redis", lambda w: w.redis.set("note", f"nik {NIK}")),
    ("P14", "in Redis", lambda w: w.redis.hset(LANE, "last", NIK)),
]


async def test_untampered_stores_have_no_violation(world: World) -> None:
    await fill(world)
    assert world.verify() == []


@pytest.mark.parametrize(
    ("promise", "what", "tamper"), TAMPERED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_each_tampering_is_reported_with_its_promise(
    world: World, promise: str, what: str, tamper: Callable[[World], object]
) -> None:
    await fill(world)
    tamper(world)
    assert (promise, True) in {(check.promise, what in check.what) for check in world.verify()}


async def test_an_unfinished_turn_is_no_violation(world: World) -> None:
    await fill(world)
    world.redis.hdel(f"applicants:{world.keys.applicant_key(nik(2)).hex()[:3]}", world.keys.applicant_key(nik(2)))
    await world.ticket(world.request(20, [2], slot=TUESDAY))  # the ledger will refuse it
    await world.ticket(world.request(21, slot=TUESDAY))
    lease = world.take()
    decided = world.decide(lease)
    world.consumer.leave(lease)
    assert world.verify() == []
    lease = world.take()
    world.record(lease, decided)
    world.consumer.leave(lease)
    assert world.verify() == []
    counters: Any = world.redis.hget(PLACES, str(MONDAY))
    world.redis.hset(PLACES, str(MONDAY), counters.replace(b"6 ", b"7 ", 1))
    assert [check.promise for check in world.verify()] == ["P1"]


async def test_a_lane_leased_by_another_is_not_audited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antrian.audit.verify.LEASE", timedelta(milliseconds=50))
    await fill(world)
    lease = world.take()

    def audited() -> int:
        return {check.what: check.examined for check in verify(world.settings)}[
            "an open lane agrees with the ledger on what is recorded"
        ]

    assert audited() == 1  # the other office's
    world.consumer.leave(lease)
    assert audited() == 2


async def test_lease_times_and_adjacent_numbers_are_not_taken_for_niks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(world)
    await world.ticket(world.request(20, slot=TUESDAY, account="081234567890123", caller="app-1"))
    assert world.verify() == []
    monkeypatch.setattr("antrian.audit.verify.LEASE", timedelta(milliseconds=50))
    world.take()
    assert world.verify() == []


async def test_rqs_own_names_are_not_taken_for_niks_but_job_arguments_are_checked(world: World) -> None:
    world.redis.set("rq:worker:c22fe791caf0431684611504960a64f4", 1)
    assert world.verify() == []
    world.redis.set("rq:job:1", f"args: {NIK}")
    assert [check.promise for check in world.verify()] == ["P14"]


async def test_a_disabled_trigger_is_a_violation(world: World) -> None:
    await fill(world)
    world.sql("alter table booking disable trigger booking_moves_forward")
    try:
        assert [check.promise for check in world.verify()] == ["P7"]
    finally:
        world.sql("alter table booking enable trigger booking_moves_forward")


async def test_encrypted_data_followed_by_a_timestamp_is_not_taken_for_a_nik(world: World) -> None:
    request = world.request(1)
    encrypted = bytes(57) + b"317"
    await world.ticket(replace(request, applicants=(EncryptedApplicant(request.applicants[0].key, encrypted),)))
    assert world.verify() == []
