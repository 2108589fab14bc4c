"""The commands that show and change the rules of booking: policy check, show, diff, apply."""

import json
import os
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from antrian.booking import Policy
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.connection import CONNECT
from antrian.ledger.migrate import migrate
from antrian.ledger.policies import UnservedDay, apply_policy, closed_days, ledger_policy, unserved_days
from antrian.local.child import EmbeddedError
from antrian.local.embedded import EmbeddedStores
from antrian.policy import SHIPPED, Difference, PolicyError, differences, load_policy, rules_of
from antrian.settings import SettingsError
from antrian.unserved_days import close_unserved_days
from clients.cli import show
from clients.cli.folder import is_antrians
from clients.cli.options import (
    FOLDER,
    Failure,
    WrongSettings,
    checked_action,
    confirm_at_terminal,
    example,
    failing_on,
    given_database,
    json_option,
    run_facts,
    running,
    stores_folder_option,
    stores_settings,
)
from clients.cli.staff_options import reason_option, staff_option

_CARRIED_OUT_WITHIN = timedelta(seconds=60)
_STORE_ERRORS = (psycopg.Error, PoolTimeout, RedisError, EmbeddedError, OSError)

_file = click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))


@dataclass(frozen=True, slots=True)
class _Stores:
    """The stores where a policy is applied. runs: whether an Antrian uses them; otherwise this command started them."""

    database_url: str
    redis_url: str
    runs: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """What a policy would change compared with the ledger's, which has this version (0: the ledger has none yet).

    closes: days without service by the policy that are open or have people. in_queue: the number of queued requests for
    each of them. stay_closed: by day that has service again, the number of offices where it was closed before.
    """

    version: int
    differences: list[Difference]
    closes: list[UnservedDay]
    in_queue: Counter[tuple[str, date]]
    stay_closed: dict[date, int]

    @property
    def bookings(self) -> int:
        return sum(day.bookings for day in self.closes)

    def facts(self) -> dict[str, Any]:
        """Returns the change as a JSON object."""
        closes = [
            {
                "office_id": day.office_id,
                "service_date": day.service_date.isoformat(),
                "bookings": day.bookings,
                "people": day.people,
                "requests_in_queue": self.in_queue[day.office_id, day.service_date],
            }
            for day in self.closes
        ]
        return {
            "version": self.version,
            "differences": [asdict(difference) for difference in self.differences],
            "closes": closes,
            "stay_closed": {day.isoformat(): offices for day, offices in self.stay_closed.items()},
        }


@click.group(epilog=example("antrian policy diff policy.toml"))
def policy() -> None:
    """Show and change the rules of booking.

    The ledger stores the policy; its newest version is in force. Running servers and workers follow it within seconds;
    those started with another policy refuse to start. FILE defaults to ANTRIAN_POLICY_FILE, or else to the shipped policy.
    """


@policy.command(epilog=example("antrian policy check policy.toml", "antrian policy check policy.toml --json"))
@_file
@json_option
def check(file: Path | None, as_json: bool) -> None:
    """Validate a policy file and print its rules.

    Needs no running Antrian. Exits with 2 when the file is not valid.
    """
    file, checked = _load(file)
    if as_json:
        click.echo(json.dumps(tomllib.loads(checked.content), ensure_ascii=False, indent=2))
        return
    today = datetime.now(checked.window_zone).date()
    first, last = f"holiday {today}", f"holiday {today + timedelta(days=366)}"
    click.echo(f"{file} is valid; holidays are listed for one year\n")
    for key, value in rules_of(checked.content).items():
        if not key.startswith("holiday ") or first <= key <= last:
            click.echo(f"{key} = {value}")


@policy.command("show", epilog=example("antrian policy show > policy.toml"))
@stores_folder_option
@json_option
def show_policy(folder: Path | None, as_json: bool) -> None:
    """Print the policy in force, as a file that can be applied.

    With --json: its version and rules.
    """
    with _stores(folder) as stores, _connect(stores) as ledger:
        newest = ledger_policy(ledger)
    if newest is None:
        raise Failure("the ledger has no policy yet; the first server or worker that starts stores its own there")
    if as_json:
        facts = {"version": newest.version, "rules": tomllib.loads(newest.content)}
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        click.echo(newest.content, nl=False)


@policy.command(epilog=example("antrian policy diff policy.toml", "antrian policy diff policy.toml --json"))
@_file
@stores_folder_option
@json_option
def diff(file: Path | None, folder: Path | None, as_json: bool) -> None:
    """Compare a file with the ledger's policy.

    Shows the changed rules, and the days that would be closed, with their bookings and queued requests by office. Changes
    nothing. Exits with 0 when there is nothing to do, 1 when there is, 2 when the file is not valid or a store cannot be
    reached.
    """
    _, wanted = _load(file)
    with _stores(folder) as stores:
        change = _change(stores, wanted)
    if as_json:
        click.echo(json.dumps(change.facts(), ensure_ascii=False, indent=2))
    else:
        _print(change)
    raise SystemExit(1 if change.differences or change.closes else 0)


