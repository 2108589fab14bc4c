"""Ways to switch a promise off, in a copy of the scripts, in the ledger, or in a worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from antrian import lane
from antrian.booking import Decision
from antrian.lane import drainer, front
from antrian.ledger.recorder import LedgerRecorder

_JUDGE_LAST = "alter table slot drop constraint slot_taken_within_quota"


@dataclass(frozen=True)
class Sabotage:
    """What is broken, and the promise that the verdict must name.

    scripts: by the name of a Lua script, texts in it and what comes in their places; ledger: what is taken from the
    ledger, which would else hold the promise a second time; forgetful: workers settle what they never recorded.
    """

    promise: str
    what: str
    scripts: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    ledger: str = ""
    forgetful: bool = False

    def apply(self) -> None:
        """Breaks the scripts and the worker of this process; to be called before they are used."""
        whole = lane.script

        def script(name: str) -> str:
            text = whole(name)
            for old, new in self.scripts.get(name, ()):
                if text.count(old) != 1:
                    raise ValueError(f"the sabotage no longer fits {name}.lua: {old}")
                text = text.replace(old, new)
            return text

        for module in (drainer, front):
            setattr(module, "script", script)  # noqa: B010 - which is theirs, not ours to name
        if self.forgetful:
            LedgerRecorder.record = _forget  # type: ignore[method-assign]


def _forget(self: LedgerRecorder, office_id: str, token: int, decisions: Sequence[Decision]) -> str:
    return "K" * len(decisions)


# A lane whose counter is below 0 stops: that alone would be seen, but late.
_NO_QUOTA = {
    "decide": [("counters.left < party", "false"), ("counters.left - party,", "math.max(0, counters.left - party),")]
}
_NO_APPLICANTS = ("if refusal then return refusal end", "")

MODES = {
    "none": Sabotage("", "nothing: the control of the controls"),
    "no-quota": Sabotage("P3", "decide.lua sells on; the ledger's constraint refuses what is too much", _NO_QUOTA),
    "no-quota-anywhere": Sabotage("P1", "decide.lua sells on, and the ledger lets it", _NO_QUOTA, _JUDGE_LAST),
    "passed-over": Sabotage(
        "P3",
        "every twentieth ticket is told that the slot is full",
        {"decide": [("counters.left < party", "counters.left < party or (settled + i) % 20 == 0")]},
    ),
    "forgetful-worker": Sabotage("P2", "workers settle what they never recorded", forgetful=True),
    "two-bookings": Sabotage(
        "P4",
        "nobody looks whether an applicant holds a booking",
        {"join": [_NO_APPLICANTS]},
        "drop index applicant_one_live_booking",
    ),
    "forgotten-requests": Sabotage(
        "P5", "a request that comes again is taken for a new one", {"join": [("if known then", "if false then"), _NO_APPLICANTS]}
    ),
    "one-number": Sabotage(
        "P6",
        "a party gets one queue number",
        {"decide": [("counters.next + party", "counters.next + 1")]},
        "alter table applicant drop constraint applicant_number_once",
    ),
    "no-window": Sabotage("P11", "booking is open before it opens", {"join": [("if not in_window(windows)", "if false")]}),
    "kept-places": Sabotage(
        "P1",
        "a cancel gives no places back in Redis",
        {"settle_desk": [("tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])", "tonumber(ARGV[i + 1]), counters.left")]},
    ),
}  # fmt: skip
