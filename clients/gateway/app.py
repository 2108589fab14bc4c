"""The ASGI application: routes each request to a call of the service, and sends the response."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from mimetypes import guess_type
from typing import Any

from google.protobuf.message import Message

from antrian.errors import Text
from antrian.logs import REQUEST_ID
from antrian.v1 import booking_service_pb2 as wire
from antrian.words import about
from clients.gateway import metrics
from clients.gateway.disconnect import Receive, cancelled_on_disconnect, disconnected
from clients.gateway.errors import HttpError, own_error
from clients.gateway.events import Watch, is_last, name_of
from clients.gateway.freshness import MAX_AGE, Freshness
from clients.gateway.pages import HEALTH, PAGES, content
from clients.gateway.requests import (
    Scope,
    check_host,
    read_body,
    read_caller,
    read_headers,
    read_origin,
    set_origin,
    set_request_id,
)
from clients.gateway.rooms import Network, Room, address_of, bounded_when_slow, busy, client_of
from clients.gateway.routes import MethodNotAllowedError, Route, RouteNotFoundError, find
from clients.gateway.settings import GatewaySettings
from clients.gateway.transcode import MalformedError, read, write
from clients.gateway.upstream import Caller, Upstream

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_JSON = {"content-type": "application/json; charset=utf-8"}
_NO_STORE = {**_JSON, "cache-control": "no-store"}
_EVENTS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}
_log = logging.getLogger(__name__)


class Response:
    """The status, headers and body of a response."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] = _JSON) -> None:
        self.status, self.body, self.headers = status, body, headers


