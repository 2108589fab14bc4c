"""Shared by the commands: options, errors with an exit code, and how to find a running Antrian."""

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from antrian.errors import AntrianError
from antrian.local.heads import heads_environment
from antrian.local.secret_files import RUN_SECRETS
from antrian.settings import (
    Settings,
    SettingsError,
    given_database_url,
    load_settings,
    read_certificates,
)
from antrian.text import check_account, check_reason
from clients.cli.param_types import Point
from clients.cli.show import session_name
from clients.sdk.booking_client import (
    BookingClient,
    Location,
    RefusedError,
    Whereabouts,
)
from clients.sdk.calls import CleartextError, Client, Target, check_cleartext
from clients.sdk.office_client import OfficeClient

FOLDER = Path(".antrian")
"""Where `antrian up` keeps its data, secrets and run.json."""
_DEFAULT_TARGET = "127.0.0.1:7700"
# A person waits at a prompt, so retries end earlier than in a program.
_PATIENCE = timedelta(seconds=10)
_UNKNOWN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "STORE_UNAVAILABLE", "INTERNAL"}

_T = TypeVar("_T")
_SomeClient = TypeVar("_SomeClient", bound=Client)
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """Ends the command with exit code 1 and the message on stderr: the call was refused or failed.

    unknown: whether the call may have taken effect nevertheless.
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class WrongSettings(Failure):
    """Ends the command with exit code 2: a setting, a file or a store that it needs is missing or invalid."""

    exit_code = 2


@contextmanager
def failing_on(*kinds: type[Exception], by: type[Failure] = Failure) -> Iterator[None]:
    """Turns errors of these kinds into a Failure with their message."""
    try:
        yield
    except kinds as error:
        # Postgres puts hints on separate lines that begin with a tab.
        raise by(str(error).strip().replace("\n\t", " ") or type(error).__name__) from None


@contextmanager
def repeatable() -> Iterator[None]:
    """Adds to a Failure with unknown effect that the command is safe to repeat."""
    try:
        yield
    except Failure as failure:
        if failure.unknown:
            raise Failure(f"{failure.message}; whether it was done is unknown: it is safe to repeat") from None
        raise


def confirm(query: str) -> None:
    """Asks at the terminal for confirmation; ends the command when it is declined or there is no terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for confirmation; use --yes")
    click.confirm(query, abort=True, err=True)


def confirm_at_terminal(query: str) -> None:
    """Asks for confirmation if there is a terminal. Scripts continue without."""
    if sys.stdin.isatty():
        click.confirm(query, abort=True, err=True)


def example(*lines: str) -> str:
    """Returns an epilog with examples for a command."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)  # \b: do not wrap


def checked_action(staff: str, reason: str) -> tuple[str, str]:
    """Returns both in the form that is stored.

    Raises BadParameter for invalid values, by the rules that the service has for an office's staff.
    """
    try:
        return check_account(staff, "staff"), check_reason(reason)
    except AntrianError as refusal:
        problem = refusal.problem.english if refusal.problem else str(refusal)
        raise click.BadParameter(problem, param_hint=f"--{refusal.field}") from None


def run_facts(folder: Path) -> dict[str, Any] | None:
    """Returns the content of run.json of the Antrian that runs on the folder; None when none runs.

    Raises WrongSettings when the file cannot be read.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
        with suppress(PermissionError):  # the process exists, but belongs to another user
            os.kill(facts["pids"]["antrian"], 0)
        facts |= {name: str(facts[name]) for name in ("grpc", "redis", "rq_redis", "database")}
    except (FileNotFoundError, ProcessLookupError):
        return None  # a killed Antrian leaves its file behind, and another program may use its port by now
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise WrongSettings(
            f"{folder / 'run.json'} cannot be read: {error!r}; restart the Antrian on this folder, which writes a new file"
        ) from None
    return facts


def running(folder: Path | None) -> dict[str, Any]:
    """Returns the run_facts of a folder. Raises WrongSettings when no Antrian runs on it."""
    facts = run_facts(folder or FOLDER)
    if facts is None:
        raise WrongSettings(f"no Antrian runs on {folder or FOLDER}; start one with `antrian up`, or name its --folder")
    return facts


def given_database() -> str | None:
    """Returns the URL of the ledger that the environment names, if any."""
    with failing_on(SettingsError, by=WrongSettings):
        return given_database_url()


