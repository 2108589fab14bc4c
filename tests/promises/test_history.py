"""`antrian verify --history` finds nothing in an untampered history, and names the violation in a tampered one."""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from antrian.audit.history import Findings, check_history, read_facts, read_history
from antrian.booking import Cancel, CloseDate, Follow, SetQuota, Slot, StaffAction
from antrian.identity import booking_code, code_range
from antrian.lane.producer import Joined, JoinRequest, Refused
from clients.cli.main import main
from clients.sdk.history import History
from tests.support.ways_back import by, undo
from tests.support.world import BOGOR, JAKARTA, MONDAY, OPENS, PUSAT, TUESDAY, World

BY = ("desk", "rina", "banjir")
DAY_BEGINS = OPENS.astimezone(JAKARTA).replace(hour=0) + timedelta(days=3)


class Witness:
    """Calls the world as clients do, and records the responses."""

    def __init__(self, world: World, history: History) -> None:
        self.world = world
        self.history = history

    async def request(self, number: int, *people: int, **options: Any) -> JoinRequest:
        """Requests a booking, or repeats the request."""
        request = self.world.request(number, people, **options)
        slot: Slot = request.slot
        op = self.history.begin(
            "request",
            request_id=str(uuid.UUID(int=number)),
            account=request.account,
            office=request.office_id,
            date=str(slot.service_date),
            session=slot.session.value,
            people=[f"person-{person}" for person in people or [number]],
        )
        response = await self.world.join(request)
        if isinstance(response, Refused):
            self.history.end(op, "refused", reason=response.reason)
        elif isinstance(response, Joined):
            told = {"office": request.office_id, "ticket": response.ticket, "state": "PENDING", "numbers": []}
            self.history.end(op, "ok", booking_id=str(request.booking_id), **told)
        else:
            self.history.end(op, "ok", **await self._look(request))
        return request

    async def read(self, request: JoinRequest) -> None:
        """Reads the booking."""
        op = self.history.begin("read", booking_id=str(request.booking_id), account=request.account)
        if told := await self._look(request):
            self.history.end(op, "ok", **told)
        else:
            self.history.end(op, "refused", reason="BOOKING_NOT_FOUND")

    async def cancel(self, request: JoinRequest) -> None:
        """Cancels the booking."""
        op = self.history.begin("cancel", booking_id=str(request.booking_id), account=request.account)
        await self.world.ask(Cancel(request.booking_id), request.office_id)
        self.history.end(op, "ok", **await self._look(request))

    async def cancel_person(self, request: JoinRequest, number: int) -> None:
        """Cancels one person."""
        op = self.history.begin("cancel", booking_id=str(request.booking_id), account=request.account)
        await self.world.ask(Cancel(request.booking_id, number), request.office_id)
        self.history.end(op, "ok", **await self._look(request))

    async def _look(self, request: JoinRequest) -> dict[str, Any]:
        waiting = await self.world.producer.look(request.booking_id)
        name = {"booking_id": str(request.booking_id), "office": request.office_id}
        if waiting:
            return name | {"ticket": waiting.ticket, "state": "PENDING", "numbers": []}
        if not (booking := await self.world.reader.booking(request.booking_id)):
            return {}
        first = booking.first_number if booking.state.value != "REJECTED" else None
        numbers = [n for n in range(first, first + booking.party_size) if n not in booking.cancelled] if first else []
        told = {"ticket": booking.ticket, "state": booking.state.value, "numbers": numbers}
        return name | told | {"cancelled": list(booking.cancelled)}


async def play(world: World, witness: Witness) -> None:
    """Plays a day at Pusat, with six places on Monday morning, and a few requests at Bogor."""
    first = [await witness.request(n, n * 10, n * 10 + 1) for n in range(1, 4)]  # tickets 1 to 3 take all
    await witness.request(2, 20, 21)
    full = await witness.request(4)
    await witness.request(5, 10, account="second-phone")  # refused: has a booking
    world.turn()
    for request in (*first, full):
        await witness.read(request)
    await witness.request(1, 10, 11)

    await witness.cancel(first[0])
    await witness.request(7, 10)  # the people of a cancelled booking may book again
    await witness.request(6, 60, 61)  # too late for the second place
    await witness.request(61, 63, 64, 65)  # too many for the two places, and refused
    world.turn()
    await world.ask(SetQuota(uuid.uuid4(), *BY, MONDAY, 8, None))
    raised = [await witness.request(n) for n in range(8, 12)]  # three of them
    for n in range(20, 24):
        await witness.request(n, n * 10, slot=TUESDAY, office_id=BOGOR)
    world.turn(BOGOR)
    world.turn()
    for request in raised:
        await witness.read(request)
    await witness.cancel_person(first[1], 4)
    await witness.request(12, 21)  # takes the place of that person, who is the same
    world.turn()
    await witness.cancel_person(first[2], 5)
    await witness.cancel(first[2])
    await witness.request(13, 31, 130)
    world.turn()

    with witness.history.fault("a Redis without its disk", loses_undecided=True):
        lost = await witness.request(300, slot=TUESDAY)
        ahead = world.recorder.clock_ahead()
        world.redis.flushdb()
        world.consumer.set_clock(ahead)
        world.rebuild()
        await witness.read(lost)
    await witness.request(300, slot=TUESDAY)
    world.turn()
    await witness.read(lost)

    await witness.request(310, slot=TUESDAY)
    await world.ask(CloseDate(uuid.uuid4(), *BY, TUESDAY.service_date))  # the desk is served before the line
    world.turn()
    await witness.read(lost)
    await witness.cancel(raised[0])

    # Decided on Sunday, recorded on Monday: the ledger refuses it, and its numbers are retired.
    await witness.request(320)
    lease = world.take()
    decided = world.decide(lease)
    world.set_clock(DAY_BEGINS + timedelta(seconds=1))
    world.settle(lease, world.record(lease, decided))
    await undo_a_check_in(world, witness, raised[1])


