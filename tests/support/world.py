"""A small world for integration tests: two offices, a policy, and both sides of lanes and ledger."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from antrian import rules
from antrian.audit.check import Check
from antrian.audit.verify import verify
from antrian.booking import (
    Command,
    CommandBatch,
    Decision,
    EncryptedApplicant,
    Office,
    Person,
    Policy,
    Province,
    Session,
    Slot,
    Turn,
)
from antrian.lane.consumer import LaneConsumer
from antrian.lane.producer import HeldUnverified, Joined, JoinRequest, Known, LaneProducer, Refused
from antrian.lane.replies import FencedError, LaneBrokenError, Lease, LeasedLane, sole
from antrian.ledger.fence import LedgerFencedError, LedgerGapError
from antrian.ledger.policies import apply_policy
from antrian.ledger.reader import LedgerReader, RecordedBooking
from antrian.ledger.recorder import LedgerRecorder
from antrian.ledger.staff import LedgerStaff
from antrian.policy import load_policy
from antrian.redis_primary import connect
from antrian.settings import Settings
from tests.support.keys import make_keys
from tests.support.limits import NO_LIMITS
from tests.support.window import policy_without_holidays, window_to_come
from workers.day_close import finish_days
from workers.drain import MAX_TICKETS, LanePipeline
from workers.lane_setup import LaneSetup
from workers.prepare import prepare_lanes
from workers.quarantine import quarantine_or_yield
from workers.rebuild import Rebuild, Rebuilt

JAKARTA = ZoneInfo("Asia/Jakarta")
WINDOW = window_to_come()
OPENS = WINDOW.opens_at
"""A Friday, 14:00 in Jakarta."""
MONDAY, TUESDAY, WEDNESDAY = (Slot(day, Session.MORNING) for day in WINDOW.dates[:3])
PUSAT, BOGOR = "kanim-pusat", "kanim-bogor"


def office(office_id: str, places: int = 10) -> Office:
    """An office in Jakarta; 60 % of its places are the morning's."""
    return Office(office_id, office_id.title(), "", "Kota", "ID-JK", JAKARTA, -6.18, 106.83, places, "")


def nik(person: int) -> str:
    """A made-up, well-formed NIK for each number."""
    return f"317101010190{person:04d}" if person else "3171010101909999"


def serve(setup: LaneSetup, leases: Sequence[Lease], offices: Mapping[str, Office]) -> int:
    """Runs a whole batch of these lanes, step by step. Returns how many tickets were settled."""
    pipeline, consumer = LanePipeline(setup), setup.consumer
    ready = []
    for lease in leases:
        try:
            ready.append(setup.ensure_ready(lease, offices[lease.office_id]))
        except (FencedError, LaneBrokenError, LedgerGapError, LedgerFencedError) as problem:
            quarantine_or_yield(consumer, lease, problem)
    decided = consumer.decide(ready, MAX_TICKETS) if ready else []
    leased = [LeasedLane(lease, result) for lease, result in zip(ready, decided, strict=True)]
    batch, others = pipeline._sort_leased(leased, offices)
    prepare_lanes(setup, others, offices, time.monotonic())
    recorded = pipeline._collect_recorded(batch, pipeline._record(batch) if batch else [])
    results = [(lease, result) for lease, _, result in recorded]
    return pipeline._count_settled(recorded, consumer.settle(results) if results else [])


def empty_ledger(database_url: str, *, policy: bool = True) -> None:
    """Deletes all rows, which is faster than a new database. policy: whether to delete the policy too."""
    tables = (
        "bar", "applicant", "booking", "slot", "lane", "day_done", "staff_action", "office", "province", "key_check_value", "key_pair",
        "link", "retention", *["policy_version"] * policy,
    )  # fmt: skip
    with psycopg.connect(database_url) as connection:
        # Without triggers and foreign keys: staff_action is only ever added to.
        connection.execute("set session_replication_role = replica")
        for table in tables:
            connection.execute(f"delete from {table}")
        connection.execute("delete from journal where kind <> 'policy_version' or %s", [policy])
        connection.execute("update clock set ahead = '0'")


