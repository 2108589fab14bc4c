"""Formats numbers and times in Indonesian or English, and names reasons and promises in both."""

from dataclasses import dataclass
from datetime import date

from clients.rush.judge.result import SoldOut


@dataclass(frozen=True)
class Language:
    """A language and its number format. Calling it selects one of two texts.

    units: of milliseconds, seconds, minutes, hours and days. days: from Monday. sessions: morning and afternoon.
    """

    code: str
    point: str
    thousands: str
    units: tuple[str, str, str, str, str]
    days: tuple[str, ...]
    sessions: tuple[str, str]

    def __call__(self, indonesian: str, english: str) -> str:
        """Returns the text in this language."""
        return english if self.code == "en" else indonesian

    def number(self, value: float, decimals: int = 0) -> str:
        """Formats a number: 12.345,6 or 12,345.6."""
        return f"{value:,.{decimals}f}".translate({ord(","): self.thousands, ord("."): self.point})

    def share(self, part: float, whole: float) -> str:
        """Formats a share in percent, with a decimal near 0 and 100 %."""
        percent = 100 * part / whole if whole else 0.0
        if 0 < percent < 0.1 or 99.9 < percent < 100:
            return f"{'<' if percent < 1 else '>'}\u00a0{self.number(0.1 if percent < 1 else 99.9, 1)}\u00a0%"
        return f"{self.number(percent, 1 if 0 < percent < 10 or 99 < percent < 100 else 0)}\u00a0%"

    def duration(self, seconds: float) -> str:
        """Formats a duration in a suitable unit, with two significant digits."""
        sizes = (0.001, 1.0, 60.0, 3600.0, 86_400.0)
        n = 0 if seconds < 0.01 else 1 if seconds < 120 else 2 if seconds < 7200 else 3 if seconds < 172_800 else 4
        value = seconds / sizes[n]
        decimals = 2 if value < 0.995 and n else 1 if value < 9.95 and value != round(value) else 0
        return f"{self.number(value, decimals)}\u00a0{self.units[n]}"

    def slot(self, service_date: str, session: str) -> str:
        """Formats a slot as its day of the week and session."""
        return f"{self.days[date.fromisoformat(service_date).weekday()]} {self.sessions[session != 'MORNING']}"

    def place(self, slot: SoldOut) -> str:
        """Formats the office and the slot."""
        return f"{short_name(slot.office_id)} ({self.slot(slot.service_date, slot.session)})"


INDONESIAN = Language(
    "id",
    ",",
    ".",
    ("milidetik", "detik", "menit", "jam", "hari"),
    ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu"),
    ("pagi", "siang"),
)
ENGLISH = Language(
    "en",
    ".",
    ",",
    ("ms", "s", "min", "hours", "days"),
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ("morning", "afternoon"),
)
LANGUAGES = {language.code: language for language in (INDONESIAN, ENGLISH)}
"""The languages by their codes."""

