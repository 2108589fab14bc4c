"""The ASGI application: a request's way from its path to its answer."""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from mimetypes import guess_type
from typing import Any

from google.protobuf.message import Message

from antrian.errors import Text
from antrian.logs import REQUEST_ID
from antrian.text import has_nik
from antrian.v1 import booking_service_pb2 as wire
from antrian.words import about
from clients.gateway import metrics
from clients.gateway.errors import HttpError, own_error
from clients.gateway.events import Watch, is_last, name_of
from clients.gateway.freshness import MAX_AGE, Freshness
from clients.gateway.routes import MethodNotAllowedError, Route, RouteNotFoundError, find
from clients.gateway.settings import GatewaySettings
from clients.gateway.transcode import MalformedError, read, write
from clients.gateway.upstream import Caller, Upstream

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 128 * 1024
"""The largest body that is taken, in bytes; a batch of 200 single requests fits."""
_KEY = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_VISIBLE = re.compile(r"(?=.{1,4096}$)[\x21-\x7e]+( [\x21-\x7e]+)*")
_HOST = re.compile(r"[A-Za-z0-9._~-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_ENCODING = re.compile(r"[a-z]{1,20}")
_JSON = {"content-type": "application/json; charset=utf-8"}
_EVENTS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}
_MOMENT = 0.2  # seconds for which we do not look whether a phone is there: that costs half as much as an answer
_CLOSE = {"connection": "close"}
_FILES = files("clients.gateway")
_log = logging.getLogger(__name__)


class Response:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] = _JSON) -> None:
        self.status, self.body, self.headers = status, body, headers