class World:
    """Plays server and worker step by step. An async context manager. The service's time begins at clock."""

    def __init__(
        self,
        redis_url: str,
        database_url: str,
        *,
        places: int = 10,
        lane_bound: int = 1000,
        clock: datetime = OPENS + timedelta(minutes=1),
        replicas: int = 0,
    ) -> None:
        self.clock = clock
        self.policy = load_policy(policy_without_holidays(lane_bound))
        self.keys = make_keys()
        self.settings = Settings(
            redis_url=redis_url,
            database_url=database_url,
            hash_key=self.keys.hash_key,
            public_key=self.keys.public_key,
            private_keys=self.keys.private_keys,
            policy_file=policy_without_holidays(lane_bound),
            embedded=True,
            replicas=replicas,
        )
        self.redis = connect(redis_url)
        self.consumer = LaneConsumer(redis_url, replicas=replicas)
        self.recorder = LedgerRecorder(database_url)
        self.setup = LaneSetup(self.consumer, self.recorder, self.policy)
        self.pipeline = LanePipeline(self.setup)
        self.producer = LaneProducer(
            redis_url,
            lane_bound=lane_bound,
            account_people=self.policy.account_people,
            tried_people=self.policy.tried_people,
            limits=NO_LIMITS,
            remembered=self.policy.remembered,
            batch_window=timedelta(milliseconds=1),
            replicas=replicas,
        )
        self.staff = LedgerStaff(database_url)
        self.reader = LedgerReader(database_url, batch_window=timedelta(milliseconds=1))
        self.offices = {name: office(name, places) for name in (PUSAT, BOGOR)}

    async def __aenter__(self) -> "World":
        self.begin(self.clock)
        await self.producer.start()
        await self.reader.start()
        await self.staff.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.producer.close()
        await self.reader.close()
        await self.staff.close()
        self.consumer.close()
        self.recorder.close()
        self.redis.close()

    def begin(self, clock: datetime) -> None:
        """Opens the lanes of both offices on empty stores."""
        if not self.policy.version:
            self.policy = apply_policy(self.settings.database_url, self.policy, "test", "the beginning")
            self.setup.follow(self.policy)
        self.recorder.upsert_offices(
            self.offices.values(), [Province("ID-JK", "DKI Jakarta", "Jakarta", "31", JAKARTA)]
        )
        self.set_clock(clock)
        for name in self.offices:
            self.turn(name)

    def begin_anew(self, clock: datetime) -> None:
        """Empties both stores, except for the policy, and begins again."""
        self.redis.flushdb()
        empty_ledger(self.settings.database_url, policy=False)
        self.begin(clock)

    def set_clock(self, moment: datetime) -> None:
        """Sets the service's time."""
        ahead = moment - datetime.now(UTC)
        self.recorder.set_clock(ahead)
        self.consumer.set_clock(ahead)

    def apply(self, policy: Policy) -> None:
        """Applies the policy to the ledger, and adopts it as workers do."""
        self.policy = apply_policy(self.settings.database_url, policy, "rina", "SKB 3 Menteri")
        self.setup.follow(self.policy)

    def take(self, office_id: str = PUSAT) -> Lease:
        """Leases the lane, which must be free."""
        lease = self.consumer.lease(office_id)
        assert lease is not None, "the lane is under a lease"
        return lease

    def lease_ends(self, office_id: str = PUSAT) -> None:
        """Lets the current lease of the lane expire."""
        self.redis.hset(f"lane:{{{office_id}}}", "lease", 0)

    def decide(self, lease: Lease, most: int = 256) -> list[Decision]:
        """Decides the lane's next tickets. It must have no commands."""
        decided = self.decide_any(lease, most)
        assert isinstance(decided, Turn), decided
        return list(decided.decisions)

    def decide_any(self, lease: Lease, most: int = 256) -> Turn | CommandBatch:
        """Returns the lane's next turn or batch of commands."""
        decided: Turn | CommandBatch = sole(self.consumer.decide([lease], most))
        return decided

    def record(self, lease: Lease, decisions: Sequence[Decision]) -> str:
        """Records the decisions; returns the ledger's results."""
        results: str = sole(self.recorder.record([Turn(lease.office_id, lease.token, decisions)], self.policy.version))
        return results

    def settle(self, lease: Lease, results: str) -> None:
        """Settles the lane's turn."""
        sole(self.consumer.settle([(lease, results)]))

    async def ask(self, entry: Command, office_id: str = PUSAT) -> int:
        """Sends the command to the lane and executes it; returns its number."""
        number = await self.producer.send_command(office_id, entry)
        self.turn(office_id)
        return number

    def rebuild(self) -> Rebuilt:
        """Restores Redis from the ledger."""
        return Rebuild(self.settings, self.consumer, self.recorder, self.redis).run()

    def nightly(self) -> int:
        """Finishes the days that are over; returns how many."""
        return finish_days(self.consumer, self.recorder, self.policy)

    def turn(self, office_id: str = PUSAT) -> int:
        """Leases and serves the lane once; returns how many tickets were decided."""
        return self.serve(self.take(office_id))

    def serve(self, lease: Lease) -> int:
        """Serves the lane once under this lease."""
        return serve(self.setup, [lease], self.offices)

    def request(
        self,
        name: int,
        people: Sequence[int] = (),
        *,
        office_id: str = PUSAT,
        slot: Slot = MONDAY,
        account: str = "",
        caller: str = "gateway",
        verified: Sequence[int] = (),
    ) -> JoinRequest:
        """Request number `name` for these people (by default the person of that number), on an account of its own.

        verified: which of the people are verified.
        """
        booking_id = self.keys.booking_id(caller, uuid.UUID(int=name))
        applicants = []
        for person in people or (name,):
            key = self.keys.applicant_key(nik(person))
            encrypted = self.keys.encrypt(booking_id, key, Person(nik(person), "Siti"))
            applicants.append(EncryptedApplicant(key, encrypted, person in verified))
        account = account or f"account-{name}"
        return JoinRequest(
            booking_id=booking_id,
            fingerprint=self.keys.fingerprint(
                office_id, slot, [(a.key, "Siti") for a in applicants], [a.key for a in applicants if a.verified]
            ),
            owner=self.keys.owner(caller, account),
            caller=caller,
            account=account,
            office_id=office_id,
            slot=slot,
            windows=rules.windows_of(self.policy, slot.service_date),
            applicants=tuple(applicants),
            refusal=None,
        )

    async def join(self, request: JoinRequest) -> Joined | Known | Refused:
        """Sends the request to its lane, where no booking gives way to it; returns the response."""
        response = await self.producer.join(request)
        assert not isinstance(response, HeldUnverified)
        return response

    async def ticket(self, request: JoinRequest) -> int:
        """Joins with a request that must be accepted; returns its ticket."""
        response = await self.join(request)
        assert isinstance(response, Joined), response
        return response.ticket

    async def refusal(self, request: JoinRequest) -> Refused:
        """Joins with a request that must be refused and change nothing; returns the refusal."""
        before = self.dump()
        response = await self.join(request)
        assert isinstance(response, Refused), response
        assert self.dump() == before
        return response

    async def recorded(self, request: JoinRequest) -> RecordedBooking:
        """The request's booking in the ledger, which must have it."""
        booking = await self.reader.booking(request.booking_id)
        assert booking is not None
        return booking

    def dump(self) -> dict[bytes, bytes | None]:
        """Everything in Redis except whom accounts have tried and how often they asked, which refusals record too."""
        names: Any = self.redis.keys("*")
        return {name: self.redis.dump(name) for name in sorted(names) if not name.startswith((b"tried:", b"limits:"))}

    def remaining(self, slot: Slot = MONDAY, office_id: str = PUSAT) -> int:
        """Remaining places by the lane's counters."""
        text: Any = self.redis.hget(f"counters:{{{office_id}}}", str(slot))
        return int(text.split()[1])

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Runs a statement with these values on the ledger; returns its rows."""
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def verify(self) -> list[Check]:
        """Returns the checks of `antrian verify` that found violations."""
        return [check for check in verify(self.settings) if check.violations]
