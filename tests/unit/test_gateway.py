"""The gateway's parts: routes of the contract, JSON and messages, errors, freshness, events."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing, nullcontext
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, cast
from urllib.parse import quote

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, BOOKING_STATE_PENDING, Booking, Slot
from clients.gateway import connections, events
from clients.gateway.errors import HttpError, of_status, unanswered
from clients.gateway.events import Watch, name_of
from clients.gateway.freshness import Freshness
from clients.gateway.rooms import Room, address_of
from clients.gateway.routes import ROUTES, MethodNotAllowedError, RouteNotFoundError, find
from clients.gateway.transcode import MalformedError, read, write
from clients.gateway.upstream import Caller, Upstream

SERVICE = wire.DESCRIPTOR.services_by_name["BookingService"]
CALLER = Caller("", "id", "1", "")
NIK = "3171014107900001"


def test_every_rpc_for_citizens_has_a_path() -> None:
    assert {route.rpc for route in ROUTES} == {method.name for method in SERVICE.methods}
    assert len({(route.verb, route.path.pattern) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize(
    ("verb", "path", "rpc", "variables"),
    [
        ("GET", "/v1/offices", "ListOffices", {}),
        ("GET", "/v1/offices/kanim-bogor/quota", "GetQuota", {"office_id": "kanim-bogor"}),
        ("POST", "/v1/bookings", "RequestBooking", {}),
        ("POST", "/v1/bookings:batchRequest", "BatchRequestBookings", {}),
        ("GET", "/v1/bookings/b-1", "GetBooking", {"booking_id": "b-1"}),
        ("GET", "/v1/bookings/b-1:watch", "WatchBooking", {"booking_id": "b-1"}),
        ("POST", "/v1/bookings/b-1:cancel", "CancelBooking", {"booking_id": "b-1"}),
        ("POST", "/v1/bookings/b-1:cancelPerson", "CancelPerson", {"booking_id": "b-1"}),
        ("POST", "/v1/bookings/b-1:correctName", "CorrectName", {"booking_id": "b-1"}),
        ("GET", "/v1/bookings", "ListBookings", {}),
    ],
)
def test_a_path_is_routed_to_its_rpc(verb: str, path: str, rpc: str, variables: Mapping[str, str]) -> None:
    route, found = find(verb, path)
    assert (route.rpc, found) == (rpc, variables)


def test_unknown_paths_and_wrong_methods_are_distinguished() -> None:
    for path in ("/", "/v1/offices/", "/v1/offices//quota", "/v1/bookings/a/b", "/v1/bookings/x:y:watch"):
        with pytest.raises(RouteNotFoundError):
            find("GET", path)
    with pytest.raises(MethodNotAllowedError) as caught:
        find("PATCH", "/v1/bookings")
    assert sorted(caught.value.allowed.split(", ")) == ["GET", "HEAD", "OPTIONS", "POST"]
    with pytest.raises(MethodNotAllowedError) as caught:
        find("GET", "/v1/bookings/b-1:cancel")
    assert caught.value.allowed == "POST, OPTIONS"


def request(verb: str, path: str, query: bytes = b"", body: Any = None) -> Message:
    route, variables = find(verb, path)
    return read(route, variables, query, json.dumps(body).encode())


def test_a_query_is_read_by_field_path_in_either_spelling() -> None:
    asked = request("GET", "/v1/offices", b"location.latitude=-6.5&location.longitude=1e2&page_size=3&pageToken=x%20y")
    assert isinstance(asked, wire.ListOfficesRequest)
    assert (asked.location.latitude, asked.location.longitude, asked.page_size) == (-6.5, 100, 3)
    assert asked.page_token == "x y"
    waiting = request("GET", "/v1/bookings/b-1", b"account=ani&wait=1.5s")
    assert waiting == wire.GetBookingRequest(
        booking_id="b-1", account="ani", wait=Duration(seconds=1, nanos=500_000_000)
    )


def test_a_body_field_that_contradicts_the_path_is_refused() -> None:
    told = request("POST", "/v1/bookings/b-1:cancel", body={"account": "a", "booking_id": "b-1"})
    assert told == wire.CancelBookingRequest(account="a", booking_id="b-1")
    for name in ("booking_id", "bookingId"):
        others: list[Any] = ["b-2", ["b-1"], {}, None]
        for other in others:
            with pytest.raises(MalformedError, match="differs from the value in the path"):
                request("POST", "/v1/bookings/b-1:cancel", body={"account": "a", name: other})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"x": 1}, "x"),
        ({"applicants": [{"nik": NIK}, {"nik": 3}]}, "applicants[1].nik"),
        ({"applicants": [{"nick": "x"}]}, "applicants[0].nick"),
        ({"applicants": [{}, None]}, "applicants[1]"),
        ({"applicants": [{}, [{}]]}, "applicants[1]"),
        ({"applicants": [{}, {"fullName": ["x"]}]}, "applicants[1].fullName"),
        ({"applicants": [{"full_name": "x", "fullName": "x"}]}, "applicants[0].fullName"),
        ({"applicants": [{"full_name": "\ud800"}]}, "applicants[0].fullName"),
        ({"applicants": {"nik": NIK}}, "applicants"),
        ({"applicants": "x"}, "applicants"),
        ({"location": {"latitude": "north"}}, "location.latitude"),
        ({"location": {"latitude": False}}, "location.latitude"),
        ({"location": {"latitude": {}}}, "location.latitude"),
        ({"location": {"accuracy_m": []}}, "location.accuracyM"),
        ({"location": [1]}, "location"),
        ({"location": 1}, "location"),
        ({"location": {}, "provinceCode": "ID-JK"}, "provinceCode"),
        ({"office_id": "x", "officeId": "x"}, "officeId"),
        ({"officeId": None, "office_id": "x"}, "officeId"),
        ({"session": NIK}, "session"),
        ({"session": 2**40}, "session"),
        ({"session": 1.5}, "session"),
        ({NIK: 1}, ""),
        ({f"a{NIK}": 1}, ""),
        ({"applicants": [{NIK: 1}]}, "applicants[0]"),
        ([], ""),
    ],
)
def test_a_malformed_body_is_refused_with_its_field_and_no_value(body: Any, field: str) -> None:
    with pytest.raises(MalformedError) as caught:
        request("POST", "/v1/bookings", body=body)
    assert caught.value.field == field
    assert NIK not in str(caught.value) + "".join(caught.value.words)


@pytest.mark.parametrize(
    "query",
    [
        b"pageSize=1&page_size=2",
        b"nope=1",
        b"location=1",
        b"location.nope=1",
        b"provinceCode=%ff",
        b"=",
        b"a" * 9 + b"=&" * 60,
    ],
)
def test_a_malformed_query_is_refused(query: bytes) -> None:
    with pytest.raises(MalformedError):
        request("GET", "/v1/offices", query)


@pytest.mark.parametrize(
    "number",
    [
        "1_0", "+5", " 5", "5 ", "\uff15", "\u0665", "5\n", "0x10", "", "007", "-01", "1.", ".5",
        "nan", "NaN", "Infinity", "-Infinity", "1e400", "1e9999",
    ],
)  # fmt: skip
def test_only_json_numbers_are_accepted(number: str) -> None:
    for name in ("location.latitude", "pageSize"):
        with pytest.raises(MalformedError) as caught:
            request("GET", "/v1/offices", f"{name}={quote(number)}".encode())
        assert caught.value.field == name
    with pytest.raises(MalformedError) as caught:
        request("POST", "/v1/bookings", body={"location": {"latitude": number}})
    assert caught.value.field == "location.latitude"
    with pytest.raises(MalformedError) as caught:
        request("POST", "/v1/bookings", body={"session": number})
    assert caught.value.field == "session"
    with pytest.raises(MalformedError) as caught:
        request("POST", "/v1/bookings:batchRequest", body={"requests": [{}, {"session": number}]})
    assert caught.value.field == "requests[1].session"


def test_a_number_may_be_quoted() -> None:
    asked = request(
        "POST", "/v1/bookings", body={"location": {"latitude": "-6.5", "longitude": "1e2", "accuracyM": 20}}
    )
    assert isinstance(asked, wire.RequestBookingRequest)
    assert (asked.location.latitude, asked.location.longitude, asked.location.accuracy_m) == (-6.5, 100, 20)


@pytest.mark.parametrize("wait", ["1", "1_0s", " 1s", "01s", "1.s", "s", "1.0000000001s", "\uff11s"])
def test_a_duration_is_given_in_seconds_as_in_proto_json(wait: str) -> None:
    with pytest.raises(MalformedError) as caught:
        request("GET", "/v1/bookings/b-1", f"account=a&wait={quote(wait)}".encode())
    assert caught.value.field == "wait"
    with pytest.raises(MalformedError) as caught:
        request("POST", "/v1/bookings:batchGet", body={"requests": [{"wait": wait}]})
    assert caught.value.field == "requests[0].wait"


def test_a_state_is_given_by_its_name() -> None:
    asked = request("GET", "/v1/bookings", b"account=a&state=BOOKING_STATE_PENDING")
    assert asked == wire.ListBookingsRequest(account="a", state=BOOKING_STATE_PENDING)
    for number in (b"1", b"0_1"):
        with pytest.raises(MalformedError):
            request("GET", "/v1/bookings", b"account=a&state=" + number)


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"account": "a", "account": "b"}', "account", "may be given only once"),
        (b'{"location": {"latitude": 1, "latitude": 2}}', "location.latitude", "may be given only once"),
        (b'{"applicants": [{}, {"nik": "1", "nik": "1"}]}', "applicants[1].nik", "may be given only once"),
        (f'{{"{NIK}": 1, "{NIK}": 2}}'.encode(), "", "may be given only once"),
        (b'{"applicants": [{"nik": true}]}', "applicants[0].nik", "has the wrong type or format"),
        (b'{"applicants": [{"verified": 1}]}', "applicants[0].verified", "has the wrong type or format"),
        (b'{"applicants": [{"verified": "true"}]}', "applicants[0].verified", "has the wrong type or format"),
        (b'{"applicants": {"verified": true}}', "applicants", "has the wrong type or format"),
        ('{"account": "a"}'.encode("utf-16"), "", "the body is not valid JSON in UTF-8"),
        (b'\xef\xbb\xbf{"account": "a"}', "", "the body is not valid JSON in UTF-8"),
        (b'{"account": +1}', "", "the body is not valid JSON in UTF-8"),
    ],
)
def test_an_unreadable_body_is_refused_with_the_cause(body: bytes, field: str, words: str) -> None:
    route, variables = find("POST", "/v1/bookings")
    with pytest.raises(MalformedError) as caught:
        read(route, variables, b"", body)
    assert (caught.value.field, caught.value.words[1]) == (field, words)


def test_a_duplicate_field_is_found_despite_a_path_variable_and_among_many() -> None:
    route, variables = find("POST", "/v1/bookings/b-1:cancel")
    with pytest.raises(MalformedError, match="only once"):
        read(route, variables, b"", b'{"account": "a", "bookingId": "b-2", "bookingId": "b-1"}')
    many = ",".join(f'"a{n}": 1' for n in range(10_000))
    with pytest.raises(MalformedError) as caught:
        read(route, variables, b"", f'{{{many},"account": "a", "account": "b"}}'.encode())
    assert caught.value.field == "account"


def test_zero_remaining_places_are_sent_and_an_unset_number_is_omitted() -> None:
    response = json.loads(write(wire.GetQuotaResponse(slots=[Slot(service_date="2026-11-30")])))
    assert (response["slots"][0]["remaining"], response["closedDays"]) == (0, [])
    assert "remaining" not in json.loads(write(Booking()))


def test_an_error_keeps_all_details_of_the_service() -> None:
    details = [AnyMessage(), AnyMessage()]
    details[0].Pack(ErrorInfo(reason="LANE_FULL", metadata={"waiting": "20000"}))
    retry = RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=2.5))
    details[1].Pack(retry)
    error = of_status(Status(code=Code.UNAVAILABLE, message="full", details=details))
    assert (error.status, error.headers["retry-after"]) == (503, "3")
    assert json.loads(error.body)["error"] == {
        "code": 503,
        "status": "UNAVAILABLE",
        "reason": "LANE_FULL",
        "message": "full",
        "metadata": {"waiting": "20000"},
        "retryAfter": 2.5,
    }


@pytest.mark.parametrize(
    ("code", "status"), [(3, 400), (5, 404), (6, 409), (7, 403), (8, 429), (13, 500), (16, 401), (99, 500)]
)
def test_http_statuses_follow_the_grpc_codes(code: int, status: int) -> None:
    assert of_status(Status(code=code)).status == status


def test_a_call_without_a_response_is_reported_as_retryable() -> None:
    from grpc import StatusCode  # noqa: PLC0415 - its name is Status's, too

    error = json.loads(unanswered(StatusCode.DEADLINE_EXCEEDED, english=True).body)["error"]
    assert (error["code"], "same key" in error["message"]) == (504, True)


class Kernel:
    """A connection of port 7780, and what the kernel knows of it."""

    def __init__(self, *facts: int) -> None:
        self.facts, self.ended = facts, False

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Its tcp_info."""
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return connections._INFO.pack(*self.facts)

    def getsockname(self) -> tuple[str, int]:
        """Our end."""
        return "127.0.0.1", 7780

    def shutdown(self, how: int) -> None:
        """Ends it."""
        self.ended = how == socket.SHUT_RDWR


