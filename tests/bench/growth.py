"""`python -m tests.bench --only growth`: what a booking costs, and takes, as there are more of them, of offices and of old ones.

Counted is the processor time of Redis, of the Postgres backend and of the process that joins and drains, for the server's
side of a join (gathered by 50), decide, record and settle. What grows and what it is compared with have stores of their
own and are measured in turn, a few times a round. Bytes of Redis are those of all that a request leaves there while it
waits; bytes of Postgres are those of all tables and indexes of bookings.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from statistics import mean

from tests.bench.growth_lanes import Cost, Lanes
from tests.bench.row import Plan, Row, row

COMMAND = "python -m tests.bench --only growth"
_COUNTRY = 185
_FEW, _SIZES = 1000, (10_000, 100_000, 1_000_000)
_COUNTS, _AMONG = (1, 10, 185, 2000), 10_000
_LEDGERS = 0, 100_000, 2_000_000
_REBUILT, _REBUILDS = 1_000_000, 2
_DAYS = 54  # of old bookings
_LONG_AGO = timedelta(days=40)  # after which a rebuild need not know them
_TIMES = 4  # that each is measured in a round
_UNIT, _BYTES = "us of CPU", "bytes"

_SLOTS = """
insert into slot (office_id, service_date, session, quota, taken, last_number)
select office_id, day, session, 1000000, %(each)s, %(each)s
from office, unnest(%(days)s::date[]) as day, unnest('{MORNING,AFTERNOON}'::text[]) as session"""
_BOOKINGS = """
insert into booking (
    booking_id, office_id, ticket, slot_id, party_size, state, first_number, fingerprint, caller, account, accepted_at,
    decided_at, ended_at
)
select
    gen_random_uuid(), office_id, (nth - 1) * %(each)s + number, slot_id, 1, %(state)s, number,
    substr(md5(random()::text), 1, 15), 'local', 'warga-' || slot_id * %(each)s + number, asked, asked,
    case %(state)s when 'ATTENDED' then asked end
from (
    select *, row_number() over (partition by office_id order by service_date, session) as nth, service_date - 4 as asked
    from slot
) as slots, generate_series(1, %(each)s) as number"""
_APPLICANTS = """
insert into applicant (slot_id, number, booking_id, applicant_key, encrypted, live, present_at)
select
    slot_id, first_number, booking_id, uuid_send(gen_random_uuid()),
    substr(sha256(uuid_send(gen_random_uuid())) || sha256(uuid_send(gen_random_uuid())), 1, %(encrypted)s),
    %(state)s = 'CONFIRMED', ended_at
