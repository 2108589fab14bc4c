"""Ways to switch promises off: in a copy of the scripts and statements, in the ledger, or in a worker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from antrian import lane, ledger
from antrian.booking import KEPT, Turn
from antrian.lane import consumer, producer, rebuild
from antrian.ledger import commands, days, reader, recorder, staff, turns
from antrian.ledger.recorder import LedgerRecorder
from antrian.ledger.turns import Recorded

Swaps = Mapping[str, Sequence[tuple[str, str]]]
"""By file name, texts of the file and their replacements."""


@dataclass(frozen=True)
class Sabotage:
    """What is broken, and the promises that the verdict must name.

    scripts (Lua) and statements (SQL): replaced texts. ledger: SQL that drops a constraint that would still hold the
    promise. forgetful: workers settle turns that they never recorded.
    """

    promises: tuple[str, ...]
    what: str
    scripts: Swaps = field(default_factory=dict)
    statements: Swaps = field(default_factory=dict)
    ledger: str = ""
    forgetful: bool = False

    def apply(self) -> None:
        """Breaks this process. Must be called first. Raises ValueError if a text to replace is not in its file."""
        script, sql = _swapped(lane.script, self.scripts), _swapped(ledger.sql, self.statements)
        for module in (consumer, producer, rebuild):
            setattr(module, "script", script)  # noqa: B010 - which is theirs, not ours to name
        for module in (days, commands, reader, recorder, staff, turns):
            setattr(module, "sql", sql)  # noqa: B010
        if self.forgetful:
            LedgerRecorder.record = _forget  # type: ignore[method-assign]


def sabotage(names: str) -> Sabotage:
    """The modes with these names, joined by "+", as one. Raises KeyError for an unknown name."""
    modes = [MODES[name] for name in names.split("+")]
    return Sabotage(
        tuple(promise for mode in modes for promise in mode.promises),
        "; ".join(mode.what for mode in modes),
        _merged([mode.scripts for mode in modes]),
        _merged([mode.statements for mode in modes]),
        ";".join(mode.ledger for mode in modes if mode.ledger),
        any(mode.forgetful for mode in modes),
    )


def _merged(swaps: Sequence[Swaps]) -> Swaps:
    return {name: [pair for one in swaps for pair in one.get(name, ())] for one in swaps for name in one}


def _swapped(whole: Callable[[str], str], swaps: Swaps) -> Callable[[str], str]:
    texts = {}
    for name, pairs in swaps.items():
        text = whole(name)
        for old, new in pairs:
            if text.count(old) != 1:
                raise ValueError(f"the sabotage no longer fits {name}: {old}")
            text = text.replace(old, new)
        texts[name] = text
    return lambda name: texts.get(name) or whole(name)


def _forget(self: LedgerRecorder, turns: Sequence[Turn], policy_version: int | None = None) -> list[Recorded]:
    return [KEPT * len(turn.decisions) for turn in turns]


_NO_QUOTA = {
    "lease_and_decide": [("counters.remaining < party", "false")],
    "join": [("counters.remaining < party", "false")],
}
_NO_APPLICANTS = ("if others then return others end", ""), ("if own then return own end", "")

MODES = {
    "none": Sabotage((), "nothing: this rush must pass"),
    "no-quota": Sabotage(("P3",), "decisions.lua does not check whether places remain", _NO_QUOTA),
    "no-quota-anywhere": Sabotage(
        ("P1",), "neither decisions.lua nor the ledger checks the quota", _NO_QUOTA, ledger="alter table slot drop constraint slot_taken_within_quota"
    ),
    "passed-over": Sabotage(
        ("P3",),
        "every twentieth ticket is rejected as if the slot were full",
        {"lease_and_decide": [("counters.remaining < party", "counters.remaining < party or (settled + i) % 20 == 0")]},
    ),
    "last-first": Sabotage(
        ("P3", "P6"),
        "the tickets of a turn are decided in reverse order",
        {"lease_and_decide": [("for i, entry in ipairs(entries) do\n", "for i = #entries, 1, -1 do local entry = entries[i]\n")]},
    ),
    "overtaking": Sabotage(
        ("P3",),
        "the second of two requests gets the smaller ticket",
        {
            "join": [("'JOINED', lane.ticket,", "'JOINED', lane.ticket + lane.ticket % 2 * 2 - 1,")],
            "look": [("office, tonumber(ticket),", "office, ticket + ticket % 2 * 2 - 1,")],
        },
        {
            "record": [("wanted.office_id, r.ticket,", "wanted.office_id, r.ticket + r.ticket %% 2 * 2 - 1 as ticket,")],
            "outcomes": [("office_id, ticket, state, reason\nfrom", "office_id, ticket + ticket %% 2 * 2 - 1, state, reason\nfrom")],
        },
    ),
    "forgetful-worker": Sabotage(("P2",), "workers settle what they never recorded", forgetful=True),
    "two-bookings": Sabotage(
        ("P4",),
        "an applicant may hold several bookings",
        {"join": [*_NO_APPLICANTS]},
        ledger="drop index applicant_one_live_booking",
    ),
    "forgotten-requests": Sabotage(
        ("P5",),
        "a repeated request is accepted as a new one",
        {"join": [("if known then", "if false then"), *_NO_APPLICANTS]},
    ),
    "one-number": Sabotage(
        ("P6",),
        "a party gets a single queue number",
        {"lease_and_decide": [("counters.next + party", "counters.next + 1")]},
        ledger="alter table applicant drop constraint applicant_number_once",
    ),
    "no-window": Sabotage(
        ("P11",), "booking is open before it opens", {"join": [("local window_ends = in_window(windows)", "local window_ends = 1")]}
    ),
    # P10 has no check of its own for cancels: places that are not returned once are missing, or sold again.
    "kept-places": Sabotage(
        ("P1", "P3"),
        "a cancel returns no places in Redis",
        {"settle_commands": [("tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])", "tonumber(ARGV[i + 1]), counters.remaining")]},
    ),
    "places-back-twice": Sabotage(
        ("P1",),
        "a cancel returns its places twice",
        statements={"cancel": [("taken - gone.places", "greatest(0, taken - 2 * gone.places)")]},
    ),
}  # fmt: skip
