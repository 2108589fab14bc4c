"""Reads the head and the body of a request, and validates what the transcoder does not see."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from antrian.errors import Text
from antrian.text import has_nik
from antrian.v1 import booking_service_pb2 as wire
from clients.gateway.disconnect import Receive, client_disconnected
from clients.gateway.errors import HttpError, own_error
from clients.gateway.upstream import Caller

Scope = Mapping[str, Any]

BODY_LIMIT = 128 * 1024
"""The largest accepted body, in bytes. A batch of 200 single requests fits."""
_KEY = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_METADATA_VALUE = re.compile(r"(?=.{1,4096}$)[\x21-\x7e]+( [\x21-\x7e]+)*")
_HOST = re.compile(r"[A-Za-z0-9._~-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_DEVICE_KEY = re.compile(r"[\x21-\x7e]{1,256}")
_ENCODING = re.compile(r"[a-z]{1,20}")
_LISTS = {"accept-language", "x-forwarded-for"}


def read_headers(scope: Scope) -> dict[str, str]:
    """Returns the headers by lower-case name. Of repeated headers the first counts."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in _LISTS and key in headers:  # a list may be split over several headers
            headers[key] += f", {text}"
        headers.setdefault(key, text)
    return headers


def check_host(scope: Scope, caller: Caller) -> None:
    """Raises HttpError 400 unless a request of HTTP/1.1 has exactly one valid Host header, as RFC 9112 requires."""
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
    if scope["http_version"] == "1.1" and not (len(hosts) == 1 and _HOST.fullmatch(hosts[0])):
        words = Text("Kirim satu header Host yang benar.", "Send one valid Host header.")
        raise own_error(400, "INVALID_ARGUMENT", "INVALID_MESSAGE", words, english=caller.english)


def read_caller(headers: Mapping[str, str]) -> Caller:
    """Returns the caller that the headers name. Replaces invalid values, and generates a missing request id."""
    request_id, trace = headers.get("x-request-id", ""), headers.get("traceparent", "")
    authorization = headers.get("authorization", "")
    return Caller(
        # gRPC metadata may have visible ASCII only, in limited size. Any other token belongs to no caller.
        authorization if _METADATA_VALUE.fullmatch(authorization) else "invalid" * bool(authorization),
        headers.get("accept-language", "").strip(),
        request_id if _REQUEST_ID.fullmatch(request_id) and not has_nik(request_id) else secrets.token_hex(6),
        trace if _TRACEPARENT.fullmatch(trace) else "",
    )


def set_request_id(message: wire.RequestBookingRequest, headers: Mapping[str, str], caller: Caller) -> None:
    """Copies the Idempotency-Key into request_id, so that a retry returns the same booking. Raises HttpError 400."""
    key = headers.get("idempotency-key", "").strip().strip('"')
    if not _KEY.fullmatch(key):
        words = Text(
            "header Idempotency-Key harus UUID yang dibuat sebelum permintaan pertama, dan tetap sama bila diulang",
            "the header Idempotency-Key must be a UUID, generated before the first attempt and the same for every retry",
        )
        raise own_error(
            400, "INVALID_ARGUMENT", "INVALID_FIELD", words, english=caller.english, field="Idempotency-Key"
        )  # fmt: skip
    if message.request_id and message.request_id.lower() != key.lower():
        words = Text("berbeda dengan Idempotency-Key", "differs from the Idempotency-Key")
        raise own_error(400, "INVALID_ARGUMENT", "INVALID_FIELD", words, english=caller.english, field="requestId")
    message.request_id = key


def read_origin(client: str, headers: Mapping[str, str]) -> wire.Origin:
    """Returns where a request comes from: the header X-Device-Key, and the client's address.

    An address that is not public is left out: it is a proxy's that the gateway was not told of, and would stand for everybody.
    """
    device_key = headers.get("x-device-key", "")
    return wire.Origin(
        device_key=device_key if _DEVICE_KEY.fullmatch(device_key) else "",
        address=client if _is_public(client) else "",
    )


def set_origin(message: wire.RequestBookingRequest | wire.BatchRequestBookingsRequest, origin: wire.Origin) -> None:
    """Replaces where the requests of a message say they come from."""
    for request in message.requests if isinstance(message, wire.BatchRequestBookingsRequest) else [message]:
        request.origin.CopyFrom(origin)


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


async def read_body(headers: Mapping[str, str], receive: Receive, caller: Caller, within: float) -> bytes:
    """Returns the body of a request, read within that many seconds. Raises HttpError 408, 413, 415 or 499."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        words = Text("Kirim isi sebagai application/json.", "Send the body as application/json.")
        raise own_error(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", words, english=caller.english)
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        # Anything but a word may contain a NIK, and is not repeated.
        name = encoding if _ENCODING.fullmatch(encoding) else "Content-Encoding"
        words = Text(
            f"Kirim isi tanpa kompresi: {name} tidak dikenal di sini.",
            f"Send the body without an encoding: {name} is not supported.",
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
        async with asyncio.timeout(within):
            while more:
                part = await receive()
                if part["type"] == "http.disconnect":
                    raise client_disconnected()
                body += part.get("body", b"")
                if len(body) > BODY_LIMIT:
                    raise _too_large(caller)
                more = part.get("more_body", False)
    except TimeoutError:
        words = Text("Isi permintaan datang terlalu lambat. Kirim lagi.", "The body arrived too slowly. Send it again.")
        raise own_error(
            408, "DEADLINE_EXCEEDED", "BODY_TIMEOUT", words, english=caller.english
        ) from None  # fmt: skip
    return bytes(body)


def _too_large(caller: Caller) -> HttpError:
    most = f"{BODY_LIMIT // 1024} KiB"
    words = Text(
        f"Isi permintaan lebih dari {most}. Kirim dalam beberapa bagian.",
        f"The body is larger than {most}. Send less at once.",
    )
    return own_error(413, "INVALID_ARGUMENT", "TOO_LARGE", words, english=caller.english)
