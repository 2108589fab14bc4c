"""The commands of an office's staff: rosters and check-ins, quotas and closed days, bookings and names, retirement."""

from datetime import datetime

import click

from clients.cli import attendance, show
from clients.cli.options import (
    Service,
    confirm,
    example,
    json_option,
    repeatable,
    service_options,
)
from clients.cli.param_types import DAY, SESSIONS
from clients.cli.staff_options import (
    change_options,
    code_argument,
    number_argument,
    office_argument,
    people_option,
    reason_option,
    staff_option,
)

_session = click.Choice(list(SESSIONS))


@click.group(epilog=example("antrian office roster kanim-bogor --staff counter-1"))
def office() -> None:
    """Manage an office: rosters, check-ins, quotas, closed days, bars.

    Requires a caller with the role staff for that office.
    """


@office.command(
    epilog=example(
        "antrian office roster kanim-bogor --staff counter-1",
        "antrian office roster kanim-bogor --date 2026-11-30 --session morning --staff counter-1",
    )
)
@office_argument
@click.option("--date", "day", type=DAY, metavar="YYYY-MM-DD", help="The day to list.  [default: today at the office]")
@click.option("--session", type=_session, help="Only this part of the day.")
@staff_option
@service_options
@json_option
def roster(
    service: Service, office_id: str, day: datetime | None, session: str | None, staff: str, as_json: bool
) -> None:
    """List the people with a queue number on a day.

    Sorted by session and queue number. Names are shown in full, NIKs masked. It is recorded who listed them.
    """
    date, part = day.date() if day else None, SESSIONS[session] if session else None
    found = service.call_office(lambda client: client.day_roster(office_id, date, part, staff=staff))
    show.roster(found, as_json=as_json)


@office.command(
    epilog=example(
        "antrian office check-in kanim-bogor 2KK56MF2V6 --staff counter-1",
        "antrian office check-in kanim-bogor 2KK56MF2V6 --present 3 --present 4 --staff counter-1",
    )
)
@office_argument
@code_argument
@people_option("--present", "present", "The queue number of a person who is present.")
@staff_option
@service_options
@json_option
def check_in(service: Service, office_id: str, code: str, present: tuple[int, ...], staff: str, as_json: bool) -> None:
    """Check in a party, or some of its people.

    CODE is the code of the booking. Possible on the day of the appointment. Check in people who arrive later with another
    call. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.check_in(office_id, code, staff=staff, present=present))
    show.roster(party, as_json=as_json)


@office.command(
    epilog=example(
        'antrian office set-quota kanim-bogor 2026-12-01 morning 40 --staff head-1 --reason "Two counters are out"',
    )
)
@office_argument
@click.argument("day", type=DAY, metavar="DATE")
@click.argument("session", type=_session)
@click.argument("places", type=click.IntRange(min=0), metavar="PLACES")
@click.option("--expected", type=click.IntRange(min=0), metavar="N", help="Refuse unless the quota is N now.")
@change_options
def set_quota(
    service: Service,
    office_id: str,
    day: datetime,
    session: str,
    places: int,
    expected: int | None,
    staff: str,
    reason: str,
    as_json: bool,
) -> None:
    """Change the quota of a session.

    Possible until the day begins at the office. Refused when more than PLACES are taken already.
    """
    with repeatable():
        response = service.call_office(
            lambda client: client.set_quota(
                office_id,
                day.date(),
                SESSIONS[session],
                places,
                staff=staff,
                reason=reason,
                expected_quota=expected,
            )
        )
    if as_json:
        show.json(response)
    else:
        click.echo(f"{response.quota} places, {response.taken} of them taken; before: {response.previous_quota}")


@office.command(
    epilog=example('antrian office close-date kanim-bogor 2026-12-01 --staff head-1 --reason "The office is flooded"')
)
@office_argument
@click.argument("day", type=DAY, metavar="DATE")
@staff_option
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@service_options
@json_option
def close_date(
    service: Service, office_id: str, day: datetime, staff: str, reason: str, yes: bool, as_json: bool
) -> None:
    """Close a day and cancel its bookings.

    This cannot be undone, so the command asks for confirmation. The people of the cancelled bookings may book again at
    once.
    """
    if not yes:
        confirm(f"Close {office_id} on {day:%a %Y-%m-%d}, and cancel all its bookings? This cannot be undone.")
    with repeatable():
        response = service.call_office(
            lambda client: client.close_date(office_id, day.date(), staff=staff, reason=reason)
        )
    if as_json:
        show.json(response)
    else:
        click.echo(f"closed; bookings cancelled: {response.cancelled_bookings}")


@office.command(
    epilog=example(
        'antrian office release kanim-bogor 2KK56MF2V6 --staff head-1 --reason "Booked by a stranger with her NIK"'
    )
)
@office_argument
@code_argument
@change_options
def release(service: Service, office_id: str, code: str, staff: str, reason: str, as_json: bool) -> None:
    """Cancel a booking on behalf of the office.

    CODE is the code of the booking, as in the roster. Possible until the day of the appointment is over. Its people may
    book again at once, nobody is barred, and the booking shows that the office cancelled it. Safe to repeat. Prints the
    party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.release_booking(office_id, code, staff=staff, reason=reason))
    show.roster(party, as_json=as_json)