class Gateway:
    """Answers HTTP requests by calls of the service. draining: streams end, and no balancer shall send more."""

    def __init__(self, settings: GatewaySettings, upstream: Upstream) -> None:
        self.draining = asyncio.Event()
        self._settings, self._upstream = settings, upstream
        self._fresh = Freshness()
        self._serving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            return
        headers = _headers(scope)
        caller = _caller(headers)
        REQUEST_ID.set(caller.request_id)
        began, rpc = time.perf_counter(), "none"
        self._serving += 1
        metrics.in_flight.inc()
        try:
            try:
                rpc, answer = await self._answer(scope, headers, caller, receive, send)
            except HttpError as error:
                answer = Response(error.status, error.body, _JSON | error.headers)
            except Exception as error:  # a fault of ours must have an answer, too
                answer = _fault(error, caller)
            if answer:
                await _send(send, answer, caller, with_body=scope["method"] != "HEAD")
            metrics.requests.labels(rpc, answer.status if answer else 200).inc()
        finally:
            metrics.seconds.labels(rpc).observe(time.perf_counter() - began)
            metrics.in_flight.dec()
            self._serving -= 1

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], caller: Caller, receive: Receive, send: Send
    ) -> tuple[str, Response | None]:
        """The rpc and its answer; None when it was streamed."""
        if self._serving > self._settings.most_requests:
            raise _busy(caller)
        _check_host(scope, caller)
        verb, path = scope["method"], scope["path"]
        try:
            route, variables = find("GET" if verb == "HEAD" else verb, path)
        except MethodNotAllowedError as error:
            return "none", _other_verb(verb, error.allowed, caller)
        except RouteNotFoundError:
            return "none", await self._page(verb, path, caller)
        body = await self._body(headers, receive, caller) if route.in_body else b""
        try:
            message = read(route, variables, scope["query_string"], body)
        except MalformedError as error:
            reason, words = (
                ("INVALID_FIELD", error.words) if error.field else ("INVALID_MESSAGE", about("", error.words))
            )
            raise own_error(
                400, "INVALID_ARGUMENT", reason, words, english=caller.english, field=error.field
            ) from None  # fmt: skip
        if isinstance(message, wire.RequestBookingRequest):
            _set_key(message, headers, caller)
        if isinstance(message, wire.WatchBookingRequest):
            return route.rpc, await self._watch(message, headers, caller, receive, send, head=verb == "HEAD")
        if route.rpc in MAX_AGE:
            return route.rpc, await self._fresh_answer(route, message, headers, caller, receive)
        async with _while_there(receive):
            return route.rpc, Response(200, write(await self._upstream.call(route, message, caller)), _NO_STORE)

    async def _fresh_answer(
        self, route: Route, message: Message, headers: Mapping[str, str], caller: Caller, receive: Receive
    ) -> Response:
        key = route.rpc, caller.who, message.SerializeToString(deterministic=True)
        async with _while_there(receive):
            fresh = await self._fresh.get(key, MAX_AGE[route.rpc], lambda: self._upstream.call(route, message, caller))
        known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
        if fresh.tag in known or known == ["*"]:
            return Response(304, b"", fresh.headers)
        return Response(200, fresh.body, _JSON | fresh.headers)

    async def _body(self, headers: Mapping[str, str], receive: Receive, caller: Caller) -> bytes:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            words = Text("Kirim isi sebagai application/json.", "Send the body as application/json.")
            raise own_error(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", words, english=caller.english)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity"}:
            # What is no word may be anything, a NIK too.
            name = encoding if _ENCODING.fullmatch(encoding) else "Content-Encoding"
            words = Text(
                f"Kirim isi tanpa kompresi: {name} tidak dikenal di sini.",
                f"Send the body without an encoding: {name} is not understood here.",
            )
            raise own_error(
                415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", words, english=caller.english,
                headers={"accept-encoding": "identity"},
            )  # fmt: skip
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > BODY_LIMIT:
            raise _too_large(caller)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while more:
                    part = await receive()
                    if part["type"] == "http.disconnect":
                        raise _gone()
                    body += part.get("body", b"")
                    if len(body) > BODY_LIMIT:
                        raise _too_large(caller)
                    more = part.get("more_body", False)
        except TimeoutError:
            words = Text(
                "Isi permintaan datang terlalu lambat. Kirim lagi.", "The body came too slowly. Send it again."
            )
            raise own_error(
                408, "DEADLINE_EXCEEDED", "BODY_TIMEOUT", words, english=caller.english, headers=_CLOSE
            ) from None  # fmt: skip
        return bytes(body)

    async def _watch(
        self,
        message: wire.WatchBookingRequest,
        headers: Mapping[str, str],
        caller: Caller,
        receive: Receive,
        send: Send,
        *,
        head: bool,
    ) -> Response | None:
        watch, last_seen = Watch(self._upstream, message, caller), headers.get("last-event-id", "")
        try:
            async with _while_there(receive):
                first = await watch.open()
            if is_last(first) and name_of(first) == last_seen:
                return Response(204, b"", {"cache-control": "no-store"})  # which tells an EventSource to stay away
            if head:
                return Response(200, b"", _EVENTS)
            await send(_start(200, _EVENTS, caller))
            with metrics.streams.track_inprogress():
                await self._stream(watch, last_seen, receive, send)
        finally:
            await watch.close()
        return None

    async def _stream(self, watch: Watch, last_seen: str, receive: Receive, send: Send) -> None:
        """Sends the events until they end, the phone leaves, or we do."""

        async def tell() -> None:
            async for event in watch.events(last_seen):
                await send({"type": "http.response.body", "body": event, "more_body": True})

        tasks = [asyncio.create_task(work) for work in (tell(), _left(receive), self.draining.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if not tasks[0].cancelled() and (error := tasks[0].exception()):
            _log.error("an event stream ended by a fault", exc_info=error)

    async def _page(self, verb: str, path: str, caller: Caller) -> Response:
        """What is not the service's: health, and the document with its page."""
        if path in _PAGES and verb not in {"GET", "HEAD"}:
            return _other_verb(verb, "GET, HEAD, OPTIONS", caller)
        if path == "/healthz":
            return Response(200, b'{"status":"ok"}', _NO_STORE)
        if path == "/readyz":
            ready = not self.draining.is_set() and await self._upstream.ready()
            return Response(200 if ready else 503, json.dumps({"ready": ready}).encode(), _NO_STORE)
        if name := _PAGES.get(path):
            content = _file(name)
            kind = guess_type(name)[0] or "application/octet-stream"
            return Response(200, content, {"content-type": f"{kind}; charset=utf-8", "cache-control": "max-age=3600"})
        words = Text("Alamat ini tidak ada; lihat /docs.", "There is no such address; see /docs.")
        raise own_error(404, "NOT_FOUND", "ROUTE_NOT_FOUND", words, english=caller.english)


async def _left(receive: Receive) -> None:
    """Returns when the phone leaves. The body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def _while_there(receive: Receive) -> AsyncIterator[None]:
    """Ends what is done within when the phone leaves, and raises the 499 that nobody reads."""
    this, watcher, gone = asyncio.current_task(), None, False

    async def watch() -> None:
        nonlocal gone
        await _left(receive)
        gone = bool(this and this.cancel())

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(_MOMENT, begin)
    try:
        yield
    except asyncio.CancelledError:
        if this and gone:
            this.uncancel()
            raise _gone() from None
        raise
    finally:
        timer.cancel()
        if watcher:
            watcher.cancel()


@cache
def _file(name: str) -> bytes:
    return _FILES.joinpath(name).read_bytes()


def _pages() -> dict[str, str]:
    """The files that are served as they are, by path."""
    pages = {"/healthz": "", "/readyz": "", "/openapi.json": "openapi.json", "/docs": "docs/index.html"}
    return pages | {f"/docs/{file.name}": f"docs/{file.name}" for file in _FILES.joinpath("docs").iterdir()}


_NO_STORE = {**_JSON, "cache-control": "no-store"}
_PAGES = _pages()


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "accept-language" and key in headers:  # a list may come in parts
            headers[key] += f", {text}"
        headers.setdefault(key, text)
    return headers


def _check_host(scope: Scope, caller: Caller) -> None:
    """Raises 400 unless HTTP/1.1 has said once whom it asks, as RFC 9112 wants."""
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
    if scope["http_version"] == "1.1" and not (len(hosts) == 1 and _HOST.fullmatch(hosts[0])):
        words = Text("Kirim satu header Host yang benar.", "Send one valid Host header.")
        raise own_error(400, "INVALID_ARGUMENT", "INVALID_MESSAGE", words, english=caller.english)


def _caller(headers: Mapping[str, str]) -> Caller:
    request_id, trace = headers.get("x-request-id", ""), headers.get("traceparent", "")
    authorization = headers.get("authorization", "")
    return Caller(
        # gRPC takes visible ASCII only, and not much of it; what is none belongs to no caller.
        authorization if _VISIBLE.fullmatch(authorization) else "invalid" * bool(authorization),
        headers.get("accept-language", "").strip(),
        request_id if _REQUEST_ID.fullmatch(request_id) and not has_nik(request_id) else secrets.token_hex(6),
        trace if _TRACEPARENT.fullmatch(trace) else "",
    )


def _set_key(message: wire.RequestBookingRequest, headers: Mapping[str, str], caller: Caller) -> None:
    """The Idempotency-Key is the request_id: a phone that sends it again must get the same booking."""
    key = headers.get("idempotency-key", "").strip().strip('"')
    if not _KEY.fullmatch(key):
        words = Text(
            "header Idempotency-Key harus UUID yang dibuat sebelum permintaan pertama, dan tetap sama bila diulang",
            "the header Idempotency-Key must be a UUID, made before it is first sent and the same when it is sent again",
        )
        raise own_error(
            400, "INVALID_ARGUMENT", "INVALID_FIELD", words, english=caller.english, field="Idempotency-Key"
        )  # fmt: skip
    if message.request_id and message.request_id.lower() != key.lower():
        words = Text("berbeda dengan Idempotency-Key", "is another than the Idempotency-Key")
        raise own_error(400, "INVALID_ARGUMENT", "INVALID_FIELD", words, english=caller.english, field="requestId")
    message.request_id = key


def _gone() -> HttpError:
    return HttpError(499, {"status": "CANCELLED", "reason": "CANCELLED", "message": ""})


def _other_verb(verb: str, allowed: str, caller: Caller) -> Response:
    """The answer to a verb that an address does not have."""
    if verb == "OPTIONS":
        return Response(204, b"", {"allow": allowed})
    words = Text(
        "Alamat ini tidak menerima metode itu; metode yang diterima ada di header Allow.",
        "This address does not take that method; the header Allow has those that it takes.",
    )
    raise own_error(
        405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", words, english=caller.english, headers={"allow": allowed}
    )  # fmt: skip


def _too_large(caller: Caller) -> HttpError:
    most = f"{BODY_LIMIT // 1024} KiB"
    words = Text(
        f"Isi permintaan lebih dari {most}. Kirim dalam beberapa bagian.",
        f"The body is larger than {most}. Send less at once.",
    )
    return own_error(413, "INVALID_ARGUMENT", "TOO_LARGE", words, english=caller.english, headers=_CLOSE)


def _busy(caller: Caller) -> HttpError:
    words = Text(
        "Terlalu banyak permintaan saat ini. Coba lagi sebentar.", "Too many requests at the moment. Try again shortly."
    )
    return own_error(503, "UNAVAILABLE", "SERVER_BUSY", words, english=caller.english, headers={"retry-after": "2"})


def _fault(error: Exception, caller: Caller) -> Response:
    error_id = secrets.token_hex(6)
    _log.error("fault %s", error_id, exc_info=error)
    words = Text(
        f"Terjadi kesalahan pada layanan. Coba lagi; bila terulang, sebutkan {error_id} kepada pengelola.",
        f"This is a fault of ours. Try again; if it comes again, tell us its id, {error_id}.",
    )
    told = own_error(500, "INTERNAL", "INTERNAL", words, english=caller.english)
    return Response(told.status, told.body)


def _start(status: int, headers: Mapping[str, str], caller: Caller) -> Mapping[str, Any]:
    every = {**headers, "x-request-id": caller.request_id, "x-content-type-options": "nosniff"}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in every.items()],
    }


async def _send(send: Send, answer: Response, caller: Caller, *, with_body: bool) -> None:
    """Sends an answer, to HEAD without its body. A stream's has no length."""
    stream = answer.headers is _EVENTS
    length = {} if answer.status in {204, 304} or stream else {"content-length": str(len(answer.body))}
    await send(_start(answer.status, {**answer.headers, **length}, caller))
    await send({"type": "http.response.body", "body": answer.body if with_body else b"", "more_body": False})
