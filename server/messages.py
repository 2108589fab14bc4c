"""The error table: each reason's gRPC code, and its message to people in Indonesian and English."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import grpc

from antrian.errors import Reason, Text

Code = grpc.StatusCode


class ErrorRow(NamedTuple):
    """The gRPC code of a reason, and its message to people.

    A message names metadata in braces; {who} is the applicant at fault. variants has, by the name of a metadata or of the field,
    the message to use instead if the error has that metadata or is about that field.
    """

    code: grpc.StatusCode
    message: Text
    variants: Mapping[str, Text] = MappingProxyType({})


TABLE: dict[Reason, ErrorRow] = {
    Reason.INVALID_FIELD: ErrorRow(
        Code.INVALID_ARGUMENT,
        Text(
            "isinya tidak sah",
            "is not valid",
        ),
    ),
    Reason.INVALID_MESSAGE: ErrorRow(
        Code.INVALID_ARGUMENT,
        Text(
            "Permintaan ini tidak dapat dibaca. Perbarui aplikasi Anda, lalu coba lagi.",
            "This request cannot be read. Update your app, then try again.",
        ),
    ),
    Reason.TOO_LARGE: ErrorRow(
        Code.INVALID_ARGUMENT,
        Text(
            "Permintaan ini terlalu besar: batasnya {limit}. Kirim dalam beberapa bagian.",
            "This request is too large: the limit is {limit}. Split it into smaller ones.",
        ),
    ),
    Reason.OFFICE_NOT_FOUND: ErrorRow(
        Code.NOT_FOUND,
        Text(
            "Kantor itu tidak ada. Pilih salah satu dari daftar kantor.",
            "There is no such office. Choose one from the list of offices.",
        ),
    ),
    Reason.OFFICE_RETIRED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini tidak lagi menerima pendaftaran. Silakan pilih kantor lain; pendaftaran yang sudah ada tetap dilayani.",
            "This office no longer takes bookings. Choose another office; existing bookings are still served.",
        ),
    ),
    Reason.BOOKING_NOT_FOUND: ErrorRow(
        Code.NOT_FOUND,
        Text(
            "Pendaftaran itu tidak ada pada akun ini. Periksa nomor pendaftaran dan akun Anda.",
            "This account has no such booking. Check the booking id and your account.",
        ),
    ),
    Reason.NOT_A_SERVICE_DAY: ErrorRow(
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
    Reason.DATE_NOT_OFFERED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Saat ini pendaftaran dibuka untuk {first_date} sampai {last_date}. Pilih tanggal di antaranya.",
            "Booking is currently open for {first_date} to {last_date}. Choose a date in that range.",
        ),
    ),
    Reason.WINDOW_CLOSED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran sedang ditutup. Coba lagi saat dibuka: {open_time}.",
            "Booking is closed. Come back when it opens: {open_time}.",
        ),
    ),
    Reason.DAY_CLOSED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini tutup pada hari itu. Pilih hari atau kantor lain.",
            "This office is closed on that day. Choose another day or office.",
        ),
    ),
    Reason.DAY_BEGUN: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Sudah terlambat: hari itu sudah dimulai atau sudah lewat di kantor ini. Hubungi kantor ini bila perlu bantuan.",
            "It is too late: that day has already begun or passed at this office. Contact the office if you need help.",
        ),
    ),
    Reason.OUTSIDE_INDONESIA: ErrorRow(
        Code.INVALID_ARGUMENT,
        Text(
            "Lokasi perangkat Anda tidak berada di Indonesia. Periksa GPS perangkat, lalu coba lagi.",
            "Your device's location is not in Indonesia. Check its GPS, then try again.",
        ),
    ),
    Reason.LOCATION_TOO_COARSE: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Lokasi perangkat Anda kurang teliti (lebih dari {limit} m), sehingga provinsinya tidak dapat dipastikan. Nyalakan GPS, lalu coba lagi.",
            "Your device's location is too inaccurate (over {limit} m) to determine the province. Turn on GPS, then try again.",
        ),
    ),
    Reason.OFFICE_OUTSIDE_PROVINCE: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Kantor ini berada di {office_province}, sedangkan Anda berada di {provinces}. Pilih kantor di provinsi tempat Anda berada, atau coba lagi saat berada di {office_province}.",
            "This office is in {office_province}, but you are in {provinces}. Choose an office in your province, or try again when you are in {office_province}.",
        ),
    ),
    Reason.LOCATION_REQUIRED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Untuk mendaftar diperlukan lokasi perangkat, bukan hanya nama provinsi. Izinkan aplikasi memakai lokasi, lalu coba lagi.",
            "Booking requires your device's location, not just a province. Allow the app to use your location, then try again.",
        ),
    ),
    Reason.VERIFIED_NOT_ALLOWED: ErrorRow(
        Code.PERMISSION_DENIED,
        Text(
            "Aplikasi ini tidak berhak menyatakan bahwa identitas pemohon sudah diperiksa. Kirim permintaan tanpa pernyataan itu, atau hubungi pengelola aplikasi.",
            "This app may not state that an applicant's identity was verified. Send the request without that statement, or contact the operator of the app.",
        ),
    ),
    Reason.BARRED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "{who} tidak hadir pada janji temu sebelumnya dan baru dapat mendaftar lagi setelah {last_barred_date}. Daftarkan yang lain tanpa orang ini, atau tunggu sampai hari itu lewat.",
            "{who} missed an appointment and may book again after {last_barred_date}. Book for the others without this person, or wait until that day has passed.",
        ),
    ),
    Reason.ALREADY_BOOKED: ErrorRow(
        Code.ALREADY_EXISTS,
        Text(
            "{who} sudah mempunyai pendaftaran yang berlaku pada akun lain. Daftarkan yang lain tanpa orang ini; bila ia tidak pernah mendaftar, minta bantuan kantor imigrasi.",
            "{who} already has an active booking under another account. Book for the others without this person; if this person never booked, ask an immigration office for help.",
        ),
        {
            "booking_id": Text(
                "{who} sudah mempunyai pendaftaran yang berlaku pada akun Anda. Lihat pendaftaran itu, atau batalkan dahulu bila ingin mengubahnya.",
                "{who} already has an active booking under your account. See that booking, or cancel it first to change it.",
            )
        },
    ),
    Reason.ACCOUNT_LIMIT: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Satu akun dapat mendaftarkan paling banyak {limit} orang sekaligus, dan akun ini sudah mendaftarkan {live} orang. Kurangi jumlah pemohon, atau batalkan pendaftaran lain.",
            "An account may hold bookings for at most {limit} people at a time, and this one already holds them for {live}. Book for fewer people, or cancel another booking.",
        ),
    ),
    Reason.PEOPLE_LIMIT: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Akun ini sudah mencoba mendaftarkan {limit} orang yang berbeda pada masa pendaftaran ini. "
            "Coba lagi pada masa pendaftaran berikutnya.",
            "This account has already tried to book for {limit} different people in this booking window. Try again in the next one.",
        ),
    ),
    Reason.NAME_TOO_DIFFERENT: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Lewat aplikasi, paling banyak {limit} huruf dari sebuah nama dapat diperbaiki. Minta kantor memperbaikinya, dengan KTP.",
            "At most {limit} letters of a name can be corrected in the app. Ask the office to correct it, with the identity card.",
        ),
    ),
    Reason.NAME_CORRECTED_BEFORE: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Nama ini sudah pernah diperbaiki lewat aplikasi. Minta kantor memperbaikinya, dengan KTP.",
            "This name was already corrected in the app. Ask the office to correct it, with the identity card.",
        ),
    ),
    Reason.REQUEST_ID_REUSED: ErrorRow(
        Code.INVALID_ARGUMENT,
        Text(
            "Nomor permintaan ini sudah dipakai untuk permintaan lain. Kirim lagi sebagai permintaan baru.",
            "This request id was already used for another request. Send it again as a new request.",
        ),
    ),
    Reason.NOT_DECIDED_YET: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini belum diputuskan. Coba lagi sebentar.",
            "This booking has not been decided yet. Try again in a moment.",
        ),
    ),
    Reason.NOT_CANCELLABLE: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak dapat dibatalkan karena statusnya {state}; tidak ada tempat yang perlu dikembalikan.",
            "This booking cannot be cancelled because it is {state}; it has no places to give back.",
        ),
    ),
    Reason.CODE_NOT_FOUND: ErrorRow(
        Code.NOT_FOUND,
        Text(
            "Kantor ini tidak mempunyai pendaftaran dengan kode itu. Periksa kode dan kantornya.",
            "This office has no booking with that code. Check the code and the office.",
        ),
    ),
    Reason.NOT_CONFIRMED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak berlaku karena statusnya {state}. Pemohon perlu mendaftar lagi.",
            "This booking holds no places because it is {state}. The applicants have to book again.",
        ),
    ),
    Reason.NOT_TODAY: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini untuk {service_date}, bukan untuk hari ini. Minta pemohon datang pada hari itu.",
            "This booking is for {service_date}, not today. Ask the applicants to come on that day.",
        ),
    ),
    Reason.QUOTA_BELOW_TAKEN: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Sudah {taken} tempat terisi, dan kuota tidak boleh di bawahnya. Pilih kuota yang lebih besar, atau tutup hari itu.",
            "The quota cannot be lower than the {taken} places already taken. Choose a larger quota, or close the day.",
        ),
    ),
    Reason.QUOTA_CHANGED: ErrorRow(
        Code.ABORTED,
        Text(
            "Kuota sekarang {quota}, bukan yang diharapkan. Periksa, lalu putuskan lagi.",
            "The quota is now {quota}, which is not what was expected. Check it and decide again.",
        ),
    ),
    Reason.SLOT_FULL: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Sesi ini sudah penuh. Pilih sesi, hari, atau kantor lain. Tempat yang dibatalkan orang lain dapat dipesan sampai "
            "{close_time}.",
            "This session is full. Choose another session, day or office. Places that others cancel can be booked until "
            "{close_time}.",
        ),
    ),
    Reason.LANE_FULL: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Antrean kantor ini penuh; permintaan belum diterima. Coba lagi sebentar.",
            "This office's queue is full; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.LANE_CLOSED: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Antrean kantor ini sedang disiapkan; permintaan belum diterima. Coba lagi sebentar.",
            "This office's queue is being prepared; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.STORE_UNAVAILABLE: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Layanan sedang terganggu, dan belum pasti apakah permintaan ini diterima. Kirim lagi permintaan yang sama.",
            "The service is temporarily unavailable, and it is unknown whether the request was accepted. Send the same request again.",
        ),
    ),
    Reason.STORE_FULL: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Penyimpanan layanan penuh; permintaan belum diterima. Coba lagi nanti.",
            "The service's storage is full; the request was not accepted. Try again later.",
        ),
    ),
    Reason.SERVER_BUSY: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Layanan sedang sibuk; permintaan belum diterima. Coba lagi sebentar.",
            "The service is busy; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.CALLER_BUSY: ErrorRow(
        Code.UNAVAILABLE,
        Text(
            "Aplikasi ini sudah memegang {limit} panggilan sekaligus, batas satu aplikasi; permintaan belum diterima. Coba lagi sebentar.",
            "This app already has {limit} calls in progress, the limit for one app; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.RATE_LIMITED: ErrorRow(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Aplikasi ini mengirim lebih dari {limit} permintaan per detik; permintaan belum diterima. Coba lagi sebentar.",
            "This app sent more than {limit} requests per second; the request was not accepted. Try again in a moment.",
        ),
    ),
    Reason.CANCELLED_PEOPLE_LIMIT: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Dari satu pendaftaran, paling banyak {limit} orang dapat dibatalkan satu per satu. Batalkan seluruh pendaftaran, atau minta bantuan kantor.",
            "At most {limit} people of a booking can be cancelled one by one. Cancel the whole booking, or ask the office for help.",
        ),
    ),
    Reason.ACCOUNT_RATE_LIMITED: ErrorRow(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Akun ini terlalu sering meminta pendaftaran: batasnya {limit} per jam. Permintaan ini belum diterima; coba lagi nanti.",
            "This account has requested too many bookings: the limit is {limit} per hour. The request was not accepted; try again later.",
        ),
    ),
    Reason.DEVICE_RATE_LIMITED: ErrorRow(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Terlalu banyak pendaftaran diminta dari perangkat ini: batasnya {limit} per jam. Permintaan ini belum diterima; coba lagi nanti.",
            "Too many bookings were requested from this device: the limit is {limit} per hour. The request was not accepted; try again later.",
        ),
    ),
    Reason.ADDRESS_RATE_LIMITED: ErrorRow(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Terlalu banyak pendaftaran diminta lewat jaringan internet yang Anda pakai. Permintaan ini belum diterima; coba lagi nanti, atau pakai jaringan lain.",
            "Too many bookings were requested over the network that you use. The request was not accepted; try again later, or use another network.",
        ),
    ),
    Reason.BAR_NOT_FOUND: ErrorRow(
        Code.NOT_FOUND,
        Text(
            "Pemegang nomor antrian itu tidak sedang ditangguhkan karena pendaftaran ini. Periksa daftar penangguhan.",
            "The holder of that queue number is not barred because of this booking. Check the list of bars.",
        ),
    ),
    Reason.NOT_MISSED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pendaftaran ini tidak tercatat sebagai tidak hadir ({state}). Kehadiran pada harinya dicatat dengan check-in.",
            "This booking is not recorded as missed ({state}). On the day itself, record attendance with a check-in.",
        ),
    ),
    Reason.BOOKED_AGAIN: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Pemegang nomor antrian {queue_number} sudah mendaftar lagi setelah check-in, jadi check-in itu tidak dapat dibatalkan. Batalkan dahulu pendaftaran yang baru.",
            "The holder of queue number {queue_number} has booked again since the check-in, so it cannot be undone. Cancel the new booking first.",
        ),
    ),
    Reason.ATTENDANCE_CLOSED: ErrorRow(
        Code.FAILED_PRECONDITION,
        Text(
            "Kehadiran susulan hanya dapat dicatat sampai {close_time}. Untuk sesudahnya, cabut penangguhannya.",
            "Late attendance can only be recorded until {close_time}. After that, lift the person's bar.",
        ),
    ),
    Reason.UNAUTHENTICATED: ErrorRow(
        Code.UNAUTHENTICATED,
        Text(
            "Aplikasi ini tidak dikenal: tokennya tidak ada atau salah. Hubungi pengelola aplikasi.",
            "This app is not recognised: its token is missing or wrong. Contact the operator of the app.",
        ),
    ),
    Reason.TOKEN_EXPIRED: ErrorRow(
        Code.UNAUTHENTICATED,
        Text(
            "Sesi Anda di aplikasi ini sudah berakhir. Masuk lagi ke aplikasi, lalu ulangi.",
            "Your session in this app has expired. Sign in to the app again, then retry.",
        ),
    ),
    Reason.TOO_MANY_ATTEMPTS: ErrorRow(
        Code.RESOURCE_EXHAUSTED,
        Text(
            "Terlalu banyak percobaan masuk yang gagal dari jaringan Anda. Tunggu sebentar, lalu masuk lagi ke aplikasi.",
            "Too many failed attempts to sign in came from your network. Wait a moment, then sign in to the app again.",
        ),
    ),
    Reason.PERMISSION_DENIED: ErrorRow(
        Code.PERMISSION_DENIED,
        Text(
            "Aplikasi ini tidak berhak atas layanan ini. Hubungi pengelola aplikasi.",
            "This app is not permitted to make this call. Contact the operator of the app.",
        ),
        {
            "account": Text(
                "Aplikasi ini tidak berhak atas akun itu. Masuk dengan akun Anda sendiri, atau hubungi pengelola aplikasi.",
                "This app may not act for that account. Sign in with your own account, or contact the operator of the app.",
            ),
            "office_id": Text(
                "Aplikasi ini tidak berhak atas kantor itu. Pilih kantor Anda, atau hubungi pengelola aplikasi.",
                "This app may not act for that office. Choose your own office, or contact the operator of the app.",
            ),
        },
    ),
    Reason.INTERNAL: ErrorRow(
        Code.INTERNAL,
        Text(
            "Terjadi kesalahan pada layanan, dan belum pasti apakah permintaan ini diterima. Kirim lagi permintaan yang sama; bila terulang, sebutkan {error_id} kepada pengelola.",
            "An internal error occurred, and it is unknown whether the request was accepted. Send the same request again; if the error persists, report its id: {error_id}.",
        ),
    ),
}
"""The row of each reason. `make protos` copies the messages to docs/errors.md."""
