"""Requests that a server has checked, joined as a server does: a backlog without a server."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from uuid import UUID

from antrian.booking import EncryptedApplicant, Person, Policy, Session, Slot, Window
from antrian.lane.producer import Joined, JoinRequest, LaneProducer
from antrian.rules import windows_of
from antrian.settings import Settings
from clients.rush.plan.people import People

_GATHER = timedelta(milliseconds=2)


class Askers:
    """People who each ask once, for the dates of a window."""

    def __init__(self, settings: Settings, policy: Policy, window: Window) -> None:
        self._redis_url, self._policy = settings.redis_url, policy
        self._keys = settings.make_keys("public_key")
        self._slots = [Slot(day, session) for day in window.dates for session in Session]
        self._windows = {day: windows_of(policy, day) for day in window.dates}
        self._people, self._asked = People(1), 0

    def requests(self, offices: Sequence[str], tickets: int) -> Iterator[JoinRequest]:
        """Returns that many requests of new people, spread over all slots of the offices."""
        for n in range(tickets):
            self._asked += 1
            office, slot = offices[n % len(offices)], self._slots[n // len(offices) % len(self._slots)]
            booking_id = self._keys.booking_id("local", UUID(int=self._asked, version=4))
            wire = self._people.person(self._asked, "31")
            key = self._keys.applicant_key(wire.nik)
            encrypted = self._keys.encrypt(booking_id, key, Person(wire.nik, wire.full_name))
            account = f"warga-{self._asked}"
            yield JoinRequest(
                booking_id=booking_id,
                fingerprint=self._keys.fingerprint(office, slot, [(key, wire.full_name)]),
                owner=self._keys.owner("local", account),
                caller="local",
                account=account,
                office_id=office,
                slot=slot,
                windows=self._windows[slot.service_date],
                applicants=(EncryptedApplicant(key, encrypted),),
                refusal=None,
            )

    def join(self, requests: Iterator[JoinRequest], size: int, at_once: int = 1) -> None:
        """Joins them as a server does with batches of that size, with that many batches in flight."""
        asyncio.run(self._join(requests, size, at_once))

    async def _join(self, requests: Iterator[JoinRequest], size: int, at_once: int) -> None:
        producer = LaneProducer(
            self._redis_url,
            lane_bound=self._policy.lane_bound,
            account_people=self._policy.account_people,
            tried_people=self._policy.tried_people,
            limits=self._policy.limits,
            remembered=self._policy.remembered,
            batch_window=_GATHER,
        )

        async def join() -> None:
            while pack := list(islice(requests, size)):
                for response in await asyncio.gather(*map(producer.join, pack)):
                    if not isinstance(response, Joined):
                        raise TypeError(f"not joined: {response}")

        await asyncio.gather(*(join() for _ in range(at_once)))
        await producer.close()
