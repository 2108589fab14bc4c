"""Hypothesis strategies for messages, from descriptors: plausible values by field name where known, random ones by type."""

import base64
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from antrian.identity import booking_code
from tests.fuzz.target import RPCS, SERVICES, TOKENS, Metadata, Target

GOOD_NIK = "3171010101900001"
Known = Mapping[str, SearchStrategy[Any]]
"""By a field's name, values that get further than wild ones."""

_KIND = FieldDescriptor
_TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Nd", "Cc", "Cf"]), max_size=20),
    st.integers(0, 10**20).map(str),
    st.sampled_from(["\0", GOOD_NIK, f"nik {GOOD_NIK}.", "٣١٧١٠١٠١٠١٩٠٠٠٠١", "{field} {0} %s %(x)s", "-1"]),
    st.integers(64, 70_000).map("9x".__mul__),
    st.integers(4_000, 5_000).map("9".__mul__),
)


def _mostly(usual: SearchStrategy[Any], *others: SearchStrategy[Any]) -> SearchStrategy[Any]:
    # In the middle, since Hypothesis likes both ends.
    return st.sampled_from([usual] * 8 + list(others) + [usual] * 8).flatmap(lambda chosen: chosen)


_TIMES = _mostly(st.just(1), st.sampled_from([2, 50]))
_MOODS = _mostly(st.just("likely"), st.sampled_from(["missing", "wild"]))
_WILD: dict[int, SearchStrategy[Any]] = {
    _KIND.CPPTYPE_STRING: _TEXTS,
    _KIND.CPPTYPE_BOOL: st.booleans(),
    _KIND.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    _KIND.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    _KIND.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    _KIND.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    _KIND.CPPTYPE_FLOAT: st.floats(width=32),
    _KIND.CPPTYPE_DOUBLE: st.floats(),
}


def messages(descriptor: Descriptor, known: Known) -> SearchStrategy[Message]:
    """Messages in which most fields that are known are likely; any field may be wild, missing or far too many."""

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message: Any = GetMessageClass(descriptor)()
        chosen = {oneof.full_name: draw(st.sampled_from(list(oneof.fields))).name for oneof in descriptor.oneofs}
        for field in descriptor.fields:
            if field.containing_oneof and chosen[field.containing_oneof.full_name] != field.name:
                continue
            mood = draw(_MOODS)
            if mood == "missing":
                continue
            values = known.get(field.name) if mood == "likely" else None
            one = _wild(field, known) if values is None else values
            if field.is_repeated:
                items = draw(st.lists(one, min_size=mood == "likely", max_size=5))
                getattr(message, field.name).extend(items * draw(_TIMES))
            elif field.message_type:
                getattr(message, field.name).CopyFrom(draw(one))
            elif (value := draw(one)) is not None:
                setattr(message, field.name, value)
        return message  # type: ignore[no-any-return]  # of the descriptor's class

    return build()


def _wild(field: FieldDescriptor, known: Known) -> SearchStrategy[Any]:
    if field.message_type:
        return messages(field.message_type, known)
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values]) | _WILD[_KIND.CPPTYPE_INT32]
    if field.type == _KIND.TYPE_BYTES:
        return st.binary()
    return _WILD[field.cpp_type]


