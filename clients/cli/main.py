"""The console script `antrian`: the commands for bookings, and the registration of all others."""

import uuid
from datetime import datetime, timedelta

import click

from antrian.process import forbid_core_dumps
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_PENDING,
    BOOKING_STATE_REJECTED,
    BOOKING_STATE_UNSPECIFIED,
    BookingState,
)
from clients.cli import operate, show
from clients.cli.callers import callers
from clients.cli.keys import keys
from clients.cli.office import office
from clients.cli.options import (
    Failure,
    Service,
    example,
    json_option,
    repeatable,
    service_options,
    whereabouts_options,
)
from clients.cli.param_types import DAY, SESSIONS, Person
from clients.cli.person import person
from clients.cli.policy import policy
from clients.cli.rush import rush
from clients.sdk.booking_client import Applicant, Booking, BookingClient, Whereabouts

_STATES = {
    name.removeprefix("BOOKING_STATE_").lower().replace("_", "-"): state
    for name, state in BookingState.items()
    if state != BOOKING_STATE_UNSPECIFIED
}
_OUTCOME_WITHIN = timedelta(seconds=60)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("antrian up --clock open", "antrian quota kanim-bogor"),
)
@click.version_option(package_name="antrian")
def main() -> None:
    """Antrian: a place in the queue for an Indonesian passport.

    Exit codes: 0 success, 1 refused or failed, 2 invalid usage or settings.
    """
    forbid_core_dumps()


@main.group(epilog=example("antrian offices list --at -6.1862,106.8296"))
def offices() -> None:
    """List or import offices."""


@offices.command(
    "list",
    epilog=example(
        "antrian offices list --at -6.1862,106.8296 --accuracy 50", "antrian offices list --province ID-JK --json"
    ),
)
@whereabouts_options
@service_options
@json_option
def list_offices(service: Service, whereabouts: Whereabouts, as_json: bool) -> None:
    """List the offices that a person may use, and why.

    With --at: the offices of the province or provinces where the device is, nearest first. With --province: the offices of
    that province, by name.
    """
    response = service.call(lambda client: client.list_offices(whereabouts))
    if as_json:
        show.json(response)
    else:
        show.offices(response, english=service.english)


@main.command(epilog=example("antrian quota kanim-bogor", "antrian quota kanim-bogor --json"))
@click.argument("office")
@service_options
@json_option
def quota(service: Service, office: str, as_json: bool) -> None:
    """Show the remaining places of an office.

    Lists them by day and session, and shows when booking is open.
    """
    response = service.call(lambda client: client.get_quota(office))
    if as_json:
        show.json(response)
    else:
        show.quota(response)


@main.command(
    epilog=example(
        "antrian book --office kanim-bogor --date 2026-11-30 --session morning --account ani \\",
        '  --at -6.5950,106.7970 --person "3271014107900001:Ani Lestari" --person "3271010101880002:Budi Lestari"',
    )
)
@click.option("--office", required=True, metavar="ID", help="See `antrian offices list`.")
@click.option("--date", "day", required=True, type=DAY, metavar="YYYY-MM-DD", help="The day of the appointment.")
@click.option("--session", required=True, type=click.Choice(list(SESSIONS)), help="The part of the day.")
@click.option(
    "--person",
    "people",
    required=True,
    multiple=True,
    type=Person(),
    help="An applicant. Repeat for a party of up to five.",
)
@click.option("--verified", is_flag=True, help="Vouch that these people were identified.")
@click.option("--account", required=True, help="The account to book for: an opaque id that you choose.")
@click.option("--request-id", type=click.UUID, help="Idempotency key: the same id always returns the same booking.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the outcome, or return at once.")
@whereabouts_options
@service_options
@json_option
def book(
    service: Service,
    office: str,
    day: datetime,
    session: str,
    people: tuple[Applicant, ...],
    verified: bool,
    account: str,
    request_id: uuid.UUID | None,
    wait: bool,
    whereabouts: Whereabouts,
    as_json: bool,
) -> None:
    """Request a booking for a party of up to five people.

    The whole party is booked, or nobody. Exits with 1 when the request is refused or the booking is rejected. Only callers
    that are trusted to vouch for a person's province may use --province instead of --at, and only callers that are trusted to
    identify people may use --verified.
    """
    for applicant in people:
        applicant.verified = verified
    key = request_id or uuid.uuid4()

    async def request(client: BookingClient) -> Booking:
        booking = await client.request_booking(
            account=account,
            office_id=office,
            service_date=day.date(),
            session=SESSIONS[session],
            applicants=people,
            whereabouts=whereabouts,
            request_id=key,
        )
        if not wait or booking.state != BOOKING_STATE_PENDING:
            return booking
        if not as_json:
            click.echo(f"accepted as {booking.booking_id}\n{show.headline(booking)}")
        try:
            return await client.outcome(booking.booking_id, account, within=_OUTCOME_WITHIN)
        except TimeoutError:
            raise Failure(
                f"still PENDING after {_OUTCOME_WITHIN.seconds} s, and still in the queue: "
                f"`antrian watch {booking.booking_id} --account {account}`"
            ) from None

    try:
        booking = service.call(request)
    except Failure as failure:
        if failure.unknown:
            raise Failure(f"{failure.message}; to learn the outcome, repeat it with --request-id {key}") from None
        raise
    _print(service, booking, as_json)
    if booking.state == BOOKING_STATE_REJECTED:
        raise SystemExit(1)