from booking"""
_FILLED = """update lane set last_ticket = (select count(*) from booking where office_id = lane.office_id)"""
_ROWS = """
select b.booking_id, b.fingerprint, b.office_id, b.ticket, s.service_date, b.caller, b.account, a.applicant_key
from booking as b join slot as s using (slot_id) join applicant as a using (booking_id)"""
_SIZE = "select pg_total_relation_size('booking') + pg_total_relation_size('applicant')"


def rows(plan: Plan) -> Iterator[Row]:
    """Waiting tickets, then offices, old bookings and a rebuild. Raises BrokenPromise when what was measured broke one."""
    parts = [_waiting] if plan.quick else [_waiting, _offices, _ledgers, _rebuild]
    for part in parts:
        with _undone_by_signals():
            yield from part(plan)


def _waiting(plan: Plan) -> Iterator[Row]:
    sizes = _SIZES[-1:] if plan.quick else _SIZES
    used, costs = dict[int, float](), dict[int, list[list[Cost]]]()
    with Lanes(_COUNTRY) as few, Lanes(_COUNTRY) as many:
        few.open()
        few.fill(_FEW)
        many.open()
        for size in sizes:
            many.fill(size)
            used[size] = many.used / size
            _progress(f"{_told(size)} wait, {used[size]:.1f} bytes each")
            costs[size] = _costs([few.cost_of_full_turns, many.cost_of_full_turns], plan.rounds)
        few.check()
        many.check()
    reference, most = f"{_told(_FEW)} waiting", sizes[-1]
    for size, (baseline, values) in costs.items():
        name, target = f"{_told(size)} waiting", 1.1 if size == most else None
        yield _cost_row(f"a booking, {name}", values, reference, baseline, target)
        yield _part_row("redis", f"Redis's share, {name}", values, reference, baseline)
    for size, each in used.items():
        target = 300.0 if size == most else None
        yield _bytes_row(f"bytes of Redis, {_told(size)} waiting", each, "a request of one person", target)


def _offices(plan: Plan) -> Iterator[Row]:
    with ExitStack() as undo:
        all_lanes = [undo.enter_context(Lanes(count)) for count in _COUNTS]
        for lanes in all_lanes:
            lanes.open()
            lanes.fill(_AMONG)
            _progress(f"lanes open: {len(lanes.offices):,}")
        baseline, *costs = _costs([lanes.cost_of_all_lanes for lanes in all_lanes], plan.rounds)
        for lanes in all_lanes:
            lanes.check()
    for count, values in zip(_COUNTS[1:], costs, strict=True):
        yield _cost_row(f"a booking, {_told(count)} offices", values, "1 office", baseline)


def _ledgers(plan: Plan) -> Iterator[Row]:
    with ExitStack() as undo:
        all_lanes = [undo.enter_context(Lanes(_COUNTRY)) for _ in _LEDGERS]
        for lanes, bookings in zip(all_lanes, _LEDGERS, strict=True):
            if bookings:
                _fill_ledger(lanes, bookings, old=True)
                lanes.rebuild()
            else:
                lanes.open()
        baseline, *costs = _costs([lanes.cost_of_full_turns for lanes in all_lanes], plan.rounds)
        for lanes in all_lanes:
            lanes.check()
    for bookings, values in zip(_LEDGERS[1:], costs, strict=True):
        name, reference = f"{_told(bookings)} in the ledger", "an empty ledger"
        yield _cost_row(f"a booking, {name}", values, reference, baseline)
        yield _part_row("postgres", f"Postgres's share, {name}", values, reference, baseline)


def _rebuild(plan: Plan) -> Iterator[Row]:
    seconds, baseline = list[float](), list[float]()
    with Lanes(_COUNTRY) as lanes:
        bookings = _fill_ledger(lanes, _REBUILT, old=False)
        size = lanes.ledger.execute(_SIZE).fetchone()
        assert size
        for _ in range(min(plan.rounds, _REBUILDS)):
            baseline.append(_select(lanes))
            done = lanes.rebuild()
            if done.bookings != bookings:
                raise RuntimeError(f"{done.bookings} of {bookings} bookings were put back")
            seconds.append(done.seconds)
            _progress(f"rebuilt in {done.seconds:.1f} s, a select takes {baseline[-1]:.1f} s")
        lanes.check(made_up=True)
    yield _bytes_row(f"bytes of Postgres, {_told(_REBUILT)} bookings", size[0] / bookings, "a booking of one person")
    name, reference = f"rebuild of {_told(_REBUILT)} bookings", "a select of the same rows"
    yield row(name, seconds, reference, baseline, "s", None, COMMAND, better="lower")


def _fill_ledger(lanes: Lanes, bookings: int, *, old: bool) -> int:
    """Puts about as many bookings of one person each into a ledger without any; answers how many."""
    days, ledger = lanes.dates, lanes.ledger
    if old:
        days = [days[0] - _LONG_AGO - timedelta(days=n) for n in range(_DAYS)]
    each = round(bookings / (2 * len(days) * len(lanes.offices)))
    values = {"days": days, "each": each, "state": "ATTENDED" if old else "CONFIRMED", "encrypted": lanes.encrypted}
    ledger.execute("set session_replication_role = replica")  # no look-ups of foreign keys: they are right
    for statement in (_SLOTS, _BOOKINGS, _APPLICANTS, _FILLED):
        ledger.execute(statement.encode(), values)
    ledger.execute("reset session_replication_role")
    ledger.execute("vacuum (analyze)")  # else it comes, and a checkpoint, while we measure
    ledger.execute("checkpoint")
    written = each * 2 * len(days) * len(lanes.offices)
    _progress(f"{written:,} bookings are in the ledger")
    return written


def _select(lanes: Lanes) -> float:
    """Seconds to read what a rebuild reads, and to drop it."""
    began = time.monotonic()
    with lanes.ledger.transaction(), lanes.ledger.cursor("bookings") as cursor:
        cursor.itersize = 2000
        for _ in cursor.execute(_ROWS):
            pass
    return time.monotonic() - began


def _costs(measures: Sequence[Callable[[], Cost]], rounds: int) -> list[list[Cost]]:
    """What each costs, round by round, measured in turn; nobody's first time is."""
    for measure in measures:
        measure()
    found: list[list[Cost]] = [[] for _ in measures]
    for n in range(rounds):
        times: list[list[Cost]] = [[] for _ in measures]
        for _ in range(_TIMES):
            for of, measure in zip(times, measures, strict=True):
                of.append(measure())
        for of, costs in zip(found, times, strict=True):
            of.append(Cost(*map(mean, zip(*costs, strict=True))))
        _progress(f"round {n + 1} of {rounds}: {'; '.join(f'{of[-1].all:.1f} us' for of in found)}")
    return found


def _cost_row(
    name: str, values: Sequence[Cost], reference: str, baseline: Sequence[Cost], target: float | None = None
) -> Row:
    one, other = ([cost.all for cost in costs] for costs in (values, baseline))
    return row(name, one, reference, other, _UNIT, target, COMMAND, better="lower")


def _part_row(part: str, name: str, values: Sequence[Cost], reference: str, baseline: Sequence[Cost]) -> Row:
    one, other = ([getattr(cost, part) for cost in costs] for costs in (values, baseline))
    return row(name, one, reference, other, _UNIT, None, COMMAND, better="lower")


def _bytes_row(name: str, each: float, reference: str, target: float | None = None) -> Row:
    """Its ratio is bytes: beside it stands one of what takes them."""
    return row(name, [each], reference, [1], _BYTES, target, COMMAND, better="lower")


@contextmanager
def _undone_by_signals() -> Iterator[None]:
    """Either signal is KeyboardInterrupt meanwhile, so that it undoes all that was begun."""
    with ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            undo.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        yield


def _told(number: int) -> str:
    return f"{number // 10**6} M" if number >= 10**6 else f"{number // 1000} k" if number >= 10_000 else f"{number:,}"


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
