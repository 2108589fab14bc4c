"""The commands of operators: up, serve, work, gateway, migrate, offices import, health, verify, rebuild, reset."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click
import grpc
import psycopg
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from antrian.audit.history import HistoryError
from antrian.ledger.migrate import migrate as apply_migrations
from antrian.ledger.recorder import LedgerRecorder, OfficeInUseError
from antrian.local.child import EmbeddedError, UnsupportedStoreError, hold
from antrian.local.stack import Open, Stack
from antrian.offices.catalog import OfficeFileError, load_offices
from antrian.offices.provinces import load_provinces
from antrian.policy import PolicyError
from antrian.settings import SettingsError
from antrian.v1 import booking_service_pb2
from clients.cli import verify as verification
from clients.cli.folder import empty, is_antrians
from clients.cli.imports import Import
from clients.cli.options import (
    FOLDER,
    Failure,
    Service,
    WrongSettings,
    confirm,
    example,
    failing_on,
    folder_option,
    given_database,
    json_option,
    running,
    service_options,
    stores_folder_option,
    stores_settings,
)
from clients.cli.param_types import Moment
from clients.sdk.booking_client import BookingClient

_LEDGER_ERRORS = (psycopg.Error, PoolTimeout)
_BOOKING_SERVICE = booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"].full_name
_HEALTH_WITHIN = 3.0


@click.command(
    epilog=example(
        "antrian up --clock open", "antrian up --clock 2030-01-04T13:59:50+07:00 --folder /tmp/friday --json"
    )
)
@click.option(
    "--clock",
    type=Moment(or_open=True),
    help='Move the service\'s clock forward to this time; "open": to the next opening, unless booking is open now.',
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The gRPC port, on loopback.  [default: 7700, or the next free]"
)
@click.option(
    "--http-port", type=click.IntRange(1, 65535), help="The HTTP port, on loopback.  [default: 7780, or the next free]"
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="The number of worker processes."
)
@click.option(
    "--replicas",
    type=click.IntRange(0, 5),
    help="Run Redis with so many replicas and three sentinels, which replace it within seconds if it dies.  [default: as "
    "before on this folder, else 0]",
)
@click.option("--metrics", is_flag=True, help="Serve Prometheus metrics; the addresses are in run.json.")
@folder_option
@json_option
def up(
    clock: datetime | Open | None,
    port: int | None,
    http_port: int | None,
    workers: int,
    replicas: int | None,
    metrics: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run Antrian on this machine.

    Runs until Ctrl-C or SIGTERM. Starts its own Redis and Postgres, which are installed as Python packages, unless
    ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL are set. Prints one line when it is ready. The folder has the addresses and
    process ids in run.json, and the logs in log/. A new ledger gets the shipped offices. A program that dies is restarted,
    with a message on standard error. So is a Redis with replicas, after five seconds: `kill -9` its primary to see another take
    over.
    """
    redis_url = os.environ.get("ANTRIAN_REDIS_URL")
    database_url = os.environ.get("ANTRIAN_DATABASE_URL") and given_database()
    if bool(redis_url) != bool(database_url):
        raise click.UsageError("set both ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL, or neither")
    if redis_url and replicas is not None:
        raise click.UsageError("--replicas is for embedded stores only, not for the servers that ANTRIAN_* name")
    if redis_url and clock:
        raise click.UsageError("--clock works on embedded stores only, not on the servers that ANTRIAN_* name")
    folder = folder or FOLDER
    with (
        failing_on(EmbeddedError, ValueError, OSError, RedisError, *_LEDGER_ERRORS),
        failing_on(UnsupportedStoreError, SettingsError, PolicyError, by=WrongSettings),
    ):
        stack = Stack(
            folder,
            clock=clock,
            port=port,
            workers=workers,
            replicas=replicas,
            metrics=metrics,
            gateway=True,
            http_port=http_port,
            redis_url=redis_url or None,
            database_url=database_url or None,
        )
        with stack:
            if as_json:
                click.echo(json.dumps(running(folder)))
            else:
                with LedgerRecorder(stack.environment["ANTRIAN_DATABASE_URL"]) as ledger:
                    count = ledger.count_offices()
                copies = f"Redis has {stack.replicas} replicas; " if stack.replicas else ""
                click.echo(
                    f"Antrian serves {count} offices on {stack.address} (gRPC) and http://{stack.http_address} (see /docs); "
                    f"{copies}more in {folder / 'run.json'}; Ctrl-C stops it"
                )
            if closed := stack.closed_lanes:
                click.echo(
                    f"{closed} offices accept no bookings, since Redis has lost data that the ledger has: "
                    f"`antrian rebuild --folder {folder}` restores it",
                    err=True,
                )
            stack.wait()


