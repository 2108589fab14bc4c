"""The messages to an account about a booking that was rejected, or that others changed."""

from antrian.booking import StatusReason
from antrian.errors import Text

STATUS_MESSAGES: dict[StatusReason, Text] = {
    StatusReason.SLOT_FULL: Text(
        "Saat tiba giliran Anda, sisa tempat pada sesi itu tidak cukup untuk semua pemohon. Silakan pilih sesi, hari, atau kantor lain.",
        "When your turn came, that session had fewer places left than you have applicants. Please choose another session, day or office.",
    ),
    StatusReason.TOO_LATE: Text(
        "Saat tiba giliran Anda, hari layanan itu sudah dimulai. Silakan pilih hari lain.",
        "When your turn came, that service day had already begun. Please choose another day.",
    ),
    StatusReason.ALREADY_BOOKED: Text(
        "Salah seorang pemohon sudah terdaftar di antrean lain. Silakan daftarkan pemohon lainnya saja.",
        "One of the applicants already has another booking. Please book for the others only.",
    ),
    StatusReason.INTERNAL: Text(
        "Mohon maaf, pendaftaran ini gagal dicatat karena gangguan di pihak kami. Silakan mendaftar kembali.",
        "We are sorry: an internal error kept this booking from being recorded. Please book again.",
    ),
    StatusReason.DAY_CLOSED: Text(
        "Kantor tidak melayani pada hari itu, sehingga pendaftaran ini tidak berlaku. Silakan pilih hari atau kantor lain.",
        "The office is closed on that day, so this booking is no longer valid. Please choose another day or office.",
    ),
    StatusReason.RELEASED_BY_OFFICE: Text(
        "Pendaftaran ini diakhiri oleh kantor. Semua pemohon dapat langsung mendaftar kembali. Jika menurut Anda ini keliru, "
        "silakan hubungi kantor tersebut.",
        "The office ended this booking. All of its applicants may book again at once. If you think this is a mistake, "
        "please contact the office.",
    ),
    StatusReason.PERSON_CANCELLED_BY_OFFICE: Text(
        "Kantor membatalkan nomor antrian sebagian pemohon; nomor pemohon lainnya tetap berlaku. Pemohon yang dibatalkan dapat "
        "langsung mendaftar kembali. Jika menurut Anda ini keliru, silakan hubungi kantor tersebut.",
        "The office cancelled the queue numbers of some of the applicants; those of the others are still valid. The applicants "
        "who were cancelled may book again at once. If you think this is a mistake, please contact the office.",
    ),
    StatusReason.RECLAIMED: Text(
        "Salah seorang pemohon sudah diperiksa identitasnya dan mendaftar sendiri, sehingga tempatnya pada pendaftaran ini dibatalkan. "
        "Nomor antrian pemohon lainnya, jika ada, tetap berlaku. Jika menurut Anda ini keliru, silakan hubungi kantor tersebut.",
        "One of the applicants, whose identity has been verified, was booked by another request, so this booking lost that person's "
        "place. The queue numbers of the other applicants, if any, are still valid. If you think this is a mistake, please contact "
        "the office.",
    ),
}  # fmt: skip
"""Booking.status_message_id and status_message_en. The reason that staff entered is not part of them."""
