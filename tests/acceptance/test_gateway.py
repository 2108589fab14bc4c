"""The HTTP gateway, as phones use it, through the real programs."""

import asyncio
import gzip
import json
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import cycle, islice
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from google.protobuf.json_format import MessageToDict

from antrian.local.stack import Stack
from antrian.v1.booking_service_pb2 import WatchBookingRequest
from antrian.v1.messages_pb2 import SESSION_AFTERNOON, SESSION_MORNING
from clients.gateway import events, upstream
from clients.gateway.events import Watch
from clients.gateway.requests import BODY_LIMIT
from clients.gateway.upstream import Caller, Upstream
from clients.sdk import calls
from clients.sdk.booking_client import BookingClient
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd
from tests.acceptance.test_metrics import scrape
from tests.faults.proxy import Proxy
from tests.support.issuer import Issuer
from tests.support.waiting import until

ORIGIN = "https://paspor.example"
HTTP2_BEGINS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # and the empty SETTINGS
WAHID_HASYIM = {"location.latitude": "-6.1862", "location.longitude": "106.8296"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Who signs tokens for persons."""
    return Issuer(tmp_path_factory.mktemp("callers") / "keys.json")


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime, issuer: Issuer) -> Iterator[Stack]:
    """An Antrian with a gateway, two callers, tokens for persons and an allowed origin; request bodies time out after a second."""
    callers = issuer.file.with_name("callers.toml")
    callers.write_text(
        "".join(
            f'[[caller]]\nname = "{name}"\nrole = "gateway"\nvouches_for = "accounts"\n'
            f'token_sha256 = "{sha256(name.encode()).hexdigest()}"\n'
            for name in ("mobile", "web")
        )
        + issuer.entry()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(callers))
        patch.setenv("ANTRIAN_GATEWAY_CORS_ORIGINS", ORIGIN)
        patch.setenv("ANTRIAN_GATEWAY_BODY_SECONDS", "1")
        yield start_stack(opens + timedelta(minutes=1), metrics=True, gateway=True)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with the token of the caller "mobile", in English."""
    headers = {"Authorization": "Bearer mobile", "Accept-Language": "en"}
    async with aiohttp.ClientSession(f"http://{stack.http_address}", headers=headers) as session:
        yield session


@pytest.fixture
async def link(stack: Stack) -> AsyncIterator[Proxy]:
    """A breakable proxy in front of the service."""
    proxy = Proxy(int(stack.address.rpartition(":")[2]))
    await proxy.start()
    yield proxy
    await proxy.close()


def body_of(crowd: Crowd, **changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and body of a valid request for a new person."""
    body = MessageToDict(crowd.request(**changes))
    return {"Idempotency-Key": body.pop("requestId")}, body


async def book(http: aiohttp.ClientSession, crowd: Crowd, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Books for a new person; returns the accepted booking and the query parameters to read it."""
    headers, body = body_of(crowd, **changes)
    async with http.post("/v1/bookings", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["booking"], {"account": body["account"]}


async def connect(stack: Stack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to the gateway."""
    host, _, port = stack.http_address.partition(":")
    return await asyncio.open_connection(host, int(port))


def request_bytes(version: str, path: str) -> bytes:
    """The bytes of a GET request of the caller "mobile" on a new connection."""
    if version == "HTTP/1.1":
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mobile\r\n\r\n".encode()
    # RFC 7541: indexed :method GET and :scheme http; :authority, :path and authorization by indexed names.
    token = b"Bearer mobile"
    fields = b"\x82\x86\x01\x01x\x04" + bytes([len(path)]) + path.encode() + b"\x0f\x08" + bytes([len(token)]) + token
    headers = len(fields).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + fields  # its end and the stream's
    return HTTP2_BEGINS + headers


def process_tree(stack: Stack, program: str) -> list[psutil.Process]:
    """A program's process and its descendants."""
    main = psutil.Process(stack._programs[program].process.pid)
    return [main, *main.children()]


@contextmanager
def suspended(stack: Stack, program: str) -> Iterator[None]:
    """Suspends the program (SIGSTOP) for the duration of the block."""
    processes = process_tree(stack, program)
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@asynccontextmanager
async def stream_of_events(
    port: int, booking_id: str, account: str, monkeypatch: pytest.MonkeyPatch, *, patience: float
) -> AsyncIterator[list[bytes]]:
    """The lines of an event stream as they arrive; b"" is its end. A gateway of its own calls that port."""
    monkeypatch.setattr(upstream, "_WATCHED", 0.5)
    monkeypatch.setattr(events, "_PATIENCE", patience)
    monkeypatch.setattr(upstream, "_DEADLINE", timedelta(seconds=0.5))
    service = Upstream(f"127.0.0.1:{port}", timedelta(0), None)
    caller = Caller("Bearer mobile", "en", "1", "")
    watch = Watch(service, WatchBookingRequest(booking_id=booking_id, account=account), caller)
    heard: list[bytes] = []

    async def listen() -> None:
        await watch.open()
        async for event in watch.events(""):
            heard.append(event)  # noqa: PERF401 - as it comes
        heard.append(b"")

    listening = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await watch.close()
        await service.close()


async def unready(http: aiohttp.ClientSession) -> bool:
    """Whether the gateway reports that it is not ready."""
    async with http.get("/readyz") as response:
        return response.status == 503


def in_flight(stack: Stack) -> float:
    """The number of requests that the gateway has in flight."""
    return scrape(stack, "gateway")[0]["antrian_http_in_flight"]


async def refused(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """The HTTP status and the reason of an error."""
    error = (await response.json())["error"]
    assert error["code"] == response.status
    assert error["message"]
    return response.status, error["reason"]


async def test_a_person_finds_an_office_books_and_cancels(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    async with http.get("/v1/offices", params={**WAHID_HASYIM, "pageSize": "3"}) as response:
        offices = (await response.json())["offices"]
    assert offices[0]["officeId"] == PUSAT
    booking, whose = await book(http, crowd)
    assert (booking["state"], booking["officeId"]) == ("BOOKING_STATE_PENDING", PUSAT)

    name = f"/v1/bookings/{booking['bookingId']}"
    async with http.get(name, params={**whose, "wait": "10s"}) as response:
        decided = (await response.json())["booking"]
    assert decided["state"] == "BOOKING_STATE_CONFIRMED"
    assert decided["queueNumbers"]
    async with http.get("/v1/bookings", params=whose) as response:
        assert [b["bookingId"] for b in (await response.json())["bookings"]] == [booking["bookingId"]]
    async with http.post(f"{name}:cancel", json=whose) as response:
        assert (await response.json())["booking"]["state"] == "BOOKING_STATE_CANCELLED"
    async with http.get(name, params=whose) as response:
        assert (await response.json())["booking"]["state"] == "BOOKING_STATE_CANCELLED"


async def test_the_same_idempotency_key_returns_the_same_booking(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    headers, body = body_of(crowd)

    async def send() -> str:
        async with http.post("/v1/bookings", json=body, headers=headers) as response:
            return str((await response.json())["booking"]["bookingId"])

    assert len(set(await asyncio.gather(*(send() for _ in range(20))))) == 1


async def test_requests_of_many_phones_are_batched(stack: Stack, http: aiohttp.ClientSession, crowd: Crowd) -> None:
    def calls(rpc: str) -> float:
        series = f"antrian_rpc_calls_total{{code=OK,rpc={rpc},service=antrian.v1.BookingService}}"
        return scrape(stack, "server")[0].get(series, 0)

    batches, singles = calls("BatchRequestBookings"), calls("RequestBooking")
    bookings = await asyncio.gather(*(book(http, crowd, office_id="kanim-jakarta-barat") for _ in range(60)))
    assert len({booking["ticket"] for booking, _ in bookings}) == 60
    assert calls("BatchRequestBookings") - batches < 30
    assert calls("RequestBooking") == singles


async def test_oversized_requests_do_not_fail_others_in_their_batch(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    large_headers, large = body_of(crowd)
    large["applicants"][0]["fullName"] = "x" * 120_000

    async def press(headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        async with http.post("/v1/bookings", json=body, headers=headers) as response:
            return (200, "") if response.status == 200 else await refused(response)

    async def read(account: str) -> tuple[int, str]:
        async with http.get(f"/v1/bookings/{uuid.uuid4()}", params={"account": account}) as response:
            return await refused(response)

    small = [body_of(crowd, office_id="kanim-jakarta-selatan") for _ in range(20)]
    pressed = await asyncio.gather(*(press(large_headers, large) for _ in range(8)), *(press(*one) for one in small))
    assert set(pressed[:8]) == {(400, "INVALID_FIELD")}
    assert set(pressed[8:]) == {(200, "")}
    told = await asyncio.gather(*(read("x" * 30_000) for _ in range(15)), *(read("ani") for _ in range(20)))
    assert set(told[:15]) == {(400, "INVALID_FIELD")}
    assert set(told[15:]) == {(404, "BOOKING_NOT_FOUND")}


async def test_bookings_are_visible_only_to_their_caller_and_account(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    booking, whose = await book(http, crowd)
    name = f"/v1/bookings/{booking['bookingId']}"
    async with http.get(name, params={"account": "somebody-else"}) as response:
        assert await refused(response) == (404, "BOOKING_NOT_FOUND")
    async with http.get(name, params=whose, headers={"Authorization": "Bearer web"}) as response:
        assert await refused(response) == (404, "BOOKING_NOT_FOUND")
    async with http.get(name, params=whose, headers={"Authorization": "Bearer nobody"}) as response:
        assert await refused(response) == (401, "UNAUTHENTICATED")
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_token_of_a_person_passes_through(http: aiohttp.ClientSession, issuer: Issuer, crowd: Crowd) -> None:
    ani = {"Authorization": f"Bearer {issuer.token('ani')}"}
    keyed, body = body_of(crowd, account="")
    async with http.post("/v1/bookings", json=body, headers=keyed | ani) as response:
        assert response.status == 200, await response.text()
        booking = (await response.json())["booking"]
    path = f"/v1/bookings/{booking['bookingId']}"
    async with http.get(path, headers=ani) as response:
        assert response.status == 200
    async with http.get(path, params={"account": "budi"}, headers=ani) as response:
        assert await refused(response) == (403, "PERMISSION_DENIED")
        assert (await response.json())["error"]["metadata"] == {"field": "account"}
    for token, reason in ((issuer.token("budi"), (404, "BOOKING_NOT_FOUND")), ("a.b.c", (401, "UNAUTHENTICATED"))):
        async with http.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
            assert await refused(response) == reason


async def test_a_refusal_gives_its_reason_in_the_phones_language(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    headers, body = body_of(crowd, office_id="kanim-bogor")
    for language, words in (
        ("id", "Kantor ini berada di Jawa Barat, sedangkan Anda berada di DKI Jakarta."),
        ("en", "This office is in West Java, but you are in Jakarta."),
    ):
        async with http.post("/v1/bookings", json=body, headers=headers | {"Accept-Language": language}) as response:
            error = (await response.json())["error"]
        assert (error["code"], error["status"]) == (400, "FAILED_PRECONDITION")
        assert error["reason"] == "OFFICE_OUTSIDE_PROVINCE"
        assert words in error["message"]
        assert error["fieldViolations"][0]["field"] == "officeId"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("id;q=0.2,en;q=0.9", "There is no such office"),
        ("en-GB", "There is no such office"),
        ("fr, en;q=0.1", "There is no such office"),
        ("en;q=0.2,id;q=0.9", "Kantor itu tidak ada"),
        ("in-ID, en;q=0.8", "Kantor itu tidak ada"),
        ("*", "Kantor itu tidak ada"),
    ],
)
async def test_languages_are_ranked_by_their_quality_values(
    http: aiohttp.ClientSession, language: str, words: str
) -> None:
    path = "/v1/offices/kanim-atlantis/quota"
    for headers in ([("Accept-Language", language)], [("Accept-Language", part) for part in language.split(", ")]):
        async with http.get(path, headers=headers) as response:
            assert words in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/docs",
        "/docs/swagger-ui.css",
        "/openapi.json",
        f"/v1/offices/{PUSAT}/quota",
        "/v1/offices?provinceCode=ID-JK",
        "/v1/bookings?account=head",
        "/v1/offices/kanim-atlantis/quota",
        "/v2",
    ],
)
async def test_head_returns_what_get_does_without_the_body(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        status, length, kind = response.status, len(await response.read()), response.headers["Content-Type"]
    async with http.head(path) as response:
        assert (response.status, response.headers["Content-Type"]) == (status, kind)
        assert abs(int(response.headers["Content-Length"]) - length) <= 3, "a moment's digits may be fewer"
        assert await response.read() == b""


async def test_head_of_a_stream_ends_at_once(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    booking, whose = await book(http, crowd)
    async with http.head(f"/v1/bookings/{booking['bookingId']}:watch", params=whose) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/v1/offices", "GET, HEAD, OPTIONS"),
        ("/v1/bookings", "GET, HEAD, OPTIONS, POST"),
        ("/v1/bookings:batchGet", "OPTIONS, POST"),
    ],
)
async def test_options_and_405_list_the_allowed_methods(http: aiohttp.ClientSession, path: str, allowed: str) -> None:
    async with http.options(path) as response:
        assert (response.status, await response.read()) == (204, b"")
        assert ", ".join(sorted(response.headers["Allow"].split(", "))) == allowed
    async with http.delete(path) as response:
        assert await refused(response) == (405, "METHOD_NOT_ALLOWED")
        assert ", ".join(sorted(response.headers["Allow"].split(", "))) == allowed
    async with http.options("/v2") as response:
        assert await refused(response) == (404, "ROUTE_NOT_FOUND")


async def test_a_violation_names_the_path_of_its_field(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    headers, body = body_of(crowd, applicants=crowd.people(2))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"applicants": [body["applicants"][0], {"nik": 3}]}, "applicants[1].nik"),
        ({"applicants": [body["applicants"][0], {"nik": "3"}]}, "applicants[1].nik"),
        ({"location": {"longitude": 117.15}}, "location.latitude"),
        ({"location": {"latitude": None, "longitude": 117.15}}, "location.latitude"),
        ({"location": {"latitude": "north"}}, "location.latitude"),
        ({"office_id": body["officeId"]}, "officeId"),
    ]
    for change, field in cases:
        async with http.post("/v1/bookings", json=body | change, headers=headers) as response:
            error = (await response.json())["error"]
        assert (error["code"], error["reason"]) == (400, "INVALID_FIELD")
        assert [violation["field"] for violation in error["fieldViolations"]] == [field]
        assert field not in error["message"], "a path is for machines"
    async with http.get("/v1/offices?location.longitude=117.15") as response:
        assert (await response.json())["error"]["fieldViolations"][0]["field"] == "location.latitude"


NIK = "3171014107900001"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "INVALID_MESSAGE"),
        (b"[]", "INVALID_MESSAGE"),
        (b"\xff\xfe", "INVALID_MESSAGE"),
        (b'{"account": NaN}', "INVALID_MESSAGE"),
        (b'{"account": "a", "account": "b"}', "INVALID_FIELD"),
        (b'{"a":' * 10_000, "INVALID_MESSAGE"),
        (b'{"location":' * 50 + b"1" + b"}" * 50, "INVALID_FIELD"),
        (b'{"nickname": "x"}', "INVALID_FIELD"),
        (b'{"applicants": [{"nik": 3171014107900001}]}', "INVALID_FIELD"),
        (b'{"applicants": {"nik": "3171014107900001"}}', "INVALID_FIELD"),
        (b'{"3171014107900001": true}', "INVALID_MESSAGE"),
        (b'{"session": "LUNCH"}', "INVALID_FIELD"),
        (b'{"session": [1]}', "INVALID_FIELD"),
        (b'{"location": {"latitude": "north"}}', "INVALID_FIELD"),
        (b'{"location": {}, "provinceCode": "ID-JK"}', "INVALID_FIELD"),
        (b'{"location": {"latitude": true}}', "INVALID_FIELD"),
        (b"{}", "INVALID_FIELD"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else "",
)
async def test_an_invalid_body_is_refused_without_being_quoted(
    http: aiohttp.ClientSession, data: bytes, reason: str
) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    async with http.post("/v1/bookings", data=data, headers=headers) as response:
        assert await refused(response) == (400, reason)
        assert NIK not in await response.text()


@pytest.mark.parametrize(
    ("verb", "path", "status", "reason"),
    [
        ("GET", "/v2/offices", 404, "ROUTE_NOT_FOUND"),
        ("DELETE", "/v1/bookings", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/bookings/x:cancel", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/openapi.json", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/offices", 400, "INVALID_FIELD"),
        ("GET", "/v1/offices?provinceCode=ID-JK&nope=1", 400, "INVALID_FIELD"),
        ("GET", "/v1/offices?provinceCode=ID-JK&provinceCode=ID-JB", 400, "INVALID_FIELD"),
        ("GET", "/v1/offices?provinceCode=ID-JK&pageSize=many", 400, "INVALID_FIELD"),
        ("GET", "/v1/offices?provinceCode=%ff", 400, "INVALID_MESSAGE"),
        ("GET", "/v1/offices/kanim-atlantis/quota", 404, "OFFICE_NOT_FOUND"),
        ("GET", "/v1/bookings/x?account=a", 400, "INVALID_FIELD"),
        ("GET", "/v1/bookings/6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f?account=a&wait=60.5s", 400, "INVALID_FIELD"),
        ("GET", "/v1/bookings/6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f?account=a&wait=-0.5s", 400, "INVALID_FIELD"),
        ("GET", "/v1/bookings/x:watch?account=a", 400, "INVALID_FIELD"),
        ("POST", "/v1/bookings", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_a_malformed_http_request_gets_a_clear_error(
    http: aiohttp.ClientSession, verb: str, path: str, status: int, reason: str
) -> None:
    async with http.request(verb, path) as response:
        assert await refused(response) == (status, reason)
        assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("encoding", "status", "named"),
    [("gzip", 415, "gzip"), ("br", 415, "br"), (NIK, 415, "Content-Encoding"), ("identity", 400, "")],
)
async def test_a_compressed_body_is_refused_and_its_encoding_is_named(
    http: aiohttp.ClientSession, encoding: str, status: int, named: str
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding, "Idempotency-Key": str(uuid.uuid4())}
    async with http.post("/v1/bookings", data=gzip.compress(b"{}"), headers=headers) as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert named in error["message"]
        assert NIK not in error["message"]
        assert response.headers.get("Accept-Encoding") == ("identity" if status == 415 else None)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("HTTP/1.1\r\nHost: paspor.example:8080", 200),
        ("HTTP/1.1\r\nHost: [::1]:7780", 200),
        ("HTTP/1.0", 200),
        ("HTTP/1.1", 400),
        ("HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        ("HTTP/1.1\r\nHost: a b/c", 400),
        ("HTTP/1.1\r\nHost:", 400),
    ],
)
async def test_http_1_1_requires_exactly_one_host_header(stack: Stack, head: str, status: int) -> None:
    reader, writer = await connect(stack)
    writer.write(f"GET /healthz {head}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert f" {status} ".encode() in await reader.readline()
    writer.close()


async def test_an_overlong_token_is_refused_as_unknown(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/bookings?account=a", headers={"Authorization": f"Bearer {'x' * 20_000}"}) as response:
        assert await refused(response) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("key", ["", "x", "6f1c2d34"])
async def test_booking_requires_an_idempotency_key(http: aiohttp.ClientSession, crowd: Crowd, key: str) -> None:
    _, body = body_of(crowd)
    async with http.post("/v1/bookings", json=body, headers={"Idempotency-Key": key} if key else {}) as response:
        error = (await response.json())["error"]
    assert error["fieldViolations"][0]["field"] == "Idempotency-Key"
    async with http.post(
        "/v1/bookings", json=body | {"requestId": str(uuid.uuid4())}, headers={"Idempotency-Key": str(uuid.uuid4())}
    ) as response:
        assert (await response.json())["error"]["fieldViolations"][0]["field"] == "requestId"


async def test_a_body_that_is_too_large_or_too_slow_is_refused(http: aiohttp.ClientSession, stack: Stack) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    async with http.post("/v1/bookings", data=b" " * (BODY_LIMIT + 1), headers=headers) as response:
        assert await refused(response) == (413, "TOO_LARGE")
    reader, writer = await connect(stack)
    lines = ["POST /v1/bookings HTTP/1.1", "Host: x", "Authorization: Bearer mobile", "Content-Type: application/json"]
    head = "\r\n".join([*lines, "Content-Length: 9", "", "{"])
    writer.write(head.encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
    _, cut = await connect(stack)
    cut.write(head.encode())
    await cut.drain()
    cut.close()
    async with http.get("/healthz") as response:
        assert response.status == 200


async def test_changes_are_sent_as_events_and_not_repeated_on_reconnect(
    http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    booking, whose = await book(http, crowd)
    watch = f"/v1/bookings/{booking['bookingId']}:watch"
    async with http.get(watch, params=whose) as response:
        assert response.content_type == "text/event-stream"
        events = [event.split("\n") for event in (await response.text()).split("\n\n") if "data: " in event]
    last = json.loads(events[-1][2].removeprefix("data: "))
    assert last["booking"]["state"] == "BOOKING_STATE_CONFIRMED"
    assert events[-1][1] == "event: booking"
    name = events[-1][0].removeprefix("id: ")
    async with http.get(watch, params=whose, headers={"Last-Event-ID": name}) as response:
        assert (response.status, await response.text()) == (204, "")
    async with http.get(watch, params=whose, headers={"Last-Event-ID": "older"}) as response:
        assert f"id: {name}" in await response.text()
    async with http.get(watch, params={"account": "budi"}) as response:
        assert await refused(response) == (404, "BOOKING_NOT_FOUND")


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("asks", ["?account={account}&wait=60s", ":watch?account={account}"], ids=["wait", "watch"])
async def test_a_waiting_request_ends_when_its_phone_disconnects(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd, version: str, asks: str
) -> None:
    with suspended(stack, "workers"):
        booking, whose = await book(http, crowd)
        path = f"/v1/bookings/{booking['bookingId']}{asks.format(**whose)}"
        before = in_flight(stack)
        writers = [(await connect(stack))[1] for _ in range(5)]
        for writer in writers:
            writer.write(request_bytes(version, path))
        await until(lambda: in_flight(stack) == before + 5, 5)
        for writer in writers:
            writer.close()
        await until(lambda: in_flight(stack) == before, 5)


async def test_a_request_to_a_frozen_server_ends_when_its_phone_disconnects(stack: Stack) -> None:
    before, body = in_flight(stack), b'{"account": "ani"}'
    _, writer = await connect(stack)
    with suspended(stack, "server"):
        head = f"POST /v1/bookings/{uuid.uuid4()}:cancel HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(
            head.encode() + f"Authorization: Bearer mobile\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await until(lambda: in_flight(stack) == before + 1, 5)
        writer.close()
        await until(lambda: in_flight(stack) == before, 2)


async def test_an_event_stream_ends_when_the_service_becomes_unreachable(
    stack: Stack, link: Proxy, http: aiohttp.ClientSession, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection between gateway and service is black-holed."""
    with suspended(stack, "workers"):
        booking, whose = await book(http, crowd)
        async with stream_of_events(
            link.port, booking["bookingId"], whose["account"], monkeypatch, patience=0.5
        ) as heard:
            await until(lambda: heard.count(b": hb\n\n") >= 2, 10)
            link.black_hole()
            await until(lambda: heard[-1] == b"", 10)  # it has ended
            known = len(heard)
            assert [event for event in heard if b"event: booking" in event][1:] == []
        link.heal()
    async with http.get(f"/v1/bookings/{booking['bookingId']}:watch", params=whose) as response:
        assert "CONFIRMED" in await response.text()
    assert len(heard) == known


async def test_the_outcome_arrives_after_a_frozen_server_resumes(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    with suspended(stack, "workers"):
        booking, whose = await book(http, crowd)
        port = int(stack.address.rpartition(":")[2])
        async with stream_of_events(port, booking["bookingId"], whose["account"], monkeypatch, patience=20) as heard:
            await until(lambda: b": hb\n\n" in heard, 10)
            with suspended(stack, "server"):
                assert await unready(http)  # which takes a second, and so does the next
                known = heard.count(b": hb\n\n")
                assert await unready(http)
                assert heard.count(b": hb\n\n") == known, "only what lives has a heartbeat"
            await until(lambda: heard.count(b": hb\n\n") > known, 10)
            for worker in process_tree(stack, "workers"):
                worker.resume()
            await until(lambda: heard[-1] == b"", 10)
    assert b"CONFIRMED" in heard[-2]


async def test_a_black_holed_connection_is_replaced(
    stack: Stack, link: Proxy, http: aiohttp.ClientSession, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for a call without a deadline."""
    monkeypatch.setattr(calls, "_QUIET_MS", 300)
    monkeypatch.setattr(calls, "_NO_ECHO_MS", 300)
    with suspended(stack, "workers"):
        booking, whose = await book(http, crowd)
        async with BookingClient(f"127.0.0.1:{link.port}", token="mobile") as client:
            stream = client.stub.WatchBooking(
                WatchBookingRequest(booking_id=booking["bookingId"], **whose), metadata=client._metadata
            )
            assert await stream.read()
            link.black_hole()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(stream.read(), 10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_unchanged_response_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    for path, longest in (("/v1/offices?provinceCode=ID-BA", 60), ("/v1/offices/kanim-ternate/quota", 1)):
        async with http.get(path) as response:
            tag, control = response.headers["ETag"], response.headers["Cache-Control"]
        assert control.startswith("private, max-age=")
        assert 0 <= int(control.rpartition("=")[2]) <= longest
        async with http.get(path, headers={"If-None-Match": f'"other", {tag}'}) as response:
            assert (response.status, await response.read()) == (304, b"")


async def test_request_ids_for_tracing_are_returned(http: aiohttp.ClientSession) -> None:
    async with http.get("/healthz", headers={"X-Request-Id": "abc-1"}) as response:
        assert response.headers["X-Request-Id"] == "abc-1"
    async with http.get("/healthz", headers={"X-Request-Id": NIK}) as response:
        assert response.headers["X-Request-Id"] not in {"", NIK}


async def test_only_pages_of_a_configured_origin_may_call(http: aiohttp.ClientSession) -> None:
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    for origin, status, allowed in ((ORIGIN, 200, ORIGIN), ("https://calo.example", 400, None)):
        async with http.options("/v1/bookings", headers={"Origin": origin, **ask}) as response:
            assert (response.status, response.headers.get("Access-Control-Allow-Origin")) == (status, allowed)


async def test_killing_the_server_behind_the_gateway_books_nobody_twice(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    slots = cycle((day.isoformat(), session) for day in crowd.dates for session in (SESSION_MORNING, SESSION_AFTERNOON))
    requests = [
        body_of(crowd, office_id="kanim-jakarta-timur", service_date=day, session=session)
        for day, session in islice(slots, 200)
    ]
    retries = 0

    async def press(headers: dict[str, str], body: dict[str, Any], delay: float) -> str:
        nonlocal retries
        await asyncio.sleep(delay)
        while True:
            async with http.post("/v1/bookings", json=body, headers=headers) as response:
                if response.status == 200:
                    return str((await response.json())["booking"]["bookingId"])
                assert response.status in {503, 504}, await response.text()
            retries += 1
            await asyncio.sleep(1)

    async def kill() -> None:
        await asyncio.sleep(0.3)
        stack._programs["server"].process.send_signal(signal.SIGKILL)
        stack._programs["server"].process.wait()
        stack.tend()

    pressed = [press(headers, body, n * 0.005) for n, (headers, body) in enumerate(requests)]
    ids, _ = await asyncio.gather(asyncio.gather(*pressed), kill())
    again = await asyncio.gather(*(press(headers, body, 0) for headers, body in requests))
    assert ids == again
    assert len(set(ids)) == 200
    assert retries <= 200, "a phone sees one retry"


async def test_the_gateway_is_not_ready_while_the_service_is_unreachable(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    async def ready() -> int:
        async with http.get("/readyz") as response:
            return response.status

    assert await ready() == 200
    server = stack._programs["server"].process
    server.send_signal(signal.SIGSTOP)
    try:
        assert await ready() == 503
    finally:
        server.send_signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        while await ready() != 200:  # noqa: ASYNC110 - it is another program's
            await asyncio.sleep(0.1)


@pytest.mark.last
async def test_sigterm_ends_streams_and_answers_waiting_requests(
    stack: Stack, http: aiohttp.ClientSession, crowd: Crowd
) -> None:
    """Ends the gateway, and starts it again."""
    worker = stack._programs["workers"].process
    booking, whose = await book(http, crowd)
    name, gateway = f"/v1/bookings/{booking['bookingId']}", stack._programs["gateway"].process
    worker.send_signal(signal.SIGSTOP)
    try:
        async with http.get(name, params={**whose, "wait": "1s"}) as waiting:
            gateway.send_signal(signal.SIGTERM)
            assert waiting.status == 200
        await until(lambda: gateway.poll() is not None, 12)
        assert gateway.returncode == 0
    finally:
        worker.send_signal(signal.SIGCONT)
        stack.tend()
    await until(lambda: _listens(stack.http_address), 20)


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