@pytest.mark.parametrize(
    ("state", "unacked", "sent", "came", "heard", "received", "stays", "ended"),
    [
        (1, 0, 9_000, 9_000, 9_000, 0, True, False),  # it is new
        (1, 0, 11_000, 11_000, 11_000, 17, False, True),  # no request
        (1, 0, 80_000, 80_000, 80_000, 18, True, False),  # waits
        (1, 0, 91_000, 91_000, 91_000, 900, False, True),  # idle
        (1, 1, 10_000, 900_000, 46_000, 900, False, True),  # a stream to nobody
        (1, 1, 10_000, 900_000, 44_000, 900, True, False),
        (1, 0, 10_000, 900_000, 60_000, 900, True, False),  # nothing is under way
        (10, 0, 900_000, 900_000, 900_000, 0, False, False),  # the listening socket
    ],
)
def test_only_idle_connections_are_closed(
    state: int, unacked: int, sent: int, came: int, heard: int, received: int, stays: bool, ended: bool
) -> None:
    kernel = Kernel(state, unacked, sent, came, heard, received)
    assert connections._stays(cast(socket.socket, kernel), 7780) is stays
    assert kernel.ended is ended
    assert not connections._stays(cast(socket.socket, kernel), 7781)


async def test_fresh_responses_are_cached_and_etags_do_not_depend_on_the_time() -> None:
    fresh, asked = Freshness(), 0

    async def ask() -> Message:
        nonlocal asked
        asked += 1
        response = wire.GetQuotaResponse(office_id="kanim-bogor")
        response.read_time.FromSeconds(asked)
        return response

    first, again = await fresh.get("k", 60, ask), await fresh.get("k", 60, ask)
    assert (asked, first is again) == (1, True)
    stale = await fresh.get("gone", 0, ask)
    newer = await fresh.get("gone", 0, ask)
    assert (asked, stale.tag == newer.tag, stale.body != newer.body) == (3, True, True)
    assert newer.headers["cache-control"] == "private, max-age=0"