@office.command(
    epilog=example(
        'antrian office cancel-person kanim-bogor 2KK56MF2V6 3 --staff head-1 --reason "Gave up by telephone"',
    )
)
@office_argument
@code_argument
@number_argument
@change_options
def cancel_person(
    service: Service, office_id: str, code: str, number: int, staff: str, reason: str, as_json: bool
) -> None:
    """Remove one person from a party.

    CODE is the code of the booking, NUMBER the person's queue number. Possible until the day of the appointment is over. The
    others keep their numbers and the code. This person may book again at once. Safe to repeat. Prints the remaining party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.cancel_person(office_id, code, number, staff=staff, reason=reason)
        )
    show.roster(party, as_json=as_json)


@office.command(
    epilog=example(
        'antrian office correct-name kanim-bogor 2KK56MF2V6 3 "Dewi Lestari" --staff head-1 --reason "As on the identity card"'
    )
)
@office_argument
@code_argument
@number_argument
@click.argument("name")
@change_options
def correct_name(
    service: Service, office_id: str, code: str, number: int, name: str, staff: str, reason: str, as_json: bool
) -> None:
    """Correct a person's name.

    CODE is the code of the booking, NUMBER the person's queue number. Possible until the day of the appointment is over.
    Safe to repeat. Prints the party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.correct_name(office_id, code, number, name, staff=staff, reason=reason)
        )
    show.roster(party, as_json=as_json)


@office.command(
    epilog=example('antrian office retire ulp-depok --staff head-1 --reason "The mall has ended the lease"')
)
@office_argument
@change_options
def retire(service: Service, office_id: str, staff: str, reason: str, as_json: bool) -> None:
    """Stop an office from accepting bookings.

    Requests in its queue are still decided, and its bookings are still served on their days; `antrian office close-date`
    cancels the bookings of a day. Undo it with `antrian office reopen`.
    """
    with repeatable():
        response = service.call_office(lambda client: client.retire_office(office_id, staff=staff, reason=reason))
    if as_json:
        show.json(response)
    else:
        click.echo(f"retired; bookings still to be served: {response.live_bookings}, and requests in the queue")


@office.command(epilog=example('antrian office reopen ulp-depok --staff head-1 --reason "The lease goes on"'))
@office_argument
@change_options
def reopen(service: Service, office_id: str, staff: str, reason: str, as_json: bool) -> None:
    """Let a retired office accept bookings again."""
    with repeatable():
        response = service.call_office(lambda client: client.reopen_office(office_id, staff=staff, reason=reason))
    if as_json:
        show.json(response)
    else:
        click.echo(f"accepts bookings; bookings still to be served: {response.live_bookings}")


for _command in (attendance.bars, attendance.lift_bar, attendance.excuse, attendance.undo_check_in, attendance.late):
    office.add_command(_command)
