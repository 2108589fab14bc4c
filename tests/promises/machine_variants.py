"""Typical faults of such a service, each built in on purpose. The state machine must find each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import psycopg
import pytest

from antrian import lane, ledger
from antrian.booking import KEPT, REJECTED, Cancel, Command, Turn
from antrian.lane.connection import Script
from antrian.lane.producer import JoinRequest, LaneProducer
from antrian.ledger.recorder import LedgerRecorder
from antrian.ledger.turns import Recorded

Build = Callable[[pytest.MonkeyPatch, str], None]
"""Builds the fault in; the text is the URL of the ledger."""


@dataclass(frozen=True)
class Variant:
    """A fault, and the promises of which the machine must report one."""

    promises: str
    name: str
    build: Build


def _changed(where: str, old: str, new: str) -> Build:
    """Replaces what the pattern matches in a script or a statement ("x.sql"; "*": all scripts)."""

    def build(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
        def script(name: str) -> str:
            return change(lane.script(name)) if where in {name, "*"} else lane.script(name)

        def sql(name: str) -> str:
            return change(ledger.sql(name)) if where == f"{name}.sql" else ledger.sql(name)

        def change(text: str) -> str:
            changed, times = re.subn(old, new, text)
            assert times or where == "*", "the variant no longer fits"
            return changed

        for module in ("consumer", "producer", "rebuild"):
            monkeypatch.setattr(f"antrian.lane.{module}.script", script)
        for module in ("recorder", "turns", "commands", "days", "staff"):
            monkeypatch.setattr(f"antrian.ledger.{module}.sql", sql)

    return build


_POPPED = (
    (files("antrian.lane") / "scripts" / "people.lua").read_text().replace("\\", r"\\")
    + r"""
for i, entry in ipairs(entries) do
  local request = request_of(entry)
  if outbox[i]:sub(1, 9) ~= 'CONFIRMED' then free(id_of(request), people_of(request)) end
