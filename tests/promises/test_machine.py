"""The state machine finds no violation on the real code, and finds each broken variant.

ANTRIAN_ROUNDS=200 plays 200 rounds of nine examples instead of five.
"""

import asyncio
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import cast

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from antrian import ledger
from antrian.ledger.fence import LedgerBusyError
from tests.promises.machine import PromiseMachine
from tests.promises.machine_variants import VARIANTS, Variant
from tests.promises.model import BrokenError
from tests.support.waiting import until
from tests.support.world import BOGOR, PUSAT, World, empty_ledger

ROUNDS = int(os.environ.get("ANTRIAN_ROUNDS", "5"))
# Of ten examples and more Hypothesis makes many by repeating parts of earlier ones, which is of no use here.
ROUND = settings(
    max_examples=9,
    stateful_step_count=40,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
UNTIL_BROKEN = settings(ROUND, phases=[Phase.generate])


def play(machine: type[PromiseMachine], how: settings, rounds: int) -> None:
    """Plays that many rounds, the same ones each time."""
    for number in range(rounds):
        seed(number)(get_state_machine_test(machine, settings=how))()


@contextmanager
def one_world(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PromiseMachine]]:
    """Makes the machines of a test, on one world whose leases do not expire by themselves."""
    monkeypatch.setattr("antrian.lane.consumer.LEASE", timedelta(minutes=5))
    with asyncio.Runner() as runner, psycopg.connect(database_url, autocommit=True) as connection:
        world = World(redis_url, database_url, places=4, lane_bound=6)
        runner.run(world.__aenter__())
        try:
            yield cast(type[PromiseMachine], partial(PromiseMachine, world, runner, connection))
        finally:
            runner.run(world.__aexit__())


@contextmanager
def guards_put_back(database_url: str) -> Iterator[None]:
    """Restores the constraints that a variant drops, for the tests that follow."""
    guards = (
        "select conname, conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint where contype = 'c'"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = set(connection.execute(guards).fetchall())
        try:
            yield
        finally:
            empty_ledger(database_url)
            for name, table, definition in before - set(connection.execute(guards).fetchall()):
                connection.execute(f"alter table {table} add constraint {name} {definition}".encode())


@pytest.mark.timeout(60 * (ROUNDS + 5))
def test_the_promises_hold_under_random_operations_and_failures(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_world(redis_url, database_url, monkeypatch) as machine:
        play(machine, ROUND, ROUNDS)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.promises}: {v.name}")
def test_the_machine_finds_each_broken_variant(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    with guards_put_back(database_url):
        variant.build(monkeypatch, database_url)
        with one_world(redis_url, database_url, monkeypatch) as machine, pytest.raises(BrokenError) as caught:
            play(machine, UNTIL_BROKEN, 30)
    assert caught.value.promise in variant.promises.split(), caught.value


@pytest.mark.parametrize("order", ["order by a.applicant_key", ""], ids=["sorted", "P15: applicants inserted unsorted"])
async def test_two_lanes_with_the_same_people_never_deadlock(
    world: World, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Two lanes record at once; a third transaction makes sure that each has inserted half of its people first."""
    monkeypatch.setattr(
        "antrian.ledger.turns.sql", lambda name: ledger.sql(name).replace("order by a.applicant_key", order)
    )
    await world.ticket(world.request(1, range(1, 6)))
    leases = [world.take(PUSAT), world.take(BOGOR)]
    [first] = world.decide(leases[0])
    people = tuple(sorted(first.entry.applicants, key=lambda person: person.key))
    first = replace(first, entry=first.entry._replace(applicants=people))
    second = replace(first, entry=first.entry._replace(booking_id=uuid.uuid4().bytes, applicants=people[::-1]))

    def waiting() -> bool:
        who = "datname = current_database() and wait_event_type = 'Lock'"
        return world.sql(f"select count(*) from pg_stat_activity where {who}") == [(2,)]

    with psycopg.connect(world.settings.database_url) as third, ThreadPoolExecutor() as threads:
        third.execute("set session_replication_role = replica")  # needs no booking
        third.execute(
            "insert into applicant (slot_id, number, booking_id, applicant_key, encrypted) values (0, 1, %s, %s, '')",
            [uuid.uuid4(), people[2].key],
        )
        records = [
            threads.submit(world.record, lease, [decision])
            for lease, decision in zip(leases, [first, second], strict=True)
        ]
        await until(waiting)
        third.rollback()
    # Whoever waits for longer than a lock may take gives up before Postgres has found the deadlock.
    stuck = psycopg.errors.DeadlockDetected | LedgerBusyError
    deadlocks = [record for record in records if isinstance(record.exception(), stuck)]
    if order:
        assert sorted(record.result() for record in records) == ["K", "R"]
    else:
        assert deadlocks