@click.command(epilog=example("ANTRIAN_LISTEN=127.0.0.1:7700 antrian serve"))
def serve() -> None:
    """Run a server, like `python -m server`.

    Settings come from the environment: ANTRIAN_REDIS_URL, ANTRIAN_DATABASE_URL, ANTRIAN_HASH_KEY, ANTRIAN_PUBLIC_KEY,
    ANTRIAN_CALLERS_FILE and more. Any number of servers may run, on any machines.
    """
    _become("server")


@click.command(epilog=example("ANTRIAN_WORKER_PROCESSES=4 antrian work"))
def work() -> None:
    """Run workers, like `python -m workers`.

    Settings come from the environment, as for `antrian serve`. Any number of workers may run, on any machines.
    """
    _become("workers")


@click.command(epilog=example("ANTRIAN_GATEWAY_TARGET=server:7700 ANTRIAN_GATEWAY_CA_FILE=ca.crt antrian gateway"))
def gateway() -> None:
    """Run a gateway, like `python -m clients.gateway`.

    The gateway serves HTTP with JSON, and calls the servers by gRPC. Settings come from the environment:
    ANTRIAN_GATEWAY_LISTEN, ANTRIAN_GATEWAY_TARGET and more. Any number of gateways may run, on any machines.
    """
    _become("clients.gateway")


def _become(module: str, *words: str) -> NoReturn:
    # -P: do not import a folder of that name from the working directory
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606


@click.command(epilog=example("ANTRIAN_DATABASE_URL=postgresql://localhost/antrian antrian migrate"))
@click.option("--offices", is_flag=True, help="Add the shipped offices if the ledger has none.")
def migrate(offices: bool) -> None:
    """Migrate a ledger to the newest schema.

    The ledger is that of ANTRIAN_DATABASE_URL, or of the secret file antrian_database_url. Prints the names of the applied
    migrations. Safe to repeat, and to run twice at the same time.
    """
    url = given_database()
    if not url:
        raise click.UsageError("ANTRIAN_DATABASE_URL is not set: a URL like postgresql://user@host/antrian")
    with failing_on(*_LEDGER_ERRORS):
        click.echo("\n".join(apply_migrations(url)) or "nothing to do")
        if offices:
            with LedgerRecorder(url) as ledger:
                if ledger.count_offices() == 0:
                    ledger.upsert_offices(load_offices(), load_provinces().values())
                    click.echo(f"{ledger.count_offices()} offices added")


