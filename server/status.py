"""Errors to the wire: the one table from a reason to its gRPC code and its words, and google.rpc.Status from it."""

from datetime import timedelta
from typing import NamedTuple

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from antrian.errors import AntrianError, Reason, Text

DOMAIN = "antrian"
"""ErrorInfo.domain of every error that is ours."""

Code = grpc.StatusCode


class _Row(NamedTuple):
    code: grpc.StatusCode
    words: Text


_TABLE: dict[Reason, _Row] = {
    Reason.INVALID_FIELD: _Row(Code.INVALID_ARGUMENT, Text("tidak sah.", "not valid.")),
    Reason.INVALID_MESSAGE: _Row(
        Code.INVALID_ARGUMENT,
        Text("Data yang diterima bukan pesan yang sah untuk panggilan ini.", "The bytes are no message of this rpc."),
    ),
    Reason.TOO_LARGE: _Row(
        Code.INVALID_ARGUMENT,
        Text("Terlalu besar: batasnya {limit}. Kirim dalam beberapa bagian.", "Too large: the limit is {limit}. Send less at once."),
    ),
    Reason.OFFICE_NOT_FOUND: _Row(
        Code.NOT_FOUND,
        Text("Kantor itu tidak ada. Ambil daftar kantor lebih dahulu.", "There is no such office. ListOffices has them."),
    ),
    Reason.BOOKING_NOT_FOUND: _Row(
        Code.NOT_FOUND,
        Text("Pendaftaran itu tidak ada pada akun ini.", "This account has no such booking."),
    ),
    Reason.NOT_A_SERVICE_DAY: _Row(
        Code.FAILED_PRECONDITION,
        Text("Kantor tutup pada hari itu ({day}).", "Offices are closed on that day ({day})."),
    ),
    Reason.DATE_NOT_OFFERED: _Row(
        Code.FAILED_PRECONDITION,
        Text("Sekarang dibuka untuk {first_date} sampai {last_date}.", "Now open for {first_date} to {last_date}."),
    ),
    Reason.WINDOW_CLOSED: _Row(
        Code.FAILED_PRECONDITION,
        Text("Pendaftaran sedang ditutup; dibuka {opens_at}.", "Booking is closed; it opens {opens_at}."),
    ),
    Reason.DAY_CLOSED: _Row(
        Code.FAILED_PRECONDITION,
        Text("Kantor ini menutup hari itu. Pilih hari atau kantor lain.", "The office closed that day. Choose another day or office."),
    ),
    Reason.DAY_BEGUN: _Row(
        Code.FAILED_PRECONDITION,
        Text("Terlambat: hari itu sudah dimulai atau sudah lewat.", "Too late: that day has begun, or is over, at the office."),
    ),
    Reason.OUTSIDE_INDONESIA: _Row(
        Code.INVALID_ARGUMENT,
        Text("Lokasi ini tidak di Indonesia. Periksa GPS perangkat.", "This location is not in Indonesia. Check the device's GPS."),
    ),
    Reason.LOCATION_TOO_COARSE: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Lokasi kurang teliti (lebih dari {limit} m), provinsinya tidak dapat dipastikan. Nyalakan GPS dan coba lagi.",
            "The location is too coarse (over {limit} m) to tell the province. Turn GPS on and try again.",
        ),
    ),
    Reason.OFFICE_OUTSIDE_PROVINCE: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini di provinsi {office_province}, Anda di {provinces}.",
            "This office is in {office_province}, you are in {provinces}.",
        ),
    ),
    Reason.LOCATION_REQUIRED: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Untuk mendaftar diperlukan lokasi perangkat, bukan hanya provinsi.",
            "Booking needs the device's location; this caller does not vouch for a province.",
        ),
    ),
    Reason.BARRED: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Seorang pemohon tidak hadir pada janji sebelumnya dan baru dapat mendaftar setelah {last_day}.",
            "An applicant missed an appointment and may book again after {last_day}.",
        ),
    ),
    Reason.ALREADY_BOOKED: _Row(
        Code.ALREADY_EXISTS,
        Text(
            "Seorang pemohon sudah mempunyai pendaftaran yang berlaku.",
            "An applicant already holds a live booking.",
        ),
    ),
    Reason.ACCOUNT_LIMIT: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Satu akun paling banyak untuk {limit} orang sekaligus; sekarang {live}.",
            "An account books for at most {limit} people at once; it has {live} now.",
        ),
    ),
    Reason.PEOPLE_LIMIT: _Row(
        Code.FAILED_PRECONDITION,
        Text(
            "Akun ini sudah mencoba mendaftarkan {limit} orang yang berbeda pada masa pendaftaran ini. "
            "Coba lagi pada masa pendaftaran berikutnya.",
            "This account has asked for {limit} different people in this booking window. Try again in the next one.",
        ),
    ),
    Reason.REQUEST_ID_REUSED: _Row(
        Code.INVALID_ARGUMENT,
        Text(
            "request_id ini sudah dipakai untuk permintaan lain. Buat yang baru.",
            "This request_id was used for another request. Make a new one.",
        ),
    ),
    Reason.NOT_DECIDED_YET: _Row(
        Code.FAILED_PRECONDITION,
        Text("Pendaftaran ini belum diputuskan. Coba lagi sebentar.", "This booking is not decided yet. Try again in a moment."),
    ),
    Reason.NOT_CANCELLABLE: _Row(
        Code.FAILED_PRECONDITION,
        Text("Pendaftaran ini ({state}) tidak dapat dibatalkan.", "This booking ({state}) has no places to give back."),
    ),
    Reason.CODE_NOT_FOUND: _Row(
        Code.NOT_FOUND,
        Text("Kantor ini tidak mempunyai pendaftaran dengan kode itu.", "This office has no booking of that code."),
    ),
    Reason.NOT_CONFIRMED: _Row(
        Code.FAILED_PRECONDITION,
        Text("Pendaftaran ini tidak berlaku ({state}).", "This booking holds no places ({state})."),
    ),
    Reason.NOT_TODAY: _Row(
        Code.FAILED_PRECONDITION,
        Text("Pendaftaran ini untuk {service_date}, bukan hari ini.", "This booking is for {service_date}, not for today."),
    ),
    Reason.QUOTA_BELOW_TAKEN: _Row(
        Code.FAILED_PRECONDITION,
        Text("Sudah {taken} tempat terisi; kuota tidak boleh di bawahnya.", "{taken} places are taken; the quota cannot be below that."),
    ),
    Reason.QUOTA_CHANGED: _Row(
        Code.ABORTED,
        Text("Kuota sekarang {quota}, bukan yang diharapkan. Periksa lalu ulangi.", "The quota is {quota} now, not what was expected. Look and decide again."),
    ),
    Reason.LANE_FULL: _Row(
        Code.UNAVAILABLE,
        Text("Antrean kantor ini penuh; permintaan belum diterima. Coba lagi sebentar.", "This office's line is full; not accepted. Try again."),
    ),
    Reason.LANE_CLOSED: _Row(
        Code.UNAVAILABLE,
        Text("Antrean kantor ini sedang disiapkan; permintaan belum diterima. Coba lagi.", "This office's line is being opened; not accepted. Try again."),
    ),
    Reason.STORE_UNAVAILABLE: _Row(
        Code.UNAVAILABLE,
        Text(
            "Layanan terganggu sejenak. Kirim lagi dengan request_id yang sama.",
            "A store cannot be reached. Ask again with the same request_id.",
        ),
    ),
    Reason.STORE_FULL: _Row(
        Code.UNAVAILABLE,
        Text("Penyimpanan penuh; permintaan belum diterima. Coba lagi nanti.", "A store is full; not accepted. Try again later."),
    ),
    Reason.SERVER_BUSY: _Row(
        Code.UNAVAILABLE,
        Text("Server sedang sibuk; permintaan belum diterima. Coba lagi sebentar.", "This server is busy; not accepted. Try again."),
    ),
    Reason.CALLER_BUSY: _Row(
        Code.UNAVAILABLE,
        Text(
            "Pemanggil ini sudah memegang {limit} panggilan sekaligus, batas satu pemanggil; permintaan belum diterima. Coba lagi sebentar.",
            "This caller holds {limit} calls and streams at once, the most for one caller; not accepted. Try again.",
        ),
    ),
    Reason.RATE_LIMITED: _Row(
        Code.RESOURCE_EXHAUSTED,
        Text("Lebih dari {limit} permintaan per detik; permintaan belum diterima. Perlambat.", "More than {limit} requests a second; not accepted. Slow down."),
    ),
    Reason.UNAUTHENTICATED: _Row(
        Code.UNAUTHENTICATED,
        Text("Token tidak ada atau tidak dikenal.", "No bearer token, or one that belongs to no caller."),
    ),
    Reason.PERMISSION_DENIED: _Row(
        Code.PERMISSION_DENIED,
        Text("Pemanggil ini tidak berhak atas panggilan ini.", "This caller's role may not use this rpc."),
    ),
    Reason.INTERNAL: _Row(
        Code.INTERNAL,
        Text("Terjadi kesalahan pada layanan ({error_id}).", "A fault of ours, logged as {error_id}."),
    ),
}  # fmt: skip


