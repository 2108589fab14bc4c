"""The commands of an office's staff: rosters and check-ins, quotas and closed days, ways back, names, retirement."""

from datetime import datetime

import click

from clients.cli import show
from clients.cli.options import DAY, SESSIONS, Service, confirm, example, json_option, repeatable, service_options

_session = click.Choice(list(SESSIONS))
_staff = click.option("--staff", required=True, metavar="WHO", help="Who of the staff does it: an opaque id of yours.")
_reason = click.option("--reason", required=True, metavar="WHY", help="Kept with the change; no personal data.")


@click.group(epilog=example("antrian office roster kanim-bogor"))
def office() -> None:
    """Work at an office: who comes, who has come, how many places, whether it takes bookings.

    For callers with the role staff, for that office.
    """


@office.command(
    epilog=example(
        "antrian office roster kanim-bogor", "antrian office roster kanim-bogor --date 2026-11-30 --session morning"
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.option("--date", "day", type=DAY, metavar="YYYY-MM-DD", help="The day.  [default: today at the office]")
@click.option("--session", type=_session, help="Only this part of the day.")
@service_options
@json_option
def roster(service: Service, office_id: str, day: datetime | None, session: str | None, as_json: bool) -> None:
    """List who has a queue number on a day.

    By session and queue number: names in clear, NIKs masked.
    """
    found = service.call_office(
        lambda client: client.day_roster(office_id, day.date() if day else None, SESSIONS[session] if session else None)
    )
    if as_json:
        show.json_list(found)
    else:
        show.roster(found)


@office.command(
    epilog=example(
        "antrian office check-in kanim-bogor 2KK56MF2V6 --staff counter-1",
        "antrian office check-in kanim-bogor 2KK56MF2V6 --present 3 --present 4 --staff counter-1",
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.option(
    "--present",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="NUMBER",
    help="Who is here.  [default: the whole party]",
)
@_staff
@service_options
@json_option
def check_in(service: Service, office_id: str, code: str, present: tuple[int, ...], staff: str, as_json: bool) -> None:
    """Note who of a party has come.

    By the code of its booking and its queue numbers, on the day of the appointment. Who comes later is added by another
    call. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.check_in(office_id, code, staff=staff, present=present))
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example(
        'antrian office set-quota kanim-bogor 2026-12-01 morning 40 --staff head-1 --reason "Two counters are out"',
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("day", type=DAY, metavar="DATE")
@click.argument("session", type=_session)
@click.argument("places", type=click.IntRange(min=0), metavar="PLACES")
@click.option("--expected", type=click.IntRange(min=0), metavar="N", help="Refuse unless it is N now.")
@_staff
@_reason
@service_options
@json_option
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
    """Change the places of a session.

    Of a day that has not begun at the office. Refused when more places are taken.
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
        click.echo(f"{response.quota} places, {response.taken} of them taken; it was {response.previous_quota}")


@office.command(
    epilog=example('antrian office close-date kanim-bogor 2026-12-01 --staff head-1 --reason "The office is flooded"')
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("day", type=DAY, metavar="DATE")
@_staff
@_reason
@click.option("--yes", is_flag=True, help="Do not ask.")
@service_options
@json_option
def close_date(
    service: Service, office_id: str, day: datetime, staff: str, reason: str, yes: bool, as_json: bool
) -> None:
    """Close a day, and cancel its bookings.

    There is no way back, so it asks first. The people of its bookings may book again at once.
    """
    if not yes:
        confirm(f"Close {office_id} on {day:%a %Y-%m-%d}, and cancel all its bookings? There is no way back.")
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
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@_staff
@_reason
@service_options
@json_option
def release(service: Service, office_id: str, code: str, staff: str, reason: str, as_json: bool) -> None:
    """End a booking, so that its people are free.

    By its code, which the roster has, until its day is over. Its people may book again at once, nobody is barred, and its
    account is told that the office ended it. Safe to repeat. Prints the party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.release_booking(office_id, code, staff=staff, reason=reason))
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example(
        'antrian office cancel-person kanim-bogor 2KK56MF2V6 3 --staff head-1 --reason "Gave up by telephone"',
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.argument("number", type=click.IntRange(min=1))
@_staff
@_reason
@service_options
@json_option
def cancel_person(
    service: Service, office_id: str, code: str, number: int, staff: str, reason: str, as_json: bool
) -> None:
    """Take one person out of a party.

    By the code of the booking and the person's queue number, until its day is over. The others keep their numbers and the
    code. This person may book again at once. Safe to repeat. Prints who is still in the party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.cancel_person(office_id, code, number, staff=staff, reason=reason)
        )
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example(
        'antrian office correct-name kanim-bogor 2KK56MF2V6 3 "Dewi Lestari" --staff head-1 --reason "As on the identity card"'
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.argument("number", type=click.IntRange(min=1))
@click.argument("name")
@_staff
@_reason
@service_options
@json_option
def correct_name(
    service: Service, office_id: str, code: str, number: int, name: str, staff: str, reason: str, as_json: bool
) -> None:
    """Correct a person's name.

    By the code of the booking and the person's queue number, until its day is over. Safe to repeat. Prints the party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.correct_name(office_id, code, number, name, staff=staff, reason=reason)
        )
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example('antrian office retire ulp-depok --staff head-1 --reason "The mall has ended the lease"')
)
@click.argument("office_id", metavar="OFFICE")
@_staff
@_reason
@service_options
@json_option
def retire(service: Service, office_id: str, staff: str, reason: str, as_json: bool) -> None:
    """Let an office take no more bookings.

    Requests in line are still decided, and its bookings served on their days; `antrian office close-date` cancels those of
    a day. `antrian office reopen` is the way back.
    """
    with repeatable():
        response = service.call_office(lambda client: client.retire_office(office_id, staff=staff, reason=reason))
    if as_json:
        show.json(response)
    else:
        click.echo(f"retired; bookings still to be served: {response.live_bookings}, and requests in line")


@office.command(epilog=example('antrian office reopen ulp-depok --staff head-1 --reason "The lease goes on"'))
@click.argument("office_id", metavar="OFFICE")
@_staff
@_reason
@service_options
@json_option
def reopen(service: Service, office_id: str, staff: str, reason: str, as_json: bool) -> None:
    """Let a retired office take bookings again."""
    with repeatable():
        response = service.call_office(lambda client: client.reopen_office(office_id, staff=staff, reason=reason))
    if as_json:
        show.json(response)
    else:
        click.echo(f"takes bookings; bookings still to be served: {response.live_bookings}")


@office.command(epilog=example("antrian office bars kanim-bogor", "antrian office bars kanim-bogor --nik"))
@click.argument("office_id", metavar="OFFICE")
@click.option(
    "--nik",
    default="",
    prompt="NIK",
    prompt_required=False,
    hide_input=True,
    help="Only this person's. Without a value it is asked for, so that it stays out of the shell's history.",
)
@service_options
@json_option
def bars(service: Service, office_id: str, nik: str, as_json: bool) -> None:
    """List who may not book since they missed a day here.

    The newest missed day first, until the time of each bar is over; also those that were lifted. NIKs are masked.
    """
    found = service.call_office(lambda client: client.bars(office_id, nik))
    if as_json:
        show.json_list(found)
    else:
        show.bars(found)


@office.command(
    epilog=example(
        'antrian office lift-bar kanim-bogor 2KK56MF2V6 3 --staff head-1 --reason "Was in hospital, letter seen"'
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.argument("number", type=click.IntRange(min=1))
@_staff
@_reason
@service_options
@json_option
def lift_bar(service: Service, office_id: str, code: str, number: int, staff: str, reason: str, as_json: bool) -> None:
    """End one person's bar.

    By the code of the missed booking and the person's queue number, as `office bars` lists them. That person may book
    again at once; the booking stays as it is, and so do bars from other missed days.
    """
    with repeatable():
        bar = service.call_office(lambda client: client.lift_bar(office_id, code, number, staff=staff, reason=reason))
    if as_json:
        show.json(bar)
    else:
        show.bars([bar])


@office.command(
    epilog=example('antrian office excuse kanim-bogor 2KK56MF2V6 --staff head-1 --reason "The bridge was out"')
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@_staff
@_reason
@service_options
@json_option
def excuse(service: Service, office_id: str, code: str, staff: str, reason: str, as_json: bool) -> None:
    """Excuse a booking of which nobody came.

    It becomes EXCUSED, and all its people may book again. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(lambda client: client.excuse_no_show(office_id, code, staff=staff, reason=reason))
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example(
        'antrian office undo-check-in kanim-bogor 2KK56MF2V6 --number 4 --staff counter-1 --reason "Wrong person"'
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.option(
    "--number",
    "numbers",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="NUMBER",
    help="Who is not here after all.  [default: the whole party]",
)
@_staff
@_reason
@service_options
@json_option
def undo_check_in(
    service: Service, office_id: str, code: str, numbers: tuple[int, ...], staff: str, reason: str, as_json: bool
) -> None:
    """Take a wrong check-in back.

    On the same day. These people are expected again, and barred if they do not come. Refused for who has booked again
    since. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.undo_check_in(office_id, code, staff=staff, reason=reason, numbers=numbers)
        )
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)


@office.command(
    epilog=example(
        'antrian office late kanim-bogor 2KK56MF2V6 --present 3 --staff head-1 --reason "Noted on paper, network was down"'
    )
)
@click.argument("office_id", metavar="OFFICE")
@click.argument("code")
@click.option(
    "--present",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="NUMBER",
    help="Who came.  [default: the whole party]",
)
@_staff
@_reason
@service_options
@json_option
def late(
    service: Service, office_id: str, code: str, present: tuple[int, ...], staff: str, reason: str, as_json: bool
) -> None:
    """Note after the day who did come.

    Until noon of the day after, at the office. Their bars end; others of the party stay barred. Prints the whole party.
    """
    with repeatable():
        party = service.call_office(
            lambda client: client.late_attendance(office_id, code, staff=staff, reason=reason, present=present)
        )
    if as_json:
        show.json_list(party)
    else:
        show.roster(party)
