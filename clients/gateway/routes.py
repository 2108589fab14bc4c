"""Maps HTTP methods and paths to rpcs, from the google.api.http annotations of the protos."""

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
    """An rpc with its HTTP method and path. in_body: whether the request message is the body instead of the query."""

    rpc: str
    verb: str
    path: re.Pattern[str]
    in_body: bool
    request: type[Message]
    response: type[Message]
    streaming: bool


class RouteNotFoundError(LookupError):
    """No rpc has this path."""


class MethodNotAllowedError(LookupError):
    """The path exists with other methods only. allowed: these methods, for the Allow header."""

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
    """Returns the route and the variables of the path. Raises RouteNotFoundError or MethodNotAllowedError."""
    allowed = []
    for route in ROUTES:
        if match := route.path.fullmatch(path):
            if route.verb == verb:
                return route, match.groupdict()
            allowed.append(route.verb)
    if allowed:
        raise MethodNotAllowedError(", ".join([*allowed, *["HEAD"] * ("GET" in allowed), "OPTIONS"]))
    raise RouteNotFoundError(path)
