"""The commands that make, list and remove callers' tokens: antrian callers add, list, remove."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from antrian.callers_file import CallersFile, CallersFileError, Role, has_expired, parse_callers, read_callers
from clients.cli import show
from clients.cli.options import Failure, WrongSettings, example, failing_on, json_option

_PREFIX = "antr_"  # secret scanners find leaked tokens by it
_TOKEN_BYTES = 32
_SHOWN = 12  # hex digits of a hash that tell tokens apart

_file = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ANTRIAN_CALLERS_FILE",
    show_envvar=True,
    required=True,
    help="The callers file.",
)


@click.group(epilog=example("antrian callers add mobile --role gateway --vouches-for accounts --file callers.toml"))
def callers() -> None:
    """Manage the callers file: who may call, with which tokens.

    Running servers apply a change within seconds. docs/callers.md explains the file.
    """


def _parse_time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    time = None
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
    if time is None or time.tzinfo is None:
        raise click.BadParameter("must be a time with an offset, like 2027-06-30T00:00:00Z")
    if time <= datetime.now(UTC):
        raise click.BadParameter("is in the past")
    return time


@callers.command(
    epilog=example(
        "antrian callers add mobile --role gateway --vouches-for accounts --file callers.toml",
        "antrian callers add frontdesk --role staff --office kanim-bogor --expires 2027-06-30T00:00:00Z --file callers.toml",
    )
)
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="The role of the caller.")
@click.option(
    "--office", "offices", multiple=True, metavar="ID", help="For staff: an office, or * for all. Repeatable."
)
@click.option(
    "--vouches-for",
    type=click.Choice(["accounts", "subject"]),
    help="For a gateway: whether it names accounts itself.  [default: subject]",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests per second and server."
)
@click.option(
    "--expires",
    callback=_parse_time,
    metavar="TIME",
    help="When the token expires, with an offset: 2027-06-30T00:00:00Z.  [default: never]",
)
@_file
@json_option
def add(
    name: str,
    role: str,
    offices: tuple[str, ...],
    vouches_for: str | None,
    rate: float | None,
    expires: datetime | None,
    file: Path,
    as_json: bool,
) -> None:
    """Make a token for a caller, and print it once.

    The file gets only its hash, so a lost token cannot be shown again. To rotate a token, add another one for the same NAME
    with the same options, and remove the old one when it is no longer used.
    """
    token = _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    digest = hashlib.sha256(token.encode()).hexdigest()
    given = {
        "name": name,
        "role": role,
        "token_sha256": digest,
        "not_after": expires,
        "offices": list(offices),
        "vouches_for": vouches_for,
        "requests_per_second": rate,
    }
    entry = tomlkit.table()
    for key, value in given.items():
        if value:
            entry.add(key, value)

    def append(tables: AoT) -> None:
        tables.append(entry)

    _change(file, append)
    if as_json:
        facts = {"name": name, "token": token, "token_sha256": digest, "not_after": expires and expires.isoformat()}
        click.echo(json.dumps(facts))
    else:
        click.echo(token)
        click.echo(f"This is the only time that the token of {name} is shown. {file} has its hash.", err=True)


@callers.command("list", epilog=example("antrian callers list --file callers.toml"))
@_file
@json_option
def list_callers(file: Path, as_json: bool) -> None:
    """List the callers, their tokens' hashes and expiry times, and the issuers of persons' tokens."""
    with failing_on(CallersFileError, by=WrongSettings):
        content = read_callers(file)
    if as_json:
        click.echo(content.model_dump_json())
    else:
        _show(content)


@callers.command(
    epilog=example(
        "antrian callers remove mobile --token a785ee1a192f --file callers.toml",
        "antrian callers remove mobile --file callers.toml",
    )
)
@click.argument("name")
@click.option("--token", "digits", metavar="DIGITS", help="Only the token whose SHA-256 begins with these hex digits.")
@_file
def remove(name: str, digits: str | None, file: Path) -> None:
    """Remove a caller, or one of its tokens.

    Running servers refuse its tokens within seconds. Its bookings stay, and a caller that is added again under the same name
    has them.
    """

    def drop(tables: AoT) -> None:
        found = [
            number
            for number, table in enumerate(tables)
            if table.get("name") == name and str(table.get("token_sha256")).startswith(digits or "")
        ]
        if not found or (digits is not None and len(found) > 1):
            what = f"{len(found)} tokens" if found else "no token"
            raise Failure(f"{file} has {what} of {name}{f' that begin with {digits}' if digits else ''}")
        for number in reversed(found):
            del tables[number]

    _change(file, drop)


def _change(file: Path, change: Callable[[AoT], None]) -> None:
    """Changes the tables of callers in the file, and replaces it if it is then valid. Comments stay."""
    try:
        before = file.read_text("utf-8") if file.exists() else ""
        document: Any = tomlkit.parse(before)
        change(_tables(document))
        text = tomlkit.dumps(document)
        parse_callers(text)
        _replace(file, text)
    except (CallersFileError, TOMLKitError, UnicodeDecodeError, OSError) as error:
        raise WrongSettings(f"{file} was not changed: {error}") from None


def _tables(document: Any) -> AoT:
    tables = document.setdefault("caller", tomlkit.aot())
    if not isinstance(tables, AoT):
        raise CallersFileError("caller: must be written as [[caller]] tables")
    return tables


def _replace(file: Path, text: str) -> None:
    """Replaces the file in one step, so that a server never reads half of it."""
    file = file.resolve()
    before = file.stat() if file.exists() else None
    with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(text)
            new.flush()
            if before:
                os.fchown(new.fileno(), before.st_uid, before.st_gid)
                os.fchmod(new.fileno(), before.st_mode & 0o777)
            os.fsync(new.fileno())
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


def _show(content: CallersFile) -> None:
    now = datetime.now(UTC)
    listed = show.table("name", "role", "token", "expires", "offices", "vouches for")
    for entry in content.caller:
        expires = entry.not_after.isoformat() if entry.not_after else "never"
        listed.add_row(
            entry.name,
            entry.role.value,
            entry.token_sha256[:_SHOWN],
            f"{expires} (expired)" if has_expired(entry.not_after, now) else expires,
            " ".join(entry.offices),
            entry.vouches_for if entry.role is Role.GATEWAY else "accounts",
        )
    for issuer in content.issuer:
        listed.add_row(issuer.name, Role.GATEWAY.value, issuer.issuer, "each token's own", "", "subject")
    show.print_table(listed)