def stores_settings(folder: Path | None) -> Settings:
    """Returns the settings of the environment. With a folder, or without stores there, those of a running Antrian."""
    if folder is not None or given_database() is None:
        facts = running(folder)
        with failing_on(SettingsError, by=WrongSettings):
            os.environ |= {
                "ANTRIAN_SECRETS_DIR": str((folder or FOLDER).absolute() / RUN_SECRETS),
                "ANTRIAN_REDIS_URL": facts["redis"],
                "ANTRIAN_REPLICAS": str(facts.get("replicas", 0)),
                "ANTRIAN_RQ_REDIS_URL": facts["rq_redis"],
                "ANTRIAN_DATABASE_URL": facts["database"],
                "ANTRIAN_EMBEDDED": "1",
                **(heads_environment(folder or FOLDER) if facts.get("heads") else {}),
            }
    with failing_on(SettingsError, by=WrongSettings):
        return load_settings()


@dataclass(frozen=True, slots=True)
class Service(Target):
    """The Antrian that a command calls, and the language of its messages.

    folder: the folder of the Antrian, if the target was found there.
    """

    english: bool = False
    folder: Path | None = None

    def call(self, work: Callable[[BookingClient], Coroutine[Any, Any, _T]]) -> _T:
        """Runs work with a client and returns its result; turns a refusal into a Failure."""
        return self._run(BookingClient, work)

    def call_office(self, work: Callable[[OfficeClient], Coroutine[Any, Any, _T]]) -> _T:
        """Does the same with a client for an office's staff."""
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
            raise Failure(self._message(refusal), unknown=unknown) from None

    def _message(self, refusal: RefusedError) -> str:
        if refusal.reason == "UNAVAILABLE":
            return f"UNAVAILABLE: no Antrian answers at {self.target}; start one with `antrian up`, or set --target"
        more = f" (try again in {refusal.retry_after.total_seconds():.0f} s)" if refusal.retry_after else ""
        if booking_id := refusal.metadata.get("booking_id"):
            more += f" (booking {booking_id})"
        for slot in refusal.alternatives:
            more += f"\n  {slot.office_id} {slot.service_date} {session_name(slot.session)}: {slot.remaining} remaining"
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
    """Adds the options that select the Antrian to call; they are the parameters of make_service."""
    for option in (
        click.option(
            "--lang",
            type=click.Choice(["id", "en"]),
            default="id",
            show_default=True,
            help="Language of the service's messages.",
        ),
        click.option(
            "--ca",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            envvar="ANTRIAN_CA",
            show_envvar=True,
            help="Use TLS, and trust the CA certificates in this PEM file.",
        ),
        click.option(
            "--token", envvar="ANTRIAN_TOKEN", show_envvar=True, default="", help="The caller's bearer token."
        ),
        click.option(
            "--target",
            metavar="HOST:PORT",
            help=f"The server to call.  [default: that of the Antrian on --folder, else {_DEFAULT_TARGET}]",
        ),
        folder_option,
    ):
        command = option(command)
    return command


def make_service(*, folder: Path | None, target: str | None, token: str, ca: Path | None, lang: str) -> Service:
    """Returns the service that the options of service_params select."""
    found = None
    if target is None:
        facts = running(folder) if folder else run_facts(FOLDER)
        found = (folder or FOLDER) if facts else None
        target = facts["grpc"] if facts else _DEFAULT_TARGET
    with failing_on(SettingsError, CleartextError, by=WrongSettings):
        certificate = read_certificates(ca) if ca else None
        if token and not certificate:
            check_cleartext(target)
    return Service(target, token, certificate, english=lang == "en", folder=found)


def service_options(command: _Command) -> _Command:
    """Adds the options that select the Antrian to call; the command gets it as `service`."""

    @service_params
    @functools.wraps(command)
    def with_service(
        *, folder: Path | None, target: str | None, token: str, ca: Path | None, lang: str, **values: Any
    ) -> Any:
        service = make_service(folder=folder, target=target, token=token, ca=ca, lang=lang)
        return command(service=service, **values)

    return with_service  # type: ignore[return-value] # click uses the decorators, not the type


def whereabouts_options(command: _Command) -> _Command:
    """Adds --at, --accuracy and --province; the command gets them as `whereabouts`."""

    @click.option("--at", type=Point(), help='The location of the device, in degrees: "-6.1862,106.8296".')
    @click.option(
        "--accuracy", type=click.FloatRange(min=0), metavar="METRES", help="The accuracy of --at.  [default: 300]"
    )
    @click.option("--province", metavar="CODE", help='Instead of --at: a province like "ID-JK".')
    @functools.wraps(command)
    def with_whereabouts(
        *, at: tuple[float, float] | None, accuracy: float | None, province: str | None, **values: Any
    ) -> Any:
        if (at is None) == (province is None):
            raise click.UsageError("give either --at LAT,LON or --province CODE")
        if accuracy is not None and at is None:
            raise click.UsageError("--accuracy requires --at")
        where: Whereabouts = province or ""
        if at is not None:
            where = Location(latitude=at[0], longitude=at[1], accuracy_m=accuracy)
        return command(whereabouts=where, **values)

    return with_whereabouts  # type: ignore[return-value]