VERDICTS = {
    "PASS": ("Lulus: semua janji ditepati.", "PASS: every promise held."),
    "FAIL": (
        "Gagal: ada janji yang dilanggar atau permohonan yang tidak jelas nasibnya.",
        "FAIL: a promise was broken, or a request is unaccounted for.",
    ),
    "INVALID": (
        "Tidak sah: beban atau pemeriksaannya tidak sesuai rencana, jadi angka-angka ini tidak membuktikan apa-apa.",
        "INVALID: the load or the checks were not as planned, so these numbers prove nothing.",
    ),
}
REASONS = {
    "SLOT_FULL": ("sesi sudah penuh", "session full"),
    "TOO_LATE": ("harinya sudah mulai", "the day has begun"),
    "ALREADY_BOOKED": ("sudah punya tempat", "already has a place"),
    "PEOPLE_LIMIT": ("terlalu banyak orang yang dicoba satu akun", "too many people tried by one account"),
    "ACCOUNT_RATE_LIMITED": ("satu akun meminta terlalu sering", "one account asked too often"),
    "DEVICE_RATE_LIMITED": ("satu perangkat meminta terlalu sering", "one device asked too often"),
    "ADDRESS_RATE_LIMITED": ("satu jaringan meminta terlalu sering", "one network asked too often"),
    "ACCOUNT_LIMIT": ("lebih dari lima orang per akun", "more than five people per account"),
    "WINDOW_CLOSED": ("pendaftaran tidak dibuka", "booking was not open"),
    "INVALID_FIELD": ("isian salah", "wrong input"),
    "OFFICE_NOT_FOUND": ("kantor tidak dikenal", "unknown office"),
    "OFFICE_RETIRED": ("kantor tidak lagi menerima pendaftaran", "office takes no more bookings"),
    "OFFICE_OUTSIDE_PROVINCE": ("kantor di provinsi lain", "office in another province"),
    "OUTSIDE_INDONESIA": ("lokasi di luar Indonesia", "outside Indonesia"),
    "LOCATION_TOO_COARSE": ("lokasi tidak cukup tepat", "location too coarse"),
    "LOCATION_REQUIRED": ("tanpa lokasi", "no location"),
    "NOT_A_SERVICE_DAY": ("bukan hari layanan", "not a service day"),
    "DATE_NOT_OFFERED": ("tanggal tidak ditawarkan", "date not offered"),
    "DAY_CLOSED": ("hari ditutup kantor", "day closed by the office"),
    "BARRED": ("masih dilarang mendaftar", "barred after a no-show"),
    "REQUEST_ID_REUSED": ("nomor permohonan dipakai lagi", "request_id reused"),
    "LANE_FULL": ("antrean terlalu panjang", "queue too long"),
    "RATE_LIMITED": ("terlalu banyak sekaligus", "too many at once"),
    "SERVER_BUSY": ("server sedang sibuk", "server busy"),
    "CALLER_BUSY": ("pemanggil memegang terlalu banyak panggilan", "caller holds too many calls"),
}
PROMISES = {
    "P1": ("Kuota tidak pernah terlampaui", "Never over quota"),
    "P2": ("Yang sudah diterima tidak pernah hilang", "Accepted is never lost"),
    "P3": ("Yang datang dulu dilayani dulu", "Arrival order"),
    "P4": ("Satu orang, satu tempat", "One live booking per person"),
    "P5": ("Menekan lagi tidak membuat permohonan baru", "A repeated request changes nothing"),
    "P6": ("Nomor antrean urut, tanpa lompatan", "Queue numbers without gaps"),
    "P7": ("Status tidak pernah mundur", "States only move forward"),
    "P8": ("Jawaban selalu benar", "Responses are true"),
    "P9": ("Redis dapat dibangun lagi dari buku besar", "Redis can be rebuilt from the ledger"),
    "P10": ("Tempat yang dikembalikan kembali tepat satu kali", "A cancelled place returns exactly once"),
    "P11": ("Satu jam menentukan saat buka dan tutup", "One clock opens and closes booking"),
    "P12": ("Semuanya ada batasnya", "Everything is bounded"),
    "P13": ("Kantor yang satu tidak mengganggu yang lain", "Offices do not slow each other down"),
    "P14": ("NIK tidak pernah tersimpan terbuka", "No unencrypted NIK"),
    "P15": ("Antrean selalu bergerak", "Every queue moves"),
    "P16": ("Kalau ada yang rusak, sistem mengatakannya", "Failures are reported"),
    "P17": ("Catatan yang diubah diam-diam ketahuan", "Changes past the programs are noticed"),
}
LATENCIES = {
    "accept": ("dari menekan sampai diterima", "submitted to accepted"),
    "outcome": ("dari menekan sampai diputuskan", "submitted to decided"),
    "screen": ("dari menekan sampai hasil tampil di layar", "submitted to outcome on the screen"),
    "service": ("dari diterima sampai diputuskan, di dalam layanan", "accepted to decided, in the service"),
    "look": ("melihat sisa tempat", "reading the remaining places"),
}
PROGRAMS = {
    "server": ("server", "server"),
    "workers": ("pekerja", "workers"),
    "redis": ("Redis", "Redis"),
    "postgres": ("Postgres", "Postgres"),
    "generator": ("pembangkit beban", "load generator"),
}


def short_name(office_id: str) -> str:
    """Returns a readable name for an office id, like "Jakarta Selatan" or "ULP Bintaro"."""
    first, *rest = office_id.split("-")
    kind = [] if first == "kanim" and rest else [first.upper()]
    return " ".join([*kind, *(word.capitalize() for word in rest if word != "kanim")])
