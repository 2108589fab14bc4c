"""The target of fuzzing: calls through middleware and services on real stores, and what must hold for each."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage
from google.rpc.status_pb2 import Status

from antrian.errors import Reason
from antrian.lane.producer import LaneProducer
from antrian.ledger.reader import LedgerReader
from antrian.ledger.staff import LedgerStaff
from antrian.logs import JsonLines
from antrian.policy import load_policy
from antrian.settings import Settings
from antrian.v1 import booking_service_pb2, office_service_pb2
from antrian.words import wants_english
from server.auth import Callers
from server.booking_reader import Bookings
from server.booking_service import BookingService
from server.commands import LaneCommands
from server.limits import BatchQueue, ConcurrencyLimiter
from server.middleware import Middleware
from server.names import Names
from server.office_cache import Catalog
from server.office_service import OfficeService
from server.status import DOMAIN, code_of
from server.validation import Admission
from tests.support.limits import NO_LIMITS
from tests.support.reasons import listed

SERVICES = (
    booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
    office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
)
RPCS: Mapping[str, MethodDescriptor] = MappingProxyType(
    {f"{service.name}.{method.name}": method for service in SERVICES for method in service.methods}
)
TOKENS = MappingProxyType({role: f"token-of-{role}" for role in ("gateway", "internal", "staff")})
"""The bearer tokens that the target knows, by the caller's name, which is its role too."""

Metadata = Sequence[tuple[str, str]]
_LONGEST = 20.0  # seconds; a command is waited for for 8
_NIK = re.compile(r"\d{16}")
_DETAILS = "grpc-status-details-bin"


class BrokenError(AssertionError):
    """An input broke a promise."""


class _Aborted(NamedTuple):
    """Raised when a handler aborts its call."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Metadata


class _Call:
    """What a handler needs of gRPC's ServicerContext."""

    def __init__(self, metadata: Metadata) -> None:
        self.status: Any = None
        self._metadata = metadata

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    async def abort(self, code: grpc.StatusCode, details: str, trailers: Metadata) -> None:
        self.status = _Aborted(code, details, trailers)
        raise grpc.aio.AbortError

    def time_remaining(self) -> float:
        return _LONGEST

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    def cancelled(self) -> bool:
        return False

    done = cancelled

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        pass


