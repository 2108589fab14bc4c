"""The promises as a state machine: they hold after every step of random operations and failures."""

import asyncio
import sys
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from antrian.booking import Cancel, CloseDate, Command, Follow, SetQuota, Slot, StaffAction
from antrian.errors import AntrianError, Reason
from antrian.identity import booking_code, code_range
from antrian.lane.producer import JoinRequest
from antrian.lane.replies import Lease
from tests.promises.model import BrokenError, Model, hold
from tests.promises.sight import Sight, look
from tests.promises.slow_turn import SlowTurn
from tests.support.ways_back import excuse, late, lift, undo
from tests.support.world import BOGOR, MONDAY, OPENS, PUSAT, TUESDAY, World, nik

WEEK = timedelta(days=7)
NEXT_MONDAY = replace(MONDAY, service_date=MONDAY.service_date + WEEK)
CLOSES = OPENS + timedelta(days=2, hours=2)
MOMENTS = [
    OPENS - timedelta(minutes=5),
    OPENS + timedelta(minutes=1),
    CLOSES - timedelta(minutes=5),
    CLOSES + timedelta(minutes=5),
    OPENS.replace(hour=9) + timedelta(days=3),  # Monday
    OPENS.replace(hour=9) + timedelta(days=4),  # Tuesday
    OPENS + WEEK + timedelta(minutes=1),
]
MONDAY_MORNING, TUESDAY_MORNING = 4, 5
BY = ("desk", "rina", "banjir")

OFFICES = st.sampled_from([PUSAT, PUSAT, BOGOR])
SLOTS = st.sampled_from([MONDAY, MONDAY, TUESDAY, NEXT_MONDAY])
PARTIES = st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True)
OFTEN = st.sampled_from([True, True, False])
WHO = st.sampled_from(["all", "first", "last"])
ASKED = st.tuples(PARTIES, OFFICES, SLOTS, st.sampled_from(["ani", "budi"]))