async def undo_a_check_in(world: World, witness: Witness, request: JoinRequest) -> None:
    """Staff check somebody in by mistake, and undo it."""
    await world.staff.check_in(PUSAT, code_range(booking_code(request.booking_id)), [], "desk", "rina")
    await world.ask(Follow(request.booking_id))
    await witness.read(request)
    first = (await world.recorded(request)).first_number
    assert first
    await world.ask(undo(request, first, first=first))
    await witness.read(request)


@pytest.fixture
async def played(world: World, tmp_path: Path) -> AsyncIterator[World]:
    """The world after the day. The history is in tmp_path."""
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History(tmp_path / "history.jsonl"))
        await play(world, Witness(world, history))
        yield world


def check(world: World, folder: Path) -> Findings:
    return check_history(read_history([folder / "history.jsonl"]), read_facts(world.settings))


async def test_a_reclaimed_person_contradicts_nothing(world: World, tmp_path: Path) -> None:
    with History(tmp_path / "history.jsonl") as history:
        witness = Witness(world, history)
        enemy = await witness.request(1, 7, 8)
        world.turn()
        await witness.read(enemy)
        await world.ask(Cancel(enemy.booking_id, 1, StaffAction(**by()), reclaimed=True))
        owner = await witness.request(2, 7, verified=[7], office_id=BOGOR)
        world.turn(BOGOR)
        for request in (enemy, owner):
            await witness.read(request)
    assert check(world, tmp_path).violations == []
    world.sql("update applicant set cancelled_at = null")
    assert "P4" in {violation.promise for violation in check(world, tmp_path).violations}


async def test_an_untampered_history_has_no_violation(played: World, tmp_path: Path) -> None:
    found = check(played, tmp_path)
    assert found.violations == []
    assert found.lost_undecided == 1
    assert all(each.examined for each in found.checks)
    assert played.verify() == []
    outcomes = played.sql(f"select ticket, state, reason from booking where office_id = '{PUSAT}' order by ticket")
    reasons = {reason for _, _, reason in outcomes}
    assert reasons == {None, "SLOT_FULL", "DAY_CLOSED", "TOO_LATE"}


def ledger(statement: str) -> Callable[[World, Path], object]:
    """Changes the ledger, past all constraints and triggers."""
    return lambda world, _: world.sql(f"set session_replication_role = replica; {statement}")


def line(change: Callable[[dict[str, Any]], object], **wanted: object) -> Callable[[World, Path], object]:
    """Changes the last event of the history that has these values."""

    def tamper(_: World, folder: Path) -> None:
        path = folder / "history.jsonl"
        events = [json.loads(text) for text in path.read_text().splitlines()]
        change([event for event in events if {"event": "ok", "office": PUSAT, **wanted}.items() <= event.items()][-1])
        path.write_text("".join(json.dumps(event) + "\n" for event in events))

    return tamper


OF = f"office_id = '{PUSAT}' and ticket"
TORN = f"""
set session_replication_role = replica;
update applicant set number = 50 where number = 4
    and booking_id = (select booking_id from booking where {OF} = 2)
"""
SWAPPED = f"""
update booking set ticket = 99 where {OF} = 2;
update booking set ticket = 2 where {OF} = 3;
update booking set ticket = 3 where {OF} = 99
"""
TWICE = f"""
update booking set state = 'CONFIRMED', ended_at = null where {OF} = 1
"""
TOO_MANY = f"""
update booking set state = 'CONFIRMED', reason = null, first_number = 7 where {OF} = 4
"""
UNASKED = f"""
insert into booking
select
    gen_random_uuid(), office_id, 900, slot_id, 1, 'REJECTED', 'SLOT_FULL', null, caller, account, accepted_at,
    now() + interval '10 years', '', null
from booking where {OF} = 2
"""