class _Log(logging.Handler):
    """Keeps the log lines that the server would write."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []
        self.alarms: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.levelno >= logging.WARNING and record.name != "antrian.security":  # that one is for refusals
            self.alarms.append(line)


class Target:
    """The server's handlers on the stores of these settings, without a network; a context manager.

    Every call is judged: it ends in time, with messages of the rpc's type or a status of ours that is no fault, says why
    in the language that was asked for, and neither these nor the log have 16 digits in a row.
    """

    def __init__(self, settings: Settings) -> None:
        with NamedTemporaryFile("w") as file:
            for role, token in TOKENS.items():
                digest = hashlib.sha256(token.encode()).hexdigest()
                vouches = 'vouches_for="accounts"\n' if role == "gateway" else ""
                file.write(
                    f'[[caller]]\nname="{role}"\nrole="{role}"\ntoken_sha256="{digest}"\noffices=["*"]\n{vouches}'
                )
            file.flush()
            self._callers = Callers(Path(file.name))
        self._settings = settings
        self.keys = settings.make_keys("public_key")
        self._runner = asyncio.Runner()
        self._log = _Log()
        self._handlers: dict[str, tuple[Callable[[Any], _Details], grpc.GenericRpcHandler]] = {}

    def __enter__(self) -> "Target":
        root = logging.getLogger()
        root.addHandler(self._log)
        self._level = root.level
        root.setLevel(logging.DEBUG)
        self._runner.get_loop().run_until_complete(self._start())
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.get_loop().run_until_complete(self._stop())
        self._runner.close()
        root = logging.getLogger()
        root.removeHandler(self._log)
        root.setLevel(self._level)

    async def _start(self) -> None:
        settings, policy = self._settings, replace(load_policy(), limits=NO_LIMITS)
        self._producer = producer = LaneProducer(
            settings.redis_url,
            lane_bound=policy.lane_bound,
            account_people=policy.account_people,
            tried_people=policy.tried_people,
            limits=policy.limits,
            remembered=policy.remembered,
            batch_window=settings.batch_window,
        )
        self._ledger = LedgerReader(settings.database_url, batch_window=settings.batch_window)
        self._staff = LedgerStaff(settings.database_url)
        for store in (producer, self._ledger, self._staff):
            await store.start()
        self.catalog = catalog = Catalog(policy, producer, self._ledger, self.keys)
        await catalog.refresh()
        commands, names = LaneCommands(producer), Names(catalog, self._staff, self.keys)
        bookings = Bookings(
            catalog, producer, self._ledger, self.keys, watching=ConcurrencyLimiter(settings.most_calls)
        )
        servicers = (
            BookingService(
                catalog, producer, Admission(catalog, self.keys), bookings, commands, names, BatchQueue(None)
            ),
            OfficeService(catalog, producer, self._staff, self.keys, commands, names),
        )
        middleware = Middleware(self._callers, ConcurrencyLimiter(settings.most_calls))
        for service, servicer in zip(SERVICES, servicers, strict=True):
            handlers = middleware.handlers(service, servicer)
            for method in service.methods:
                details = partial(_Details, f"/{service.full_name}/{method.name}")
                self._handlers[f"{service.name}.{method.name}"] = details, handlers

    async def _stop(self) -> None:
        for store in (self._producer, self._ledger, self._staff):
            await store.close()

    def call(self, rpc: str, data: bytes, metadata: Metadata) -> str:
        """Makes the call and judges it: "OK" or the reason of its refusal. Raises Broken."""
        self._log.lines.clear()
        self._log.alarms.clear()
        context, began = _Call(metadata), time.monotonic()
        loop = self._runner.get_loop()
        try:
            responses = loop.run_until_complete(asyncio.wait_for(self._serve(rpc, data, context), _LONGEST))
        except grpc.aio.AbortError:
            responses = None
        except BrokenError:
            raise
        except Exception as error:
            raise BrokenError(f"{rpc} ended with {error!r}") from error
        _check(time.monotonic() - began < _LONGEST, f"{rpc} took over {_LONGEST:g} s")
        _check(not self._log.alarms, f"{rpc} was logged as a failure: {self._log.alarms}")
        _check(not _NIK.search("\n".join(self._log.lines)), f"16 digits in the log: {self._log.lines}")
        if responses is None:
            return _judge_abort(rpc, context)
        _check_presence(rpc, data)
        return "OK"

    async def _serve(self, rpc: str, data: bytes, context: _Call) -> list[Message]:
        (details, handlers), output = self._handlers[rpc], GetMessageClass(RPCS[rpc].output_type)
        handler: Any = handlers.service(details(context.invocation_metadata()))
        if handler.request_streaming:  # it refuses before the message comes
            await handler.stream_stream(None, context)
            raise BrokenError(f"{rpc} was refused without a status")
        if handler.response_streaming:
            stream = cast(AsyncIterator[Message], handler.unary_stream(data, context))
            responses = [response async for response in stream]
        else:
            response = await cast(Awaitable[Message | bytes], handler.unary_unary(data, context))
            responses = [output.FromString(response) if isinstance(response, bytes) else response]
        for response in responses:
            _check(type(response) is output, f"{rpc} answered a {type(response)}")
            handler.response_serializer(response)
            _check_digits(response)
            for status in _statuses(response):
                _judge_status(rpc, status, context)
        return responses


@dataclass
class _Details:
    """What a generic handler asks for a method with."""

    method: str
    invocation_metadata: Any


def _judge_abort(rpc: str, context: _Call) -> str:
    """Returns the reason of the status with which the call was aborted."""
    trailers = dict(context.status.trailing_metadata)
    status = Status.FromString(trailers[_DETAILS])
    _check(
        (context.status.code.value[0], context.status.details) == (status.code, status.message),
        f"{context.status} is not {status}",
    )
    return _judge_status(rpc, status, context)


def _judge_status(rpc: str, status: Status, context: _Call) -> str:
    infos = [_unpacked(detail, ErrorInfo) for detail in status.details if detail.Is(ErrorInfo.DESCRIPTOR)]
    words = [_unpacked(detail, LocalizedMessage) for detail in status.details if detail.Is(LocalizedMessage.DESCRIPTOR)]
    _check(len(infos) == len(words) == 1, f"no reason, or no words for people: {status}")
    reason = Reason(infos[0].reason)
    _check(infos[0].domain == DOMAIN and reason is not Reason.INTERNAL, f"no refusal of ours: {status}")
    _check(reason in listed(rpc), f"{rpc} returned {reason}, which the protos do not list")
    _check(status.code == code_of(reason).value[0], f"the code is not that of the reason: {status}")
    asked = ", ".join(str(value) for name, value in context.invocation_metadata() if name == "accept-language")
    locale = "en" if wants_english(asked) else "id-ID"
    _check(words[0].locale == locale and bool(words[0].message.strip()), f"not in the language asked for: {status}")
    path = infos[0].metadata["field"]
    _check(not re.search(r"[_.\[]", path) or path not in words[0].message, f"people are told a path: {status}")
    _check_digits(status)
    return reason.value


def _check_presence(rpc: str, data: bytes) -> None:
    """Checks that the request had every field whose absence must not be read as zero."""
    request: Any = GetMessageClass(RPCS[rpc].input_type).FromString(data)
    if "location" in request.DESCRIPTOR.fields_by_name and request.HasField("location"):
        given = [request.location.HasField(name) for name in ("latitude", "longitude")]
        _check(all(given), f"a location without a coordinate was taken: {rpc}")
    if rpc == "SetQuota":
        _check(request.HasField("quota"), "a quota that was not given was taken")


def _unpacked(detail: Any, kind: type[Any]) -> Any:
    message = kind()
    detail.Unpack(message)
    return message


def _statuses(message: Message) -> Iterator[Status]:
    """The errors of a batch's items, anywhere in a response."""
    if isinstance(message, Status):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type:
            for item in value if field.is_repeated else [value]:
                yield from _statuses(item)


def _check_digits(message: Message) -> None:
    # The bytes first, since JSON is slow; there a length or a tag may look like one digit more.
    if _NIK.search(message.SerializeToString().decode(errors="replace")):
        text = MessageToJson(message, ensure_ascii=False)
        _check(not _NIK.search(text), f"16 digits in {text}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenError(otherwise)
