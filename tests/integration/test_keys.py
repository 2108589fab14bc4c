"""The ledger knows which keys made its data: others are refused, by every program, before they can do harm (P4)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from antrian.audit.verify import verify
from antrian.booking import Cancel, Session
from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.keys import WrongKeysError, claim_keys
from tests.support.waiting import until
from tests.support.world import MONDAY, TUESDAY, World

HASH, SEAL = "the hash key (ANTRIAN_HASH_KEY)", "the encryption key (ANTRIAN_ENCRYPTION_KEY)"
OURS = Keys(b"h" * 32, b"s" * 32)
OTHERS = [
    (Keys(b"x" * 32, b"s" * 32), f"{HASH} is not the one"),
    (Keys(b"h" * 32, b"x" * 32), f"{SEAL} is not the one"),
    (Keys(b"x" * 32, b"x" * 32), f"{HASH} and {SEAL} are not those"),
]


def refusal(database_url: str, keys: Keys) -> str:
    with pytest.raises(WrongKeysError) as caught:
        claim_keys(database_url, keys)
    return str(caught.value)


def test_an_empty_ledger_adopts_the_first_keys_and_refuses_others(database_url: str) -> None:
    claim_keys(database_url, OURS)
    claim_keys(database_url, OURS)
    for keys, says in OTHERS:
        assert refusal(database_url, keys).startswith(says)
    assert '"A key does not fit" in docs/runbook.md' in refusal(database_url, OTHERS[0][0])


def test_the_ledger_does_not_reveal_a_key(database_url: str) -> None:
    claim_keys(database_url, OURS)
    with psycopg.connect(database_url) as ledger:
        values = [bytes(value) for (value,) in ledger.execute("select value from key_check_value")]
    assert not any(value in key for value in values for key in (OURS.hash_key, OURS.encryption_key))
    same = Keys(OURS.hash_key, OURS.hash_key).check_values
    assert same["hash"] != same["seal"], "it would show that two keys are the same"


async def test_one_of_two_programs_that_start_together_with_different_keys_is_refused(database_url: str) -> None:
    waits = "select count(*) from pg_locks where not granted"
    with (
        psycopg.connect(database_url) as first,
        psycopg.connect(database_url, autocommit=True) as third,
        ThreadPoolExecutor() as threads,
    ):
        first.execute(sql("claim_keys"), OURS.check_values)
        second = threads.submit(claim_keys, database_url, OTHERS[1][0])  # of whose keys one is the same
        await until(lambda: third.execute(waits).fetchone() == (1,))
        first.commit()
        with pytest.raises(WrongKeysError, match="encryption key"):
            second.result()
    claim_keys(database_url, OURS)


@pytest.mark.parametrize(("keys", "says"), OTHERS, ids=["hash", "seal", "both"])
async def test_an_upgraded_ledger_accepts_only_the_keys_of_its_bookings(world: World, keys: Keys, says: str) -> None:
    await world.ticket(world.request(1))
    world.turn()
    assert world.sql("select * from key_check_value") == []
    assert f"{HASH} and {SEAL}" in refusal(world.settings.database_url, keys)
    claim_keys(world.settings.database_url, world.keys)
    assert says in refusal(world.settings.database_url, keys)


async def test_an_upgraded_ledger_refuses_keys_that_made_only_later_bookings(world: World) -> None:
    for number, slot in ((1, MONDAY), (2, TUESDAY)):
        await world.ticket(world.request(number, range(10 * number, 10 * number + 5), slot=slot))
    world.keys = OTHERS[2][0]
    await world.ticket(world.request(3, slot=replace(TUESDAY, session=Session.AFTERNOON)))
    world.turn()
    assert world.sql("select count(*) from applicant") == [(11,)]
    refusal(world.settings.database_url, world.keys)
    claim_keys(world.settings.database_url, OURS)


@pytest.mark.parametrize(("kind", "value"), [("other", bytes(16)), ("hash", bytes(15))])
def test_the_ledger_has_a_check_value_for_each_key(database_url: str, kind: str, value: bytes) -> None:
    with psycopg.connect(database_url) as ledger, pytest.raises(psycopg.errors.CheckViolation):
        ledger.execute("insert into key_check_value values (%s, %s)", [kind, value])


async def test_verify_ignores_cancelled_applicants(world: World) -> None:
    request = world.request(1)
    await world.ticket(request)
    world.turn()
    await world.ask(Cancel(request.booking_id))
    world.sql("update applicant set encrypted = ''")
    assert world.verify() == []


async def test_verify_reports_data_made_with_other_keys(world: World) -> None:
    """What P4 hangs on: without the check at the start one NIK holds two live bookings, and the index cannot see it."""
    await world.ticket(world.request(1))
    world.keys = OTHERS[2][0]
    await world.ticket(world.request(2, [1]))
    world.turn()
    assert world.sql("select count(*) from applicant where live") == [(2,)]
    assert [(check.promise, check.violations) for check in world.verify()] == [("P4", 1)]


async def test_verify_refuses_other_keys(world: World) -> None:
    claim_keys(world.settings.database_url, world.keys)
    with pytest.raises(WrongKeysError, match="hash key"):
        verify(world.settings.model_copy(update={"hash_key": b"x" * 32}))
