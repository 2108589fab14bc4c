"""Between JSON and messages, as proto3 JSON says; what does not fit is refused without repeating what it was."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from clients.gateway.routes import Route

_DEEPEST = 20
_FIELD = re.compile(r"Failed to parse (\w+) field")
_NO_FIELD = re.compile(r'no field named "([^"]*)"')
_ONE_OF = re.compile(r'should not have multiple "(\w+)" oneof fields')
# Python reads more as a number than JSON does.
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s", re.ASCII)
_SAYABLE = re.compile(r"(?!.*[0-9]{6})[A-Za-z_][A-Za-z0-9_.]{0,63}")
_MOST_PARAMETERS = 50
_UNFIT = "isinya tidak sesuai", "does not fit"
_NO_PARAMETER = "parameter ini tidak dikenal", "there is no such parameter"
_WAIT = "google.protobuf.Duration"
_NUMERIC = {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT,
}  # fmt: skip


class MalformedError(ValueError):
    """It does not fit the message: which field, if one can be named, and what is wrong, in Indonesian and English."""

    def __init__(self, field: str, indonesian: str, english: str) -> None:
        super().__init__(english)
        # A name that a caller made up may be a NIK.
        self.field = field if _SAYABLE.fullmatch(field) else ""
        self.words = indonesian, english


def read(route: Route, variables: Mapping[str, str], query: bytes, body: bytes) -> Message:
    """The request of a route. Raises MalformedError."""
    values = _of_body(body) if route.in_body else {}
    parameters = _parameters(query)
    for name, value in parameters:
        if route.in_body:
            raise MalformedError(name, *_NO_PARAMETER)
        _put(route.request, values, name, value)
    for name, value in variables.items():
        if {values.pop(name, value), values.pop(_camel(name), value)} != {value}:
            raise MalformedError(name, "berbeda dengan yang ada pada alamat", "is another than in the path")
        values[name] = value
    message = route.request()
    try:
        ParseDict(values, message, max_recursion_depth=_DEEPEST)
    except ParseError as error:
        raise _malformed(error, [name for name, _ in parameters]) from None
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        # What json_format lets through where JSON has another kind of value than it expects.
        raise MalformedError("", "isinya tidak sesuai", "it does not fit") from None
    return message


def write(message: Message) -> bytes:
    """The message as JSON. Fields that cannot be absent are always there: no places left is a number, too."""
    return json.dumps(
        MessageToDict(message, always_print_fields_with_no_presence=True), ensure_ascii=False, separators=(",", ":")
    ).encode()


def _of_body(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except MalformedError:
        raise
    except (ValueError, RecursionError):
        raise MalformedError(
            "", "isinya bukan JSON yang benar", "the body is no JSON, or names a field twice"
        ) from None
    if not isinstance(values, dict):
        raise MalformedError("", "isinya harus objek JSON", "the body must be a JSON object")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("twice")
    for name, value in pairs:
        if isinstance(value, bool):  # no field is one, and json_format takes it for a number
            raise MalformedError(name, *_UNFIT)
    return values


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise MalformedError("", "parameternya tidak terbaca", "the query cannot be read") from None


def _put(kind: type[Message], values: dict[str, Any], path: str, value: str) -> None:
    """Puts a query parameter where its path says: "location.latitude"."""
    descriptor = kind.DESCRIPTOR
    *outer, last = path.split(".")
    for name in outer:
        field = _field(descriptor.fields, name)
        if field is None or field.message_type is None:
            raise MalformedError(path, *_NO_PARAMETER)
        descriptor = field.message_type
        values = values.setdefault(field.name, {})
    field = _field(descriptor.fields, last)
    if field is None or field.is_repeated or (field.message_type and field.message_type.full_name != _WAIT):
        raise MalformedError(path, *_NO_PARAMETER)
    if field.name in values:
        raise MalformedError(path, "hanya boleh sekali", "may be given once only")
    spelling = _DURATION if field.message_type else _NUMBER if field.cpp_type in _NUMERIC else None
    if spelling and not spelling.fullmatch(value):
        raise MalformedError(path, *_UNFIT)
    values[field.name] = value


def _field(fields: Any, name: str) -> FieldDescriptor | None:
    return next((field for field in fields if name in {field.name, field.json_name}), None)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _malformed(error: ParseError, parameters: Sequence[str]) -> MalformedError:
    # Its words may quote a NIK; only the fields' names are taken over.
    text = str(error)
    path = ".".join(_FIELD.findall(text))
    if choice := _ONE_OF.search(text):
        return MalformedError(choice[1], "pilih satu saja", "only one of them may be given")
    if unknown := _NO_FIELD.search(text):
        return MalformedError(".".join([path, unknown[1]] if path else [unknown[1]]), "tidak dikenal", "is not known")
    return MalformedError(
        next((name for name in parameters if name.split(".")[-1] in {path, _camel(path)}), path), *_UNFIT
    )
