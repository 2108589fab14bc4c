"""The field rules of the protos (buf.validate) and the checks that the server makes by hand are the same."""

import math
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from antrian.booking import Office, Person, Session, State
from antrian.errors import AntrianError, Reason
from antrian.ledger.staff import CodedBooking, RosterRow
from antrian.policy import load_policy
from antrian.v1 import booking_service_pb2, messages_pb2, office_service_pb2
from protos.generate import describe
from server.booking_service import BookingService
from server.caller import CALLER, LOCAL
from server.limits import BatchQueue
from server.names import Names
from server.office_cache import Catalog
from server.office_service import OfficeService
from server.validation import Admission
from tests.support.keys import make_keys
from tests.support.window import window_to_come

_DAY = window_to_come().dates[0]
_BOOKING = UUID("6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f")
_PUSAT = Office(
    "kanim-jakarta-pusat", "Pusat", "", "Jakarta", "ID-JK", ZoneInfo("Asia/Jakarta"), -6.18, 106.83, 100, ""
)
_GOOD: dict[str, Any] = {
    "account": "ani",
    "staff": "rina",
    "request_id": str(_BOOKING),
    "booking_id": str(_BOOKING),
    "office_id": _PUSAT.office_id,
    "service_date": _DAY.isoformat(),
    "session": 1,
    "nik": "3171014107900001",
    "full_name": "Ani Lestari",
    "code": "DWE2T6JTCC",
    "reason": "banjir",
    "queue_number": 1,
    "quota": 60,
    "latitude": -6.18,
    "longitude": 106.83,
}
_SERVICES = {
    "BookingService": booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
    "OfficeService": office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
}
_BY_THE_LEDGER = {"CheckIn.queue_numbers[0]"}  # which knows the party; tests/integration/test_days.py


class _ReachedStoreError(Exception):
    """All checks are passed: a store is asked."""


class _Store:
    """A store that is not there, with what the checks read of it."""

    def __init__(self, **known: Any) -> None:
        self._known = known

    def __getattr__(self, name: str) -> Any:
        async def response(*_: object, **__: object) -> Any:
            if name in self._known:
                return self._known[name]
            raise _ReachedStoreError

        return response


class _Bookings(_Store):
    def watch(self, *_: object, **__: object) -> AsyncIterator[Any]:
        raise _ReachedStoreError


class _Front(_Store):
    def set_bounds(self, **_: object) -> None:
        pass


class _Case(NamedTuple):
    service: str
    rpc: str
    path: str
    request: Any
    fits: bool

    def __str__(self) -> str:
        return f"{self.service}.{self.rpc}.{self.path}"


def _rules() -> dict[str, Any]:
    """The rules of each field that has any, by its full name."""
    described = describe("antrian/v1/booking_service.proto", "antrian/v1/office_service.proto")
    pool = DescriptorPool()
    for file in described.file:
        pool.Add(file)
    options = GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FieldOptions"))
    extension = cast("Any", pool.FindExtensionByName("buf.validate.field"))
    found = {}
    for file in described.file:
        for message in file.message_type if file.package == "antrian.v1" else ():
            for field in message.field:
                known: Any = options.FromString(field.options.SerializeToString())
                if known.HasExtension(extension):
                    found[f"antrian.v1.{message.name}.{field.name}"] = known.Extensions[extension]
    return found


_RULES = _rules()


def _good(message: Descriptor) -> Any:
    """A request that fits."""
    made: Any = GetMessageClass(message)()
    for field in message.fields:
        if field.name == "province_code":
            continue
        if field.message_type and not field.message_type.file.package.startswith("google"):
            inner = _good(field.message_type)
            getattr(made, field.name).extend([inner]) if field.is_repeated else getattr(made, field.name).CopyFrom(
                inner
            )
        elif field.name in _GOOD:
            setattr(made, field.name, _GOOD[field.name])
    return made


def _edges(field: FieldDescriptor, rules: Any) -> Iterator[tuple[Any, bool]]:
    """Values at the edge of a field's rules and beyond, and whether they fit."""
    kind = rules.WhichOneof("type")
    of = getattr(rules, kind)
    good = _GOOD.get(field.name, "ID-JK")
    if kind == "string" and of.uuid:
        yield from [(good, True), ("", False), (good[:-1], False), (good + "0", False), ("g" + good[1:], False)]
    elif kind == "string" and of.pattern:
        for text in (good, "", good[:-1], good + good[-1], "#" + good[1:], "a" * 64, "a" * 65):
            yield text, bool(re.fullmatch(of.pattern, text))
    elif kind == "string":
        for length in (of.min_len - 1, of.min_len, of.max_len, of.max_len + 1):
            yield "x" * length, of.min_len <= length <= of.max_len
    elif kind in {"int32", "double"}:
        near = [math.nextafter, lambda edge, to: edge + (1 if to > edge else -1)][kind == "int32"]
        for edge, out in ((of.gte, -math.inf), (of.lte, math.inf)):
            if of.HasField("gte" if out < 0 else "lte"):
                yield from [(edge, True), (near(edge, out), False)]
    elif kind == "enum":
        numbers = [value.number for value in cast("Any", field.enum_type).values]
        yield from [(number, number not in of.not_in) for number in numbers]
        yield max(numbers) + 1, False
    elif kind == "duration":
        least, most = of.gte.ToTimedelta(), of.lte.ToTimedelta()
        step = timedelta(microseconds=1)
        yield from [(least, True), (most, True), (least - step, False), (most + step, False)]


