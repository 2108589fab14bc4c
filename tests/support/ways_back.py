"""Commands of staff for ways back. Queue numbers are those of the booking's slot."""

import uuid
from base64 import b64encode
from typing import Any

from antrian import rules
from antrian.booking import ExcuseNoShow, LateAttendance, LiftBar, Policy, UndoCheckIn
from antrian.lane.producer import JoinRequest
from tests.support.world import JAKARTA


def by() -> dict[str, Any]:
    """Caller, staff member and reason."""
    return {"action_id": uuid.uuid4(), "caller": "desk", "staff": "rina", "why": "surat dokter"}


def lift(request: JoinRequest, number: int = 1) -> LiftBar:
    """Lifts one person's bar."""
    return LiftBar(**by(), booking_id=request.booking_id, number=number)


def excuse(request: JoinRequest) -> ExcuseNoShow:
    """Excuses a no-show."""
    return ExcuseNoShow(**by(), booking_id=request.booking_id)


def undo(request: JoinRequest, *numbers: int, first: int = 1) -> UndoCheckIn:
    """Undoes the check-in of these numbers. first: the party's first number."""
    people = {n: uuid.UUID(bytes=request.applicants[n - first].key) for n in numbers}
    owner = b64encode(request.owner).decode()
    return UndoCheckIn(**by(), booking_id=request.booking_id, owner=owner, people=people)


def late(policy: Policy, request: JoinRequest, *numbers: int) -> LateAttendance:
    """Records late attendance of these numbers."""
    until = rules.attendance_ends(policy, JAKARTA, request.slot.service_date)
    return LateAttendance(**by(), booking_id=request.booking_id, numbers=numbers, until=until)
