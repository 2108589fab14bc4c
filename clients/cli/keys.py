"""The commands for the offices' key pairs: list, rotate, rewrap, retire."""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import psycopg
from redis.exceptions import RedisError

from antrian.encryption import Decryptor, Encryptor, new_private_key, pair_id, public_key_of
from antrian.identity import Keys
from antrian.lane.consumer import LaneConsumer
from antrian.ledger import sql
from antrian.ledger.connection import CONNECT
from antrian.ledger.key_pairs import (
    KeyPair,
    add_key_pair,
    key_pairs,
    lock_key_pairs,
    needed_people,
    retire_key_pair,
    rewrap,
)
from antrian.ledger.keys import check_hash_key
from antrian.local.private_file import write_private
from antrian.settings import Settings, SettingsError, given_keys, secrets_folder
from clients.cli import show
from clients.cli.options import (
    FOLDER,
    Failure,
    WrongSettings,
    example,
    failing_on,
    given_database,
    json_option,
    stores_folder_option,
    stores_settings,
)

_STORE_ERRORS = (psycopg.Error, RedisError, OSError)


@click.group(epilog=example("antrian keys list"))
def keys() -> None:
    """Show and change the offices' key pairs.

    Personal data are encrypted to the public key of a pair, and decrypted by its private key. To change the pair while
    Antrian runs: `rotate`, restart the servers, `rewrap`, `retire`. docs/runbook.md explains each step.
    """


@keys.command("list", epilog=example("antrian keys list", "antrian keys list --json"))
@stores_folder_option
@json_option
def list_pairs(folder: Path | None, as_json: bool) -> None:
    """List the ledger's key pairs, the oldest first.

    Shows of how many people the data need each pair, and whether this command was given its private key.
    """
    settings = stores_settings(folder)
    with _ledger(settings) as ledger:
        pairs = key_pairs(ledger)
    given = {pair_id(public_key_of(key)) for key in settings.private_keys}
    if as_json:
        facts = [
            {
                "key_pair": pair.pair_id.hex(),
                "public_key": base64.b64encode(pair.public_key).decode(),
                "added_time": pair.added_at.isoformat(),
                "retired_time": pair.retired_at.isoformat() if pair.retired_at else None,
                "people": pair.people,
                "private_key_given": pair.pair_id in given,
            }
            for pair in pairs
        ]
        click.echo(json.dumps(facts, indent=2))
        return
    listed = show.table("key pair", "added", "retired", "people", "private key", numbers=("people",))
    for pair in pairs:
        retired = f"{pair.retired_at:%Y-%m-%d %H:%M}" if pair.retired_at else ""
        has = "given" if pair.pair_id in given else "not given"
        listed.add_row(pair.pair_id.hex(), f"{pair.added_at:%Y-%m-%d %H:%M}", retired, f"{pair.people:,}", has)
    show.print_table(listed)


@keys.command(epilog=example("antrian keys rotate"))
@stores_folder_option
def rotate(folder: Path | None) -> None:
    """Add a new key pair, to which servers encrypt once they are restarted.

    Writes the new keys into secrets.json, or into the files antrian_private_keys and antrian_public_key of the secrets folder.
    The old private keys stay, for reading. If ANTRIAN_PUBLIC_KEY is one that the ledger does not have yet, the command adds
    that pair instead, and writes no file. Exits with 1 while an older pair is still to be retired.
    """
    file = _key_file(folder)
    settings = stores_settings(folder)
    with _locked_ledger(settings) as ledger, failing_on(SettingsError, by=WrongSettings):
        given = settings.make_keys("public_key", "private_keys")
        check_hash_key(ledger, given)
        known = key_pairs(ledger)
        live = [pair for pair in known if pair.retired_at is None]
        if len(live) > 1:
            raise Failure(
                f"the key pair {live[0].pair_id.hex()} is still in use: finish with `antrian keys rewrap` and `antrian keys retire`"
            )
        public_key = given.public_key
        if any(pair.public_key == public_key for pair in known):
            if file is None:
                raise WrongSettings(
                    "the keys are in environment variables, which this command cannot change: add a new private key to "
                    "ANTRIAN_PRIVATE_KEYS, set ANTRIAN_PUBLIC_KEY to its public key, and repeat the command"
                )
            private_key = new_private_key()
            public_key = public_key_of(private_key)
            _write_keys(file, given, private_key)
        add_key_pair(ledger, public_key)
    click.echo(
        f"added the key pair {pair_id(public_key).hex()}\nnow restart the servers, those for offices' staff first, with the new "
        "keys; then run `antrian keys rewrap`"
    )


