"""What clients asked and were told and when, and the faults meanwhile: the files that clients.sdk.history writes, read."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple


class HistoryError(ValueError):
    """A file that is no history."""


class Response(NamedTuple):
    """A booking as a client was told of it. cancelled: the numbers of people who gave up; numbers: the others'."""

    booking_id: str
    office: str
    ticket: int
    state: str
    numbers: Sequence[int]
    cancelled: Sequence[int] = ()


@dataclass(slots=True)
class Op:
    """One call, from its invoke to its end, in seconds; ended is infinite and event "" when nobody was told the end.

    call is "request", "read" or "cancel"; a request has request_id to people, the others a booking_id. event is "ok" with
    an answer, or "refused" or "unknown" with a reason.
    """

    op: str
    call: str
    started: float
    account: str = ""
    request_id: str = ""
    office: str = ""
    date: str = ""
    session: str = ""
    people: tuple[str, ...] = ()
    booking_id: str = ""
    ended: float = inf
    event: str = ""
    reason: str = ""
    response: Response | None = None

    def events(self) -> Iterator[dict[str, Any]]:
        """Its events as they are in a file."""
        asked = ("account", "request_id", "office", "date", "session", "people", "booking_id")
        facts = {name: getattr(self, name) for name in asked if getattr(self, name)}
        yield {"t": self.started, "event": "invoke", "op": self.op, "call": self.call, **facts}
        if self.event:
            told = self.response._asdict() if self.response else {"reason": self.reason}
            yield {"t": self.ended, "event": self.event, "op": self.op, **told}


@dataclass(slots=True)
class Fault:
    """Something that was broken on purpose, and from when to when; loses_undecided: it may take undecided tickets."""

    name: str
    loses_undecided: bool
    begins: float
    ends: float = inf


@dataclass(slots=True)
class ClientHistory:
    """All that clients did, and the faults meanwhile."""

    ops: list[Op] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def lost_between(self, asked: float, told: float) -> bool:
        """Whether a fault that loses undecided tickets was under way in that time."""
        return any(f.loses_undecided and f.begins <= told and f.ends >= asked for f in self.faults)


def read_history(paths: Iterable[Path]) -> ClientHistory:
    """The histories of one run, put together. A last line that was cut is left out; raises HistoryError."""
    history, open_ops = ClientHistory(), dict[str, Op]()
    under_way: dict[tuple[Path, str], Fault] = {}
    for path in paths:
        for number, line in _lines(path):
            try:
                event = json.loads(line)
                if event["event"] == "invoke":
                    op = open_ops[event["op"]] = _op(event)
                    history.ops.append(op)
                elif event["event"] != "fault":
                    _end(open_ops.pop(event["op"]), event)
                elif event["phase"] == "begins":
                    fault = under_way[path, event["name"]] = Fault(event["name"], event["loses_undecided"], event["t"])
                    history.faults.append(fault)
                else:
                    under_way.pop((path, event["name"])).ends = event["t"]
            except (ValueError, KeyError, TypeError) as error:
                raise HistoryError(f"{path}:{number}: no event of a history: {error}") from None
    return history


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield number, line


def _op(event: Mapping[str, Any]) -> Op:
    return Op(
        op=event["op"],
        call=event["call"],
        started=event["t"],
        account=event["account"],
        request_id=event.get("request_id", ""),
        office=event.get("office", ""),
        date=event.get("date", ""),
        session=event.get("session", ""),
        people=tuple(event.get("people", ())),
        booking_id=event.get("booking_id", ""),
    )


def _end(op: Op, event: Mapping[str, Any]) -> None:
    op.ended, op.event, op.reason = event["t"], event["event"], event.get("reason", "")
    if op.event == "ok":
        op.response = Response(
            event["booking_id"], event["office"], event["ticket"], event["state"], event["numbers"],
            event.get("cancelled", ()),
        )  # fmt: skip
    elif op.event not in {"refused", "unknown"}:
        raise ValueError(op.event)
