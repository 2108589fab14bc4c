"""Generates clients/gateway/openapi.json from protos/: `python -m protos.openapi`.

What the comments say becomes descriptions, and limits where they say so: what is required, "1 to 200", "YYYY-MM-DD".
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from antrian.v1 import booking_service_pb2, error_reason_pb2
from protos.generate import ROOT, describe

Schema = dict[str, Any]

TARGET = ROOT / "clients/gateway/openapi.json"
_SERVICE = booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"]
_REASON = error_reason_pb2.ErrorReason.DESCRIPTOR
_TITLE = "Antrian: antrean paspor Indonesia / the line for an Indonesian passport"
_DESCRIPTION = """\
Cari kantor imigrasi, lihat sisa tempat, ambil tempat dalam antreannya, dan ketahui hasilnya. Kesalahan dijelaskan dalam
bahasa Indonesia, atau dalam bahasa Inggris dengan `Accept-Language: en`; program memutuskan menurut `error.reason`.

Find an immigration office, see what is left, take a place in its line, learn the outcome. Bodies are proto3 JSON: what
has no value may be left out, and unknown names are refused. Errors are told in Indonesian, or in English with
`Accept-Language: en`; programs decide by `error.reason`. Made by `make protos` from `protos/antrian/v1`."""

_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$", "examples": ["12"]},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?s$", "examples": ["10s"]},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
# Whose limits hold for all fields of that name, and are said once.
_SAID_ONCE = {
    "account": "antrian.v1.RequestBookingRequest.account",
    "booking_id": "antrian.v1.Booking.booking_id",
    "province_code": "antrian.v1.ListOfficesRequest.province_code",
}
_KEY = "request_id"  # which a phone sends as the header Idempotency-Key

_HTTP = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "INTERNAL": 500, "UNKNOWN": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_ANY_CALL = (
    "INVALID_FIELD", "INVALID_MESSAGE", "UNAUTHENTICATED", "PERMISSION_DENIED", "RATE_LIMITED", "INTERNAL",
    "STORE_UNAVAILABLE", "STORE_FULL", "SERVER_BUSY", "CALLER_BUSY",
)  # fmt: skip
_UNKNOWN = "nobody knows what became of the call: ask again, with the same Idempotency-Key."
# What the gateway says itself: status and words for each reason.
_GATEWAYS = {
    "CANCELLED": (499, _UNKNOWN),
    "UNIMPLEMENTED": (501, "the servers do not know this call yet."),
    "UNAVAILABLE": (503, _UNKNOWN),
    "DEADLINE_EXCEEDED": (504, _UNKNOWN),
}
_OF_PATHS = {"ROUTE_NOT_FOUND": (404, "there is no such address.")}
_OF_BODIES = {
    "BODY_TIMEOUT": (408, "the body came too slowly."),
    "TOO_LARGE": (413, "the body is too large."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "the body is not application/json."),
}

_UUID = {"type": "string", "format": "uuid"}
_HEADERS: Mapping[str, tuple[str, Schema]] = {
    "Accept-Language": ("The language of errors: `id` (the default) or `en`.", {"type": "string", "examples": ["id"]}),
    "X-Request-Id": ("Names this call in logs: 1 to 64 letters, digits, `.`, `_`, `-`.", {"type": "string"}),
    "traceparent": ("W3C Trace Context.", {"type": "string"}),
}
_FRESH = {"GetQuota", "ListOffices"}
_EXAMPLES: Mapping[str, Schema] = {
    "RequestBooking": {
        "example": {
            "account": "ani",
            "officeId": "kanim-jakarta-pusat",
            "serviceDate": "2026-11-30",
            "session": "SESSION_MORNING",
            "applicants": [{"nik": "3171014107900001", "fullName": "Ani Lestari"}],
            "location": {"latitude": -6.1862, "longitude": 106.8296, "accuracyM": 20},
        }
    }
}
_ANSWERS_HEADERS: Mapping[str, Schema] = {
    "Cache-Control": {"description": "For how long the answer may be used again.", "schema": {"type": "string"}},
    "ETag": {"description": "Names the content, for If-None-Match.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "`Bearer`.", "required": True, "schema": {"type": "string"}},
    "X-Request-Id": {
        "description": "The call's name in logs: the caller's, or a new one.",
        "required": True,
        "schema": {"type": "string"},
    },
}


def read_comments() -> dict[str, str]:
    """What the protos say of each service, rpc, message, field and enum value, by full name; each as one line."""
    found = describe(*(f"antrian/v1/{name}.proto" for name in ("booking_service", "error_reason", "office_service")))
    comments = {}
    for file in found.file:
        for place in file.source_code_info.location:
            if file.package != "antrian.v1" or not place.leading_comments:
                continue
            node: Any = file
            names = [file.package]
            for number, index in zip(place.path[::2], place.path[1::2], strict=True):
                node = getattr(node, node.DESCRIPTOR.fields_by_number[number].name)[index]
                names.append(node.name)
            comments[".".join(names)] = " ".join(place.leading_comments.split())
    return comments


class Document:
    """The document as it grows: a schema for each message and enum that a path needs."""

    def __init__(self) -> None:
        self._said = read_comments()
        self._schemas: dict[str, Schema] = {}
        self._responses: dict[str, Schema] = {}
        self._reasons = {v.name.removeprefix("ERROR_REASON_"): v for v in _REASON.values[1:]}

    def make(self) -> Schema:
        """All of it."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        paths: dict[str, Schema] = {}
        for method in _SERVICE.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            verb = rule.WhichOneof("pattern")
            paths.setdefault(getattr(rule, verb), {})[verb] = self._operation(method, getattr(rule, verb), verb)
        self._schemas["Error"] = self._error()
        return {
            "openapi": "3.1.0",
            "info": {
                "title": _TITLE,
                "description": _DESCRIPTION,
                "version": project["version"],
                "license": {"name": project["license"], "identifier": project["license"]},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": _SERVICE.name, "description": self._text(_SERVICE.full_name)}],
            "security": [{"bearer": []}, {}],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "headers": _ANSWERS_HEADERS,
                "responses": dict(sorted(self._responses.items())),
                "parameters": {name: _header(name, *facts) for name, facts in _HEADERS.items()},
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "The caller's token. An Antrian on embedded stores needs none.",
                    }
                },
            },
        }

    def _operation(self, method: MethodDescriptor, path: str, verb: str) -> Schema:
        bound = re.findall(r"\{(\w+)\}", path)
        parameters: list[Schema] = []
        for name in bound:
            field = method.input_type.fields_by_name[name]
            parameters.append({"name": name, "in": "path", "required": True} | self._parameter(field))
        text, answer = self._text(method.full_name), self._ref(method.output_type)
        operation: Schema = {
            "operationId": method.name,
            "tags": [_SERVICE.name],
            "summary": re.split("[.:;] ", text.removesuffix("."))[0],
            "description": text,
            "parameters": parameters,
            "x-reasons": self._named(method),
        }
        content = {"application/json": {"schema": answer}}
        known = ("Cache-Control", "ETag") if method.name in _FRESH else ()
        responses = {"200": _answer("What was asked for.", content, *known)}
        if verb == "get":
            parameters.extend(self._query(method.input_type, bound))
        else:
            body = {"schema": self._body(method, bound)} | _EXAMPLES.get(method.name, {})
            operation["requestBody"] = {"required": True, "content": {"application/json": body}}
        if method.name == "RequestBooking":
            words = "Names the request: made before it is first sent, and kept when it is sent again."
            parameters.append(_header("Idempotency-Key", words, _UUID) | {"required": True})
        if method.name in _FRESH:
            parameters.append(
                _header("If-None-Match", "The ETag of an answer that is still at hand.", {"type": "string"})
            )
            responses["304"] = _answer("What is at hand is still true.", {}, *known)
        if method.server_streaming:
            words = "The `id` of the last event that was seen; an EventSource sends it."
            parameters.append(_header("Last-Event-ID", words, {"type": "string"}))
            words = "Events, of which each is the full state, with comments between them as heartbeats."
            data = {"type": "string", "contentMediaType": "application/json", "contentSchema": answer}
            event = {"id": {"type": "string"}, "event": {"const": "booking"}, "data": data}
            content = {
                "text/event-stream": {"schema": {"type": "object", "properties": event, "required": list(event)}}
            }
            responses["200"] = _answer(words, content)
            responses["204"] = _answer("The last event was seen: there is no need to come again.", {})
        parameters.extend({"$ref": f"#/components/parameters/{name}"} for name in _HEADERS)
        operation["responses"] = responses | self._refusals(method, in_path=bool(bound), in_body=verb == "post")
        return operation

    def _body(self, method: MethodDescriptor, bound: list[str]) -> Schema:
        """The schema of a body: the request without what the path or a header has."""
        apart = {_camel(name) for name in (*bound, *[_KEY] * (method.name == "RequestBooking"))}
        if not apart:
            return self._ref(method.input_type, asked=True)
        schema = self._message(method.input_type, asked=True)
        schema["properties"] = {name: value for name, value in schema["properties"].items() if name not in apart}
        schema["required"] = [name for name in schema["required"] if name not in apart]
        self._schemas[f"{method.name}Body"] = schema
        return {"$ref": f"#/components/schemas/{method.name}Body"}

    def _query(self, message: Descriptor, bound: list[str], prefix: str = "", note: str = "") -> Iterator[Schema]:
        for field in message.fields:
            path = prefix + field.json_name
            inner = field.message_type
            if inner and inner.full_name not in _WELL_KNOWN:
                yield from self._query(inner, [], f"{path}.", _one_of(field))
            elif field.name not in bound:
                parameter = self._parameter(field)
                parameter["description"] += note
                required = not note and _is_required(field)  # with a note, only where that message is given at all
                yield {"name": path, "in": "query", "required": required} | parameter

    def _parameter(self, field: FieldDescriptor) -> Schema:
        schema = self._field(field, asked=True)
        return {"description": schema.pop("description"), "schema": schema}

    def _ref(self, kind: Descriptor | EnumDescriptor, *, asked: bool = False) -> Schema:
        if kind.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[kind.full_name])
        if kind.name not in self._schemas:
            self._schemas[kind.name] = {}  # for who comes back to it meanwhile
            self._schemas[kind.name] = (
                self._message(kind, asked=asked) if isinstance(kind, Descriptor) else self._enum(kind)
            )
        if isinstance(kind, Descriptor) and ("additionalProperties" in self._schemas[kind.name]) != asked:
            raise SystemExit(f"{kind.name} is asked with and answered with: it needs two schemas")
        return {"$ref": f"#/components/schemas/{kind.name}"}

    def _message(self, message: Descriptor, *, asked: bool) -> Schema:
        """Of a request: what must be given, and nothing unknown. Of an answer: what is always there."""
        fields = message.fields
        required = [f.json_name for f in fields if (_is_required(f) if asked else not f.has_presence)]
        schema: Schema = {"type": "object", "additionalProperties": False} if asked else {"type": "object"}
        schema["properties"] = {field.json_name: self._field(field, asked=asked) for field in fields}
        if required:
            schema["required"] = required
        if description := self._text(message.full_name):
            schema["description"] = description
        for oneof in message.oneofs:
            if len(oneof.fields) > 1 and (not asked or self._text(oneof.full_name).endswith("Required.")):
                schema["oneOf"] = [{"required": [field.json_name]} for field in oneof.fields]
        return schema

    def _field(self, field: FieldDescriptor, *, asked: bool) -> Schema:
        kind = field.message_type or field.enum_type
        value = self._ref(kind, asked=asked) if kind else dict(_SCALARS[field.type])
        schema = {"type": "array", "items": value} if field.is_repeated else value
        description = self._text(field.full_name)
        if asked:
            description += _one_of(field)
        return schema | self._limits(field) | ({"description": description} if description else {})

    def _enum(self, kind: EnumDescriptor) -> Schema:
        said = {v.name: self._text(f"{kind.full_name}.{v.name}") for v in kind.values}
        named = {n: words for n, words in said.items() if not re.match("Never sent|Not a .*; refused", words)}
        values = "\n".join(f"- `{name}`: {words}" for name, words in named.items())
        return {"type": "string", "enum": list(named), "description": f"{self._text(kind.full_name)}\n\n{values}"}

    def _limits(self, field: FieldDescriptor) -> Schema:
        said = self._said.get(_SAID_ONCE.get(field.name, field.full_name), "")
        limits: Schema = {}
        if chars := re.search(r"(\d+) to (\d+) of the characters ((?:\S{1,3} )+)", said):
            limits["pattern"] = f"^[{chars[3].replace(' ', '')}]{{{chars[1]},{chars[2]}}}$"
        elif span := re.search(r"(-?\d+) to (-?\d+)( letters)?", said):
            names = ("minItems", "maxItems") if field.is_repeated else ("minimum", "maximum")
            names = ("minLength", "maxLength") if span[3] else names
            limits |= zip(names, (int(span[1]), int(span[2])), strict=True)
        elif "at least one" in said:
            limits["minItems"] = 1
        elif "; 0:" in said:
            limits["minimum"] = 0
        elif digits := re.search(r"(\d+) digits", said):
            limits["pattern"] = f"^[0-9]{{{digits[1]}}}$"
        elif "UUID" in said:
            limits["format"] = "uuid"
        elif "YYYY-MM-DD" in said:
            limits["format"] = "date"
        elif "ISO 3166-2" in said:
            limits["pattern"] = "^ID-[A-Z]{2}$"
        if example := re.search(r'for example "([^"]+)"', said):
            limits["examples"] = [example[1]]
        return limits

    def _named(self, method: MethodDescriptor) -> list[str]:
        """The reasons that the rpc's comment names."""
        return re.findall("[A-Z_]+", self._said[method.full_name].partition(" Errors: ")[2])

    def _refusals(self, method: MethodDescriptor, *, in_path: bool, in_body: bool) -> dict[str, Schema]:
        """The errors of an rpc, by HTTP status."""
        by_status: dict[int, dict[str, str]] = {}
        named = self._named(method)
        for name in sorted({*_ANY_CALL, *named}):
            status, words = self._reason(name)
            by_status.setdefault(status, {})[name] = words
        gateways = _GATEWAYS | (_OF_PATHS if in_path else {}) | (_OF_BODIES if in_body else {})
        for name, (status, words) in gateways.items():
            by_status.setdefault(status, {})[name] = words
        return {
            str(s): self._refusal(s, found, shared=found.keys().isdisjoint({*named} - {*_ANY_CALL}))
            for s, found in sorted(by_status.items())
        }

    def _refusal(self, status: int, reasons: Mapping[str, str], *, shared: bool) -> Schema:
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        header = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}.get(status, "")
        answer = _answer("\n".join(f"- `{name}`: {words}" for name, words in reasons.items()), content, header)
        if not shared:
            return answer
        self._responses[str(status)] = answer
        return {"$ref": f"#/components/responses/{status}"}

    def _reason(self, name: str) -> tuple[int, str]:
        """A reason's HTTP status and its words."""
        said = self._said[f"{_REASON.full_name}.ERROR_REASON_{name}"].partition(" Example:")[0]
        code, _, words = said.partition(": ")
        return _HTTP[code.partition(" ")[0]], words

    def _error(self) -> Schema:
        # An error that the service has not made has its code as its reason.
        reasons = {*self._reasons, *_HTTP, *_OF_PATHS, *_OF_BODIES, "METHOD_NOT_ALLOWED"}
        violation = {
            "type": "object",
            "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            "required": ["field", "description"],
        }
        error = {
            "code": {"type": "integer", "description": "The HTTP status."},
            "status": {"type": "string", "enum": sorted(_HTTP), "description": "The name of a google.rpc.Code."},
            "reason": {"type": "string", "enum": sorted(reasons), "description": "Why, for programs."},
            "message": {"type": "string", "minLength": 1, "description": "Why, for people, in their language."},
            "fieldViolations": {"type": "array", "items": violation, "description": "Which fields are at fault."},
            "metadata": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Facts that go with the reason.",
            },
            "retryAfter": {"type": "number", "minimum": 0, "description": "Seconds after which to ask again."},
        }
        inner = {"type": "object", "properties": error, "required": ["code", "message", "reason", "status"]}
        return {
            "type": "object",
            "description": "Why a call was refused. INVALID_ARGUMENT and the other codes are in the description of each reason.",
            "properties": {"error": inner},
            "required": ["error"],
        }

    def _text(self, name: str) -> str:
        """What is said of it, with fields as JSON names them; errors are said elsewhere."""
        said = self._said.get(name, "").partition(" Errors: ")[0]
        return re.sub(r"\b[a-z]+(?:_[a-z]+)+\b", lambda found: _camel(found[0]), said)


def _answer(description: str, content: Schema, *headers: str) -> Schema:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *filter(None, headers))}
    return {"description": description, "headers": named} | ({"content": content} if content else {})


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _is_required(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _one_of(field: FieldDescriptor) -> str:
    """Says which other field excludes it, if any does."""
    names = [f"`{other.json_name}`" for other in field.containing_oneof.fields] if field.containing_oneof else []
    return f" Exactly one of {' and '.join(names)} is given." if len(names) > 1 else ""


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def generate() -> str:
    """The document, as it is committed."""
    return json.dumps(Document().make(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(generate())
