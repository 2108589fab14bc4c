"""The people of the rush as Locust users: each user plays one citizen after another, over gRPC.

    locust -f clients/rush/load/locustfile.py --host 127.0.0.1:7700 --users 200 --spawn-rate 50

Rows are named by rpc, with the reason if the booking rules refuse a request ("GetBooking SLOT_FULL"). All other errors are
failures, and so is WINDOW_CLOSED, since then nobody can book. By default every run has new people; --seed N plays the people
of that seed, worker n those of N + n. ANTRIAN_TOKEN is the caller's bearer token, and ANTRIAN_CA (PEM) enables TLS.
"""

import os
import random
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc.experimental.gevent import init_gevent
from locust import User, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from antrian.booking import Window
from antrian.offices.catalog import load_offices
from antrian.v1.booking_service_pb2 import GetBookingRequest, GetQuotaRequest, RequestBookingRequest
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, StatusReason
from clients.rush.load.survey import make_town
from clients.rush.plan.crowd import Crowd
from clients.rush.plan.scenario import load_scenario
from clients.sdk.calls import MORE_CONNECTIONS, RefusedError

_REFUSALS = {
    "SLOT_FULL", "TOO_LATE", "ALREADY_BOOKED", "ACCOUNT_LIMIT", "PEOPLE_LIMIT", "BARRED", "DAY_CLOSED",
    "ACCOUNT_RATE_LIMITED", "DEVICE_RATE_LIMITED", "ADDRESS_RATE_LIMITED",
}  # fmt: skip
_HINTS = {
    "WINDOW_CLOSED": "open it with: antrian up --clock open",
    "UNAVAILABLE": "if no Antrian runs there, antrian up starts one, and --host names another",
}
_AGAIN = 0.1
_WAIT, _DEADLINE = Duration(seconds=20), 30.0
_MOST = 10_000_000
_MONDAY = datetime(2027, 1, 11, tzinfo=UTC)
# The week does not matter: citizens read the offered days from the service, and take the first, the second and so on.
_WEEK = Window(_MONDAY, _MONDAY, tuple(_MONDAY.date() + timedelta(days=n) for n in range(5)))
_TOWN = make_town(load_offices(), _WEEK)

init_gevent()
time.sleep(0.001)  # updates gevent's clock, since otherwise --run-time would include the imports


def citizens(seed: int) -> Iterator[tuple[RequestBookingRequest, int]]:
    """Yields valid requests, each with the index of its day among the offered ones. The same for the same seed."""
    requests = Crowd(load_scenario("friday", requests=_MOST), _TOWN, seed).requests()
    return (
        (planned.message, _TOWN.dates.index(planned.slot.service_date)) for planned in requests if not planned.expected
    )


class Citizen(User):
    """Reads the remaining places, books, sometimes submits again, and waits for the outcome."""

    host = "127.0.0.1:7700"
    wait_time = between(0, 1)
    people: ClassVar[Iterator[tuple[RequestBookingRequest, int]]]

    @task
    def book(self) -> None:
        """Plays one citizen until the outcome, or until the first refused call."""
        request, day = next(self.people)
        quota = self._call("GetQuota", GetQuotaRequest(office_id=request.office_id))
        if quota is None:
            return
        days = sorted({slot.service_date for slot in quota.slots})
        request.service_date = days[day % len(days)]
        response = self._call("RequestBooking", request)
        if response and random.random() < _AGAIN:  # noqa: S311 - impatience
            response = self._call("RequestBooking", request)
        while response and response.booking.state == BOOKING_STATE_PENDING:
            look = GetBookingRequest(booking_id=response.booking.booking_id, account=request.account, wait=_WAIT)
            response = self._call("GetBooking", look)

    def _call(self, rpc: str, request: Message) -> Any:
        """Makes a call and reports it to Locust. Returns the response, or None if the call was refused."""
        response, reason, words = None, "", ""
        began = time.perf_counter()
        try:
            response = getattr(_stub(self.host), rpc)(request, timeout=_DEADLINE, metadata=_metadata())
            if rpc == "GetBooking" and response.booking.status_reason:
                words = reason = StatusReason.Name(response.booking.status_reason).removeprefix("STATUS_REASON_")
        except grpc.RpcError as error:
            refusal = RefusedError.of_error(cast("grpc.aio.AioRpcError", error))  # it has the same methods
            reason, words = refusal.reason, str(refusal)
            if hint := _HINTS.get(reason):
                words += f" ({hint})"
        answered = not reason or reason in _REFUSALS
        self.environment.events.request.fire(
            request_type="grpc",
            name=f"{rpc} {reason}" if reason in _REFUSALS else rpc,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=response.ByteSize() if response else 0,
            exception=None if answered else RuntimeError(words),
            context=self.context(),
        )
        return response


@cache
def _stub(host: str) -> BookingServiceStub:
    options = [("grpc.max_reconnect_backoff_ms", 1000), *MORE_CONNECTIONS]
    if ca := os.environ.get("ANTRIAN_CA"):
        credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
        return BookingServiceStub(grpc.secure_channel(host, credentials, options))
    return BookingServiceStub(grpc.insecure_channel(host, options))


@cache
def _metadata() -> list[tuple[str, str]]:
    token = os.environ.get("ANTRIAN_TOKEN")
    return [("accept-language", "en"), *([("authorization", f"Bearer {token}")] if token else [])]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_seed(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=0, help="The random seed of the people; 0: a new seed for each run."
    )


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _choose_people(environment: Environment, **_: object) -> None:
    assert environment.parsed_options
    seed = environment.parsed_options.seed or secrets.randbelow(10**9)
    Citizen.people = citizens(seed + getattr(environment.runner, "worker_index", 0))