@click.command("import", epilog=example("antrian offices import antrian/data/offices.csv"))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@folder_option
@json_option
def import_offices(file: Path, dry_run: bool, folder: Path | None, as_json: bool) -> None:
    """Add or change the offices of a CSV file: all of them, or none.

    Imports into the ledger of ANTRIAN_DATABASE_URL (or of its secret file), else into that of the Antrian that runs on
    --folder. Prints the changes, and warns of those that may be mistakes. Offices that are not in the file stay; `antrian
    office retire` stops them from accepting bookings. A changed quota applies to days that have no slots yet; the output
    says from which day.
    """
    url = given_database() or running(folder)["database"]
    try:
        offices = load_offices(file)
    except OfficeFileError as error:
        raise Failure(f"nothing was imported\n{error}") from None
    with failing_on(*_LEDGER_ERRORS, OfficeInUseError):
        psycopg.connect(url, connect_timeout=5).close()  # fails at once, with the reason; the pool would keep trying
        with LedgerRecorder(url) as ledger:
            before, planned = ledger.offices(), ledger.planned_until()
            ledger.upsert_offices(offices, load_provinces().values(), dry_run=dry_run)
    done = Import(before, offices, planned)
    click.echo(done.as_json(dry_run=dry_run) if as_json else done.as_text(dry_run=dry_run))
    for doubt in done.doubts:
        click.echo(f"Warning: {doubt}", err=True)


@click.command(epilog=example("antrian health", "antrian health --target 127.0.0.1:7700 --json"))
@service_options
@json_option
def health(service: Service, as_json: bool) -> None:
    """Check the health of a server.

    Exits with 0 when its gRPC health status is SERVING, which means that both stores are reachable, and with 1 otherwise.
    """

    async def check_health(client: BookingClient) -> str:
        try:
            check = HealthStub(client.channel).Check
            response = await check(HealthCheckRequest(service=_BOOKING_SERVICE), timeout=_HEALTH_WITHIN)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return str(HealthCheckResponse.ServingStatus.Name(response.status))

    status = service.call(check_health)
    if as_json:
        click.echo(json.dumps({"target": service.target, "status": status}))
    elif status == "SERVING":
        click.echo(status)
    else:
        raise Failure(f"{status}: {service.target}")
    sys.exit(status != "SERVING")


@click.command(epilog=example("antrian verify", "antrian verify --folder /tmp/friday --history run.jsonl --json"))
@stores_folder_option
@click.option(
    "--history",
    "histories",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A history recorded by a client (clients.sdk.history), to check against the stores, too. Repeatable.",
)
@json_option
def verify(folder: Path | None, histories: tuple[Path, ...], as_json: bool) -> None:
    """Check the promises on live data and count violations.

    Only reads; the service may keep running. Exits with 0 when all promises hold, 1 on any violation, 2 when a store cannot
    be reached.
    """
    settings = stores_settings(folder)
    with failing_on(RedisError, HistoryError, SettingsError, PolicyError, *_LEDGER_ERRORS, by=WrongSettings):
        found = verification.run_checks(settings, histories)
    verification.print_and_exit(found, as_json=as_json, of_history=bool(histories))


@click.command(epilog=example("antrian rebuild", "antrian rebuild --folder /tmp/friday --json"))
@stores_folder_option
@json_option
def rebuild(folder: Path | None, as_json: bool) -> None:
    """Restore Redis from the ledger, like `python -m workers.rebuild`.

    Use it when Redis has lost data. The service may keep running; all offices refuse requests meanwhile.
    """
    stores_settings(folder)
    _become("workers.rebuild", *["--json"] * as_json)


@click.command(epilog=example("antrian reset", "antrian reset --folder /tmp/friday --yes"))
@folder_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset(folder: Path | None, yes: bool) -> None:
    """Remove all data of a stopped Antrian.

    Removes the embedded stores with all bookings and the clock, the logs, and run.json; secrets.json stays. Prints what
    was removed. Does not touch the servers that ANTRIAN_* name. Refused while an Antrian runs on the folder.
    """
    folder = folder or FOLDER
    if not is_antrians(folder):
        raise WrongSettings(f"no Antrian has run on {folder}; nothing is removed")
    with failing_on(EmbeddedError, OSError), hold(folder):
        if not yes:
            confirm(f"Remove all bookings, stores and logs below {folder}? This cannot be undone.")
        removed = empty(folder)
    click.echo(f"removed from {folder}: {', '.join(removed)}" if removed else "nothing to remove")
