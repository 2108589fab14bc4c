"""`antrian verify` is silent on whole stores and names the promise when they were tampered with."""

from collections.abc import Callable

import pytest

from tests.support.world import MONDAY, PUSAT, World

NIK = "3171010101900001"
PLACES = f"places:{{{PUSAT}}}"
LANE = f"lane:{{{PUSAT}}}"


async def fill(world: World) -> None:
    for n in range(1, 5):
        await world.join(world.request(n, [n * 2, n * 2 + 1]))
    world.turn()
    await world.join(world.request(9))


def sql(statement: str) -> Callable[[World], object]:
    return lambda world: world.sql(statement)


def rename_request(world: World) -> None:
    request = world.request(1)
    bucket = f"requests:{request.booking_id.hex[:3]}"
    world.redis.hset(bucket, request.booking_id.bytes, f"{request.fingerprint} kanim-bogor 1 1796000000".encode())


TAMPERED: list[tuple[str, str, Callable[[World], object]]] = [
    ("P1", "places sold", sql("update slot set taken = taken - 1 where taken > 0")),
    ("P1", "make the quota", lambda w: w.redis.hset(PLACES, str(MONDAY), "6 1 7 1795971600000 0")),
    ("P2", "recorded ticket", sql("update lane set last_ticket = last_ticket + 1 where last_ticket > 0")),
    ("P2", "accepted ticket", lambda w: w.redis.hincrby(LANE, "ticket", 1)),
    ("P2", "accepted ticket", lambda w: w.redis.xtrim(f"line:{{{PUSAT}}}", maxlen=0)),
    ("P2", "accepted ticket", lambda w: w.redis.hincrby(LANE, "settled", 1)),
    ("P3", "ticket order", sql("update booking set ticket = 99 where ticket = 1")),
    ("P4", "one live booking", sql("update applicant set live = false where number = 1")),
    ("P5", "names one booking", rename_request),
    ("P6", "queue numbers", sql("update slot set last_number = last_number + 1 where taken > 0")),
    ("P6", "queue numbers", sql("update booking set first_number = 5 where ticket = 1")),
    ("P7", "outcomes came after", sql("update booking set accepted_at = accepted_at + interval '1 hour'")),
    ("P15", "lane is open", lambda w: w.redis.hset(LANE, "open", "0")),
    ("P15", "lane is open", lambda w: w.redis.flushdb()),
    ("P14", "in the ledger", sql(f"update booking set account = 'nik-{NIK}' where ticket = 1")),
    ("P14", "in the ledger", sql(f"update applicant set sealed = '{NIK}' where number = 1")),
    ("P14", "in Redis", lambda w: w.redis.set("note", f"nik {NIK}")),
]


async def test_whole_stores_have_no_breach(world: World) -> None:
    await fill(world)
    assert world.verify() == []


@pytest.mark.parametrize(
    ("promise", "what", "tamper"), TAMPERED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_tampered_stores_are_named(
    world: World, promise: str, what: str, tamper: Callable[[World], object]
) -> None:
    await fill(world)
    tamper(world)
    assert (promise, True) in {(check.promise, what in check.what) for check in world.verify()}


async def test_a_guard_that_is_off_is_a_breach(world: World) -> None:
    await fill(world)
    world.sql("alter table booking disable trigger booking_moves_forward")
    try:
        assert [check.promise for check in world.verify()] == ["P7"]
    finally:
        world.sql("alter table booking enable trigger booking_moves_forward")
