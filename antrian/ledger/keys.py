"""Checks that a program has the secret keys that the ledger's data were made with. Other keys would break P4."""

from typing import Any

import psycopg

from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, LimitedConnection
from antrian.settings import SettingsError

_NAMES = {"hash": "the hash key (ANTRIAN_HASH_KEY)", "seal": "the encryption key (ANTRIAN_ENCRYPTION_KEY)"}


class WrongKeysError(SettingsError):
    """The ledger's data were made with other keys. The message says which key is wrong and what to do."""


def claim_keys(database_url: str, keys: Keys) -> None:
    """Stores the check values of these keys in a ledger that has none, and checks the keys against the ledger's.

    Raises:
        WrongKeysError: the ledger has other keys.
        psycopg.Error: Postgres failed or is unreachable.
    """
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        if not _known(ledger):
            _check_people(ledger, keys)
            ledger.execute(sql("claim_keys"), keys.check_values)
        check_keys(ledger, keys)


def check_keys(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """Raises WrongKeysError if the ledger has other keys. Writes nothing."""
    known = _known(ledger)
    if wrong := [kind for kind, value in keys.check_values.items() if known.get(kind, value) != value]:
        raise _wrong(*wrong)


def has_data(database_url: str) -> bool:
    """Returns whether the ledger may have data that were made with keys."""
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        row = ledger.execute(sql("any_ticket")).fetchone()
        return bool(_known(ledger) or (row and row[0]))


def _known(ledger: psycopg.Connection[Any]) -> dict[str, bytes]:
    return dict(ledger.execute(sql("key_check_values")).fetchall())


def _check_people(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """Checks the keys of a ledger without key check values against some of its people. Raises WrongKeysError."""
    people = ledger.execute(sql("first_people")).fetchall()
    if people and not any(keys.fit(*person) for person in people):
        raise _wrong(*_NAMES)


def _wrong(*kinds: str) -> WrongKeysError:
    names = [_NAMES[kind] for kind in kinds]
    verb = "is not the one" if len(names) == 1 else "are not those"
    return WrongKeysError(
        f"{' and '.join(names)} {verb} that made the data in this ledger: people could book twice, and their names could not "
        'be read. Give back the key that was used before, see "A key does not fit" in docs/runbook.md'
    )
