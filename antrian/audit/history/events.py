"""Reads the files of clients.sdk.history: the calls of clients with their responses and times, and injected faults."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple


class HistoryError(ValueError):
    """The file is not a history."""


class Response(NamedTuple):
    """A booking as a client observed it. cancelled: the queue numbers of people who cancelled. numbers: those of the others."""

    booking_id: str
    office: str
    ticket: int
    state: str
    numbers: Sequence[int]
    cancelled: Sequence[int] = ()


@dataclass(slots=True)
class Op:
    """One call, with its start and end in seconds. Without an observed end, ended is infinite and event is "".

    call: "request", which has the fields request_id to people, or "read" or "cancel", which have a booking_id. event: "ok"
    with a response, or "refused" or "unknown" with a reason.
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
        """Yields the call's events in the format of a file."""
        names = ("account", "request_id", "office", "date", "session", "people", "booking_id")
        facts = {name: getattr(self, name) for name in names if getattr(self, name)}
        yield {"t": self.started, "event": "invoke", "op": self.op, "call": self.call, **facts}
        if self.event:
            result = self.response._asdict() if self.response else {"reason": self.reason}
            yield {"t": self.ended, "event": self.event, "op": self.op, **result}


@dataclass(slots=True)
class Fault:
    """An injected fault with its start and end. loses_undecided: it may lose undecided tickets."""

    name: str
    loses_undecided: bool
    begins: float
    ends: float = inf


@dataclass(slots=True)
class ClientHistory:
    """All calls of the clients, and the faults injected meanwhile."""

    ops: list[Op] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def lost_between(self, began: float, ended: float) -> bool:
        """Returns whether a fault that loses undecided tickets was active in that time."""
        return any(f.loses_undecided and f.begins <= ended and f.ends >= began for f in self.faults)


def read_history(paths: Iterable[Path]) -> ClientHistory:
    """Returns the merged histories of one run, ignoring an incomplete last line. Raises HistoryError."""
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
                raise HistoryError(f"{path}:{number}: not an event of a history: {error}") from None
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
