"""Made-up people with valid NIKs, and their requests."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import SESSION_MORNING, Applicant, Location

JAKARTA = Location(latitude=-6.1862, longitude=106.8296, accuracy_m=20)
"""Jl. Wahid Hasyim, in the middle of Jakarta."""
BOGOR = Location(latitude=-6.5950, longitude=106.8167, accuracy_m=20)
PUSAT = "kanim-jakarta-pusat"


@dataclass
class Crowd:
    """Makes people whom no other test uses."""

    seed: int
    dates: Sequence[date]
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def person(self) -> Applicant:
        """A new person."""
        born = f"{self._random.randint(1, 28):02}{self._random.randint(1, 12):02}{self._random.randint(0, 99):02}"
        area, serial = self._random.randint(1, 9999), self._random.randint(1, 9999)
        return Applicant(nik=f"31{area:04}{born}{serial:04}", full_name="Siti Rahma")

    def people(self, count: int) -> list[Applicant]:
        """That many new people."""
        return [self.person() for _ in range(count)]

    def request(self, **changes: Any) -> RequestBookingRequest:
        """A valid request of one new person at Jakarta Pusat, with these changes."""
        values: dict[str, Any] = {
            "request_id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "account": f"user-{self._random.getrandbits(32):x}",
            "office_id": PUSAT,
            "service_date": self.dates[0].isoformat(),
            "session": SESSION_MORNING,
            "location": JAKARTA,
        }
        if "province_code" in changes:
            del values["location"]
        values |= changes
        if "applicants" not in values:
            values["applicants"] = [self.person()]
        return RequestBookingRequest(**values)
