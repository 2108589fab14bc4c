"""What staff ask for who was wronged, as entries of a desk; queue numbers are those of the booking's slot."""

import uuid
from base64 import b64encode
from typing import Any

from antrian import rules
from antrian.booking import ExcuseNoShow, LateAttendance, LiftBar, Policy, UndoCheckIn
from antrian.lane.producer import JoinRequest
from tests.support.world import JAKARTA


def by() -> dict[str, Any]:
    """Who does it, and why."""
    return {"action_id": uuid.uuid4(), "caller": "desk", "staff": "rina", "why": "surat dokter"}


def lift(request: JoinRequest, number: int = 1) -> LiftBar:
    """Ends one person's bar."""
    return LiftBar(**by(), booking_id=request.booking_id, number=number)


def excuse(request: JoinRequest) -> ExcuseNoShow:
    """Excuses a booking of which nobody came."""
    return ExcuseNoShow(**by(), booking_id=request.booking_id)


def undo(request: JoinRequest, *numbers: int, first: int = 1) -> UndoCheckIn:
    """Takes the check-in of these numbers back; first is the party's first."""
    people = {n: uuid.UUID(bytes=request.applicants[n - first].key) for n in numbers}
    owner = b64encode(request.owner).decode()
    return UndoCheckIn(**by(), booking_id=request.booking_id, owner=owner, people=people)


def late(policy: Policy, request: JoinRequest, *numbers: int) -> LateAttendance:
    """Notes after the day that these numbers did come."""
    until = rules.attendance_ends(policy, JAKARTA, request.slot.service_date)
    return LateAttendance(**by(), booking_id=request.booking_id, numbers=numbers, until=until)
