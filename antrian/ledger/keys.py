"""Which keys made what is in a ledger: a program that was given others is refused before it can do harm (P4)."""

from typing import Any

import psycopg

from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, LimitedConnection
from antrian.settings import SettingsError

_NAMES = {"hash": "the hash key (ANTRIAN_HASH_KEY)", "seal": "the encryption key (ANTRIAN_ENCRYPTION_KEY)"}


class WrongKeysError(SettingsError):
    """The ledger's data were made with other keys; the message says which key is wrong and what to do."""


def claim_keys(database_url: str, keys: Keys) -> None:
    """Makes these the keys of a ledger that has none yet; returns only when they are the ledger's keys.

    Raises WrongKeysError, or psycopg.Error when Postgres cannot be reached.
    """
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        if not _known(ledger):
            _check_people(ledger, keys)
            ledger.execute(sql("claim_keys"), keys.check_values)
        check_keys(ledger, keys)


def check_keys(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """Raises WrongKeysError when the ledger has other keys; only reads."""
    known = _known(ledger)
    if wrong := [kind for kind, value in keys.check_values.items() if known.get(kind, value) != value]:
        raise _wrong(*wrong)


def has_data(database_url: str) -> bool:
    """Whether something in the ledger may have been made with keys."""
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        row = ledger.execute(sql("any_ticket")).fetchone()
        return bool(_known(ledger) or (row and row[0]))


def _known(ledger: psycopg.Connection[Any]) -> dict[str, bytes]:
    return dict(ledger.execute(sql("key_check_values")).fetchall())


def _check_people(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """A ledger that is older than its key check values shows by its people whether these keys are its own."""
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
