"""Errors to the wire: the one table from a reason to its gRPC code and its words, and google.rpc.Status from it."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from string import Formatter
from types import MappingProxyType
from typing import NamedTuple

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from antrian.errors import AntrianError, Reason, Text
from antrian.offices.explain import list_provinces
from antrian.offices.provinces import load_provinces
from antrian.words import about, day, moment, moment_at_office, state, subject

DOMAIN = "antrian"
"""ErrorInfo.domain of every error that is ours."""

Code = grpc.StatusCode


class Row(NamedTuple):
    """How a reason goes out: its code, and its words for people.

    Words name metadata in braces, and {who}, the applicant at fault. known has the words in their place when that metadata
    is there.
    """

    code: grpc.StatusCode
    words: Text
    known: Mapping[str, Text] = MappingProxyType({})


TABLE: dict[Reason, Row] = {
    Reason.INVALID_FIELD: Row(
        Code.INVALID_ARGUMENT,
        Text(
            "isinya tidak sah",
            "is not valid",
        ),
    ),
    Reason.INVALID_MESSAGE: Row(
        Code.INVALID_ARGUMENT,
        Text(
            "Permintaan ini tidak dapat dibaca. Perbarui aplikasi Anda, lalu coba lagi.",
            "This request cannot be read as a message of this rpc. Update your app, then try again.",
        ),
    ),
    Reason.TOO_LARGE: Row(
        Code.INVALID_ARGUMENT,
        Text(
            "Permintaan ini terlalu besar: batasnya {limit}. Kirim dalam beberapa bagian.",
            "This request is too large: the limit is {limit}. Send less at once.",
        ),
    ),
    Reason.OFFICE_NOT_FOUND: Row(
        Code.NOT_FOUND,
        Text(
            "Kantor itu tidak ada. Pilih salah satu dari daftar kantor.",
            "There is no such office. Choose one from the list of offices.",
        ),
    ),
    Reason.OFFICE_RETIRED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini tidak lagi menerima pendaftaran. Silakan pilih kantor lain; pendaftaran yang sudah ada tetap dilayani.",
            "This office takes no more bookings. Choose another one; bookings that it has are still served.",
        ),
    ),
    Reason.BOOKING_NOT_FOUND: Row(
        Code.NOT_FOUND,
        Text(
            "Pendaftaran itu tidak ada pada akun ini. Periksa nomor pendaftaran dan akun Anda.",
            "This account has no such booking. Check the booking's id and your account.",
        ),
    ),
    Reason.NOT_A_SERVICE_DAY: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor imigrasi tidak melayani pada {service_date}. Pilih hari kerja lain.",
            "Immigration offices are closed on {service_date}. Choose another working day.",
        ),
        {
            "day": Text(
                "Kantor imigrasi tutup pada {service_date} ({day}). Pilih hari kerja lain.",
                "Immigration offices are closed on {service_date} ({day}). Choose another working day.",
            )
        },
    ),
    Reason.DATE_NOT_OFFERED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Saat ini pendaftaran dibuka untuk {first_date} sampai {last_date}. Pilih tanggal di antaranya.",
            "Booking is now open for {first_date} to {last_date}. Choose a date among these.",
        ),
    ),
    Reason.WINDOW_CLOSED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran sedang ditutup. Coba lagi saat dibuka: {open_time}.",
            "Booking is closed. Come back when it opens: {open_time}.",
        ),
    ),
    Reason.DAY_CLOSED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini tutup pada hari itu. Pilih hari atau kantor lain.",
            "This office is closed on that day. Choose another day or office.",
        ),
    ),
    Reason.DAY_BEGUN: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Sudah terlambat: hari itu sudah dimulai atau sudah lewat di kantor ini. Hubungi kantor ini bila perlu bantuan.",
            "It is too late: that day has begun, or is over, at this office. Ask the office if you need help.",
        ),
    ),
    Reason.OUTSIDE_INDONESIA: Row(
        Code.INVALID_ARGUMENT,
        Text(
            "Lokasi perangkat Anda tidak berada di Indonesia. Periksa GPS perangkat, lalu coba lagi.",
            "Your device's location is not in Indonesia. Check its GPS, then try again.",
        ),
    ),
    Reason.LOCATION_TOO_COARSE: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Lokasi perangkat Anda kurang teliti (lebih dari {limit} m), sehingga provinsinya tidak dapat dipastikan. Nyalakan GPS, lalu coba lagi.",
            "Your device's location is too coarse (over {limit} m) to tell the province. Turn GPS on, then try again.",
        ),
    ),
    Reason.OFFICE_OUTSIDE_PROVINCE: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini berada di {office_province}, sedangkan Anda berada di {provinces}. Pilih kantor di provinsi tempat Anda berada, atau coba lagi saat berada di {office_province}.",
            "This office is in {office_province}, and you are in {provinces}. Choose an office of the province where you are, or try again when you are in {office_province}.",
        ),
    ),
    Reason.LOCATION_REQUIRED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Untuk mendaftar diperlukan lokasi perangkat, bukan hanya nama provinsi. Izinkan aplikasi memakai lokasi, lalu coba lagi.",
            "Booking needs your device's location, not only the name of a province. Let the app use the location, then try again.",
        ),
    ),
    Reason.BARRED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "{who} tidak hadir pada janji temu sebelumnya dan baru dapat mendaftar lagi setelah {last_barred_date}. Daftarkan yang lain tanpa orang ini, atau tunggu sampai hari itu lewat.",
            "{who} missed an appointment and may book again after {last_barred_date}. Book for the others without this person, or wait until that day is over.",
        ),
    ),
    Reason.ALREADY_BOOKED: Row(
        Code.ALREADY_EXISTS,
        Text(
            "{who} sudah mempunyai pendaftaran yang berlaku pada akun lain. Daftarkan yang lain tanpa orang ini; bila ia tidak pernah mendaftar, minta bantuan kantor imigrasi.",
            "{who} already has a live booking that another account made. Book for the others without this person; if this person never booked, ask an immigration office for help.",
        ),
        {
            "booking_id": Text(
                "{who} sudah mempunyai pendaftaran yang berlaku pada akun Anda. Lihat pendaftaran itu, atau batalkan dahulu bila ingin mengubahnya.",
                "{who} already has a live booking on your account. See that booking, or cancel it first to change it.",
            )
        },
    ),
    Reason.ACCOUNT_LIMIT: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Satu akun dapat mendaftarkan paling banyak {limit} orang sekaligus, dan akun ini sudah mendaftarkan {live} orang. Kurangi jumlah pemohon, atau batalkan pendaftaran lain.",
            "An account may have live bookings for at most {limit} people, and this one has them for {live}. Book for fewer people, or cancel another booking.",
        ),
    ),
    Reason.PEOPLE_LIMIT: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Akun ini sudah mencoba mendaftarkan {limit} orang yang berbeda pada masa pendaftaran ini. "
            "Coba lagi pada masa pendaftaran berikutnya.",
            "This account has asked for {limit} different people in this booking window. Try again in the next one.",
        ),
    ),
    Reason.NAME_TOO_DIFFERENT: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Lewat aplikasi, paling banyak {limit} huruf dari sebuah nama dapat diperbaiki. Minta kantor memperbaikinya, dengan KTP.",
            "At most {limit} letters of a name can be corrected in the app. Ask the office to correct it, with the identity card.",
        ),
    ),
    Reason.NAME_CORRECTED_BEFORE: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Nama ini sudah pernah diperbaiki lewat aplikasi. Minta kantor memperbaikinya, dengan KTP.",
            "This name was corrected in the app before. Ask the office to correct it, with the identity card.",
        ),
    ),
    Reason.REQUEST_ID_REUSED: Row(
        Code.INVALID_ARGUMENT,
        Text(
            "Nomor permintaan ini sudah dipakai untuk permintaan lain. Kirim lagi sebagai permintaan baru.",
            "This request's id was used for another request. Send it again as a new request.",
        ),
    ),
    Reason.NOT_DECIDED_YET: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini belum diputuskan. Coba lagi sebentar.",
            "This booking is not decided yet. Try again in a moment.",
        ),
    ),
    Reason.NOT_CANCELLABLE: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak dapat dibatalkan karena statusnya {state}; tidak ada tempat yang perlu dikembalikan.",
            "This booking cannot be cancelled because it is {state}; it has no places to give back.",
        ),
    ),
    Reason.CODE_NOT_FOUND: Row(
        Code.NOT_FOUND,
        Text(
            "Kantor ini tidak mempunyai pendaftaran dengan kode itu. Periksa kode dan kantornya.",
            "This office has no booking of that code. Check the code and the office.",
        ),
    ),
    Reason.NOT_CONFIRMED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak berlaku karena statusnya {state}. Pemohon perlu mendaftar lagi.",
            "This booking holds no places because it is {state}. The applicants have to book again.",
        ),
    ),
    Reason.NOT_TODAY: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini untuk {service_date}, bukan untuk hari ini. Minta pemohon datang pada hari itu.",
            "This booking is for {service_date}, not for today. Ask the applicants to come on that day.",
        ),
    ),
    Reason.QUOTA_BELOW_TAKEN: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Sudah {taken} tempat terisi, dan kuota tidak boleh di bawahnya. Pilih kuota yang lebih besar, atau tutup hari itu.",
            "The quota cannot be below the {taken} places that are taken. Choose a larger quota, or close the day.",
        ),
    ),
    Reason.QUOTA_CHANGED: Row(
        Code.ABORTED,
        Text(
            "Kuota sekarang {quota}, bukan yang diharapkan. Periksa, lalu putuskan lagi.",
            "The quota is {quota} now, not what was expected. Look at it and decide again.",
        ),
    ),
    Reason.LANE_FULL: Row(
        Code.UNAVAILABLE,
        Text(
            "Antrean kantor ini penuh; permintaan belum diterima. Coba lagi sebentar.",
            "This office's line is full; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.LANE_CLOSED: Row(
        Code.UNAVAILABLE,
        Text(
            "Antrean kantor ini sedang disiapkan; permintaan belum diterima. Coba lagi sebentar.",
            "This office's line is being opened; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.STORE_UNAVAILABLE: Row(
        Code.UNAVAILABLE,
        Text(
            "Layanan sedang terganggu, dan belum pasti apakah permintaan ini diterima. Kirim lagi permintaan yang sama.",
            "The service is interrupted, and whether the request was accepted is unknown. Send the same request again.",
        ),
    ),
    Reason.STORE_FULL: Row(
        Code.UNAVAILABLE,
        Text(
            "Penyimpanan layanan penuh; permintaan belum diterima. Coba lagi nanti.",
            "The service's store is full; the request was not accepted. Try again later.",
        ),
    ),
    Reason.SERVER_BUSY: Row(
        Code.UNAVAILABLE,
        Text(
            "Layanan sedang sibuk; permintaan belum diterima. Coba lagi sebentar.",
            "The service is busy; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.CALLER_BUSY: Row(
        Code.UNAVAILABLE,
        Text(
            "Aplikasi ini sudah memegang {limit} panggilan sekaligus, batas satu aplikasi; permintaan belum diterima. Coba lagi sebentar.",
            "This app holds {limit} calls at once, the most for one app; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.RATE_LIMITED: Row(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Aplikasi ini mengirim lebih dari {limit} permintaan per detik; permintaan belum diterima. Coba lagi sebentar.",
            "This app sends more than {limit} requests a second; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.BAR_NOT_FOUND: Row(
        Code.NOT_FOUND,
        Text(
            "Pemegang nomor antrian itu tidak sedang ditangguhkan karena pendaftaran ini. Periksa daftar penangguhan.",
            "The holder of that queue number is not barred for this booking. Check the list of bars.",
        ),
    ),
    Reason.NOT_MISSED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak tercatat sebagai tidak hadir ({state}). Kehadiran pada harinya dicatat dengan check-in.",
            "This booking was not missed ({state}). Note with a check-in who comes on the day itself.",
        ),
    ),
    Reason.BOOKED_AGAIN: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Pemegang nomor antrian {queue_number} sudah mendaftar lagi setelah check-in, jadi check-in itu tidak dapat dibatalkan. Batalkan dahulu pendaftaran yang baru.",
            "The holder of queue number {queue_number} has booked again since the check-in, so it cannot be undone. Cancel the new booking first.",
        ),
    ),
    Reason.ATTENDANCE_CLOSED: Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kehadiran susulan hanya dapat dicatat sampai {close_time}. Untuk sesudahnya, cabut penangguhannya.",
            "Attendance could be noted until {close_time}. After that, lift the person's bar.",
        ),
    ),
    Reason.UNAUTHENTICATED: Row(
        Code.UNAUTHENTICATED,
        Text(
            "Aplikasi ini tidak dikenal: tokennya tidak ada atau salah. Hubungi pengelola aplikasi.",
            "This app is not known: its token is missing or wrong. Ask who runs the app.",
        ),
    ),
    Reason.PERMISSION_DENIED: Row(
        Code.PERMISSION_DENIED,
        Text(
            "Aplikasi ini tidak berhak atas layanan ini. Hubungi pengelola aplikasi.",
            "This app's role may not use this rpc. Ask who runs the app.",
        ),
        {
            "field": Text(
                "Aplikasi ini tidak berhak atas kantor itu. Pilih kantor Anda, atau hubungi pengelola aplikasi.",
                "This app may not act for that office. Choose your own, or ask who runs the app.",
            )
        },
    ),
    Reason.INTERNAL: Row(
        Code.INTERNAL,
        Text(
            "Terjadi kesalahan pada layanan, dan belum pasti apakah permintaan ini diterima. Kirim lagi permintaan yang sama; bila terulang, sebutkan {error_id} kepada pengelola.",
            "This is a fault of ours, and whether the request was accepted is unknown. Send the same request again; if it comes again, tell us its id, {error_id}.",
        ),
    ),
}
"""Every reason's way out; docs/errors.md shows it (`make protos`)."""