class Gateway:
    """Serves HTTP requests by calls of the service. When `draining` is set, streams end and /readyz returns 503."""

    def __init__(self, settings: GatewaySettings, upstream: Upstream) -> None:
        self.draining = asyncio.Event()
        self._settings, self._upstream = settings, upstream
        self._fresh = Freshness()
        self._serving = 0
        most = settings.most_requests
        self._bodies = Room(max(4, most // 10), max(2, most // 40))
        self._streams = Room(most * 4 // 5, most * 2 // 5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request (ASGI)."""
        if scope["type"] != "http":
            return
        headers = read_headers(scope)
        caller = read_caller(headers)
        REQUEST_ID.set(caller.request_id)
        began, rpc = time.perf_counter(), "none"
        counts = scope["path"] not in HEALTH
        self._serving += counts
        metrics.in_flight.inc()
        try:
            try:
                rpc, response = await self._serve(scope, headers, caller, receive, send)
            except HttpError as error:
                response = Response(error.status, error.body, _JSON | error.headers)
            except Exception as error:  # an internal error must have a response, too
                response = _internal_error(error, caller)
            if response:
                await _send(send, response, caller, with_body=scope["method"] != "HEAD")
            metrics.requests.labels(rpc, response.status if response else 200).inc()
        finally:
            metrics.seconds.labels(rpc).observe(time.perf_counter() - began)
            metrics.in_flight.dec()
            self._serving -= counts

    async def _serve(
        self, scope: Scope, headers: Mapping[str, str], caller: Caller, receive: Receive, send: Send
    ) -> tuple[str, Response | None]:
        """Returns the rpc and its response, or None if the response was streamed."""
        check_host(scope, caller)
        verb, path = scope["method"], scope["path"]
        if path in HEALTH and verb in {"GET", "HEAD"}:
            return "none", await self._health(path)
        if self._serving > self._settings.most_requests:
            raise busy("SERVER_BUSY", english=caller.english)
        try:
            route, variables = find("GET" if verb == "HEAD" else verb, path)
        except MethodNotAllowedError as error:
            return "none", _wrong_method(verb, error.allowed, caller)
        except RouteNotFoundError:
            return "none", self._page(verb, path, caller)
        body = await self._body(scope, headers, caller, receive) if route.in_body else b""
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
            set_request_id(message, headers, caller)
        if isinstance(message, wire.RequestBookingRequest | wire.BatchRequestBookingsRequest):
            set_origin(message, read_origin(client_of(*self._peer(scope, headers)), headers))
        if isinstance(message, wire.WatchBookingRequest):
            with self._streams.place(self._address(scope, headers), english=caller.english):
                return route.rpc, await self._watch(message, headers, caller, receive, send, head=verb == "HEAD")
        if route.rpc in MAX_AGE:
            return route.rpc, await self._cacheable(route, message, headers, caller, receive)
        async with cancelled_on_disconnect(receive):
            return route.rpc, Response(200, write(await self._upstream.call(route, message, caller)), _NO_STORE)

    def _address(self, scope: Scope, headers: Mapping[str, str]) -> str:
        return address_of(*self._peer(scope, headers))

    def _peer(self, scope: Scope, headers: Mapping[str, str]) -> tuple[str, str, tuple[Network, ...]]:
        peer = (scope.get("client") or ("", 0))[0]
        return peer, headers.get("x-forwarded-for", ""), self._settings.trusted_proxies

    async def _body(self, scope: Scope, headers: Mapping[str, str], caller: Caller, receive: Receive) -> bytes:
        """Reads a body, of a caller that may call the service. One that comes slowly needs a place and a token that is right."""
        try:
            if not caller.authorization:
                await self._upstream.check_token(caller)
            async with bounded_when_slow(
                self._bodies,
                lambda: self._address(scope, headers),
                lambda: self._upstream.check_token(caller),
                english=caller.english,
            ):
                return await read_body(headers, receive, caller, self._settings.body_seconds)
        except HttpError as error:
            error.headers["connection"] = "close"  # what is left of the body is not read
            raise

    async def _cacheable(
        self, route: Route, message: Message, headers: Mapping[str, str], caller: Caller, receive: Receive
    ) -> Response:
        key = route.rpc, caller.identity, message.SerializeToString(deterministic=True)
        async with cancelled_on_disconnect(receive):
            fresh = await self._fresh.get(key, MAX_AGE[route.rpc], lambda: self._upstream.call(route, message, caller))
        known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
        if fresh.tag in known or known == ["*"]:
            return Response(304, b"", fresh.headers)
        return Response(200, fresh.body, _JSON | fresh.headers)

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
            async with cancelled_on_disconnect(receive):
                first = await watch.open()
            if is_last(first) and name_of(first) == last_seen:
                return Response(204, b"", {"cache-control": "no-store"})  # so that an EventSource does not reconnect
            if head:
                return Response(200, b"", _EVENTS)
            await send(_start(200, _EVENTS, caller))
            with metrics.streams.track_inprogress():
                await self._stream(watch, last_seen, receive, send)
        finally:
            await watch.close()
        return None

    async def _stream(self, watch: Watch, last_seen: str, receive: Receive, send: Send) -> None:
        """Sends events until they end, the client disconnects, or the gateway drains."""

        async def send_events() -> None:
            async for event in watch.events(last_seen):
                await send({"type": "http.response.body", "body": event, "more_body": True})

        tasks = [asyncio.create_task(work) for work in (send_events(), disconnected(receive), self.draining.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if not tasks[0].cancelled() and (error := tasks[0].exception()):
            _log.error("an event stream ended with an internal error", exc_info=error)

    async def _health(self, path: str) -> Response:
        """Returns the response to a probe. It needs no room, so that clients who fill the gateway do not have it restarted."""
        if path == "/healthz":
            return Response(200, b'{"status":"ok"}', _NO_STORE)
        ready = not self.draining.is_set() and await self._upstream.ready()
        return Response(200 if ready else 503, json.dumps({"ready": ready}).encode(), _NO_STORE)

    def _page(self, verb: str, path: str, caller: Caller) -> Response:
        """Returns a page of the gateway itself: the OpenAPI document and its viewer."""
        if path in PAGES and verb not in {"GET", "HEAD"}:
            return _wrong_method(verb, "GET, HEAD, OPTIONS", caller)
        if name := PAGES.get(path):
            kind = guess_type(name)[0] or "application/octet-stream"
            headers = {"content-type": f"{kind}; charset=utf-8", "cache-control": "max-age=3600"}
            return Response(200, content(name), headers)
        words = Text("Alamat ini tidak ada; lihat /docs.", "There is no such path; see /docs.")
        raise own_error(404, "NOT_FOUND", "ROUTE_NOT_FOUND", words, english=caller.english)


def _wrong_method(verb: str, allowed: str, caller: Caller) -> Response:
    """Returns the response to OPTIONS. Raises HttpError 405 for other methods that the path does not have."""
    if verb == "OPTIONS":
        return Response(204, b"", {"allow": allowed})
    words = Text(
        "Alamat ini tidak menerima metode itu; metode yang diterima ada di header Allow.",
        "This path does not allow this method; the Allow header lists the methods that it allows.",
    )
    raise own_error(
        405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", words, english=caller.english, headers={"allow": allowed}
    )  # fmt: skip


def _internal_error(error: Exception, caller: Caller) -> Response:
    error_id = secrets.token_hex(6)
    _log.error("internal error %s", error_id, exc_info=error)
    words = Text(
        f"Terjadi kesalahan pada layanan. Coba lagi; bila terulang, sebutkan {error_id} kepada pengelola.",
        f"An internal error occurred. Try again; if it happens again, report its id, {error_id}.",
    )
    internal = own_error(500, "INTERNAL", "INTERNAL", words, english=caller.english)
    return Response(internal.status, internal.body)


def _start(status: int, headers: Mapping[str, str], caller: Caller) -> Mapping[str, Any]:
    complete = {**headers, "x-request-id": caller.request_id, "x-content-type-options": "nosniff"}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in complete.items()],
    }


async def _send(send: Send, response: Response, caller: Caller, *, with_body: bool) -> None:
    """Sends a response, for HEAD without the body. Streams have no content-length."""
    stream = response.headers is _EVENTS
    length = {} if response.status in {204, 304} or stream else {"content-length": str(len(response.body))}
    await send(_start(response.status, {**response.headers, **length}, caller))
    await send({"type": "http.response.body", "body": response.body if with_body else b"", "more_body": False})
