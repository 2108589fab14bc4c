"""Converts between proto3 JSON and messages. Errors never repeat the refused value, which may be a NIK."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from antrian.errors import Text
from clients.gateway.routes import Route

_DEEPEST = 20
# Python accepts more numbers than JSON does: "1_0", " 1", digits of other scripts.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_DURATION = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?s")
_SAFE_NAME = re.compile(r"(?!.*[0-9]{6})[A-Za-z_][A-Za-z0-9_.]{0,63}")
_MOST_PARAMETERS = 50
_WRONG_FORMAT = "isinya tidak sesuai", "has the wrong type or format"
_ONCE = "hanya boleh disebut sekali", "may be given only once"
_NO_FIELD = "ada isian yang tidak dikenal", "there is an unknown field"
_NO_PARAMETER = "ada parameter yang tidak dikenal", "there is an unknown parameter"
_DURATION_NAME = "google.protobuf.Duration"
# What json_format raises for JSON values of unexpected types, besides its own ParseError.
_UNREADABLE = (ParseError, ValueError, TypeError, AttributeError, RecursionError, OverflowError)
_NUMERIC = {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT,
}  # fmt: skip


class MalformedError(ValueError):
    """The request does not fit its message. field: the path of the invalid field, if known. words: the problem."""

    def __init__(self, field: str, indonesian: str, english: str) -> None:
        super().__init__(english)
        self.field = field
        self.words = Text(indonesian, english)


class _Object(dict[str, Any]):
    """A JSON object. twice: a name that occurs more than once, if any."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: str | None = None
        if len(self) < len(pairs):
            self.twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)


def read(route: Route, variables: Mapping[str, str], query: bytes, body: bytes) -> Message:
    """Returns the request message of a route. Raises MalformedError."""
    values = _of_body(body) if route.in_body else {}
    parameters = _parameters(query)
    for name, value in parameters:
        if route.in_body:
            raise MalformedError(_safe_name(name), *_NO_PARAMETER)
        _put(route.request, values, name, value)
    for name, value in variables.items():
        if [values.pop(name, value), values.pop(_camel(name), value)] != [value, value]:
            raise MalformedError(name, "berbeda dengan yang ada pada alamat", "differs from the value in the path")
        values[name] = value
    _check(route.request.DESCRIPTOR, values)
    message = route.request()
    try:
        ParseDict(values, message, max_recursion_depth=_DEEPEST)
    except _UNREADABLE:
        raise MalformedError(_unreadable(route.request.DESCRIPTOR, values), *_WRONG_FORMAT) from None
    return message


def write(message: Message) -> bytes:
    """Returns the message as JSON. Fields without presence are always written, since 0 remaining places is a value, too."""
    return json.dumps(
        MessageToDict(message, always_print_fields_with_no_presence=True), ensure_ascii=False, separators=(",", ":")
    ).encode()


def _of_body(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body.decode(), object_pairs_hook=_Object, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MalformedError(
            "", "isinya bukan JSON yang benar (UTF-8)", "the body is not valid JSON in UTF-8"
        ) from None
    if not isinstance(values, dict):
        raise MalformedError("", "isinya harus objek JSON", "the body must be a JSON object")
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
    """Sets the value of a query parameter by its path, like "location.latitude"."""
    descriptor = kind.DESCRIPTOR
    *outer, last = path.split(".")
    for name in outer:
        field = _field(descriptor.fields, name)
        if field is None or field.message_type is None:
            raise MalformedError(_safe_name(path), *_NO_PARAMETER)
        descriptor = field.message_type
        values = values.setdefault(field.name, {})
    field = _field(descriptor.fields, last)
    if field is None or field.is_repeated or (field.message_type and not _is_duration(field)):
        raise MalformedError(_safe_name(path), *_NO_PARAMETER)
    if field.name in values:
        raise MalformedError(path, *_ONCE)
    if not _is_valid(field, value):
        raise MalformedError(path, *_WRONG_FORMAT)
    values[field.name] = value


def _check(kind: Any, values: Mapping[str, Any], path: str = "") -> None:
    """Raises MalformedError for input that json_format would accept, or reject without naming the field.

    These are repeated fields in either spelling, several fields of a oneof, unknown fields, booleans in place of numbers,
    and numbers, durations and enum values that are not valid in JSON.
    """
    if isinstance(values, _Object) and values.twice is not None:
        raise MalformedError(f"{path}{_safe_name(values.twice)}".rstrip("."), *_ONCE)
    known: set[str] = set()
    for name, value in values.items():
        field = _field(kind.fields, name)
        if field is None:
            raise MalformedError(f"{path}{_safe_name(name)}".rstrip("."), *_NO_FIELD)
        where = path + field.json_name
        if field.name in known:
            raise MalformedError(where, *_ONCE)
        known.add(field.name)
        if value is None:
            continue
        if (choice := field.containing_oneof) and len(choice.fields) > 1:
            if choice.full_name in known:
                names = [one.json_name for one in choice.fields]
                raise MalformedError(
                    where, f"pilih salah satu: {' atau '.join(names)}", f"give only one of them: {' or '.join(names)}"
                )
            known.add(choice.full_name)
        for item, one in _items(field, where, value):
            if isinstance(one, dict) and field.message_type:
                _check(field.message_type, one, f"{item}.")
            elif isinstance(one, str | int | float) and not _is_valid(field, one):
                raise MalformedError(item, *_WRONG_FORMAT)


def _unreadable(kind: Any, values: Mapping[str, Any], path: str = "") -> str:
    """Returns the path of the first field that json_format rejects."""
    for name, value in values.items():
        field = _field(kind.fields, name)
        if field is None:
            continue
        where = path + field.json_name
        if field.is_repeated and not isinstance(value, list | None):
            return where
        for item, one in _items(field, where, value):
            if isinstance(one, dict) and field.message_type and not _is_duration(field):
                if found := _unreadable(field.message_type, one, f"{item}."):
                    return found
                continue
            try:
                ParseDict({name: [one] if field.is_repeated else one}, GetMessageClass(kind)())
            except _UNREADABLE:
                return item
    return ""


def _items(field: FieldDescriptor, path: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Returns the values of a field with their paths: each element of a list, or the single value."""
    if field.is_repeated and isinstance(value, list):
        return ((f"{path}[{n}]", one) for n, one in enumerate(value))
    return ((path, value),)


def _is_valid(field: FieldDescriptor, value: str | float) -> bool:
    """Returns whether the text, number or boolean is a valid value of the field by the rules of JSON, which are not Python's."""
    if isinstance(value, bool):
        return field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
    if field.enum_type:
        return any(value in (known.name, known.number) for known in field.enum_type.values)
    if not isinstance(value, str):
        return True
    if field.cpp_type in _NUMERIC:
        return bool(_NUMBER.fullmatch(value)) and isfinite(float(value))
    return not _is_duration(field) or bool(_DURATION.fullmatch(value))


def _is_duration(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.full_name == _DURATION_NAME)


def _safe_name(name: str) -> str:
    """Returns the name if it cannot contain a NIK, otherwise an empty string."""
    return name if _SAFE_NAME.fullmatch(name) else ""


def _field(fields: Any, name: str) -> FieldDescriptor | None:
    return next((field for field in fields if name in {field.name, field.json_name}), None)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