@policy.command(
    epilog=example(
        'antrian policy apply policy.toml --staff ops-1 --reason "SKB 3 Menteri of 27 November"',
    )
)
@_file
@staff_option
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@stores_folder_option
@json_option
def apply(file: Path | None, staff: str, reason: str, yes: bool, folder: Path | None, as_json: bool) -> None:
    """Make a file the ledger's policy, and close days that lose their service.

    These days are closed at each office, as by `antrian office close-date`: bookings are cancelled, queued requests are
    rejected, and nobody is barred. This cannot be undone, so at a terminal the command asks for confirmation when bookings
    are affected. Running workers close the days; the command waits for them for up to a minute. Safe to repeat: a policy
    that is in force already gets no new version, and the remaining days are closed.

    Exits with 0 when all days are closed, or will be once an Antrian starts on --folder; 1 when days remain; 2 when the
    file is not valid or a store cannot be reached.
    """
    staff, reason = checked_action(staff, reason)
    _, wanted = _load(file)
    with _stores(folder) as stores:
        change = _change(stores, wanted)
        if not as_json:
            _print(change)
        if change.bookings and not yes:
            confirm_at_terminal(f"Apply it, and cancel {change.bookings} bookings? This cannot be undone.")
        with failing_on(*_STORE_ERRORS, by=WrongSettings):
            applied = apply_policy(stores.database_url, wanted, staff, reason)
            if stores.runs:
                with closing(LaneConsumer(stores.redis_url)) as consumer:
                    close_unserved_days(consumer, change.closes, applied)
        remaining = _wait(stores, applied)
    if as_json:
        facts = change.facts() | {"version": applied.version, "applied": applied.version != change.version}
        facts["remaining"] = [[day.office_id, day.service_date.isoformat()] for day in remaining]
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        click.echo(f"version {applied.version} is in force{'' if applied.version != change.version else ' already'}")
    if remaining and not stores.runs:
        click.echo(f"{len(remaining)} office days will be closed when Antrian runs again", err=True)
    elif remaining:
        raise Failure(
            f"{len(remaining)} office days are not closed yet, the first {remaining[0].service_date} at {remaining[0].office_id}; "
            "check that workers run and that the lanes are open. Workers continue; repeat the command to wait for them"
        )


def _wait(stores: _Stores, applied: Policy) -> list[UnservedDay]:
    """Waits until all days without service are closed. Returns the days that remain after a minute."""
    ends = time.monotonic() + _CARRIED_OUT_WITHIN.total_seconds()
    with _connect(stores) as ledger:
        while remaining := unserved_days(ledger, applied):
            if not stores.runs or time.monotonic() > ends:
                break
            time.sleep(0.2)
    return remaining


def _load(file: Path | None) -> tuple[Path, Policy]:
    file = file or Path(os.environ.get("ANTRIAN_POLICY_FILE") or SHIPPED)
    with failing_on(PolicyError, by=WrongSettings):
        return file, load_policy(file)


@contextmanager
def _stores(folder: Path | None) -> Iterator[_Stores]:
    """Yields the stores of the environment or of a folder; starts those of a folder on which no Antrian runs."""
    where = folder or FOLDER
    if (folder is None and given_database()) or run_facts(where):
        settings = stores_settings(folder)
        yield _Stores(settings.database_url, settings.redis_url, runs=True)
    elif is_antrians(where):
        with failing_on(*_STORE_ERRORS, SettingsError, by=WrongSettings), EmbeddedStores(where) as own:
            owner = own.database_url_of("owner")
            migrate(owner)
            yield _Stores(owner, own.redis_url_of("operator"), runs=False)
    else:
        running(folder)  # raises WrongSettings with the reason


@contextmanager
def _connect(stores: _Stores) -> Iterator[psycopg.Connection[Any]]:
    with (
        failing_on(PolicyError, *_STORE_ERRORS, by=WrongSettings),
        psycopg.connect(stores.database_url, autocommit=True, **CONNECT) as ledger,
    ):
        yield ledger


def _change(stores: _Stores, wanted: Policy) -> _Change:
    with _connect(stores) as ledger, closing(LaneConsumer(stores.redis_url)) as consumer:
        current = ledger_policy(ledger)
        closes = unserved_days(ledger, wanted)
        in_queue = Counter[tuple[str, date]]()
        for office_id in dict.fromkeys(day.office_id for day in closes):
            in_queue.update((office_id, entry.slot.service_date) for entry in consumer.in_queue(office_id))
        found = differences(current.content if current else "", wanted.content)
        return _Change(current.version if current else 0, found, closes, in_queue, closed_days(ledger, wanted))


def _print(change: _Change) -> None:
    if not change.differences:
        click.echo(f"the same rules as version {change.version}, which is in force")
    elif not change.version:
        click.echo("the ledger has no policy yet")
    else:
        click.echo(f"from version {change.version}, which is in force:")
        for difference in change.differences:
            click.echo(f"  {difference}")
    if change.closes:
        click.echo("\ndays to be closed, since they have no service:")
    listed = show.table("day", "office", "bookings", "people", "queued", numbers=("bookings", "people", "queued"))
    for day, offices in groupby(change.closes, key=lambda one: one.service_date):
        _add_rows(listed, day, list(offices), change.in_queue)
    if change.closes:
        show.print_table(listed)
    for day, count in change.stay_closed.items():
        click.echo(
            f"{day:%a %Y-%m-%d} has service by this policy, but was closed before and stays closed at {count} offices"
        )


def _add_rows(listed: Any, day: date, offices: list[UnservedDay], in_queue: Counter[tuple[str, date]]) -> None:
    rows = {one.office_id: (one.bookings, one.people, in_queue[one.office_id, day]) for one in offices}
    listed.add_row(
        f"{day:%a %Y-%m-%d}", f"{len(rows)} offices", *[str(sum(row)) for row in zip(*rows.values(), strict=True)]
    )
    for office_id, numbers in rows.items():
        if any(numbers):
            listed.add_row("", office_id, *map(str, numbers))