class Service:
    """A service whose streams tell these states, or break."""

    def __init__(self, *streams: list[Any]) -> None:
        self._streams = list(streams)

    async def watch(self, message: Message, caller: Caller) -> AsyncGenerator[wire.WatchBookingResponse, None]:
        """The next of the streams."""
        for news in self._streams.pop(0):
            if isinstance(news, Exception):
                raise news
            if isinstance(news, float):
                await asyncio.sleep(news)
            else:
                yield news


def state(state: int, ahead: int = 0) -> wire.WatchBookingResponse:
    return wire.WatchBookingResponse(booking=Booking(state=cast(Any, state), ahead=ahead))


LOST = HttpError(503, {"status": "UNAVAILABLE", "reason": "UNAVAILABLE", "message": ""})
PENDING, CONFIRMED = state(BOOKING_STATE_PENDING, 3), state(BOOKING_STATE_CONFIRMED)


async def all_events(service: Service, last_seen: str = "") -> bytes:
    watch = Watch(cast(Upstream, service), wire.WatchBookingRequest(), CALLER)
    await watch.open()
    async with aclosing(cast(AsyncGenerator[bytes, None], watch.events(last_seen))) as stream:
        return b"".join([event async for event in stream])


async def test_the_stream_ends_after_the_outcome() -> None:
    words = await all_events(Service([PENDING, CONFIRMED]))
    assert words.count(b"event: booking") == 2
    assert words.startswith(b"retry: ")
    assert words.endswith(b"\n\n")


