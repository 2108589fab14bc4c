"""What the commands share: values of options, errors with an exit code, and how a running Antrian is found."""

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from antrian.local.stack import OPEN, Open, check_clock
from antrian.settings import (
    Settings,
    SettingsError,
    given_database_url,
    given_keys,
    load_settings,
    read_certificates,
    read_keys,
)
from clients.sdk.booking_client import (
    SESSION_AFTERNOON,
    SESSION_MORNING,
    Applicant,
    BookingClient,
    Location,
    RefusedError,
    Whereabouts,
)
from clients.sdk.calls import Client, Target
from clients.sdk.office_client import OfficeClient

FOLDER = Path(".antrian")
"""Where `antrian up` keeps its data, secrets and run.json."""
SESSIONS = {"morning": SESSION_MORNING, "afternoon": SESSION_AFTERNOON}
"""The words for sessions."""
DAY = click.DateTime(["%Y-%m-%d"])
"""A day of the office; the value is a datetime."""
_DEFAULT_TARGET = "127.0.0.1:7700"
# A person waits at a prompt: shorter than what a program gives the service to come back.
_PATIENCE = timedelta(seconds=10)
_UNKNOWN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "STORE_UNAVAILABLE", "INTERNAL"}

_T = TypeVar("_T")
_SomeClient = TypeVar("_SomeClient", bound=Client)
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """Ends the command with exit code 1, the message on stderr: refused or failed.

    unknown: the call may have taken effect all the same.
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class WrongSettings(Failure):
    """Ends the command with exit code 2: what it needs is not there, or not as it must be."""

    exit_code = 2


@contextmanager
def failing_on(*kinds: type[Exception], by: type[Failure] = Failure) -> Iterator[None]:
    """Turns such errors into a Failure with their message."""
    try:
        yield
    except kinds as error:
        # Postgres puts its hints on lines of their own, with a tab.
        raise by(str(error).strip().replace("\n\t", " ") or type(error).__name__) from None


@contextmanager
def repeatable() -> Iterator[None]:
    """Adds to a Failure after which nobody knows what was done that the command may be given again."""
    try:
        yield
    except Failure as failure:
        if failure.unknown:
            raise Failure(f"{failure.message}; whether it was done is unknown: it is safe to repeat") from None
        raise


def confirm(query: str) -> None:
    """Returns when the person at the terminal says yes, and else ends the command."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; --yes does it without asking")
    click.confirm(query, abort=True, err=True)


def confirm_at_terminal(query: str) -> None:
    """The same where there is a terminal; a program that gives the command knows what it does."""
    if sys.stdin.isatty():
        click.confirm(query, abort=True, err=True)


def example(*lines: str) -> str:
    """A command's epilog with examples."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)  # \b: do not wrap


def run_facts(folder: Path) -> dict[str, Any] | None:
    """What run.json says of the Antrian that runs on the folder; None when none does."""
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
        with suppress(PermissionError):  # another user's, but there
            os.kill(facts["pids"]["antrian"], 0)
        facts |= {name: str(facts[name]) for name in ("grpc", "redis", "rq_redis", "database")}
    except (FileNotFoundError, ProcessLookupError):
        return None  # the file may be of one that was killed, and its port another's by now
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise WrongSettings(
            f"{folder / 'run.json'} cannot be read: {error!r}; stop the Antrian that runs there, if one does, and start it "
            "again: it writes the file anew"
        ) from None
    return facts


def running(folder: Path | None) -> dict[str, Any]:
    """run_facts of a folder on which an Antrian has to run."""
    facts = run_facts(folder or FOLDER)
    if facts is None:
        raise WrongSettings(f"no Antrian runs on {folder or FOLDER}; start one with `antrian up`, or name its --folder")
    return facts


def given_database() -> str | None:
    """The ledger that the environment names, if any."""
    with failing_on(SettingsError, by=WrongSettings):
        return given_database_url()


def stores_settings(folder: Path | None) -> Settings:
    """Those of the environment; for the stores of a running Antrian where it names none, or a folder is given."""
    if folder is not None or given_database() is None:
        facts = running(folder)
        with failing_on(SettingsError, by=WrongSettings):
            os.environ |= (given_keys() or read_keys((folder or FOLDER) / "secrets.json")) | {
                "ANTRIAN_REDIS_URL": facts["redis"],
                "ANTRIAN_RQ_REDIS_URL": facts["rq_redis"],
                "ANTRIAN_DATABASE_URL": facts["database"],
                "ANTRIAN_EMBEDDED": "1",
            }
    with failing_on(SettingsError, by=WrongSettings):
        return load_settings()


@dataclass(frozen=True, slots=True)
class Service(Target):
    """The Antrian that a command calls, in which language; folder: where the one that runs on it was found."""

    english: bool = False
    folder: Path | None = None

    def call(self, work: Callable[[BookingClient], Coroutine[Any, Any, _T]]) -> _T:
        """Runs work with a client; a refusal becomes a Failure."""
        return self._run(BookingClient, work)

    def call_office(self, work: Callable[[OfficeClient], Coroutine[Any, Any, _T]]) -> _T:
        """The same with a client for an office's staff."""
        return self._run(OfficeClient, work)

    def _run(self, kind: type[_SomeClient], work: Callable[[_SomeClient], Coroutine[Any, Any, _T]]) -> _T:
        async def run() -> _T:
            async with kind(
                self.target,
                token=self.token,
                english=self.english,
                patience=_PATIENCE,
                credentials=self.credentials,
            ) as client:
                return await work(client)

        try:
            return asyncio.run(run())
        except RefusedError as refusal:
            unknown = refusal.reason in _UNKNOWN
            raise Failure(self._told(refusal), unknown=unknown) from None

    def _told(self, refusal: RefusedError) -> str:
        if refusal.reason == "UNAVAILABLE":
            return (
                f"UNAVAILABLE: no Antrian answers at {self.target}; start one with `antrian up`, or name it by --target"
            )
        more = f" (try again in {refusal.retry_after.total_seconds():.0f} s)" if refusal.retry_after else ""
        if booking_id := refusal.metadata.get("booking_id"):
            more += f" (booking {booking_id})"
        return f"{refusal.reason}: {refusal.message}{more}"


folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"The folder of `antrian up`.  [default: {FOLDER}]",
)
stores_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"The folder of `antrian up`.  [default: the stores of ANTRIAN_*, else {FOLDER}]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def service_params(command: _Command) -> _Command:
    """Gives a command the options that say which Antrian to call: what make_service takes."""
    for option in (
        click.option(
            "--lang",
            type=click.Choice(["id", "en"]),
            default="id",
            show_default=True,
            help="Language of the service's words.",
        ),
        click.option(
            "--ca",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            envvar="ANTRIAN_CA",
            show_envvar=True,
            help="Speak TLS with a server that this CA (PEM) vouches for.",
        ),
        click.option(
            "--token", envvar="ANTRIAN_TOKEN", show_envvar=True, default="", help="The caller's bearer token."
        ),
        click.option(
            "--target",
            metavar="HOST:PORT",
            help=f"Whom to call.  [default: who runs on --folder, else {_DEFAULT_TARGET}]",
        ),
        folder_option,
    ):
        command = option(command)
    return command


def make_service(*, folder: Path | None, target: str | None, token: str, ca: Path | None, lang: str) -> Service:
    """The service that the options of service_params name."""
    found = None
    if target is None:
        facts = running(folder) if folder else run_facts(FOLDER)
        found = (folder or FOLDER) if facts else None
        target = facts["grpc"] if facts else _DEFAULT_TARGET
    with failing_on(SettingsError, by=WrongSettings):
        certificate = read_certificates(ca) if ca else None
    return Service(target, token, certificate, english=lang == "en", folder=found)


def service_options(command: _Command) -> _Command:
    """Gives a command the options that say which Antrian to call; it gets that as `service`."""

    @service_params
    @functools.wraps(command)
    def with_service(
        *, folder: Path | None, target: str | None, token: str, ca: Path | None, lang: str, **values: Any
    ) -> Any:
        service = make_service(folder=folder, target=target, token=token, ca=ca, lang=lang)
        return command(service=service, **values)

    return with_service  # type: ignore[return-value] # click looks at the decorations, not at the type


def whereabouts_options(command: _Command) -> _Command:
    """Gives a command --at, --accuracy and --province; it gets them as `whereabouts`."""

    @click.option("--at", type=_Point(), help='Where the device is, in degrees: "-6.1862,106.8296".')
    @click.option(
        "--accuracy", type=click.FloatRange(min=0), metavar="METRES", help="How exact --at is.  [default: 300]"
    )
    @click.option("--province", metavar="CODE", help='Instead of --at: a province like "ID-JK".')
    @functools.wraps(command)
    def with_whereabouts(
        *, at: tuple[float, float] | None, accuracy: float | None, province: str | None, **values: Any
    ) -> Any:
        if (at is None) == (province is None):
            raise click.UsageError("give either --at LAT,LON or --province CODE")
        if accuracy is not None and at is None:
            raise click.UsageError("--accuracy goes with --at")
        where: Whereabouts = province or ""
        if at is not None:
            where = Location(latitude=at[0], longitude=at[1], accuracy_m=accuracy)
        return command(whereabouts=where, **values)

    return with_whereabouts  # type: ignore[return-value]


class _Point(click.ParamType[tuple[float, float]]):
    name = "lat,lon"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            latitude, longitude = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f'{value!r} is not LAT,LON in degrees, like "-6.1862,106.8296"', param, ctx)
        return latitude, longitude


class Moment(click.ParamType[datetime | Open]):
    """A moment to which the service's clock may be moved: ISO 8601 with its offset. With or_open also "open"."""

    def __init__(self, *, or_open: bool = False) -> None:
        self.name = "iso|open" if or_open else "iso"
        self._or_open = or_open

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | Open:
        """The datetime, which has a time zone, or OPEN."""
        if self._or_open and value == OPEN:
            return OPEN
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f'{value!r} is not a time like "2026-11-27T13:59:50+07:00"', param, ctx)
        if moment.tzinfo is None:
            self.fail(
                f"{value!r} has no time zone; for the clock of Jakarta write {moment.isoformat()}+07:00", param, ctx
            )
        try:
            check_clock(moment)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return moment


class Person(click.ParamType[Applicant]):
    """An applicant: "NIK:Full Name"."""

    name = "nik:name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Applicant:
        """The applicant; the service judges the NIK."""
        if isinstance(value, Applicant):
            return value
        nik, colon, name = str(value).partition(":")
        if not (nik.strip() and colon and name.strip()):
            # Without the value: it may hold a NIK, and errors end up in logs.
            self.fail('expected "NIK:Full Name", like "3173054107900001:Siti Aminah"', param, ctx)
        return Applicant(nik=nik.strip(), full_name=name.strip())
