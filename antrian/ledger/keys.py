"""Checks that a program has the keys that the ledger's data were made with. Another hash key would break P4."""

from typing import Any

import psycopg

from antrian.encryption import pair_id, public_key_of
from antrian.identity import Keys
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, LimitedConnection
from antrian.settings import SettingsError

_HELP = 'see "A key does not fit" in docs/runbook.md'


class WrongKeysError(SettingsError):
    """The ledger has other keys. The message says which key is wrong and what to do."""


def claim_keys(database_url: str, keys: Keys) -> None:
    """Stores the keys' check value and the public key in a ledger that has none, and checks the keys against the ledger's.

    Raises:
        WrongKeysError: the ledger has other keys.
        psycopg.Error: Postgres failed or is unreachable.
    """
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        values = {"hash": keys.hash_check_value, "pair_id": pair_id(keys.public_key), "public_key": keys.public_key}
        ledger.execute(sql("claim_keys"), values)
        check_keys(ledger, keys)


def check_hash_key(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """Raises WrongKeysError if the ledger has another hash key. Writes nothing."""
    if any(value != keys.hash_check_value for (value,) in ledger.execute(sql("key_check_values"))):
        raise WrongKeysError(
            "the hash key (ANTRIAN_HASH_KEY) is not the one that made the data in this ledger: people could book twice. "
            f"Give back the key that was used before, {_HELP}"
        )


def check_keys(ledger: psycopg.Connection[Any], keys: Keys) -> None:
    """Raises WrongKeysError if the ledger has other keys. Writes nothing."""
    check_hash_key(ledger, keys)
    retired = {bytes(pair): retired_at is not None for pair, _, _, retired_at in ledger.execute(sql("key_pairs"))}
    if not retired:
        return
    if keys.public_key and retired.get(pair_id(keys.public_key), True):
        what = "is retired" if pair_id(keys.public_key) in retired else "is not one of this ledger's"
        raise WrongKeysError(
            f"the public key (ANTRIAN_PUBLIC_KEY, key pair {pair_id(keys.public_key).hex()}) {what}: the offices could not "
            f"read the names that it encrypts. `antrian keys list` shows the ledger's, {_HELP}"
        )
    if keys.private_keys and not any(pair_id(public_key_of(key)) in retired for key in keys.private_keys):
        raise WrongKeysError(
            "the private keys (ANTRIAN_PRIVATE_KEYS) belong to none of this ledger's key pairs: no name could be read. "
            f"`antrian keys list` shows the ledger's, {_HELP}"
        )


def has_data(database_url: str) -> bool:
    """Returns whether the ledger may have data that were made with keys."""
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        row = ledger.execute(sql("any_ticket")).fetchone()
        return bool(ledger.execute(sql("key_check_values")).fetchone() or (row and row[0]))
