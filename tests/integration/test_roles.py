"""The database roles of antrian/ledger/roles.sql: what each may do, by trying what it may not."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from antrian.ledger.migrate import ROLES, migrate
from antrian.ledger.recorder import LedgerRecorder
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from tests.conftest import Stores, new_database

PROGRAMS = ("antrian_server", "antrian_worker", "antrian_auditor")
ALL = (*PROGRAMS, "antrian_owner")
TABLES = (
    "applicant", "bar", "booking", "clock", "day_done", "key_check_value", "lane", "migration", "office", "policy_version",
    "province", "slot", "staff_action",
)  # fmt: skip
ACTION = (
    "insert into staff_action values ('{}', 'SET_QUOTA', 'kanim-bogor', '2030-01-04', null, 'c', 's', 'why', '{{}}', '{{}}', "
    "null, now())"
)


class Roles:
    """Connects as one role after the other."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def url(self, role: str) -> str:
        """Returns the address for a role."""
        return make_conninfo(self._url, user=role)

    def __call__(self, role: str, statement: str) -> None:
        """Executes the statement and rolls it back."""
        alone = statement.startswith("alter system")  # not allowed in a transaction
        with psycopg.connect(self.url(role), autocommit=alone) as ledger:
            ledger.execute(statement.encode())
            ledger.rollback()


@pytest.fixture(scope="module")
def ledger_as(stores: Stores) -> Iterator[Roles]:
    """Executes statements as a role, in a ledger with offices that the owner has migrated."""
    with new_database(stores.database_url) as url:
        with psycopg.connect(url, autocommit=True) as superuser:
            superuser.execute(ROLES)
            superuser.execute(f"alter database {superuser.info.dbname} owner to antrian_owner".encode())
        roles = Roles(url)
        migrate(roles.url("antrian_owner"))
        migrate(roles.url("antrian_owner"))
        with LedgerRecorder(roles.url("antrian_owner")) as ledger:
            ledger.upsert_offices(load_offices(), load_provinces().values())
        yield roles


@pytest.mark.parametrize("role", ALL)
@pytest.mark.parametrize(
    "statement",
    [
        "select * from pg_authid",
        "select pg_read_file('/etc/passwd')",
        "copy office to program 'id'",
        "copy office to '/tmp/offices'",
        "create role another superuser",
        "alter role {role} superuser",
        "create extension plpython3u",
        "set session_replication_role = replica",
        "alter system set fsync = off",
        "set role antrian",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'antrian'",
    ],
)
def test_no_role_is_a_superuser(ledger_as: Roles, role: str, statement: str) -> None:
    with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
        ledger_as(role, statement.format(role=role))


@pytest.mark.parametrize("role", PROGRAMS)
@pytest.mark.parametrize(
    "statement",
    [
        "alter table booking disable trigger booking_moves_forward",
        "alter table staff_action disable trigger all",
        "drop trigger staff_action_is_for_good on staff_action",
        "create or replace function booking_moves_forward() returns trigger language plpgsql as 'begin return new; end'",
        "drop table bar",
        "alter table slot drop constraint slot_taken_within_quota",
        "create table mine (x int)",
        "create temporary table mine (x int)",
        "create schema mine",
        "update staff_action set why = 'another'",
        "delete from staff_action",
        "insert into policy_version values (99, '', now(), 's', 'why')",
        "update policy_version set content = ''",
        "update clock set ahead = '1 day'",
        "update booking set slot_id = 1",
        "update applicant set booking_id = gen_random_uuid()",
        "update office set daily_quota = 1000",
        "delete from bar",
        "set role antrian_owner",
        "lock table booking in access exclusive mode",
    ],
)
def test_no_program_may_undo_what_was_recorded(ledger_as: Roles, role: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        ledger_as(role, statement)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("role", PROGRAMS)
def test_no_program_may_delete_or_truncate(ledger_as: Roles, role: str, table: str) -> None:
    for statement in (f"delete from {table}", f"truncate {table} cascade"):
        with pytest.raises(InsufficientPrivilege):
            ledger_as(role, statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("antrian_worker", "insert into journal (kind, row_id) values ('booking', '1')"),
        ("antrian_worker", "update link set hash = digest"),
        ("antrian_worker", "insert into key_pair values (decode(repeat('00', 8), 'hex'), decode(repeat('00', 32), 'hex'))"),
        ("antrian_worker", "insert into key_check_value values ('hash', decode(repeat('00', 16), 'hex'))"),
        ("antrian_server", "insert into booking select * from booking"),
        ("antrian_server", "insert into slot (office_id, service_date, session, quota) values ('kanim-bogor', now(), 'MORNING', 1)"),
        ("antrian_server", "update slot set quota = 1000"),
        ("antrian_server", "update bar set lifted_at = now()"),
        ("antrian_server", "update booking set account = 'mine'"),
        ("antrian_server", "update applicant set applicant_key = decode(repeat('00', 16), 'hex')"),
        ("antrian_server", "update key_pair set retired_at = null"),
        ("antrian_server", "insert into link select * from link"),
        ("antrian_server", "update key_check_value set value = decode(repeat('00', 16), 'hex')"),
        ("antrian_auditor", ACTION.format(UUID(int=2))),
        ("antrian_auditor", "update booking set state = 'CANCELLED'"),
    ],
)  # fmt: skip
def test_each_program_may_only_do_its_own_work(ledger_as: Roles, role: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        ledger_as(role, statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("antrian_server", "select encrypted from applicant"),
        ("antrian_server", ACTION.format(UUID(int=2))),
        ("antrian_worker", ACTION.format(UUID(int=2))),
        ("antrian_worker", "update slot set taken = 1"),
        ("antrian_auditor", "select * from applicant, staff_action, booking, key_check_value"),
    ],
)
def test_each_program_may_do_its_own_work(ledger_as: Roles, role: str, statement: str) -> None:
    ledger_as(role, statement)
