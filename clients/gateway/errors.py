"""Errors as JSON, with the same body for errors of the service and of the gateway."""

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from antrian.errors import Text
from antrian.v1.messages_pb2 import SlotFullInfo
from antrian.words import about

_HTTP = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""The HTTP status of a google.rpc.Code, as google/rpc/code.proto lists it. All others are 500."""

_UNKNOWN = Text(
    "Layanan tidak menjawab, dan belum pasti apakah permintaan ini diterima. Kirim lagi dengan kunci yang sama.",
    "The service does not respond, and whether this request was accepted is unknown. Send it again with the same key.",
)


class HttpError(Exception):
    """An error response: its HTTP status, body, and additional headers."""

    def __init__(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.get("reason"))
        self.status = status
        self.body = json.dumps({"error": {"code": status, **error}}, ensure_ascii=False).encode()
        self.headers = dict(headers or {})


def own_error(
    status: int,
    code: str,
    reason: str,
    words: Text,
    *,
    english: bool,
    field: str = "",
    headers: Mapping[str, str] | None = None,
) -> HttpError:
    """Returns an error of the gateway itself. field: the path of the invalid field that the words describe."""
    message = about(re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", field), words) if field else words
    error: dict[str, Any] = {"status": code, "reason": reason, "message": message[english]}
    if field:
        error["fieldViolations"] = [{"field": _json_path(field), "description": words.english}]
    return HttpError(status, error, headers)


def of_status(status: Status) -> HttpError:
    """Converts a status of the service."""
    info, words, bad, retry, full = ErrorInfo(), LocalizedMessage(), BadRequest(), RetryInfo(), SlotFullInfo()
    retry_after = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            _ = detail.Unpack(info) or detail.Unpack(words) or detail.Unpack(bad) or detail.Unpack(full)
    http = _HTTP.get(status.code, 500)
    code = Code.Name(status.code) if status.code in Code.values() else "UNKNOWN"
    error: dict[str, Any] = {"status": code, "reason": info.reason or code, "message": words.message or status.message}
    if bad.field_violations:
        error["fieldViolations"] = [
            {"field": _json_path(v.field), "description": v.description} for v in bad.field_violations
        ]
    if info.metadata:
        error["metadata"] = dict(info.metadata)
    if full.HasField("window_close_time"):
        error |= MessageToDict(full, always_print_fields_with_no_presence=True)
    headers = {}
    if http in {429, 503}:
        retry_after = retry_after or 1.0
        headers["retry-after"] = str(max(1, ceil(retry_after)))
    if http == 401:
        headers["www-authenticate"] = "Bearer"
    if retry_after is not None:
        error["retryAfter"] = retry_after
    return HttpError(http, error, headers)


def unanswered(code: grpc.StatusCode, *, english: bool) -> HttpError:
    """Returns the error of a call without a response, whose effect is unknown."""
    number: int = code.value[0]
    return of_status(Status(code=number, message=_UNKNOWN[english]))


def _json_path(field: str) -> str:
    """Returns the JSON name of a field path: serviceDate for service_date."""
    return re.sub("_([a-z])", lambda match: match[1].upper(), field)