_provinces = cache(load_provinces)


def code_of(reason: Reason) -> grpc.StatusCode:
    """The gRPC code with which a reason goes out."""
    return TABLE[reason].code


def to_status(error: AntrianError, *, english: bool) -> Status:
    """The error as it goes over the wire.

    Its message is English, for developers, with the path of a field and nothing of a name. LocalizedMessage is for people,
    without paths, codes or dates as machines write them.
    """
    problem = error.problem or _filled(error, "")
    if error.reason is Reason.INVALID_FIELD:
        people = about(error.field, problem, error.initial)
    else:
        people = error.problem or _filled(error, error.initial) if error.initial else problem
    metadata = error.metadata | ({"field": error.field} if error.field else {})
    details = [
        _packed(ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)),
        _packed(
            LocalizedMessage(
                locale="en" if english else "id-ID", message=people.english if english else people.indonesian
            )
        ),
    ]
    if error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=problem.english, reason=error.reason.value)
        details.append(_packed(BadRequest(field_violations=[violation])))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(max(error.retry_after, timedelta(0)))
        details.append(_packed(retry))
    code: tuple[int, str] = code_of(error.reason).value
    where = f"{error.field}: " if error.reason is Reason.INVALID_FIELD else ""
    return Status(code=code[0], message=f"{error.reason}: {where}{problem.english}", details=details)