def code_of(reason: Reason) -> grpc.StatusCode:
    """The gRPC code with which a reason goes out."""
    return _TABLE[reason].code


def to_status(error: AntrianError, *, english: bool) -> Status:
    """The error as it goes over the wire; message is English, for developers, LocalizedMessage for people."""
    row = _TABLE[error.reason]
    words = error.problem or _filled(row.words, error)
    if error.reason is Reason.INVALID_FIELD:
        words = Text(f"{error.field}: {words.indonesian}", f"{error.field}: {words.english}")
    metadata = error.metadata | ({"field": error.field} if error.field else {})
    details = [
        _packed(ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)),
        _packed(
            LocalizedMessage(
                locale="en" if english else "id-ID", message=words.english if english else words.indonesian
            )
        ),
    ]
    if error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=words.english, reason=error.reason.value)
        details.append(_packed(BadRequest(field_violations=[violation])))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(max(error.retry_after, timedelta(0)))
        details.append(_packed(retry))
    code: tuple[int, str] = row.code.value
    return Status(code=code[0], message=f"{error.reason}: {words.english}", details=details)


def _filled(words: Text, error: AntrianError) -> Text:
    values = error.metadata | {"field": error.field}
    return Text(words.indonesian.format_map(_Known(values)), words.english.format_map(_Known(values)))


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _packed(detail: ErrorInfo | LocalizedMessage | BadRequest | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