@keys.command("rewrap", epilog=example("antrian keys rewrap"))
@stores_folder_option
def rewrap_people(folder: Path | None) -> None:
    """Move the data of all people to the newest key pair, while Antrian runs.

    Only the data keys are wrapped anew; nobody's name is decrypted. Servers for offices' staff must have the new private key
    already, or they show no names. May be stopped, and is safe to repeat: a server that was not restarted yet still encrypts
    to the old pair.
    """
    settings = stores_settings(folder)
    with _locked_ledger(settings) as ledger:
        newest = _live(ledger)[-1]
        older = [pair for pair in key_pairs(ledger) if pair.people and pair.pair_id != newest.pair_id]
        _check_given(settings, [*older, newest])
        total = sum(pair.people for pair in older)
        with click.progressbar(length=total, label="people") as bar:
            done = rewrap(
                ledger,
                [pair.pair_id for pair in older],
                Decryptor(settings.private_keys),
                Encryptor(newest.public_key),
                lambda people: bar.update(people - bar.pos),
            )
    click.echo(f"{done.people:,} people moved to the key pair {newest.pair_id.hex()}")
    if done.unreadable:
        raise Failure(
            f"the data of {done.unreadable:,} people are damaged and cannot be read by any key; they stay as they are"
        )


@keys.command(epilog=example("antrian keys retire 1f6b6a4f1b0e2c3d"))
@click.argument("pair")
@stores_folder_option
def retire(pair: str, folder: Path | None) -> None:
    """Retire the key pair PAIR, to which nothing may be encrypted any more.

    Exits with 1 if it is the only one in use, or the data of people in the ledger or of requests in the queues still need it. A
    server that encrypts to a retired pair ends within seconds.
    """
    settings = stores_settings(folder)
    with _locked_ledger(settings) as ledger:
        found = next((one for one in key_pairs(ledger) if one.pair_id.hex() == pair.lower()), None)
        if found is None:
            raise Failure(f"the ledger has no key pair {pair}: see `antrian keys list`")
        if found.retired_at is None:
            if found.pair_id == _live(ledger)[-1].pair_id:
                raise Failure(
                    f"{pair} is the newest key pair, to which servers encrypt: run `antrian keys rotate` before"
                )
            _check_unneeded(ledger, settings, found)
            retire_key_pair(ledger, found.pair_id)
    click.echo(
        f"{pair} is retired: destroy its private key when all servers were restarted and `antrian keys list` still shows no "
        "people for it"
    )


def _check_unneeded(ledger: psycopg.Connection[Any], settings: Settings, pair: KeyPair) -> None:
    _check_given(settings, [pair])
    people = needed_people(ledger, pair.pair_id, Decryptor(settings.private_keys))
    with failing_on(*_STORE_ERRORS), closing(LaneConsumer(settings.redis_url)) as consumer:
        queued = sum(
            one.encrypted.startswith(pair.pair_id)
            for (office_id,) in ledger.execute(sql("lanes"))
            for entry in consumer.in_queue(office_id)
            for one in entry.applicants
        )
    if people or queued:
        raise Failure(
            f"the data of {people:,} people in the ledger and {queued:,} in the queues need the key pair {pair.pair_id.hex()}: "
            "restart servers that still encrypt to it, and run `antrian keys rewrap`"
        )


def _check_given(settings: Settings, pairs: Iterable[KeyPair]) -> None:
    given = {pair_id(public_key_of(key)) for key in settings.private_keys}
    if missing := [pair.pair_id.hex() for pair in pairs if pair.pair_id not in given]:
        raise WrongSettings(f"ANTRIAN_PRIVATE_KEYS: lacks the private key of the key pair {', '.join(missing)}")


def _live(ledger: psycopg.Connection[Any]) -> list[KeyPair]:
    live = [pair for pair in key_pairs(ledger) if pair.retired_at is None]
    if not live:
        raise Failure("the ledger has no key pair yet; the first server that starts stores its own there")
    return live


@contextmanager
def _ledger(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with (
        failing_on(*_STORE_ERRORS),
        psycopg.connect(settings.database_url, autocommit=True, **CONNECT) as ledger,
    ):
        yield ledger


@contextmanager
def _locked_ledger(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with _ledger(settings) as ledger:
        if not lock_key_pairs(ledger):
            raise Failure("another `antrian keys` is changing the key pairs of this ledger")
        yield ledger


def _key_file(folder: Path | None) -> Path | None:
    """Returns the secrets.json or the file antrian_private_keys from which this command has its keys, if any."""
    if folder is not None or given_database() is None:
        return None if given_keys() else (folder or FOLDER) / "secrets.json"
    if os.environ.get("ANTRIAN_PRIVATE_KEYS") or os.environ.get("ANTRIAN_PUBLIC_KEY"):
        return None
    secrets = secrets_folder()
    return secrets / "antrian_private_keys" if secrets else None


def _write_keys(file: Path, given: Keys, private_key: bytes) -> None:
    """Adds a private key to the file, and makes its public key the one to encrypt to."""
    new = base64.b64encode(private_key).decode()
    public = base64.b64encode(public_key_of(private_key)).decode()
    if file.name == "secrets.json":  # it may have been changed since the programs got their keys from it
        content = json.loads(file.read_text())
        private = "\n".join([new, *content["private_keys"].split()])
        write_private(file, json.dumps(content | {"public_key": public, "private_keys": private}, indent=2))
        return
    private = "\n".join([new, *(base64.b64encode(key).decode() for key in given.private_keys)])
    owner = file.stat()
    write_private(file, f"{private}\n")
    os.chown(file, owner.st_uid, owner.st_gid)
    public_file = file.with_name("antrian_public_key")
    mode = public_file.stat().st_mode
    write_private(public_file, f"{public}\n")
    public_file.chmod(mode)