def _filled(error: AntrianError, initial: str) -> Text:
    row, metadata = TABLE[error.reason], error.metadata
    words = next(
        (words for name, words in row.known.items() if name in metadata or (name == "field" and error.field)), row.words
    )
    named = _named(words)
    facts = tuple((name, value) for name, value in metadata.items() if name in named)
    return _fill(words, facts, subject(error.field, initial) if "who" in named else None)


@cache
def _named(words: Text) -> set[str]:
    """What the words name in braces, and what that is said with."""
    named = {name for text in words for _, name, _, _ in Formatter().parse(text) if name}
    return named | {"office_open_time"} if "open_time" in named else named


@lru_cache(maxsize=4096)  # when booking opens, thousands a second are told the same
def _fill(words: Text, facts: tuple[tuple[str, str], ...], who: Text | None) -> Text:
    metadata = dict(facts)
    values = {name: _said(name, value, metadata) for name, value in facts}
    if who:
        values["who"] = who
    return Text(*(text.format_map(_Known({k: v[n] for k, v in values.items()})) for n, text in enumerate(words)))


def _said(name: str, value: str, metadata: Mapping[str, str]) -> Text:
    """A value of the metadata as people say it."""
    match name:
        case "first_date" | "last_date" | "last_barred_date" | "service_date":
            return day(date.fromisoformat(value))
        case "close_time":
            return moment(datetime.fromisoformat(value))
        case "open_time":
            at_office = metadata.get("office_open_time", value)
            return moment_at_office(datetime.fromisoformat(value), datetime.fromisoformat(at_office))
        case "state":
            return state(value)
        case "office_province" | "provinces":
            return list_provinces([_provinces()[code] for code in value.split(",")])
    return Text(value, value)


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _packed(detail: ErrorInfo | LocalizedMessage | BadRequest | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
