"""What a person reads of every error, in both languages: whole sentences without the words of machines."""

import re

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from antrian.errors import AntrianError, Reason, Text, invalid
from server.messages import TABLE
from server.status import to_status
from tests.support.generate_errors import TARGET, examples, generate, people_read, problems

MACHINES = re.compile(r"[a-z]_[a-z]|\[\d|ID-[A-Z]{2}|\d{4}-\d\d-\d\d|\?|[{}]|\b[A-Z]{2,}_[A-Z]|None")
LEFT_TO_MACHINES = re.compile(r"TTTT-BB-HH, misalnya 2026-11-30|misalnya ID-JK|such as ID-JK")


def details(status: Status) -> tuple[ErrorInfo, BadRequest]:
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    return info, bad


@pytest.mark.parametrize("error", examples(), ids=str)
def test_messages_for_people_are_complete_sentences(error: AntrianError) -> None:
    for words in people_read(error):
        assert words[0].isupper(), words
        assert words.endswith("."), words
        assert not MACHINES.search(words), words


@pytest.mark.parametrize("problem", problems(), ids=lambda problem: problem.english)
def test_messages_about_fields_avoid_technical_words(problem: Text) -> None:
    for words in problem:
        assert not MACHINES.search(LEFT_TO_MACHINES.sub("", words)), words
        assert not words.endswith("."), "a sentence is made of it"


@pytest.mark.parametrize(
    "words",
    [
        "Kantor ini di provinsi ID-JB, sedangkan Anda berada di ID-JK.",
        "applicants[0].full_name: nama harus 1 sampai 100 huruf.",
        "service_date: tidak sah.",
        "You may book again after 2026-12-26.",
        "Must be SESSION_MORNING.",
        "It opens ?.",
    ],
)
def test_technical_words_are_detected(words: str) -> None:
    assert MACHINES.search(words)


@pytest.mark.parametrize("reason", TABLE)
def test_messages_use_only_the_metadata_that_the_page_documents(reason: Reason) -> None:
    [row] = [
        line
        for line in TARGET.read_text("utf-8").splitlines()
        if line.startswith(f"| {reason} | {TABLE[reason].code.name} |")
    ]
    documented = set(re.findall(r"`(\w+)`", row.split("|")[3]))
    texts = [text for words in (TABLE[reason].message, *TABLE[reason].variants.values()) for text in words]
    assert {name for text in texts for name in re.findall(r"\{(\w+)\}", text)} - {"who"} <= documented


def test_every_reason_has_an_example() -> None:
    assert {error.reason for error in examples()} == set(Reason) == TABLE.keys()


def test_the_committed_page_matches_the_table() -> None:
    assert TARGET.read_text("utf-8") == generate(), "run `make protos`"


def test_a_person_is_named_by_position_and_initial_and_the_path_is_in_the_details() -> None:
    error = invalid("applicants[1].nik", "NIK harus 16 angka", "a NIK must be 16 digits")
    error.initial = "D."
    assert people_read(error) == (
        "Pemohon ke-2 (D.): NIK harus 16 angka.",
        "Applicant 2 (D.): a NIK must be 16 digits.",
    )
    status = to_status(error, english=False)
    info, bad = details(status)
    assert info.metadata["field"] == bad.field_violations[0].field == "applicants[1].nik"
    assert status.message == "INVALID_FIELD: applicants[1].nik: a NIK must be 16 digits"


@pytest.mark.parametrize(
    ("error", "indonesian", "english"),
    [
        (
            AntrianError(Reason.OFFICE_OUTSIDE_PROVINCE, field="office_id", office_province="ID-JB", provinces="ID-BT,ID-JK"),
            "Kantor ini berada di Jawa Barat, sedangkan Anda berada di Banten dan DKI Jakarta.",
            "This office is in West Java, but you are in Banten and Jakarta.",
        ),
        (
            AntrianError(Reason.BARRED, field="applicants[2]", initial="D.", last_barred_date="2026-12-26"),
            "Pemohon ke-3 (D.) tidak hadir pada janji temu sebelumnya dan baru dapat mendaftar lagi setelah Sabtu, 26 Desember",
            "Applicant 3 (D.) missed an appointment and may book again after Saturday, 26 December 2026.",
        ),
        (
            AntrianError(Reason.ALREADY_BOOKED, field="applicants[0]", initial="D.", booking_id="x"),
            "Pemohon ke-1 (D.) sudah mempunyai pendaftaran yang berlaku pada akun Anda.",
            "Applicant 1 (D.) already has an active booking under your account.",
        ),
        (
            AntrianError(Reason.ALREADY_BOOKED, field="applicants[0]"),
            "Pemohon ke-1 sudah mempunyai pendaftaran yang berlaku pada akun lain.",
            "Applicant 1 already has an active booking under another account.",
        ),
        (
            AntrianError(Reason.NOT_A_SERVICE_DAY, field="service_date", service_date="2026-12-25", day="Hari Raya Natal"),
            "Kantor imigrasi tutup pada Jumat, 25 Desember 2026 (Hari Raya Natal).",
            "Immigration offices are closed on Friday, 25 December 2026 (Hari Raya Natal).",
        ),
        (
            AntrianError(Reason.DATE_NOT_OFFERED, field="service_date", first_date="2026-11-30", last_date="2026-12-04"),
            "Saat ini pendaftaran dibuka untuk Senin, 30 November 2026 sampai Jumat, 4 Desember 2026.",
            "Booking is currently open for Monday, 30 November 2026 to Friday, 4 December 2026.",
        ),
        (
            AntrianError(
                Reason.WINDOW_CLOSED, open_time="2026-11-27T14:00:00+07:00", office_open_time="2026-11-27T16:00:00+09:00"
            ),
            "Coba lagi saat dibuka: Jumat, 27 November 2026 pukul 14.00 WIB (pukul 16.00 WIT di kantor ini).",
            "Come back when it opens: Friday, 27 November 2026 at 14:00 WIB (16:00 WIT at this office).",
        ),
        (
            AntrianError(Reason.NOT_CANCELLABLE, field="booking_id", state="NO_SHOW"),
            "karena statusnya tidak hadir",
            "because it is a missed appointment",
        ),
    ],
    ids=lambda value: value.reason if isinstance(value, AntrianError) else "",
)  # fmt: skip
def test_values_are_formatted_for_people(error: AntrianError, indonesian: str, english: str) -> None:
    told = people_read(error)
    assert indonesian in told.indonesian
    assert english in told.english


def test_the_message_for_developers_contains_no_part_of_a_name() -> None:
    error = AntrianError(Reason.BARRED, field="applicants[2]", initial="D.", last_barred_date="2026-12-26")
    assert to_status(error, english=False).message.startswith("BARRED: Applicant 3 missed")
