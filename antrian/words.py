"""Days, moments, states and field names as people read them, and the choice of their language."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import islice

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from antrian.errors import Text

_LONGEST = 500  # characters of an accept-language header that are parsed
_OLD_INDONESIAN = "in"  # ISO 639 until 1989, Java until 2021, so phones still send it
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
    "origin": Text("Asal permintaan", "Origin of the request"),
    "origin.address": Text("Alamat internet", "Internet address"),
    "origin.device_key": Text("Kunci perangkat", "Device key"),
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
"""Names of request fields for people, by path."""


@lru_cache(maxsize=256)
def wants_english(accept_language: str) -> bool:
    """Returns whether an accept-language header prefers English to Indonesian, the default.

    Respects quality values (RFC 9110, 12.5.4), takes en-GB as English, and ignores "*" (RFC 4647, 3.4) unless Indonesian
    is refused ("id;q=0"). Ignores malformed parts.
    """
    accepted = [
        (_language(tag), quality) for tag, quality in parse_accept_header(accept_language[:_LONGEST], LanguageAccept)
    ]
    preferred = next((language for language, quality in accepted if quality and language in {"id", "en"}), None)
    return preferred == "en" or (preferred is None and ("id", 0) in accepted)


def _language(tag: str) -> str:
    """Returns the language of a tag: "en" for "en-GB"."""
    language = re.split("[^a-z]", tag.lower(), maxsplit=1)[0]
    return "id" if language == _OLD_INDONESIAN else language


def day(value: date) -> Text:
    """Returns a day like "Senin, 30 November 2026"."""
    weekday, month = _WEEKDAYS[value.weekday()], _MONTHS[value.month - 1]
    return Text(*(f"{names[0]}, {value.day} {names[1]} {value.year}" for names in zip(weekday, month, strict=True)))


def moment(value: datetime) -> Text:
    """Returns a moment like "Jumat, 27 November 2026 pukul 14.00 WIB", in its own time zone."""
    on = day(value.date())
    return Text(f"{on.indonesian} pukul {_clock(value, '.')}", f"{on.english} at {_clock(value, ':')}")


def moment_at_office(value: datetime, office: datetime) -> Text:
    """Returns the moment, followed by the same in the office's time zone if that differs."""
    own = moment(value)
    if value.utcoffset() == office.utcoffset():
        return own
    if value.date() != office.date():
        there = moment(office)
    else:
        there = Text(f"pukul {_clock(office, '.')}", _clock(office, ":"))
    return Text(
        f"{own.indonesian} ({there.indonesian} di kantor ini)", f"{own.english} ({there.english} at this office)"
    )


def _clock(value: datetime, separator: str) -> str:
    return f"{value:%H}{separator}{value:%M} {zone_name(value)}"


def zone_name(value: datetime) -> str:
    """Returns the Indonesian name of a moment's time zone: WIB, WITA or WIT."""
    return _ZONES.get(value.utcoffset() or timedelta(0)) or f"{value:%Z}"


def state(name: str) -> Text:
    """Returns the name of a booking's state for people."""
    return _STATES[name]


def initial(full_name: str) -> str:
    """Returns a person's initial, to distinguish applicants without naming them: "D." for "Dewi Lestari".

    Empty if the name has fewer than two letters.
    """
    letters = list(islice(filter(str.isalpha, full_name), 2))
    return f"{letters[0].upper()}." if len(letters) > 1 else ""


def initial_of(field: str, names: Sequence[str]) -> str:
    """Returns the initial of the applicant at the path of a field, or "" if the path is not an applicant's."""
    found = _APPLICANT.match(field)
    return initial(names[int(found[1])]) if found else ""


@lru_cache(maxsize=1024)
def subject(field: str, initial: str = "") -> Text:
    """Returns the name of a field for people. Applicants go by position and, if given, initial: "Pemohon ke-2 (D.)"."""
    path = _REQUEST.sub("", field)
    if found := _APPLICANT.match(path):
        who = f" ({initial})" if initial else ""
        return Text(f"Pemohon ke-{int(found[1]) + 1}{who}", f"Applicant {int(found[1]) + 1}{who}")
    return FIELDS.get(path, THIS_REQUEST)


def about(field: str, problem: Text, initial: str = "") -> Text:
    """Returns the problem of a field as a sentence."""
    what = subject(field, initial)
    return Text(f"{what.indonesian}: {problem.indonesian}.", f"{what.english}: {problem.english}.")