TAMPERED: list[tuple[str, str, int, Callable[[World, Path], object]]] = [
    ("an outcome deleted", "P2", 3, ledger(f"delete from booking where {OF} = 3")),
    ("two tickets swapped", "P6", 2, ledger(SWAPPED)),
    ("two tickets swapped", "P5", 3, ledger(SWAPPED)),
    ("a place too many", "P1", 4, ledger(TOO_MANY)),
    ("a number skipped", "P6", 3, ledger(f"update booking set first_number = 6 where {OF} = 3")),
    ("a number twice", "P6", 3, ledger(f"update booking set first_number = 4 where {OF} = 3")),
    ("a party torn apart", "P6", 2, ledger(TORN)),
    ("two live bookings", "P4", 1, ledger(TWICE)),
    ("nobody asked", "P2", 900, ledger(UNASKED)),
    ("the wrong outcome", "P3", 6, ledger(f"update booking set reason = 'TOO_LATE' where {OF} = 6")),
    ("full, though it was not", "P3", 5, ledger(
        f"update booking set state = 'REJECTED', reason = 'SLOT_FULL', first_number = null where {OF} = 5"
    )),
    ("a place given back twice", "P1", 11, ledger(f"update slot set taken = taken - 1 where slot_id = (select slot_id from booking where {OF} = 2)")),
    ("somebody who gave up is back", "P7", 2, line(lambda event: event.update(cancelled=[4], t=0.0, numbers=[3]), ticket=2)),
    ("who gave up is told wrong", "P8", 2, line(lambda event: event.update(cancelled=[3], numbers=[4]), ticket=2, cancelled=[4])),
    ("two live bookings of who gave up", "P4", 2, ledger(f"update applicant set cancelled_at = null where number = 4 and booking_id = (select booking_id from booking where {OF} = 2)")),
    ("another ticket told", "P5", 7, line(lambda event: event.update(ticket=7), ticket=1)),
    ("a number told", "P8", 3, line(lambda event: event.update(numbers=[5, 7]), ticket=3)),
    ("a read that went back", "P7", 1, line(lambda event: event.update(state="PENDING"), ticket=1)),
    ("a check-in undone by nobody", "P7", 8, ledger("delete from staff_action where kind = 'UNDO_CHECK_IN'")),
    ("a repeat refused as full", "P5", 1, line(
        lambda event: event.update(event="refused", reason="SLOT_FULL"), ticket=1, state="CONFIRMED"
    )),
    ("full, though nobody had booked it", "P8", 0, line(
        lambda event: event.update(session="AFTERNOON"), event="invoke", request_id=str(uuid.UUID(int=61))
    )),
    ("overtaken", "P3", 8, line(lambda event: event.update(t=0.0), ticket=8, state="PENDING")),
    ("found no more", "P7", 1, line(
        lambda event: event.update(event="refused", reason="BOOKING_NOT_FOUND"), ticket=1
    )),
]  # fmt: skip


@pytest.mark.parametrize(("what", "promise", "ticket", "tamper"), TAMPERED, ids=lambda value: str(value)[:30])
async def test_each_tampering_is_reported_with_promise_office_and_ticket(
    played: World, tmp_path: Path, what: str, promise: str, ticket: int, tamper: Callable[[World, Path], object]
) -> None:
    tamper(played, tmp_path)
    found = check(played, tmp_path)
    assert [
        b for b in found.violations if (b.promise, b.office) == (promise, PUSAT) and ticket in (b.tickets or [0])
    ], what
    assert len(found.violations) < 8


async def test_verify_prints_the_events_and_faults_of_a_violation(
    played: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTRIAN_REDIS_URL", played.settings.redis_url)
    monkeypatch.setenv("ANTRIAN_DATABASE_URL", played.settings.database_url)
    monkeypatch.setenv("ANTRIAN_EMBEDDED", "1")
    for name, key in {"HASH": b"h" * 32, "ENCRYPTION": b"s" * 32}.items():  # the world's
        monkeypatch.setenv(f"ANTRIAN_{name}_KEY", base64.b64encode(key).decode())
    command = ["verify", "--history", str(tmp_path / "history.jsonl")]
    whole = CliRunner().invoke(main, command)
    assert (whole.exit_code, whole.stdout.splitlines()[-1]) == (0, "all promises hold"), whole.output
    assert "1 undecided tickets were lost to faults that are allowed to lose them" in whole.stdout

    ((ticket,),) = played.sql("select min(ticket) from booking where ticket > 100")  # the first after the rebuild
    line(lambda event: event.update(ticket=3), numbers=[], ticket=ticket)(played, tmp_path)
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 1
    assert f"P5 {PUSAT}: a response named ticket 3 of {PUSAT}, but the request has {ticket} of {PUSAT}" in told.stdout
    found = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    (violation,) = [violation for violation in found["violations"] if violation["promise"] == "P5"]
    assert (violation["office"], violation["tickets"]) == (PUSAT, [3, ticket])
    assert [event["event"] for event in violation["events"]] == ["invoke", "ok"] * 2 + ["recorded"]
    assert found["lost_undecided"] == 1

    (tmp_path / "history.jsonl").write_text("no history\n")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "history.jsonl:1: not an event of a history" in refused.stderr