class PromiseMachine(RuleBasedStateMachine):
    """Plays servers, workers, staff, time and failures on one world, which is reset for each example."""

    requests = Bundle[JoinRequest]("requests")
    turns = Bundle[SlowTurn]("turns")

    def __init__(self, world: World, runner: asyncio.Runner, ledger: "psycopg.Connection[Any]") -> None:
        super().__init__()
        self.world, self.runner, self.ledger = world, runner, ledger
        self.moment = 0
        self.slow: list[SlowTurn] = []
        self.names = 0
        self.model: Model | None = None

    # What can be seen.

    @property
    def told(self) -> Model:
        """The model of the current example."""
        assert self.model is not None
        return self.model

    def sight(self) -> Sight:
        """A snapshot of both stores."""
        days = [slot.service_date for slot in (MONDAY, TUESDAY, NEXT_MONDAY)]
        return look(self.world, self.ledger, days, [self.world.keys.applicant_key(nik(n)) for n in range(1, 9)])

    @invariant()
    def promises_hold(self) -> None:
        """Checks all promises after every step."""
        if self.model:
            self.model.compare(self.sight(), MOMENTS[self.moment])

    @initialize(target=requests, moment=st.sampled_from([1, 1, 1, 0, 2]), asked=st.lists(ASKED, min_size=2, max_size=6))
    def begin(self, moment: int, asked: list[tuple[list[int], str, Slot, str]]) -> Any:
        """Empties both stores, opens the lanes at some moment, and sends the first requests."""
        self.moment = moment
        self.world.begin_anew(MOMENTS[moment])
        self.model = Model(self.sight(), self.world.policy.lane_bound, self.world.policy.account_people)
        return self._join(asked)

    # Servers.

    @rule(target=requests, asked=st.lists(ASKED, min_size=1, max_size=3))
    def come(self, asked: list[tuple[list[int], str, Slot, str]]) -> Any:
        """Several clients send requests at the same time."""
        return self._join(asked)

    def _join(self, asked: list[tuple[list[int], str, Slot, str]]) -> Any:
        made = []
        for people, office_id, slot, account in asked:
            self.names += 1
            made.append(self.world.request(self.names, people, office_id=office_id, slot=slot, account=account))
        self._ask(made)
        return multiple(*made)

    @rule(request=requests)
    def ask_again(self, request: JoinRequest) -> None:
        """A client retries after a lost response or a refusal, twice at the same time."""
        self._ask([request, request])

    @rule(request=requests, office_id=OFFICES, slot=SLOTS)
    def reuse_its_name(self, request: JoinRequest, office_id: str, slot: Slot) -> None:
        """A client reuses a request_id with other content."""
        other = replace(self.world.request(0, [8], office_id=office_id, slot=slot), booking_id=request.booking_id)
        if other.fingerprint != request.fingerprint and request.booking_id in self.told.accepted:
            self._ask([other])

    def _ask(self, requests: list[JoinRequest]) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.world.join(request) for request in requests))

        for request, response in zip(requests, self.runner.run(together()), strict=True):
            self.told.answered(request, response, self.world.consumer.now())

    @rule(request=requests, times=st.integers(1, 2))
    def cancel(self, request: JoinRequest, times: int) -> None:
        """An account cancels a booking, and repeats the cancel."""
        self.told.asked_to_cancel.add(request.booking_id)
        for _ in range(times):
            self._send_command(request.office_id, Cancel(request.booking_id))

    @rule(request=requests, nth=st.integers(0, 2), by_staff=st.booleans(), times=st.integers(1, 2))
    def cancel_person(self, request: JoinRequest, nth: int, *, by_staff: bool, times: int) -> None:
        """An account or staff cancel one person of a party, and repeat the cancel."""
        row = self.told.sight.rows.get(request.booking_id)
        number = (row.first_number if row and row.first_number else 1) + nth % len(request.applicants)
        self.told.asked_to_cancel_person.add((request.booking_id, number))
        for _ in range(times):
            self._send_command(
                request.office_id, Cancel(request.booking_id, number, self._staff() if by_staff else None)
            )

    @rule(request=requests, nth=st.integers(0, 2), by_staff=st.booleans())
    def cancel_person_then_the_booking(self, request: JoinRequest, nth: int, *, by_staff: bool) -> None:
        """An account cancels one person of a party, then the booking."""
        self.cancel_person(request, nth, by_staff=by_staff, times=1)
        self.serve(request.office_id)
        self.promises_hold()
        self.cancel(request, 1)

    @rule(request=requests, times=st.integers(1, 2))
    def release(self, request: JoinRequest, times: int) -> None:
        """Staff release a booking, and repeat it."""
        self.told.asked_to_cancel.add(request.booking_id)
        for _ in range(times):
            self._send_command(request.office_id, Cancel(request.booking_id, by=self._staff()))

    def _staff(self) -> StaffAction:
        return StaffAction(uuid.uuid5(uuid.NAMESPACE_X500, f"{self.names}"), *BY)

    @rule(office_id=OFFICES, slot=SLOTS, quota=st.integers(0, 5))
    def set_quota(self, office_id: str, slot: Slot, quota: int) -> None:
        """Staff change a quota."""
        self._send_command(office_id, SetQuota(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.names}"), *BY, slot, quota, None))

    @rule(office_id=OFFICES, slot=SLOTS, really=st.sampled_from([False, False, True]))
    def close_date(self, office_id: str, slot: Slot, really: bool) -> None:
        """Staff close a day."""
        if really:
            self.told.asked_to_close.add((office_id, slot))
            self._send_command(
                office_id, CloseDate(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.names}"), *BY, slot.service_date)
            )

    def _numbers(self, request: JoinRequest, who: str) -> dict[int, bytes]:
        """Queue numbers and keys of some people of a party, which is decided first. Empty if it has none."""
        if request.booking_id in self.told.accepted and request.booking_id not in self.told.sight.rows:
            self.lease_runs_out(request.office_id)
            self.serve(request.office_id)
            self.promises_hold()
        row = self.told.sight.rows.get(request.booking_id)
        if row is None or row.first_number is None or row.state == "REJECTED":
            return {}
        party = {row.first_number + n: applicant.key for n, applicant in enumerate(request.applicants)}
        some = {"all": party, "first": [min(party)], "last": [max(party)]}[who]
        return {number: party[number] for number in some}

    @rule(request=requests, who=WHO, on_time=OFTEN, told=OFTEN)
    def check_in(self, request: JoinRequest, who: str, on_time: bool, told: bool) -> None:
        """Staff check in some people of a party, on their day or not. The second step may be lost."""
        numbers = self._numbers(request, who)
        if numbers and on_time and request.slot == MONDAY and self.moment < MONDAY_MORNING:
            self.time_passes(MONDAY_MORNING - self.moment)
            self.promises_hold()
        if not numbers:
            return
        self.told.asked_to_note |= {(key, request.booking_id) for key in numbers.values()}
        codes = code_range(booking_code(request.booking_id))
        gave_up = not numbers.keys().isdisjoint(self.told.sight.cancelled.get(request.booking_id, set()))
        try:
            self.runner.run(self.world.staff.check_in(request.office_id, codes, list(numbers), *BY[:2]))
        except AntrianError as refusal:
            right = {Reason.NOT_CONFIRMED, Reason.NOT_TODAY} | ({Reason.INVALID_FIELD} if gave_up else set())
            hold("P7", refusal.reason in right, refusal.reason)
            return
        hold("P7", not gave_up, "somebody who gave up was checked in")
        if told:
            self._send_command(request.office_id, Follow(request.booking_id))
        self.told.unsynced.add(request.booking_id)

    @rule(request=requests, who=WHO, came=OFTEN, served=st.booleans())
    def undo_check_in(self, request: JoinRequest, who: str, came: bool, served: bool) -> None:
        """Staff undo a check-in, whether there was one or not. Its people may have booked again."""
        if came:
            self.check_in(request, "all", on_time=True, told=served)
            if served:
                self.serve(request.office_id)
            self.promises_hold()
        if numbers := self._numbers(request, who):
            first = self.told.sight.rows[request.booking_id].first_number or 0
            self.told.asked_to_undo.add(request.booking_id)
            self._send_command(request.office_id, undo(request, *numbers, first=first))
            if served:
                self.serve(request.office_id)

    @rule(request=requests, who=WHO, over=OFTEN, finished=OFTEN)
    def note_late(self, request: JoinRequest, who: str, over: bool, finished: bool) -> None:
        """Staff record late attendance, before or after the day was finished."""
        numbers = self._numbers(request, who)
        if numbers and over:
            self._let_monday_end(request, finished=finished)
        self.told.asked_to_note |= {(key, request.booking_id) for key in numbers.values()}
        if numbers:
            self._send_command(request.office_id, late(self.world.policy, request, *numbers))
            if finished:
                self.serve(request.office_id)

    @rule(request=requests, over=OFTEN)
    def excuse(self, request: JoinRequest, over: bool) -> None:
        """Staff excuse a booking, whether it is a no-show or not."""
        if self._numbers(request, "all") and over:
            self._let_monday_end(request, finished=True)
        self.told.asked_to_excuse.add(request.booking_id)
        self._send_command(request.office_id, excuse(request))

    @rule(request=requests, who=WHO, over=OFTEN, again=st.booleans())
    def lift_bars(self, request: JoinRequest, who: str, over: bool, again: bool) -> None:
        """Staff lift the bars of some people of a party, whether they are barred or not. The day may be synced again."""
        numbers = self._numbers(request, who)
        if numbers and over:
            self._let_monday_end(request, finished=True)
        self.told.asked_to_lift |= {(key, request.booking_id) for key in numbers.values()}
        for number in numbers:
            self._send_command(request.office_id, lift(request, number))
        if again:
            self.world.recorder.days.mark_unsynced(MONDAY.service_date)
            self.world.nightly()

    def _let_monday_end(self, request: JoinRequest, *, finished: bool) -> None:
        if request.slot == MONDAY and self.moment < TUESDAY_MORNING:
            self.time_passes(TUESDAY_MORNING - self.moment)
            self.promises_hold()
        if finished:
            self.world.nightly()
            self.promises_hold()

    def _send_command(self, office_id: str, entry: Command) -> None:
        self.names += 1
        try:
            self.runner.run(self.world.producer.send_command(office_id, entry))
        except AntrianError as refusal:
            hold("P9", refusal.reason is Reason.LANE_CLOSED and self.told.emptied, refusal.reason)

    # Workers.

    def _take(self, office_id: str = "") -> Lease | None:
        lease = self.world.consumer.lease(office_id)
        if lease:
            self.told.taken(lease.office_id)
        return lease

    @rule()
    def serve_the_longest_ready(self) -> None:
        """A worker serves the lane that has been ready for longest."""
        right, lease = self.told.longest_waiting(), self._take()
        hold("P13", (lease.office_id in right) if lease else not right, f"{lease} was taken before {right}")
        if lease:
            self.world.serve(lease)

    @rule(office_id=OFFICES)
    def serve(self, office_id: str) -> None:
        """A worker serves a lane for a whole turn."""
        if lease := self._take(office_id):
            self.world.serve(lease)

    @rule(target=turns, office_id=OFFICES, steps=st.integers(0, 3))
    def begin_a_turn(self, office_id: str, steps: int) -> Any:
        """A worker begins a turn, and dies or pauses after some steps."""
        turn = self._begin(office_id, steps)
        return turn if turn and turn.next_step else multiple()

    def _begin(self, office_id: str, steps: int) -> SlowTurn | None:
        lease = self._take(office_id)
        if lease is None:
            return None
        turn = SlowTurn(self.world, lease)
        self.slow.append(turn)
        for _ in range(steps):
            self._let_on(turn)
            self.promises_hold()
        return turn

    @rule(office_id=OFFICES, steps=st.integers(1, 2))
    def two_in_one_lane(self, office_id: str, steps: int) -> None:
        """A consumer pauses until its lease has expired, another serves the lane, and then the first resumes."""
        if turn := self._begin(office_id, steps):
            self.lease_runs_out(office_id)
            self.promises_hold()
            self.serve(office_id)
            self.promises_hold()
            self.wake(turn)

    @rule(request=requests, quota=st.integers(3, 5), one=st.booleans())
    def cancel_while_the_desk_is_served(self, request: JoinRequest, quota: int, *, one: bool) -> None:
        """An account cancels between the record and the settle of another turn."""
        self.serve(request.office_id)
        self.promises_hold()
        self.set_quota(request.office_id, request.slot, quota)
        if turn := self._begin(request.office_id, 2):
            if one:
                self.cancel_person(request, 0, by_staff=False, times=1)
            else:
                self.cancel(request, 1)
            self.wake(turn)

    @rule(office_id=OFFICES, really=st.sampled_from([False, True]))
    def sleep_into_the_day(self, office_id: str, really: bool) -> None:
        """Decisions from before a day began are recorded after: the ledger rejects what the lane had confirmed."""
        if really and self.moment < MONDAY_MORNING and (turn := self._begin(office_id, 1)):
            self.time_passes(MONDAY_MORNING - self.moment)
            self.wake(turn)

    @rule(turn=turns, times=st.integers(1, 2))
    def wake_for_a_step(self, turn: SlowTurn, times: int) -> None:
        """A paused turn does its next step, twice if the reply was lost."""
        self._let_on(turn, times)

    @rule(turn=consumes(turns))
    def wake(self, turn: SlowTurn) -> None:
        """A paused turn runs to its end."""
        while turn.next_step:
            self._let_on(turn)
            self.promises_hold()

    def _let_on(self, turn: SlowTurn, times: int = 1) -> None:
        """Runs its next step. Redis and the ledger must refuse an outdated token."""
        if not turn.next_step:
            return
        sight, office_id, token = self.told.sight, turn.lease.office_id, turn.lease.token
        newest = (
            sight.lanes[office_id].token if turn.next_step in {"decide", "claim", "settle", "settle_commands"} else 0
        )
        newest = max(newest, sight.ledger_lanes[office_id].token) if turn.next_step.startswith("record") else newest
        step = turn.advance(times=times)
        if not turn.shut_out:
            if step in {"settle", "settle_commands"}:
                self.told.given_back(office_id)
            hold("P3", newest <= token, f"{office_id}: a late drainer did a step with token {token}, {newest} is out")

    @rule(office_id=OFFICES)
    def lease_runs_out(self, office_id: str) -> None:
        """The lease of a lane expires."""
        self.world.lease_ends(office_id)

    @rule()
    def sweep(self) -> None:
        """A worker sweeps for lanes that nobody serves."""
        self._sweep()

    def _sweep(self) -> None:
        consumer = self.world.consumer
        consumer.sweep(list(self.world.offices), self.world.setup.inventory_version(consumer.now()))
        self.promises_hold()
        for office_id, lane in self.told.sight.lanes.items():
            waits = (
                lane.opened and (lane.ticket, lane.commands) != (lane.settled, lane.settled_command) and not lane.leased
            )
            hold("P15", not waits or office_id in self.told.sight.ready, f"{office_id} waits for ever")

    @rule()
    def end_days(self) -> None:
        """A worker finishes the days that are over."""
        self.world.nightly()

    # Time and misfortune.

    @rule(moments=st.sampled_from([0, 0, 1, 1, 3]))
    def time_passes(self, moments: int) -> None:
        """Time passes to the end of the window, to the service day, past it, or to the next window."""
        before, self.moment = self.moment, min(self.moment + moments, len(MOMENTS) - 1)
        if self.moment > before:
            self.world.set_clock(MOMENTS[self.moment])

    @rule(really=st.sampled_from([False, False, True]), empty=st.booleans())
    def rebuild(self, really: bool, empty: bool) -> None:
        """An operator rebuilds Redis from the ledger; Redis may have lost everything before."""
        if really:
            if empty:
                self._empty_redis()
            self._rebuild()

    @rule(really=st.sampled_from([False, False, True]))
    def empty_redis(self, really: bool) -> None:
        """Redis loses its data. Only after something was recorded: before that, it would be a first start."""
        if really and self.told.sight.rows:
            self._empty_redis()

    def _empty_redis(self) -> None:
        self.world.redis.flushdb()
        self.told.emptied_redis()
        self.world.consumer.set_clock(self.world.recorder.clock_ahead())

    def _rebuild(self) -> None:
        done = self.world.rebuild()
        hold("P2", done.lost == 0, f"{done.lost} entries of lanes that were whole are gone")
        self.told.rebuilt(self.sight(), MOMENTS[self.moment])

    # The end.

    @rule()
    def all_is_served(self) -> None:
        """Serves everything, after leases of dead workers expired and a sweep: every ticket has its outcome (P15)."""
        if self.told.emptied:
            self._rebuild()
        for office_id in self.world.offices:
            self.lease_runs_out(office_id)
        self.promises_hold()
        self._sweep()
        for _ in range(20):
            if not self.told.sight.ready:
                break
            self.serve_the_longest_ready()
            self.promises_hold()
        sight = self.told.sight
        for booking_id, accepted in self.told.accepted.items():
            hold("P15", booking_id in sight.rows, f"ticket {accepted.ticket} was never decided")
        for office_id, lane in sight.lanes.items():
            hold(
                "P15", (lane.ticket, lane.commands) == (lane.settled, lane.settled_command), f"{office_id} still waits"
            )

    def teardown(self) -> None:
        """Ends an example: serves everything and verifies."""
        for turn in self.slow:
            turn.die()
        if self.model and sys.exc_info()[0] is None:
            self.all_is_served()
            self.world.nightly()
            for check in self.world.verify():
                raise BrokenError(check.promise, f"{check.what}: {check.violations} of {check.examined}")
