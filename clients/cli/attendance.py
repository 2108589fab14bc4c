"""The commands of an office's staff for bars, no-shows, and wrong or late check-ins."""

import click

from clients.cli import show
from clients.cli.options import Service, example, json_option, repeatable, service_options
from clients.cli.staff_options import (
    change_options,
    code_argument,
    number_argument,
    office_argument,
    people_option,
    staff_option,
)


@click.command(
    epilog=example(
        "antrian office bars kanim-bogor --staff head-1", "antrian office bars kanim-bogor --nik --staff head-1"
    )
)
@office_argument
@click.option(
    "--nik",
    default="",
    prompt="NIK",
    prompt_required=False,
    hide_input=True,
    help="Only this person's bars. Without a value the command prompts for it, which keeps it out of the shell's history.",
)
@staff_option
@service_options
@json_option
def bars(service: Service, office_id: str, nik: str, staff: str, as_json: bool) -> None:
    """List the people who are barred for a missed appointment here.

    The latest missed day comes first. Lists bars until they end, including lifted ones. NIKs are masked. It is recorded who
    listed them.
    """
    found = service.call_office(lambda client: client.bars(office_id, nik, staff=staff))
    show.bars(found, as_json=as_json)


@click.command(
    epilog=example(
        'antrian office lift-bar kanim-bogor 2KK56MF2V6 3 --staff head-1 --reason "Was in hospital, letter seen"'
    )
)
@office_argument
@code_argument
@number_argument
@change_options
def lift_bar(service: Service, office_id: str, code: str, number: int, staff: str, reason: str, as_json: bool) -> None:
    """Lift one person's bar.

    CODE is the code of the missed booking, NUMBER the person's queue number, as listed by `office bars`. This person may
    book again at once. The booking and bars for other missed days do not change.
    """
    with repeatable():
        bar = service.call_office(lambda client: client.lift_bar(office_id, code, number, staff=staff, reason=reason))
    if as_json:
        show.json(bar)
    else:
        show.bars([bar], as_json=False)


@click.command(
    epilog=example('antrian office excuse kanim-bogor 2KK56MF2V6 --staff head-1 --reason "The bridge was out"')
)
@office_argument
@code_argument
@change_options
def excuse(service: Service, office_id: str, code: str, staff: str, reason: str, as_json: bool) -> None:
    """Excuse a booking for which nobody came.

    The booking becomes EXCUSED, and all its people may book again. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.excuse_no_show(office_id, code, staff=staff, reason=reason))
    show.roster(party, as_json=as_json)


@click.command(
    epilog=example(
        'antrian office undo-check-in kanim-bogor 2KK56MF2V6 --number 4 --staff counter-1 --reason "Wrong person"'
    )
)
@office_argument
@code_argument
@people_option("--number", "numbers", "The queue number of a person who is not present.")
@change_options
def undo_check_in(
    service: Service, office_id: str, code: str, numbers: tuple[int, ...], staff: str, reason: str, as_json: bool
) -> None:
    """Undo a wrong check-in.

    Possible on the day of the appointment. These people are expected again, and barred if they do not come. Refused when
    one of them has booked again since. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.undo_check_in(office_id, code, staff=staff, reason=reason, numbers=numbers)
        )
    show.roster(party, as_json=as_json)


@click.command(
    epilog=example(
        'antrian office late kanim-bogor 2KK56MF2V6 --present 3 --staff head-1 --reason "Noted on paper, network was down"'
    )
)
@office_argument
@code_argument
@people_option("--present", "present", "The queue number of a person who came.")
@change_options
def late(
    service: Service, office_id: str, code: str, present: tuple[int, ...], staff: str, reason: str, as_json: bool
) -> None:
    """Record attendance after the day of the appointment.

    Possible until noon of the next day at the office. The bars of these people end; the others of the party stay barred.
    Prints the whole party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.late_attendance(office_id, code, staff=staff, reason=reason, present=present)
        )
    show.roster(party, as_json=as_json)
