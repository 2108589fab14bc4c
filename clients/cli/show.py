"""Prints messages as JSON, or as text and tables for people."""

from collections.abc import Sequence
from datetime import date, datetime
from json import dumps
from zoneinfo import ZoneInfo

import click
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import (
    BOOKING_STATE_CONFIRMED,
    BOOKING_STATE_PENDING,
    Booking,
    BookingState,
    Session,
    StatusReason,
    Window,
)
from antrian.v1.office_service_pb2 import Bar, RosterEntry
from antrian.words import zone_name

_WIB = ZoneInfo("Asia/Jakarta")


def json(message: Message, *, line: bool = False) -> None:
    """Prints a message as JSON with the field names of the protos; with line, on one line."""
    click.echo(
        MessageToJson(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            ensure_ascii=False,
            indent=None if line else 2,
        )
    )


def json_list(messages: Sequence[Message]) -> None:
    """Prints messages as a JSON array, each in the form of json()."""
    listed = [
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for message in messages
    ]
    click.echo(dumps(listed, ensure_ascii=False, indent=2))


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Returns an empty table; the columns in `numbers` are right-aligned."""
    made = Table(box=SIMPLE, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def print_table(listed: Table) -> None:
    """Prints a table; in a pipe, up to 200 columns wide."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(listed)


def offices(response: wire.ListOfficesResponse, *, english: bool) -> None:
    """Prints the offices that may be used, why these, and why not those elsewhere."""
    click.echo(", ".join(f"{province.name_id} ({province.province_code})" for province in response.provinces))
    click.echo(f"  id  {response.reason_id}\n  en  {response.reason_en}\n")
    with_distance = any(office.HasField("distance_km") for office in response.offices)
    listed = table("office", "name", "city", *["km"] * with_distance, "places a day", numbers=("km", "places a day"))
    for office in response.offices:
        distance = [f"{office.distance_km:.1f}"] * with_distance
        listed.add_row(office.office_id, office.name, office.city, *distance, str(office.daily_quota))
    print_table(listed)
    if response.elsewhere:
        click.echo("\nnot from here:")
    for other in response.elsewhere:
        click.echo(f"  {other.office.office_id}: {other.reason_en if english else other.reason_id}")
    click.echo(f"\nas of {moment(response.read_time)}")


def quota(response: wire.GetQuotaResponse) -> None:
    """Prints the remaining places of an office, by day and session, and the window."""
    sessions = sorted({slot.session for slot in response.slots})
    places = {
        (slot.service_date, slot.session): "closed" if slot.closed else f"{slot.remaining}/{slot.quota}"
        for slot in response.slots
    }
    closed = {day.date: day.name for day in response.closed_days}
    names = [session_name(session) for session in sessions]
    listed = table("day", *names, *["closed"] * bool(closed), numbers=tuple(names))
    for day in sorted({slot.service_date for slot in response.slots} | closed.keys()):
        cells = [places.get((day, session), "-") for session in sessions]
        listed.add_row(_day(day), *cells, closed.get(day, ""))
    click.echo(f"{response.office_id}: places remaining / quota\n")
    print_table(listed)
    click.echo(f"\n{_window(response.window)}\nas of {moment(response.read_time)}")


def _window(window: Window) -> str:
    opens, closes = (
        _twice(window.open_time, window.office_open_time),
        _twice(window.close_time, window.office_close_time),
    )
    when = f"open until {closes}" if window.open else f"closed; it opens {opens}, until {closes},"
    return f"booking is {when} for {_day(window.first_date)} to {_day(window.last_date)}"


def booking(it: Booking, *, english: bool) -> None:
    """Prints a booking in a few lines, what matters first."""
    facts = {
        "office": it.office_id,
        "when": f"{_day(it.service_date)} {session_name(it.session)}",
        "party": "1 person" if it.party_size == 1 else f"{it.party_size} people",
        "ticket": str(it.ticket),
        "booking": it.booking_id,
        "accepted": moment(it.accept_time),
        "decided": moment(it.decide_time) if it.HasField("decide_time") else "not yet",
        "as of": moment(it.read_time),
    }
    if it.people:
        facts["for"] = ", ".join(f"{one.masked_name} ({one.masked_nik[-4:]})" for one in it.people)
    if it.cancelled_queue_numbers:
        facts["gave up"] = ", ".join(map(str, it.cancelled_queue_numbers))
    if it.HasField("end_time"):
        facts["ended"] = moment(it.end_time)
    click.echo(headline(it))
    if it.status_reason:
        click.echo(it.status_message_en if english else it.status_message_id)
    for name, value in facts.items():
        click.echo(f"  {name:<8}  {value}")
    if it.alternatives:
        listed = table("office", "day", "session", "remaining", numbers=("remaining",))
        for slot in it.alternatives:
            listed.add_row(slot.office_id, _day(slot.service_date), session_name(slot.session), str(slot.remaining))
        click.echo("\nalternatives with places:\n")
        print_table(listed)


