"""The rebuild's side of the lanes: close them, empty them, restore what the ledger has. See workers/rebuild.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis

from antrian.lane import script
from antrian.lane.codec import milliseconds, moment, whole_hours
from antrian.lane.replies import FencedError, Lease


@dataclass(frozen=True, slots=True)
class Restored:
    """A booking as Redis knew it. fingerprint: "" if its request need not be remembered. people: those who hold it.

    17 bytes a person: the applicant key, and "B" or "V" as the person's entry in Redis has it (see prelude.lua).
    """

    booking_id: bytes
    fingerprint: str
    office_id: str
    ticket: int
    keep_until: datetime
    owner: bytes
    people: bytes


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a person who missed a booking."""

    booking_id: bytes
    applicant_key: bytes
    ends: datetime
    last_day: str


class LaneRebuilder:
    """The scripts of one rebuild. Creating it supersedes all earlier rebuilds.

    Raises FencedError once a newer rebuild has begun or Redis was emptied, and redis.RedisError if Redis cannot be reached.
    """

    def __init__(self, redis: "Redis") -> None:
        names = ("force_acquire", "clear_lane", "restore", "clear_people", "mark_restored")
        self._steps = {name: redis.register_script(script(name)) for name in names}
        self._number: Any = redis.incr("rebuild")

    def force_acquire(self, office_id: str) -> Lease:
        """Closes the lane and takes it from its consumer."""
        token, known, now = self._run("force_acquire", office_id)
        return Lease(office_id, token, known == 1, "", moment(now))

    def clear(self, lease: Lease) -> int:
        """Empties an acquired lane. Returns how many undecided requests and commands it dropped."""
        return int(self._run("clear_lane", lease.office_id, lease.token)[1])

    def clear_people(self) -> None:
        """Removes all that Redis knows of people, requests and accounts, while every lane is closed."""
        self._run("clear_people", self._number)

    def restore(self, bookings: Sequence[Restored], bars: Sequence[Bar]) -> None:
        """Restores these bookings and bars."""
        args: list[bytes | str | int] = [self._number, len(bookings)]
        for b in bookings:
            where = f"{b.office_id} {b.ticket} {whole_hours(b.keep_until)}"
            args += [b.booking_id, b.fingerprint, where, b.owner, b.people]
        for bar in bars:
            args += [bar.booking_id, bar.applicant_key, milliseconds(bar.ends), bar.last_day]
        self._run("restore", *args)

    def mark_restored(self) -> None:
        """Notes that Redis knows all that the ledger knows."""
        self._run("mark_restored", self._number)

    def _run(self, step: str, *args: bytes | str | int) -> Any:
        response = self._steps[step](args=list(args))
        if response[0] == b"FENCED":
            raise FencedError(f"{step} of rebuild {self._number}")
        return response
