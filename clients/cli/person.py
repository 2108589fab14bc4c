"""The commands about one person's data: person export, person erase."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg
from redis.exceptions import RedisError, ResponseError

from antrian.identity import Keys, booking_code
from antrian.ledger.connection import CONNECT
from antrian.ledger.keys import check_keys
from antrian.ledger.people import KeptPerson, PersonBar, PersonBooking, erase_person, export_person
from antrian.redis_primary import connect
from antrian.settings import Settings, SettingsError
from antrian.text import compact
from clients.cli.options import (
    WrongSettings,
    checked_action,
    confirm,
    example,
    failing_on,
    json_option,
    stores_folder_option,
    stores_settings,
)
from clients.cli.staff_options import reason_option, staff_option

_nik_option = click.option(
    "--nik",
    prompt="NIK",
    hide_input=True,
    help="The person's NIK. Without it the command prompts for it, which keeps it out of the shell's history.",
)


@click.group(epilog=example('antrian person export --staff dpo-1 --reason "Request of 3 December"'))
def person() -> None:
    """Export or erase what is kept about one person.

    Needs the stores and the keys, not a running Antrian. Both are recorded at each office concerned, with --staff and --reason.
    """


@person.command(epilog=example('antrian person export --staff dpo-1 --reason "Request of 3 December" > person.json'))
@_nik_option
@staff_option
@reason_option
@stores_folder_option
def export(nik: str, staff: str, reason: str, folder: Path | None) -> None:
    """Print everything that is kept about a person, as JSON.

    Has NIK and names in clear. Requests that were rejected are kept without their people, so they cannot be found.
    """
    nik, (staff, reason) = _checked(nik), checked_action(staff, reason)
    settings = stores_settings(folder)
    with failing_on(SettingsError, by=WrongSettings):
        keys = settings.make_keys("private_keys")
    key = keys.applicant_key(nik)
    with failing_on(psycopg.Error, SettingsError, by=WrongSettings), _ledger(settings, keys) as ledger:
        kept = export_person(ledger, key, staff, reason)
    facts = {
        "nik": nik,
        "bookings": [_booking(keys, key, booking) for booking in kept.bookings],
        "bars": [_facts(bar) for bar in kept.bars],
    }
    click.echo(json.dumps(facts, ensure_ascii=False, indent=2))


@person.command(epilog=example('antrian person erase --staff dpo-1 --reason "Request of 3 December"'))
@_nik_option
@staff_option
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@stores_folder_option
@json_option
def erase(nik: str, staff: str, reason: str, yes: bool, folder: Path | None, as_json: bool) -> None:
    """Erase what may be erased of a person's data.

    Places that the person holds stay: cancel them first. Those of a day can be erased from the second day after it. Of a
    booking with a bar in force, name and NIK are erased, while the keyed hash of the NIK and the account stay until the retention
    period is over, since the bar could not be enforced without them. Backups are not touched.
    """
    nik, (staff, reason) = _checked(nik), checked_action(staff, reason)
    settings = stores_settings(folder)
    with failing_on(SettingsError, by=WrongSettings):
        keys = settings.make_keys()
    if not yes:
        confirm("Erase the data of this person? This cannot be undone.")
    with failing_on(psycopg.Error, RedisError, SettingsError, by=WrongSettings):
        with _ledger(settings, keys) as ledger:
            erased, kept = erase_person(ledger, keys.applicant_key(nik), staff, reason)
        _rewrite_log(settings)
    remaining = list(_remaining(kept))
    if as_json:
        click.echo(json.dumps({"erased_bookings": erased, "kept": remaining}, indent=2))
        return
    click.echo(f"erased the person's data of {erased} bookings")
    for one in remaining:
        click.echo(f"kept at {one['office_id']} for {one['service_date']}, code {one['code']}: {one['why']}")


def _checked(nik: str) -> str:
    nik = compact(nik)
    if not (len(nik) == 16 and nik.isascii() and nik.isdigit()):
        raise click.BadParameter("a NIK must be 16 digits", param_hint="--nik")
    return nik


def _ledger(settings: Settings, keys: Keys) -> psycopg.Connection[Any]:
    ledger = psycopg.connect(settings.database_url, autocommit=True, **CONNECT)
    check_keys(ledger, keys)
    return ledger


def _rewrite_log(settings: Settings) -> None:
    with connect(settings.redis_url, socket_timeout=5) as redis:
        try:
            redis.bgrewriteaof()
        except ResponseError as error:
            click.echo(f"Redis does not rewrite its log now: {error}", err=True)


def _booking(keys: Keys, key: bytes, booking: PersonBooking) -> dict[str, Any]:
    facts = _facts(booking)
    del facts["encrypted"]
    name = keys.person(booking.booking_id, key, booking.encrypted).full_name
    return facts | {"code": booking_code(booking.booking_id), "full_name": name}


def _facts(row: PersonBooking | PersonBar) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(row).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _remaining(kept: KeptPerson) -> Iterator[dict[str, str]]:
    barred = {bar.booking_id for bar in kept.bars if bar.in_force}
    for booking in kept.bookings:
        if booking.live:
            why = "the person holds this place; cancel it first"
        elif booking.booking_id in barred:
            why = "the keyed hash of the NIK and the account, while the bar is in force"
        else:
            why = "the day is not over for two days"
        yield {
            "office_id": booking.office_id,
            "service_date": booking.service_date.isoformat(),
            "code": booking_code(booking.booking_id),
            "why": why,
        }
