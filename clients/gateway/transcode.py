"""Between JSON and messages, as proto3 JSON says; what does not fit is refused without repeating what it was."""

import json
import re
from collections.abc import Mapping, Sequence
from math import isfinite
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
# Python reads more as a number than JSON does: "1_0", " 1", digits of other scripts.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_DURATION = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?s")
_SAYABLE = re.compile(r"(?!.*[0-9]{6})[A-Za-z_][A-Za-z0-9_.]{0,63}")
_MOST_PARAMETERS = 50
_UNFIT = "isinya tidak sesuai", "does not fit"
_ONCE = "hanya boleh sekali", "may be given once only"
_SOME_ONCE = "ada nama yang disebut dua kali", "the body names a field twice"
_NO_PARAMETER = "parameter ini tidak dikenal", "there is no such parameter"
_DURATION_NAME = "google.protobuf.Duration"
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
        if [values.pop(name, value), values.pop(_camel(name), value)] != [value, value]:
            raise MalformedError(name, "berbeda dengan yang ada pada alamat", "is another than in the path")
        values[name] = value
    _check_spelling(route.request.DESCRIPTOR.fields, values)
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
        values = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except MalformedError:
        raise
    except (ValueError, RecursionError):
        raise MalformedError("", "isinya bukan JSON yang benar (UTF-8)", "the body is no JSON in UTF-8") from None
    if not isinstance(values, dict):
        raise MalformedError("", "isinya harus objek JSON", "the body must be a JSON object")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise MalformedError(name, *(_ONCE if _SAYABLE.fullmatch(name) else _SOME_ONCE))
        if isinstance(value, bool):  # no field is one, and json_format takes it for a number
            raise MalformedError(name, *_UNFIT)
        values[name] = value
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
    if field is None or field.is_repeated or (field.message_type and not _is_duration(field)):
        raise MalformedError(path, *_NO_PARAMETER)
    if field.name in values:
        raise MalformedError(path, *_ONCE)
    if not _is_spelled(field, value):
        raise MalformedError(path, *_UNFIT)
    values[field.name] = value


def _check_spelling(fields: Any, values: Mapping[str, Any]) -> None:
    """Raises MalformedError where a string in the place of a number, a duration or an enum's name is none by JSON."""
    for name, value in values.items():
        if field := _field(fields, name):  # json_format tells of those that are not known
            for one in value if isinstance(value, list) else (value,):
                if isinstance(one, dict) and field.message_type:
                    _check_spelling(field.message_type.fields, one)
                elif isinstance(one, str) and not _is_spelled(field, one):
                    raise MalformedError(name, *_UNFIT)


def _is_spelled(field: FieldDescriptor, text: str) -> bool:
    """Whether the text can be the field's value, where json_format would ask Python what a number is."""
    if field.enum_type:
        return text in field.enum_type.values_by_name
    if field.cpp_type in _NUMERIC:
        return bool(_NUMBER.fullmatch(text)) and isfinite(float(text))
    return not _is_duration(field) or bool(_DURATION.fullmatch(text))


def _is_duration(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.full_name == _DURATION_NAME)


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
