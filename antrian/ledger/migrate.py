"""Applies the files of migrations/ to a database, in order, each once, and then grants.sql."""

from importlib.resources import files

import psycopg

# Any number, the same in every release: concurrent migrations of a database run one after the other.
_LOCK = 0x616E7472
_MAY_CREATE_ROLES = "select from pg_roles where rolname = current_user and (rolsuper or rolcreaterole)"

ROLES = files(__package__).joinpath("roles.sql").read_bytes()
"""The statement that creates the roles of the programs, and of the owner."""


def migrate(database_url: str) -> list[str]:
    """Applies the migrations that the database lacks, all in one transaction, and returns their names.

    Then gives the roles of the programs what they need, and nothing more. Creates missing roles if it may; otherwise somebody
    who may has to run roles.sql first. Raises psycopg.Error.
    """
    applied = []
    with psycopg.connect(database_url) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(
            "create table if not exists migration (name text primary key, applied_at timestamptz not null)"
        )
        known = {row[0] for row in connection.execute("select name from migration")}
        for file in sorted(files(__package__).joinpath("migrations").iterdir(), key=lambda file: file.name):
            if file.name.endswith(".sql") and file.name not in known:
                connection.execute(file.read_bytes())
                connection.execute("insert into migration values (%s, now())", [file.name])
                applied.append(file.name)
        if connection.execute(_MAY_CREATE_ROLES).fetchone():
            connection.execute(ROLES)
        connection.execute(files(__package__).joinpath("grants.sql").read_bytes())
    return applied
