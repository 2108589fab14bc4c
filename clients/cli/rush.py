"""`antrian rush` and `antrian rush compare`. Packages that only a rush needs are imported when it is played."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psycopg
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rich.console import Console

from antrian.local.child import EmbeddedError, hold
from antrian.local.ports import FIRST_HTTP_PORT
from antrian.local.stack import Stack
from clients.cli.folder import empty, is_antrians
from clients.cli.options import (
    FOLDER,
    Service,
    WrongSettings,
    example,
    failing_on,
    given_database,
    json_option,
    make_service,
    run_facts,
    service_params,
    stores_settings,
)
from clients.cli.param_types import Moment
from clients.sdk.booking_client import RefusedError

if TYPE_CHECKING:
    from clients.rush.play import Site

_FOLDER = FOLDER / "rush"
_HTTP = f"127.0.0.1:{FIRST_HTTP_PORT}"
_FILE = click.Path(path_type=Path, dir_okay=False)
_GIVEN = click.Path(path_type=Path, dir_okay=False, exists=True)
_STORES = (RedisError, psycopg.Error, PoolTimeout)


@click.group(
    invoke_without_command=True,
    epilog=example(
        "antrian rush --embedded --scenario friday --requests 100000 --report friday.html --json friday.json",
        "antrian rush --target 127.0.0.1:7700 --scenario stampede --seed 7",
    ),
)
@click.option(
    "--scenario", default="friday", show_default=True, metavar="NAME|FILE", help="A shipped scenario, or a TOML file."
)
@click.option("--requests", type=click.IntRange(min=1), help="The number of requests.  [default: the scenario's]")
@click.option(
    "--compression",
    type=click.FloatRange(min=1),
    help="How many times faster than real time to play.  [default: the scenario's]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The random seed; the same seed gives the same rush.",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes of the load generator."
)
@click.option(
    "--embedded", is_flag=True, help="Start a new Antrian below --folder for the rush, and stop it afterwards."
)
@click.option("--clock", type=Moment(), help="The start time of the embedded Antrian's clock.  [default: now]")
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes of the embedded Antrian.  [default: 2]")
@click.option(
    "--no-limits",
    is_flag=True,
    help="Let the embedded Antrian not limit accounts, devices and address prefixes, to see what the limits do.",
)
@click.option(
    "--baseline",
    type=_GIVEN,
    metavar="FILE",
    help="The --json of another run, such as one with --no-limits: the report shows what brokers got in both.",
)
@click.option(
    "--via",
    type=click.Choice(["grpc", "http"]),
    default="grpc",
    show_default=True,
    help="Send requests to the server by gRPC, or to the gateway by HTTP.",
)
@click.option(
    "--http",
    metavar="HOST:PORT",
    help=f"The gateway, for --via http.  [default: that of the Antrian on --folder, else {_HTTP}]",
)
@click.option(
    "--json",
    "json_file",
    type=_FILE,
    metavar="FILE",
    help="Write the results as JSON, for programs and `rush compare`.",
)
@click.option(
    "--report", type=_FILE, metavar="FILE", help="Write an HTML report (one file), in the language of --lang."
)
@click.option(
    "--picture", type=_FILE, metavar="FILE", help="Write an SVG chart of the opening, in the language of --lang."
)
@service_params
@click.pass_context
def rush(
    context: click.Context,
    /,
    *,
    scenario: str,
    requests: int | None,
    compression: float | None,
    seed: int,
    processes: int,
    embedded: bool,
    clock: datetime | None,
    workers: int | None,
    no_limits: bool,
    baseline: Path | None,
    via: str,
    http: str | None,
    json_file: Path | None,
    report: Path | None,
    picture: Path | None,
    folder: Path | None,
    **which: Any,
) -> None:
    """Play a weekend's rush against an Antrian, and check the promises.

    Without --embedded the rush loads the Antrian that runs on --folder, or the one at --target. Booking must be open, or
    open within 15 minutes: then the rush waits for the opening. The people are made up, and their bookings remain.

    Exit codes: 0 PASS; 1 FAIL (a promise was violated, or a request is unaccounted for), or the rush could not be played; 2
    invalid usage or settings; 3 INVALID (the load was not the planned one, the rush was stopped, or a check was not
    possible).
    """
    if context.invoked_subcommand:
        return
    for name, given in {"--clock": clock, "--workers": workers, "--no-limits": no_limits}.items():
        if given and not embedded:
            raise click.UsageError(f"{name} requires --embedded")
    if embedded and (which["target"] or http):
        raise click.UsageError("--embedded starts its own Antrian; it cannot be combined with --target or --http")
    if http and via != "http":
        raise click.UsageError("--http requires --via http")
    _check_writable(json_file, report, picture)
    with _extra():
        from clients.rush.judge.result import ResultError, read_result, write_result  # noqa: PLC0415
        from clients.rush.judge.verdict import EXIT_CODES  # noqa: PLC0415
        from clients.rush.load.generator import RushError  # noqa: PLC0415
        from clients.rush.load.live import Live  # noqa: PLC0415
        from clients.rush.plan.scenario import ScenarioError, load_scenario  # noqa: PLC0415
        from clients.rush.play import Orders, rush_embedded, rush_running, without_limits  # noqa: PLC0415
        from clients.rush.report.page import write_picture, write_report  # noqa: PLC0415
        from clients.rush.report.terminal import print_table  # noqa: PLC0415
        from clients.rush.report.words import LANGUAGES  # noqa: PLC0415

    with failing_on(ScenarioError, by=WrongSettings):
        played = load_scenario(scenario, requests=requests, compression=compression)
    with failing_on(ResultError, by=WrongSettings):
        other = read_result(baseline) if baseline else None
    orders = Orders(played, seed, processes, shlex.join(["antrian", *sys.argv[1:]]))
    with (
        failing_on(RushError, EmbeddedError, RefusedError, OSError, ValueError, *_STORES),
        Live(Console(stderr=True), played.requests, played.title_en) as live,
    ):
        if embedded:
            fresh = _fresh(folder or _FOLDER)
            if no_limits:
                os.environ["ANTRIAN_POLICY_FILE"] = str(without_limits(fresh))
            stack = Stack(fresh, clock=clock, workers=workers or 2, gateway=via == "http")
            result = rush_embedded(stack, orders, live)
        else:
            service = make_service(folder=folder, **which)
            if via == "http":
                service = replace(service, http=http or _gateway_of(service) or _HTTP)
            result = rush_running(_site(service), orders, live)
    if json_file:
        write_result(result, json_file)
    print_table(result, Console())
    with failing_on(OSError, ValueError):
        if report:
            write_report(result, report, LANGUAGES[which["lang"]], other)
        if picture:
            write_picture(result, picture, LANGUAGES[which["lang"]])
    sys.exit(EXIT_CODES[result.verdict])


@rush.command(epilog=example("antrian rush compare before.json after.json"))
@click.argument("one", metavar="A.json", type=_GIVEN)
@click.argument("other", metavar="B.json", type=_GIVEN)
@json_option
def compare(one: Path, other: Path, as_json: bool) -> None:
    """Compare the results of two runs, with the ratios of the second to the first.

    The files are those written by `antrian rush --json`.
    """
    with _extra():
        from clients.rush.judge.result import ResultError, read_result  # noqa: PLC0415
        from clients.rush.report.compare import comparison, print_comparison  # noqa: PLC0415

    with failing_on(ResultError, by=WrongSettings):
        a, b = read_result(one), read_result(other)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in comparison(a, b)], indent=2, ensure_ascii=False))
    else:
        print_comparison(a, b, Console(), (one.stem, other.stem))


def _check_writable(*files: Path | None) -> None:
    """Raises WrongSettings for a file that cannot be written, before the rush is played."""
    for file in files:
        if file and not os.access(file.parent, os.W_OK):
            raise WrongSettings(f"{file} cannot be written: the folder {file.parent} is missing or not writable")


def _gateway_of(service: Service) -> str | None:
    facts = run_facts(service.folder) if service.folder else None
    return facts["http"] if facts else None


@contextmanager
def _extra() -> Iterator[None]:
    """Turns a missing module of the extra `rush` into WrongSettings."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise WrongSettings(f"{error.name} is not installed: `pip install antrian[rush]`") from None


def _fresh(folder: Path) -> Path:
    """Empties the folder of an earlier rush, and returns it. Raises EmbeddedError when the folder has other files."""
    if folder.is_dir() and any(folder.iterdir()) and not is_antrians(folder):
        raise EmbeddedError(
            f"{folder} has files of other programs, which the rush would remove; choose another --folder"
        )
    with hold(folder):
        empty(folder, "secrets.json", "policy.toml")
    return folder


def _site(service: Service) -> "Site":
    """Returns a running Antrian, with its processes and stores if its folder is known or ANTRIAN_* names the stores."""
    from clients.rush.play import Site  # noqa: PLC0415

    def pids() -> dict[str, int]:
        facts = run_facts(service.folder) if service.folder else None
        return facts["pids"] if facts else {}

    visible = service.folder or given_database()
    return Site(service, stores_settings(service.folder) if visible else None, pids)