def bookings(found: Sequence[Booking]) -> None:
    """Prints a table of bookings, in the given order."""
    if not found:
        click.echo("no bookings")
        return
    listed = table("booking", "state", "office", "day", "session", "people", "numbers", "code", numbers=("people",))
    for it in found:
        when = (_day(it.service_date), session_name(it.session))
        numbers = ", ".join(map(str, it.queue_numbers))
        listed.add_row(it.booking_id, _state_name(it.state), it.office_id, *when, str(it.party_size), numbers, it.code)
    print_table(listed)


def roster(entries: Sequence[RosterEntry], *, as_json: bool) -> None:
    """Prints the people with queue numbers and since when they are present, as a table or as JSON."""
    if as_json:
        json_list(entries)
        return
    if not entries:
        click.echo("nobody has a queue number")
        return
    listed = table("session", "number", "code", "name", "NIK", "state", "here since", numbers=("number",))
    for it in entries:
        came = moment(it.check_in_time) if it.present else ""
        person = (it.code, it.full_name or "(cannot be read)", it.masked_nik, _state_name(it.state), came)
        listed.add_row(session_name(it.session), str(it.queue_number), *person)
    print_table(listed)


def bars(found: Sequence[Bar], *, as_json: bool) -> None:
    """Prints bars in the given order, as a table or as JSON."""
    if as_json:
        json_list(found)
        return
    if not found:
        click.echo("nobody is barred")
        return
    listed = table(
        "missed", "session", "number", "code", "name", "NIK", "last barred day", "lifted", numbers=("number",)
    )
    for it in found:
        person = (it.code, it.full_name or "(cannot be read)", it.masked_nik, _day(it.last_barred_date))
        lifted = moment(it.lift_time) if it.lifted else ""
        listed.add_row(_day(it.service_date), session_name(it.session), str(it.queue_number), *person, lifted)
    print_table(listed)


def headline(it: Booking) -> str:
    """Returns one line with a booking's state and its details."""
    state = _state_name(it.state)
    if it.state == BOOKING_STATE_PENDING:
        return f"{state}: ticket {it.ticket}, {it.ahead} ahead, {it.remaining} places remaining in the slot"
    if it.state == BOOKING_STATE_CONFIRMED:
        word = "queue number" if len(it.queue_numbers) == 1 else "queue numbers"
        return f"{state}: {word} {', '.join(map(str, it.queue_numbers))}, code {it.code}"
    if it.status_reason:
        return f"{state}: {StatusReason.Name(it.status_reason).removeprefix('STATUS_REASON_')}"
    return state


def _state_name(state: BookingState.ValueType) -> str:
    return BookingState.Name(state).removeprefix("BOOKING_STATE_")


def session_name(session: Session.ValueType) -> str:
    """Returns the name of a session: morning or afternoon."""
    return Session.Name(session).removeprefix("SESSION_").lower()


def _day(day: str) -> str:
    return f"{date.fromisoformat(day):%a} {day}"


def _twice(time: Timestamp, at_office: str) -> str:
    """Returns a time in Jakarta, and at the office if that is in another zone."""
    there = datetime.fromisoformat(at_office)
    if there.utcoffset() == datetime.fromtimestamp(time.seconds, _WIB).utcoffset():
        return moment(time)
    return f"{moment(time)} ({there:%H:%M} {zone_name(there)} at the office)"


def moment(time: Timestamp) -> str:
    """Returns a time in Jakarta, to the second."""
    return f"{datetime.fromtimestamp(time.seconds, _WIB):%a %Y-%m-%d %H:%M:%S} WIB"
