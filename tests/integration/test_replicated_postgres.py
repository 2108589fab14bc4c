"""Postgres with a synchronous standby: real processes, killed and promoted."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from antrian.local.child import hold
from antrian.local.replicated_postgres import ReplicatedPostgres
from tests.integration.test_embedded import wait_until
from tests.support.town import copy_stores


@pytest.fixture
def replicated(new_stores: Path, tmp_path: Path) -> Iterator[ReplicatedPostgres]:
    copy_stores(new_stores / "postgres", tmp_path / "postgres-1")
    shutil.copystat(new_stores / "postgres", tmp_path / "postgres-1")
    with hold(tmp_path) as lock, ReplicatedPostgres(tmp_path, lock) as started:
        with psycopg.connect(started.url) as connection:
            connection.execute("create table kept (value text)")
        yield started


def put(replicated: ReplicatedPostgres, value: str) -> None:
    with psycopg.connect(replicated.url) as connection:
        connection.execute("insert into kept values (%s)", [value])


def kept(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [value for (value,) in connection.execute("select value from kept order by value")]


def test_a_promoted_standby_has_every_commit_and_can_have_a_standby_again(replicated: ReplicatedPostgres) -> None:
    first, second = replicated.primary, replicated.standby
    put(replicated, "one")
    with psycopg.connect(replicated.url_of(second)) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("insert into kept values ('standby')")
    replicated.promote()
    assert (replicated.primary, replicated.standby) == (second, first)
    assert kept(replicated.url) == ["one"]
    put(replicated, "two")
    replicated.start_standby()
    assert replicated.is_synchronous()
    put(replicated, "three")
    replicated.promote()
    assert kept(replicated.url) == ["one", "three", "two"]


def test_a_commit_waits_for_the_standby(replicated: ReplicatedPostgres) -> None:
    replicated.kill(replicated.standby)
    commit = threading.Thread(target=put, args=(replicated, "one"))
    commit.start()
    with psycopg.connect(replicated.url_of(replicated.primary), autocommit=True) as connection:
        waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
        wait_until(lambda: connection.execute(waiting.encode()).fetchone() == (1,))
    assert commit.is_alive()
    replicated.restart(replicated.standby)
    commit.join(30)
    assert not commit.is_alive()
    assert kept(replicated.url_of(replicated.standby)) == ["one"]


def test_roles_and_data_are_kept_over_a_restart(replicated: ReplicatedPostgres) -> None:
    put(replicated, "one")
    replicated.promote()
    replicated.start_standby()
    primary = replicated.primary
    replicated.stop()
    replicated.start()
    assert replicated.primary == primary
    assert replicated.is_synchronous()
    assert kept(replicated.url) == ["one"]
