"""What people read: days, moments, states and fields in their words, and in which language they want them."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import islice

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from antrian.errors import Text

_LONGEST = 500  # characters of a header accept-language; nobody's is longer
_OLD_INDONESIAN = "in"  # until 1989 in ISO 639, until 2021 in Java, so on phones
_WEEKDAYS = (
    Text("Senin", "Monday"),
    Text("Selasa", "Tuesday"),
    Text("Rabu", "Wednesday"),
    Text("Kamis", "Thursday"),
    Text("Jumat", "Friday"),
    Text("Sabtu", "Saturday"),
    Text("Minggu", "Sunday"),
)
_MONTHS = (
    Text("Januari", "January"),
    Text("Februari", "February"),
    Text("Maret", "March"),
    Text("April", "April"),
    Text("Mei", "May"),
    Text("Juni", "June"),
    Text("Juli", "July"),
    Text("Agustus", "August"),
    Text("September", "September"),
    Text("Oktober", "October"),
    Text("November", "November"),
    Text("Desember", "December"),
)
_ZONES = {timedelta(hours=7): "WIB", timedelta(hours=8): "WITA", timedelta(hours=9): "WIT"}
_STATES = {
    "PENDING": Text("menunggu giliran", "waiting for its turn"),
    "CONFIRMED": Text("terkonfirmasi", "confirmed"),
    "REJECTED": Text("ditolak", "rejected"),
    "CANCELLED": Text("dibatalkan", "cancelled"),
    "ATTENDED": Text("sudah hadir", "attended"),
    "NO_SHOW": Text("tidak hadir", "a missed appointment"),
    "EXCUSED": Text("tidak hadir dengan izin", "an excused absence"),
}
_APPLICANT = re.compile(r"applicants\[(\d+)\]")
_REQUEST = re.compile(r"^requests\[\d+\]\.?")
THIS_REQUEST = Text("Permintaan ini", "This request")
FIELDS = {
    "account": Text("Akun", "Account"),
    "applicants": Text("Pemohon", "Applicants"),
    "booking_id": Text("Nomor pendaftaran", "Booking id"),
    "code": Text("Kode", "Code"),
    "expected_quota": Text("Kuota yang diharapkan", "Expected quota"),
    "full_name": Text("Nama", "Name"),
    "location": Text("Lokasi", "Location"),
    "location.accuracy_m": Text("Ketelitian lokasi", "Accuracy of the location"),
    "location.latitude": Text("Lintang lokasi", "Latitude of the location"),
    "location.longitude": Text("Bujur lokasi", "Longitude of the location"),
    "nik": Text("NIK", "NIK"),
    "office_id": Text("Kantor", "Office"),
    "page_size": Text("Ukuran halaman", "Page size"),
    "page_token": Text("Halaman", "Page"),
    "province_code": Text("Provinsi", "Province"),
    "queue_number": Text("Nomor antrian", "Queue number"),
    "queue_numbers": Text("Nomor antrian", "Queue numbers"),
    "quota": Text("Kuota", "Quota"),
    "reason": Text("Alasan", "Reason"),
    "request_id": Text("Nomor permintaan", "Request id"),
    "requests": Text("Daftar permintaan", "List of requests"),
    "service_date": Text("Tanggal kunjungan", "Date of the visit"),
    "session": Text("Sesi", "Session"),
    "staff": Text("Petugas", "Member of staff"),
    "state": Text("Status pendaftaran", "State of the booking"),
    "wait": Text("Waktu tunggu", "Time to wait"),
}
"""What people call the fields of requests, by their paths."""


@lru_cache(maxsize=256)
def wants_english(accept_language: str) -> bool:
    """Whether a header accept-language asks for English rather than for Indonesian, which is the default.

    Its quality values count (RFC 9110, 12.5.4), en-GB is English, and "*" says nothing (RFC 4647, 3.4), unless Indonesian
    is refused ("id;q=0"). What is malformed does not count.
    """
    accepted = [
        (_language(tag), quality) for tag, quality in parse_accept_header(accept_language[:_LONGEST], LanguageAccept)
    ]
    asked = next((language for language, quality in accepted if quality and language in {"id", "en"}), None)
    return asked == "en" or (asked is None and ("id", 0) in accepted)


def _language(tag: str) -> str:
    """The language of a tag: "en" of "en-GB"."""
    language = re.split("[^a-z]", tag.lower(), maxsplit=1)[0]
    return "id" if language == _OLD_INDONESIAN else language


def day(value: date) -> Text:
    """Such as "Senin, 30 November 2026"."""
    weekday, month = _WEEKDAYS[value.weekday()], _MONTHS[value.month - 1]
    return Text(*(f"{names[0]}, {value.day} {names[1]} {value.year}" for names in zip(weekday, month, strict=True)))


def moment(value: datetime) -> Text:
    """Such as "Jumat, 27 November 2026 pukul 14.00 WIB", by the clock of its own zone."""
    on = day(value.date())
    return Text(f"{on.indonesian} pukul {_clock(value, '.')}", f"{on.english} at {_clock(value, ':')}")


def moment_at_office(value: datetime, office: datetime) -> Text:
    """The moment, and the same by the clock of the office where that is another."""
    told = moment(value)
    if value.utcoffset() == office.utcoffset():
        return told
    if value.date() != office.date():
        there = moment(office)
    else:
        there = Text(f"pukul {_clock(office, '.')}", _clock(office, ":"))
    return Text(
        f"{told.indonesian} ({there.indonesian} di kantor ini)", f"{told.english} ({there.english} at this office)"
    )


def _clock(value: datetime, mark: str) -> str:
    return f"{value:%H}{mark}{value:%M} {zone_name(value)}"


def zone_name(value: datetime) -> str:
    """What the time zone of a moment is called in Indonesia: WIB, WITA or WIT."""
    return _ZONES.get(value.utcoffset() or timedelta(0)) or f"{value:%Z}"


def state(name: str) -> Text:
    """What a booking's state is called."""
    return _STATES[name]


def initial(full_name: str) -> str:
    """How a person is told apart from others without being named: "D." of "Dewi Lestari".

    Empty where that would be all of the name, or there is no letter.
    """
    letters = list(islice(filter(str.isalpha, full_name), 2))
    return f"{letters[0].upper()}." if len(letters) > 1 else ""


def initial_of(field: str, names: Sequence[str]) -> str:
    """The initial of the applicant whom the path of a field names; empty where it names none."""
    found = _APPLICANT.match(field)
    return initial(names[int(found[1])]) if found else ""


@lru_cache(maxsize=1024)
def subject(field: str, initial: str = "") -> Text:
    """What people call the field at that path; an applicant by position and, where given, initial: "Pemohon ke-2 (D.)"."""
    path = _REQUEST.sub("", field)
    if found := _APPLICANT.match(path):
        who = f" ({initial})" if initial else ""
        return Text(f"Pemohon ke-{int(found[1]) + 1}{who}", f"Applicant {int(found[1]) + 1}{who}")
    return FIELDS.get(path, THIS_REQUEST)


def about(field: str, problem: Text, initial: str = "") -> Text:
    """A problem of a field as a sentence for people."""
    what = subject(field, initial)
    return Text(f"{what.indonesian}: {problem.indonesian}.", f"{what.english}: {problem.english}.")
