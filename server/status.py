"""Converts errors to google.rpc.Status."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from string import Formatter

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from antrian.errors import AntrianError, Reason, Text
from antrian.offices.explain import list_provinces
from antrian.offices.provinces import load_provinces
from antrian.words import about, day, moment, moment_at_office, state, subject
from server.messages import TABLE

DOMAIN = "antrian"
"""ErrorInfo.domain of every error of Antrian."""

_provinces = cache(load_provinces)


def code_of(reason: Reason) -> grpc.StatusCode:
    """Returns the gRPC code of a reason."""
    return TABLE[reason].code


def to_status(error: AntrianError, *, english: bool) -> Status:
    """Returns the error as a status with details.

    The status's message is for developers: English, with the path of the field, and without any part of a name. The
    LocalizedMessage is for people: without field paths, codes or ISO dates.
    """
    problem = error.problem or _message(error, "")
    if error.reason is Reason.INVALID_FIELD:
        localized = about(error.field, problem, error.initial)
    else:
        localized = error.problem or _message(error, error.initial) if error.initial else problem
    metadata = error.metadata | ({"field": error.field} if error.field else {})
    details = [
        _pack(ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)),
        _pack(
            LocalizedMessage(
                locale="en" if english else "id-ID", message=localized.english if english else localized.indonesian
            )
        ),
    ]
    if error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=problem.english, reason=error.reason.value)
        details.append(_pack(BadRequest(field_violations=[violation])))
    if isinstance(error.detail, Message):
        details.append(_pack(error.detail))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(max(error.retry_after, timedelta(0)))
        details.append(_pack(retry))
    code: tuple[int, str] = code_of(error.reason).value
    where = f"{error.field}: " if error.reason is Reason.INVALID_FIELD else ""
    return Status(code=code[0], message=f"{error.reason}: {where}{problem.english}", details=details)


def _message(error: AntrianError, initial: str) -> Text:
    row, known = TABLE[error.reason], error.metadata.keys() | {error.field.rpartition(".")[2]}
    message = next((variant for name, variant in row.variants.items() if name in known), row.message)
    used = _placeholders(message)
    metadata = tuple((name, value) for name, value in error.metadata.items() if name in used)
    return _format_message(message, metadata, subject(error.field, initial) if "who" in used else None)


@cache
def _placeholders(message: Text) -> set[str]:
    """Returns the metadata that a message needs: the names in braces, and what these are formatted with."""
    names = {name for text in message for _, name, _, _ in Formatter().parse(text) if name}
    return names | {"office_open_time"} if "open_time" in names else names


@lru_cache(maxsize=4096)  # when booking opens, thousands of callers per second get the same message
def _format_message(message: Text, metadata: tuple[tuple[str, str], ...], who: Text | None) -> Text:
    values = {name: _format(name, value, dict(metadata)) for name, value in metadata}
    if who:
        values["who"] = who
    return Text(*(text.format_map(_Values({k: v[n] for k, v in values.items()})) for n, text in enumerate(message)))


def _format(name: str, value: str, metadata: Mapping[str, str]) -> Text:
    """Formats a value of the metadata for localized."""
    match name:
        case "first_date" | "last_date" | "last_barred_date" | "service_date":
            return day(date.fromisoformat(value))
        case "close_time":
            return moment(datetime.fromisoformat(value))
        case "open_time":
            at_office = metadata.get("office_open_time", value)
            return moment_at_office(datetime.fromisoformat(value), datetime.fromisoformat(at_office))
        case "state":
            return state(value)
        case "office_province" | "provinces":
            return list_provinces([_provinces()[code] for code in value.split(",")])
    return Text(value, value)


class _Values(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _pack(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
