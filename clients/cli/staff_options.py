"""The arguments and options that the commands of an office's staff share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from clients.cli.options import json_option, service_options

_Command = TypeVar("_Command", bound=Callable[..., Any])

office_argument = click.argument("office_id", metavar="OFFICE")
code_argument = click.argument("code")
number_argument = click.argument("number", type=click.IntRange(min=1))
staff_option = click.option(
    "--staff", required=True, metavar="ID", help="The staff member who does this: an opaque id that you choose."
)
reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Why; recorded with the change. No personal data."
)


def people_option(flag: str, name: str, who: str) -> Callable[[_Command], _Command]:
    """Returns an option for the queue numbers of some people of a party."""
    return click.option(
        flag,
        name,
        type=click.IntRange(min=1),
        multiple=True,
        metavar="NUMBER",
        help=f"{who} Repeatable.  [default: the whole party]",
    )


def change_options(command: _Command) -> _Command:
    """Adds the options of a change at an office: --staff, --reason, those of service_options, and --json."""
    for option in (json_option, service_options, reason_option, staff_option):
        command = option(command)
    return command