end
redis.call('XTRIM', key('queue', office), 'MINID', string.format('%d-0', settled + #entries + 1))
redis.call('HSET', key('lane', office), 'settled', settled + #entries, 'outbox', '')
return reply
end
"""
)
_TO_THE_TAIL = r"""\g<0>
if again then
  for i, entry in ipairs(redis.call('XRANGE', key('queue', office), '-', '+', 'COUNT', #outbox)) do
    local slot = slot_of(request_of(entry))
    local counters = counters_of_slot(office, slot)
    if outbox[i]:sub(1, 9) == 'CONFIRMED' then counters.remaining = counters.remaining + party_of(request_of(entry)) end
    write_counters(office, slot, counters)
    redis.call('XDEL', key('queue', office), entry[1])
    lane.ticket = redis.call('HINCRBY', key('lane', office), 'ticket', 1)
    redis.call('XADD', key('queue', office), lane.ticket .. '-0', unpack(entry[2]))
  end
  settled = settled + #outbox
  redis.call('HSET', key('lane', office), 'settled', settled, 'outbox', '')
  again, outbox = false, {}
end
"""


def _settle_believes_the_outbox(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    record = LedgerRecorder.record

    def believed(self: LedgerRecorder, turns: Sequence[Turn], policy_version: int | None = None) -> list[Recorded]:
        return [
            "".join(REJECTED if one.reason else KEPT for one in turn.decisions) if isinstance(said, str) else said
            for turn, said in zip(turns, record(self, turns, policy_version), strict=True)
        ]

    monkeypatch.setattr(LedgerRecorder, "record", believed)


def _unguarded(constraint: str, old: str, new: str) -> Build:
    """A fault in cancel.sql, with the constraint dropped that would refuse it."""

    def build(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
        _changed("cancel.sql", re.escape(old), new)(monkeypatch, database_url)
        with psycopg.connect(database_url) as connection:
            connection.execute(f"alter table {constraint.partition('_')[0]} drop constraint {constraint}".encode())

    return build


def _cancel_outside_the_desk(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """The server cancels in the ledger and returns the places to Redis itself, without a command or a lease."""
    send_command = LaneProducer.send_command
    of_account = dict.fromkeys(("number", "most", "action_id", "caller", "staff", "why"))
    size = "select party_size from booking where booking_id = %s and state = 'CONFIRMED'"
    people = """
        select s.service_date || left(s.session, 1), a.applicant_key
        from applicant as a join slot as s using (slot_id) where a.booking_id = %s
    """

    async def ask(self: LaneProducer, office_id: str, entry: Command) -> int:
        if not isinstance(entry, Cancel) or entry.number or entry.by:
            return await send_command(self, office_id, entry)
        values = {"office": office_id, "booking_id": entry.booking_id, "reclaimed": False} | of_account
        with psycopg.connect(database_url) as connection:
            confirmed = connection.execute(size, [entry.booking_id]).fetchone()
            connection.execute(ledger.sql("cancel"), values)
            cancelled = confirmed and not connection.execute(size, [entry.booking_id]).fetchone()
            rows = connection.execute(people, [entry.booking_id]).fetchall() if cancelled else []
        if rows:
            places, slot = f"counters:{{{office_id}}}", rows[0][0]
            counters: Any = await self._pipe.call("HGET", places, slot)
            quota, remaining, rest = counters.decode().split(maxsplit=2)
            await self._pipe.call("HSET", places, slot, f"{quota} {int(remaining) + len(rows)} {rest}")
            settled_command: Any = await self._pipe.call("HGET", f"lane:{{{office_id}}}", "settled_command")
            held = entry.booking_id.bytes, b"".join(key for _, key in rows)
            await Script(self._pipe, lane.script("release"))(office_id, settled_command or 0, 0, "", *held)
        return 0

    monkeypatch.setattr(LaneProducer, "send_command", ask)


def _ready_is_a_list(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    pushed = r"redis.call\('ZADD', 'ready', ('NX', )?(real_us\(\)|us), (?P<office>\w+)\)"
    other = r"|redis.call\('ZPOPMIN', 'ready'\)\[1\]|redis.call\('ZREM', 'ready', (?P<gone>[^()]+(\[\d\])?)\)"

    def plain(match: "re.Match[str]") -> str:
        if match["office"]:
            return f"redis.call('RPUSH', 'ready', {match['office']})"
        return f"redis.call('LREM', 'ready', 1, {match['gone']})" if match["gone"] else "redis.call('LPOP', 'ready')"

    def script(name: str) -> str:
        return re.sub(pushed + other, plain, lane.script(name))

    for module in ("consumer", "producer", "rebuild"):
        monkeypatch.setattr(f"antrian.lane.{module}.script", script)


def _the_servers_clock_judges(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    """The window is checked by the clock of a server that is ten minutes ahead."""
    arguments, send = LaneProducer._arguments, LaneProducer._send_joins
    fast = timedelta(minutes=10)

    async def send_with_its_clock(self: LaneProducer, requests: Sequence[JoinRequest]) -> Any:
        nonlocal fast
        fast = await self.now() - datetime.now(UTC) + timedelta(minutes=10)
        return await send(self, requests)

    def judged(self: LaneProducer, request: JoinRequest) -> list[bytes | str | int]:
        values = arguments(self, request)
        is_open = any(window.contains(datetime.now(UTC) + fast) for window in request.windows)
        values[4] = "0-9999999999999" if is_open else ""
        return values

    monkeypatch.setattr(LaneProducer, "_send_joins", send_with_its_clock)
    monkeypatch.setattr(LaneProducer, "_arguments", judged)


VARIANTS = [
    Variant("P2", "pop before record", _changed("decide", r"\n  return reply\nend\n(?=\n-- Decides the next tickets of lanes)", _POPPED)),
    Variant("P1 P2 P3", "requeue to the tail", _changed("decide", r"local again = #outbox > 0", _TO_THE_TAIL)),
    Variant("P3 P15", "no fencing in Redis", _changed("*", r"(local function fenced\(office, token, newest\)\n  return ).*", r"\1false")),
    Variant("P3", "no fencing in the ledger", _changed("record.sql", r"and lane\.token <= turn\.token", "")),
    Variant("P1 P10", "settle believes the outbox", _settle_believes_the_outbox),
    Variant("P1 P10", "cancel outside the desk", _cancel_outside_the_desk),
    Variant("P13", "ready as a plain list", _ready_is_a_list),
    Variant("P4 P10", "a person's place given back each time", _changed("cancel.sql", r"\n        and applicant\.live", "")),
    Variant("P10", "a person's place given back again with the booking", _unguarded("slot_taken_within_quota", "taken - gone.places", "taken - case when ends then gone.party_size else gone.places end")),
    Variant("P4 P10", "who gave up stays live", _unguarded("applicant_cancelled_is_gone", "set live = false,", "set live = %(number)s::int is not null,")),
    Variant("P4", "who gave up still counts for the account", _changed("settle_commands", r"count_live\(owner, held_by\(owner\), id, -1\)", "")),
    Variant("P10", "a release gives nothing back", _changed("cancel.sql", r"taken - gone\.places", "taken - case when %(staff)s is null then gone.places else 0 end")),
    Variant("P10", "a bar is lifted in the ledger only", _changed("settle_commands", "elseif held and not holder then", "elseif false then")),
    Variant("P10", "an excuse leaves the bar", _changed("excuse_no_show.sql", r"bar\.lifted_at is null and asked\.refused is null", "false")),
    Variant("P10", "late attendance frees the wrong person", _changed("late_attendance.sql", r"bar\.applicant_key = arrived\.applicant_key and", "")),
    Variant("P4", "an undone check-in holds nobody in Redis", _changed("claim", r"redis\.call\('HSET', bucket\('applicants', again\[1\]\), again\[1\], again\[2\]\)", "")),
    Variant("P11", "the window by the server's clock", _the_servers_clock_judges),
]  # fmt: skip