def known_values(target: Target) -> Known:
    """Few values, so that requests meet bookings of earlier ones."""
    catalog, now = target.catalog, target.catalog.as_of
    dates = catalog.last_window.dates
    days = _mostly(st.sampled_from(dates), *[st.integers(-3, 370).map(lambda n: now.date() + timedelta(n))] * 4)
    near = [office.office_id for office in catalog.offices.values() if office.province_code == "ID-JK"]
    numbers = st.integers(1, 40).map(lambda n: uuid.UUID(int=n))
    ids = st.builds(target.keys.booking_id, st.sampled_from(list(TOKENS)), numbers)
    persons = st.sampled_from(["account-1", "user@2", "a.b-3", "four"])
    return {
        "request_id": numbers.map(str),
        "booking_id": ids.map(str),
        "account": persons,
        "staff": persons,
        "office_id": _mostly(st.sampled_from(near), st.sampled_from(list(catalog.offices))),
        "service_date": days.map(date.isoformat),
        "session": st.sampled_from([1, 2]),
        "nik": st.integers(1, 300).map("317101010190{:04}".format),
        "full_name": st.sampled_from(["Siti Rahma", "I Gusti Ngurah", "O'Brien-Łukasz", "محمد"]),
        # Most often in Jakarta, where most of the offices above are.
        "latitude": _mostly(st.floats(-6.24, -6.16), st.sampled_from([1.29, -6.595, -11.0])),
        "longitude": _mostly(st.floats(106.78, 106.88), st.sampled_from([103.85, 106.8167, 141.0])),
        "accuracy_m": _mostly(st.floats(0, 500), st.floats(0, 5000)),
        "province_code": _mostly(st.just("ID-JK"), st.sampled_from(list(catalog.provinces))),
        "page_size": st.integers(0, 100),
        "page_token": _mostly(st.just(""), *[_tokens(ids, now.isoformat())] * 4),
        "state": _mostly(st.just(0), st.integers(1, 6)),
        "wait": _mostly(
            st.builds(Duration, nanos=st.integers(0, 999_999_999)), *[messages(Duration.DESCRIPTOR, {})] * 4
        ),
        "code": ids.map(booking_code),
        "queue_numbers": st.integers(1, 9),
        "queue_number": st.integers(1, 9),
        "quota": st.integers(0, 60),
        "expected_quota": st.none() | st.integers(0, 60),
        "reason": st.sampled_from(["mesin rusak", "banjir 🌊"]),
        "verified": _mostly(st.just(False), *[st.just(True)] * 4),
        "device_key": st.sampled_from(["phone-1", "phone-2"]),
        "address": st.sampled_from(["203.0.113.7", "2001:db8::7"]),
    }


def _tokens(ids: SearchStrategy[uuid.UUID], now: str) -> SearchStrategy[str]:
    """Well-formed page tokens with all kinds of content."""
    moments = st.datetimes().map(datetime.isoformat) | st.sampled_from(
        [now, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59-23:59"]
    )
    words = (
        st.tuples(st.just("from"), st.integers(0, 10**18).map(str) | st.just("9" * 5000))
        | st.tuples(moments, ids.map(str))
        | st.tuples(st.sampled_from(["MORNING", "AFTERNOON"]), st.integers().map(str))
        | st.tuples(_TEXTS, _TEXTS)
    )
    return words.map(lambda pair: base64.urlsafe_b64encode(" ".join(pair).encode()).decode())


def metadata(rpc: str) -> SearchStrategy[Metadata]:
    """The headers that the gate reads, good or junk, in any number and order; mostly of a caller that may call the rpc."""
    usual = ["gateway", "staff"] if RPCS[rpc].containing_service is SERVICES[0] else ["staff"]
    callers = _mostly(st.sampled_from(usual), st.sampled_from([*TOKENS, ""]))
    headers = st.one_of(
        st.tuples(st.just("accept-language"), st.sampled_from(["en", "EN-us;q=0.9", "id, en;q=0.5", ""]) | _TEXTS),
        st.tuples(st.just("x-request-id"), st.uuids().map(str) | st.sampled_from([GOOD_NIK, f"r-{GOOD_NIK}"]) | _TEXTS),
        st.tuples(st.just("authorization"), _TEXTS | _TEXTS.map("Bearer {}".format)),
        st.tuples(_TEXTS, _TEXTS),
    )
    return st.builds(
        lambda caller, others: [("authorization", f"Bearer {TOKENS[caller]}"), *others] if caller else others,
        callers,
        st.lists(headers, max_size=4),
    )