def _cases() -> Iterator[_Case]:
    for service, descriptor in _SERVICES.items():
        for method in descriptor.methods:
            for path, field in _fields(method.input_type):
                rules = _RULES[field.full_name]
                if rules.required:
                    absent = _good(method.input_type)
                    _holder(absent, path).ClearField(field.name)
                    yield _Case(service, method.name, path, absent, fits=False)
                if field.is_repeated and rules.repeated.min_items:
                    for count in (0, 1, rules.repeated.max_items, rules.repeated.max_items + 1):
                        request = _good(method.input_type)
                        several = getattr(request, field.name)
                        several.extend([several[0]] * (count - 1))
                        del several[count:]
                        if count <= 1 or rules.repeated.max_items:
                            fits = 1 <= count <= (rules.repeated.max_items or count)
                            yield _Case(service, method.name, path, request, fits)
                    continue
                for value, fits in _edges(field, rules.repeated.items if field.is_repeated else rules):
                    request = _good(method.input_type)
                    if field.containing_oneof and field.name == "province_code":
                        request.ClearField("location")
                    holder = _holder(request, path)
                    if field.is_repeated:
                        getattr(holder, field.name).append(value)
                    elif field.message_type:
                        getattr(holder, field.name).FromTimedelta(value)
                    else:
                        setattr(holder, field.name, value)
                    yield _Case(service, method.name, f"{path}[0]" * field.is_repeated or path, request, fits)


def _fields(message: Descriptor, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """The fields with rules, by their paths; those of a batch's items are those of the rpc for one."""
    for field in message.fields:
        if field.full_name in _RULES:
            yield prefix + field.name, field
        if field.message_type and field.name != "requests":
            yield from _fields(field.message_type, f"{prefix}{field.name}{'[0]' * field.is_repeated}.")


def _holder(request: Any, path: str) -> Any:
    for name in path.split(".")[:-1]:
        inner = getattr(request, name.removesuffix("[0]"))
        request = inner[0] if name.endswith("[0]") else inner
    return request


@cache
def _servicers() -> dict[str, Any]:
    """The services, on stores that have one booking."""
    keys, key = make_keys(), b"k" * 16
    booking = messages_pb2.Booking(
        booking_id=str(_BOOKING), state=messages_pb2.BOOKING_STATE_CONFIRMED, queue_numbers=[1], code=_GOOD["code"]
    )
    encrypted = keys.encrypt(_BOOKING, key, Person(_GOOD["nik"], "Somebody"))
    row = RosterRow(Session.MORNING, 1, _BOOKING, key, encrypted, State.CONFIRMED, None, False)
    found = CodedBooking(_BOOKING, "local", "ani", State.CONFIRMED, _DAY, _DAY, [1], [1])
    producer: Any = _Front(now=datetime.now(UTC))
    ledger: Any = _Store(find=found, party=[row])
    stores: Any = _Bookings(find=booking)
    catalog = Catalog(load_policy(), producer, ledger, keys)
    catalog._offices = {_PUSAT.office_id: _PUSAT}
    names, commands = Names(catalog, ledger, keys), cast("Any", _Store())
    return {
        "BookingService": BookingService(
            catalog, producer, Admission(catalog, keys), stores, commands, names, BatchQueue(None)
        ),
        "OfficeService": OfficeService(catalog, producer, ledger, keys, commands, names),
    }


async def _refused(case: _Case) -> str:
    """The field that is refused; empty when none is."""
    servicer = _servicers()[case.service]
    CALLER.set(LOCAL)
    context: Any = SimpleNamespace(invocation_metadata=list, time_remaining=lambda: None)
    try:
        response = getattr(servicer, case.rpc)(case.request, context)
        if hasattr(response, "__aiter__"):
            async for _ in response:
                pass
        else:
            await response
    except _ReachedStoreError:
        return ""
    except AntrianError as refusal:
        return refusal.field if refusal.reason in {Reason.INVALID_FIELD, Reason.TOO_LARGE} else ""
    return ""


@pytest.mark.parametrize("case", [*_cases()], ids=str)
async def test_the_server_and_the_field_rules_refuse_the_same_values(case: _Case) -> None:
    if f"{case.rpc}.{case.path}" in _BY_THE_LEDGER:
        return
    field = await _refused(case)
    assert field in ({""} if case.fits else _names(case.path))


def _names(path: str) -> set[str]:
    """How the server names the field: a list is named as a whole."""
    return {path, path.removesuffix("[0]")}


async def test_the_server_queries_a_store_only_after_all_checks() -> None:
    request = _good(booking_service_pb2.GetBookingRequest.DESCRIPTOR)
    assert not await _refused(_Case("BookingService", "GetBooking", "account", request, fits=True))
    request.account = "two words"
    assert await _refused(_Case("BookingService", "GetBooking", "account", request, fits=True)) == "account"
