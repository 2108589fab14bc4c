"""The ledger knows which keys made its data: others are refused, by every program, before they can do harm (P4)."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from antrian.audit.verify import verify
from antrian.booking import Cancel
from antrian.encryption import pair_id
from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.keys import WrongKeysError, claim_keys
from tests.support.keys import make_keys
from tests.support.waiting import until
from tests.support.world import World

OURS = make_keys()
SERVER = Keys(OURS.hash_key, OURS.public_key)
HASH = "the hash key (ANTRIAN_HASH_KEY) is not the one that made the data in this ledger"
OTHERS = [
    (make_keys(b"x" * 32), HASH),
    (make_keys(private_key=b"x" * 32), "the public key (ANTRIAN_PUBLIC_KEY, key pair 8"),
    (
        Keys(OURS.hash_key, b"", (b"x" * 32,)),
        "the private keys (ANTRIAN_PRIVATE_KEYS) belong to none of this ledger's key pairs",
    ),
    (make_keys(b"x" * 32, b"y" * 32), HASH),
]


def refusal(database_url: str, keys: Keys) -> str:
    with pytest.raises(WrongKeysError) as caught:
        claim_keys(database_url, keys)
    return str(caught.value)


def test_an_empty_ledger_adopts_the_first_keys_and_refuses_others(database_url: str) -> None:
    claim_keys(database_url, OURS)
    claim_keys(database_url, OURS)
    claim_keys(database_url, SERVER)
    for keys, says in OTHERS:
        assert refusal(database_url, keys).startswith(says[:40])
        assert says in refusal(database_url, keys) or says.endswith("pair 8")
        assert '"A key does not fit" in docs/runbook.md' in refusal(database_url, keys)


def test_the_ledger_does_not_reveal_a_secret_key(database_url: str) -> None:
    claim_keys(database_url, OURS)
    with psycopg.connect(database_url) as ledger:
        [(value,)] = ledger.execute("select value from key_check_value")
        assert ledger.execute("select pair_id, public_key from key_pair").fetchall() == [
            (pair_id(OURS.public_key), OURS.public_key)
        ]
    assert value not in OURS.hash_key
    assert OURS.hash_key not in value


async def test_one_of_two_programs_that_start_together_with_different_keys_is_refused(database_url: str) -> None:
    waits = "select count(*) from pg_locks where not granted"
    values = {"hash": OURS.hash_check_value, "pair_id": pair_id(OURS.public_key), "public_key": OURS.public_key}
    with (
        psycopg.connect(database_url) as first,
        psycopg.connect(database_url, autocommit=True) as third,
        ThreadPoolExecutor() as threads,
    ):
        first.execute(sql("claim_keys"), values)
        second = threads.submit(claim_keys, database_url, OTHERS[1][0])  # whose hash key is the same
        await until(lambda: third.execute(waits).fetchone() == (1,))
        first.commit()
        with pytest.raises(WrongKeysError, match="public key"):
            second.result()
    claim_keys(database_url, OURS)


@pytest.mark.parametrize(("kind", "value"), [("seal", bytes(16)), ("hash", bytes(15))])
def test_the_ledger_has_a_check_value_of_the_hash_key_only(database_url: str, kind: str, value: bytes) -> None:
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
    world.keys = OTHERS[3][0]
    await world.ticket(world.request(2, [1]))
    world.turn()
    assert world.sql("select count(*) from applicant where live") == [(2,)]
    assert [(check.promise, check.violations) for check in world.verify()] == [("P4", 1)]


async def test_verify_refuses_other_keys(world: World) -> None:
    claim_keys(world.settings.database_url, world.keys)
    with pytest.raises(WrongKeysError, match="hash key"):
        verify(world.settings.model_copy(update={"hash_key": b"x" * 32}))