@main.command(epilog=example("antrian status 7c1e…-… --account ani", "antrian status 7c1e…-… --account ani --wait 30"))
@click.argument("booking_id")
@click.option("--account", required=True, help="The account that it was made for.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Wait up to SECONDS for the outcome."
)
@service_options
@json_option
def status(service: Service, booking_id: str, account: str, wait: float, as_json: bool) -> None:
    """Show the current state of a booking."""

    async def read(client: BookingClient) -> Booking:
        if wait:
            try:
                return await client.outcome(booking_id, account, within=timedelta(seconds=wait))
            except TimeoutError:
                pass  # shown as PENDING
        return await client.get_booking(booking_id, account)

    _print(service, service.call(read), as_json)


@main.command(epilog=example("antrian watch 7c1e…-… --account ani", "antrian watch 7c1e…-… --account ani --json"))
@click.argument("booking_id")
@click.option("--account", required=True, help="The account that it was made for.")
@service_options
@json_option
def watch(service: Service, booking_id: str, account: str, as_json: bool) -> None:
    """Follow a booking until it is decided.

    Prints a line (with --json: a JSON object) at each change.
    """

    async def follow(client: BookingClient) -> None:
        async for booking in client.watch(booking_id, account):
            if as_json:
                show.json(booking, line=True)
            else:
                click.echo(f"{show.moment(booking.read_time)}  {show.headline(booking)}")

    service.call(follow)


@main.command(
    epilog=example("antrian bookings --account ani", "antrian bookings --account ani --state confirmed --json")
)
@click.option("--account", required=True, help="The account that they were made for.")
@click.option("--state", type=click.Choice(list(_STATES)), help="Only bookings in this state.")
@click.option("--date", "day", type=DAY, metavar="YYYY-MM-DD", help="Only bookings for this day.")
@service_options
@json_option
def bookings(service: Service, account: str, state: str | None, day: datetime | None, as_json: bool) -> None:
    """List the bookings of an account.

    Pending bookings come first, then the decided ones, newest first.
    """
    wanted = _STATES[state] if state else BOOKING_STATE_UNSPECIFIED
    found = service.call(
        lambda client: client.list_bookings(account, state=wanted, service_date=day.date() if day else None)
    )
    if as_json:
        show.json_list(found)
    else:
        show.bookings(found)


@main.command(epilog=example("antrian cancel 7c1e…-… --account ani"))
@click.argument("booking_id")
@click.option("--account", required=True, help="The account that it was made for.")
@service_options
@json_option
def cancel(service: Service, booking_id: str, account: str, as_json: bool) -> None:
    """Cancel a confirmed booking and free its places.

    Possible until the day of the appointment begins at the office. Its people may book again at once. Safe to repeat.
    """
    with repeatable():
        booking = service.call(lambda client: client.cancel_booking(booking_id, account))
    _print(service, booking, as_json)


@main.command(epilog=example("antrian cancel-person 7c1e…-… 3 --account ani"))
@click.argument("booking_id")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--account", required=True, help="The account that it was made for.")
@service_options
@json_option
def cancel_person(service: Service, booking_id: str, number: int, account: str, as_json: bool) -> None:
    """Cancel the place of one person of a booking.

    NUMBER is the person's queue number. Possible until the day of the appointment begins at the office. The others keep
    their numbers and the code; cancelling the last person cancels the booking. This person may book again at once. Safe to
    repeat.
    """
    with repeatable():
        booking = service.call(lambda client: client.cancel_person(booking_id, account, number))
    _print(service, booking, as_json)


@main.command(epilog=example('antrian correct-name 7c1e…-… 3 "Dewi Lestari" --account ani'))
@click.argument("booking_id")
@click.argument("number", type=click.IntRange(min=1))
@click.argument("name")
@click.option("--account", required=True, help="The account that it was made for.")
@service_options
@json_option
def correct_name(service: Service, booking_id: str, number: int, name: str, account: str, as_json: bool) -> None:
    """Correct a few letters of a person's name.

    NUMBER is the person's queue number. Possible once per person, until the day of the appointment begins at the office.
    Safe to repeat.
    """
    with repeatable():
        booking = service.call(lambda client: client.correct_name(booking_id, account, number, name))
    _print(service, booking, as_json)


def _print(service: Service, booking: Booking, as_json: bool) -> None:
    if as_json:
        show.json(booking)
    else:
        show.booking(booking, english=service.english)


for _command in (
    operate.up,
    operate.serve,
    operate.work,
    operate.gateway,
    operate.migrate,
    operate.health,
    operate.verify,
    operate.rebuild,
    operate.reset,
):
    main.add_command(_command)
main.add_command(callers)
main.add_command(keys)
main.add_command(office)
main.add_command(person)
main.add_command(policy)
main.add_command(rush)
offices.add_command(operate.import_offices)


if __name__ == "__main__":
    main()
