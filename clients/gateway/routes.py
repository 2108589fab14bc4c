"""Which rpc answers which path: the google.api.http annotations of the contract, read once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from antrian.v1 import booking_service_pb2

_SERVICE = booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"]
_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """One rpc over HTTP: verb and path, and whether the request is the body (else it is the query)."""

    rpc: str
    verb: str
    path: re.Pattern[str]
    in_body: bool
    request: type[Message]
    response: type[Message]
    streaming: bool


class RouteNotFoundError(LookupError):
    """No rpc has that path."""


class MethodNotAllowedError(LookupError):
    """The path is there with other verbs only: those allowed, HEAD where GET is, and OPTIONS."""

    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.allowed = allowed


def _route(method: MethodDescriptor) -> Route:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    kind = rule.WhichOneof("pattern")
    path = "".join(
        f"(?P<{part}>[^/:]+)" if n % 2 else re.escape(part)
        for n, part in enumerate(_VARIABLE.split(getattr(rule, kind)))
    )
    return Route(
        method.name, kind.upper(), re.compile(path), rule.body == "*", GetMessageClass(method.input_type),
        GetMessageClass(method.output_type), method.server_streaming,
    )  # fmt: skip


ROUTES = tuple(_route(method) for method in _SERVICE.methods)


def find(verb: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route and the variables in the path. Raises RouteNotFoundError, MethodNotAllowedError."""
    allowed = []
    for route in ROUTES:
        if match := route.path.fullmatch(path):
            if route.verb == verb:
                return route, match.groupdict()
            allowed.append(route.verb)
    if allowed:
        raise MethodNotAllowedError(", ".join([*allowed, *["HEAD"] * ("GET" in allowed), "OPTIONS"]))
    raise RouteNotFoundError(path)
