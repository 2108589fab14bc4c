"""The scenario breaks no promise on the real code, and names the promise that each broken variant breaks."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest

from antrian import lane
from tests.promises.story import broken_promises
from tests.support.world import OPENS, World


@dataclass(frozen=True)
class Variant:
    """A fault: a replaced text in a script or a statement."""

    promise: str
    name: str
    file: str
    old: str
    new: str


VARIANTS = [
    Variant("P1", "places are sold on, and the ledger does not mind", "decide", "counters.remaining - party,", "counters.remaining,"),
    Variant("P2", "tickets leave the line before they are recorded", "decide", "for slot, counters in pairs(slots) do write", "redis.call('XTRIM', key('queue', office), 'MINID', string.format('%d-0', settled + #entries + 1)) for slot, counters in pairs(slots) do write"),
    Variant("P3", "tickets are skipped", "join", "format('%d', lane.ticket + 1)", "format('%d', lane.ticket + 2)"),
    Variant("P15", "the sweep passes lanes by that wait", "sweep", " or lane.open == '1' and waits", ""),
    Variant("P2", "an outbox is decided anew", "decide", "local again = #outbox > 0", "outbox = {} local again = false"),
    Variant("P3", "no fencing in decide", "decide", "fenced(office, token, lane.token) and", "false and"),
    Variant("P3", "no fencing in settle", "settle", "if fenced(office, token, lane.token)", "if false"),
    Variant("P4", "applicants are not looked at", "join", "if others then return others end", ""),
    Variant("P4", "accounts have no limit", "join", "live + party > MOST", "false"),
    Variant("P4", "rejected people stay taken", "settle", "if results:sub(i, i) == 'R' then", "if false then"),
    Variant("P5", "requests are not remembered", "join", "if known then", "if false then"),
    Variant("P5", "the content is not compared", "join", "print ~= fingerprint", "false"),
    Variant("P6", "a party gets one number", "decide", "counters.next + party", "counters.next + 1"),
    Variant("P10", "places are not given back", "settle", "slots[slot].remaining + party_of(request)", "slots[slot].remaining"),
    Variant("P10", "places are given back whatever the ledger says", "settle", "results:sub(i, i) ~= 'K' and ", ""),
    Variant("P11", "the window is not asked", "join", "local window_ends = in_window(windows)", "local window_ends = 1"),
    Variant("P12", "the lane has no bound", "join", "waiting >= BOUND", "false"),
]  # fmt: skip


async def play(redis_url: str, database_url: str) -> set[str]:
    """Plays the scenario; returns the broken promises."""
    async with World(redis_url, database_url, lane_bound=8, clock=OPENS - timedelta(hours=1)) as world:
        return await broken_promises(world)


async def test_the_promises_hold(redis_url: str, database_url: str) -> None:
    assert await play(redis_url, database_url) == set()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.promise}: {v.name}")
async def test_each_broken_variant_breaks_the_promise_it_is_listed_for(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    def broken_script(name: str) -> str:
        text = lane.script(name)
        if name == variant.file:
            assert text.count(variant.old) == 1, "the variant no longer fits the script"
            text = text.replace(variant.old, variant.new)
        return text

    monkeypatch.setattr("antrian.lane.consumer.script", broken_script)
    monkeypatch.setattr("antrian.lane.producer.script", broken_script)
    with ledger_without_guard(database_url) if variant.promise == "P1" else nullcontext():
        assert variant.promise in await play(redis_url, database_url)


@contextmanager
def ledger_without_guard(database_url: str) -> Iterator[None]:
    """P1 is held by both stores; this ledger lacks the constraint, so that only Redis holds it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table slot drop constraint slot_taken_within_quota")
        try:
            yield
        finally:
            connection.execute("update slot set taken = 0")
            connection.execute(
                "alter table slot add constraint slot_taken_within_quota check (taken between 0 and quota)"
            )