async def test_events_that_the_client_has_seen_are_not_sent_again() -> None:
    words = await all_events(Service([PENDING, CONFIRMED]), last_seen=name_of(PENDING))
    assert words.count(b"event: booking") == 1


async def test_a_broken_stream_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = await all_events(Service([PENDING, LOST], [PENDING, CONFIRMED]))
    assert words.count(b"event: booking") == 2, "the same state once"
    monkeypatch.setattr(events, "_PATIENCE", 0)
    words = await all_events(Service([PENDING, LOST], [LOST]))
    assert words.count(b"event: booking") == 1, "then the phone comes again"


async def test_a_heartbeat_is_sent_when_the_service_has_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await all_events(Service([PENDING], [PENDING], [PENDING], [CONFIRMED]))).count(b": hb\n\n") == 2
    monkeypatch.setattr(events, "_PATIENCE", 0)
    assert b": hb" not in await all_events(Service([PENDING, 0.1], [LOST]))


async def test_an_internal_error_ends_the_stream() -> None:
    with pytest.raises(KeyError):
        await all_events(Service([PENDING, KeyError("x")]))


async def test_an_unknown_booking_is_an_error_before_the_stream_begins() -> None:
    missing = HttpError(404, {"status": "NOT_FOUND", "reason": "BOOKING_NOT_FOUND", "message": ""})
    with pytest.raises(HttpError) as caught:
        await all_events(Service([missing]))
    assert caught.value is missing


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "forged, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "198.51.100.7, ", "10.1.2.3"),
        ("10.1.2.3", "nonsense", "nonsense"),
        ("10.1.2.3", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", "2001:db8:1:2::/64"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_address_of_a_client_is_the_last_one_that_a_trusted_proxy_names(
    peer: str, forwarded_for: str, address: str
) -> None:
    assert address_of(peer, forwarded_for, (ip_network("10.0.0.0/8"),)) == address


def test_a_room_is_shared_by_address_before_it_is_full() -> None:
    room = Room(3, 2)
    with ExitStack() as undo:
        for address in ("a", "a"):
            undo.enter_context(room.place(address, english=True))
        for address, reason in (("a", "ADDRESS_BUSY"), ("b", ""), ("c", "SERVER_BUSY")):
            with pytest.raises(HttpError, match=reason) if reason else nullcontext():
                undo.enter_context(room.place(address, english=True))
    with room.place("a", english=True), room.place("a", english=True):
        pass
    assert not room._held
