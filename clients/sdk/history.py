"""Records the calls of a client and their results in a file, for `antrian verify --history`.

The file has JSON Lines: an `invoke` before each call, then `ok`, `refused` or `unknown`, or nothing if the client died; and
the injected faults. Times are seconds of the monotonic clock, which all processes of a machine share.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import BookingState, Session
from clients.sdk.booking_client import Booking, BookingClient
from clients.sdk.calls import PATIENCE, RefusedError

_Observe = Callable[[Booking], Booking]


class History:
    """Writes events to a file without buffering; a context manager. Threads may share one, processes must not."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)  # each event is one write, so that threads do not mix them
        self._writer = secrets.token_hex(4)
        self._ops = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def begin(self, call: str, **facts: Any) -> int:
        """Records that a call ("request", "read", "cancel") is about to be made. Returns its op number."""
        op = next(self._ops)
        self._write("invoke", op=f"{self._writer}-{op}", call=call, **facts)
        return op

    def end(self, op: int, event: str, **facts: Any) -> None:
        """Records how the call ended: "ok", "refused" or "unknown"."""
        self._write(event, op=f"{self._writer}-{op}", **facts)

    @contextmanager
    def fault(self, name: str, *, loses_undecided: bool = False) -> Iterator[None]:
        """Records when a fault begins and ends. loses_undecided: it may lose undecided tickets (P9)."""
        self._write("fault", name=name, phase="begins", loses_undecided=loses_undecided)
        try:
            yield
        finally:
            self._write("fault", name=name, phase="ends", loses_undecided=loses_undecided)

    def _write(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"t": time.monotonic(), "event": event, **facts}).encode() + b"\n")


class RecordingClient(BookingClient):
    """A BookingClient that records its calls and their results in a history, except watch and list_bookings."""

    def __init__(self, target: str, *, history: History, **options: Any) -> None:
        super().__init__(target, **options)
        self._history = history

    async def send(self, request: RequestBookingRequest) -> Booking:
        """Like BookingClient.send; recorded."""
        with self._op("request", **request_facts(request)) as observe:
            return observe(await super().send(request))

    async def send_batch(self, requests: Sequence[RequestBookingRequest]) -> list[Booking | RefusedError]:
        """Like BookingClient.send_batch; each request is recorded as a call of its own."""
        ops = [self._history.begin("request", **request_facts(request)) for request in requests]
        try:
            responses = await super().send_batch(requests)
        except RefusedError as error:
            for op in ops:
                self._end(op, error)
            raise
        for op, response in zip(ops, responses, strict=True):
            self._end(op, response)
        return responses

    async def get_booking(self, booking_id: str, account: str) -> Booking:
        """Like BookingClient.get_booking; recorded."""
        with self._op("read", booking_id=booking_id, account=account) as observe:
            return observe(await super().get_booking(booking_id, account))

    async def outcome(self, booking_id: str, account: str, *, within: timedelta = PATIENCE) -> Booking:
        """Like BookingClient.outcome; recorded as one call."""
        with self._op("read", booking_id=booking_id, account=account) as observe:
            return observe(await super().outcome(booking_id, account, within=within))

    async def cancel_booking(self, booking_id: str, account: str) -> Booking:
        """Like BookingClient.cancel_booking; recorded."""
        with self._op("cancel", booking_id=booking_id, account=account) as observe:
            return observe(await super().cancel_booking(booking_id, account))

    async def cancel_person(self, booking_id: str, account: str, queue_number: int) -> Booking:
        """Like BookingClient.cancel_person; recorded."""
        with self._op("cancel", booking_id=booking_id, account=account) as observe:
            return observe(await super().cancel_person(booking_id, account, queue_number))

    @contextmanager
    def _op(self, call: str, **facts: Any) -> Iterator[_Observe]:
        """Records a call from start to end. Yields a function that takes and returns the booking of the response."""
        op = self._history.begin(call, **facts)

        def observe(booking: Booking) -> Booking:
            self._end(op, booking)
            return booking

        try:
            yield observe
        except RefusedError as error:
            self._end(op, error)
            raise
        except TimeoutError:
            self._history.end(op, "unknown", reason="STILL_PENDING")
            raise

    def _end(self, op: int, response: Booking | RefusedError) -> None:
        if isinstance(response, Booking):
            self._history.end(op, "ok", **booking_facts(response))
        else:
            self._history.end(op, "unknown" if response.uncertain else "refused", reason=response.reason)


def request_facts(request: RequestBookingRequest) -> dict[str, Any]:
    """Returns the facts of a request for a history. NIKs are replaced by hashes that identify the same person."""
    return {
        "request_id": request.request_id,
        "account": request.account,
        "office": request.office_id,
        "date": request.service_date,
        "session": Session.Name(request.session).removeprefix("SESSION_"),
        "people": [blake2b(person.nik.encode(), digest_size=8).hexdigest() for person in request.applicants],
    }


def booking_facts(booking: Booking) -> dict[str, Any]:
    """Returns the facts of a returned booking for a history."""
    return {
        "booking_id": booking.booking_id,
        "office": booking.office_id,
        "ticket": booking.ticket,
        "state": BookingState.Name(booking.state).removeprefix("BOOKING_STATE_"),
        "numbers": list(booking.queue_numbers),
        "cancelled": list(booking.cancelled_queue_numbers),
    }
