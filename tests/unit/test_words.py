"""What people read: languages asked for, days and moments, fields and people."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from antrian import words
from antrian.booking import State
from antrian.errors import Text
from antrian.v1 import booking_service_pb2, office_service_pb2

JAKARTA = ZoneInfo("Asia/Jakarta")
OPENS = datetime(2026, 11, 27, 14, tzinfo=JAKARTA)


@pytest.mark.parametrize(
    ("header", "english"),
    [
        ("", False),
        ("en", True),
        ("id", False),
        ("id;q=0.2,en;q=0.9", True),
        ("en;q=0.2,id;q=0.9", False),
        ("id;q=0.2, EN-gb;q=0.21", True),
        ("en-GB", True),
        ("en_US", True),
        ("en-GB-oed;q=0.1, id-ID;q=0.09", True),
        ("en, id", True),
        ("id, en", False),
        ("fr, en;q=0.1", True),
        ("fr", False),
        ("*", False),
        ("*, en;q=0.1", True),
        ("id;q=0", True),
        ("id;q=0, *", True),
        ("en;q=0", False),
        ("en;q=0, id;q=0.1", False),
        ("en;q=0.0, fr", False),
        ("in-ID, en;q=0.9", False),
        ("ms, jv", False),
        ("english", False),
        ("en;q=1.5, id;q=0.1", False),
        ("en;q=often, id;q=0.1", False),
        ("en;q=0.5;level=1, id;q=0.4", True),
        (" en ;q=0.8 , id; q=0.9", False),
        (',;q=,"en', False),
        ("x" * 600 + ",en", False),
    ],
)
def test_the_language_of_highest_quality_wins_and_indonesian_is_the_default(header: str, english: bool) -> None:
    assert words.wants_english(header) is english


@given(st.text())
def test_any_header_gives_a_language(header: str) -> None:
    assert words.wants_english(header) in {True, False}


def test_a_day_is_written_as_people_write_it() -> None:
    assert words.day(date(2026, 11, 30)) == ("Senin, 30 November 2026", "Monday, 30 November 2026")
    assert words.day(date(2027, 8, 1)) == ("Minggu, 1 Agustus 2027", "Sunday, 1 August 2027")


@pytest.mark.parametrize(
    ("zone", "indonesian", "english"),
    [
        ("Asia/Pontianak", "pukul 14.00 WIB", "at 14:00 WIB"),
        ("Asia/Makassar", "pukul 14.00 WIB (pukul 15.00 WITA di kantor ini)", "at 14:00 WIB (15:00 WITA at this office)"),
        ("Asia/Jayapura", "pukul 14.00 WIB (pukul 16.00 WIT di kantor ini)", "at 14:00 WIB (16:00 WIT at this office)"),
    ],
)  # fmt: skip
def test_a_time_is_also_shown_in_the_offices_zone(zone: str, indonesian: str, english: str) -> None:
    told = words.moment_at_office(OPENS, OPENS.astimezone(ZoneInfo(zone)))
    assert told == (f"Jumat, 27 November 2026 {indonesian}", f"Friday, 27 November 2026 {english}")


def test_a_time_on_another_day_at_the_office_names_both_days() -> None:
    late = datetime(2026, 11, 27, 23, tzinfo=JAKARTA)
    told = words.moment_at_office(late, late.astimezone(ZoneInfo("Asia/Jayapura")))
    assert (
        told.english == "Friday, 27 November 2026 at 23:00 WIB (Saturday, 28 November 2026 at 01:00 WIT at this office)"
    )


def test_a_time_parsed_from_its_offset_has_the_name_of_its_zone() -> None:
    assert words.moment(datetime.fromisoformat("2026-11-27T16:00:00+09:00")).indonesian.endswith("pukul 16.00 WIT")
    assert words.moment(OPENS.astimezone(UTC)).english.endswith("at 07:00 UTC")
    assert words.moment(OPENS.astimezone(timezone(timedelta(hours=5)))).english.endswith("at 12:00 UTC+05:00")


def test_every_state_has_words() -> None:
    assert len({words.state(state) for state in State}) == len(State)


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("Dewi Lestari", "D."),
        ("  dewi", "D."),
        ("'Abd al-Aziz", "A."),
        ("łukasz", "Ł."),
        ("李明", "李."),
        ("O", ""),
        ("3171014107900001", ""),
        ("", ""),
    ],
)
def test_an_initial_never_reveals_the_whole_name(name: str, initial: str) -> None:
    assert words.initial(name) == initial


def test_fields_have_plain_names_and_people_are_named_by_position() -> None:
    assert words.about("applicants[1].nik", Text("NIK harus 16 angka", "a NIK must be 16 digits"), "D.") == (
        "Pemohon ke-2 (D.): NIK harus 16 angka.",
        "Applicant 2 (D.): a NIK must be 16 digits.",
    )
    assert words.subject("applicants[0]") == ("Pemohon ke-1", "Applicant 1")
    assert words.subject("requests[7].applicants[4].full_name").indonesian == "Pemohon ke-5"
    assert words.subject("requests[7].service_date").indonesian == "Tanggal kunjungan"
    assert words.subject("nickname") == words.THIS_REQUEST


def fields_of(message: Descriptor, path: str = "") -> set[str]:
    """The paths of all fields that a caller can send."""
    found = set()
    for field in message.fields:
        found.add(path + field.name)
        of = field.message_type
        if of and not field.is_repeated and not of.full_name.startswith("google."):
            found |= fields_of(of, f"{path}{field.name}.")
    return found


def test_every_request_field_has_a_plain_name() -> None:
    services = [
        booking_service_pb2.DESCRIPTOR.services_by_name["BookingService"],
        office_service_pb2.DESCRIPTOR.services_by_name["OfficeService"],
    ]
    fields: set[str] = set()
    for service in services:
        for method in service.methods:
            fields |= fields_of(method.input_type)
    assert fields == words.FIELDS.keys()
