"""What people, phones and scanners give becomes what one would type on a plain keyboard."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrian.errors import AntrianError
from antrian.text import check_account, check_reason, compact, has_nik, plain

NIK = "3171014107900779"


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("Nur'aini", "Nur'aini"),
        ("‘Aisyah", "'Aisyah"),
        ("Nur´Aini", "Nur'Aini"),
        ("Nur`Aini", "Nur'Aini"),
        ("Nur′Aini ʼAbd ʻAli ＇Umar", "Nur'Aini 'Abd 'Ali 'Umar"),
        ("“Dewi”", '"Dewi"'),
        ("Siti\u00a0Aminah", "Siti Aminah"),
        ("Siti\u202fAminah", "Siti Aminah"),
        ("Siti\u3000Aminah", "Siti Aminah"),
        ("Siti\tAminah\r\n", "Siti Aminah"),
        ("Siti\u2028Aminah\u2800", "Siti Aminah"),
        ("  Siti   Aminah ", "Siti Aminah"),
        ("Siti \u200b Aminah", "Siti Aminah"),
        ("\ufeffDewi", "Dewi"),
        ("De\u00adwi\u200d\u2060", "Dewi"),
        ("De\u202ewi", "Dewi"),
        ("Dewi\ufe0f\u3164", "Dewi"),
        ("\u3164", ""),
        ("Ana‐Maria Ana‑Maria Ana–Maria Ana—Maria Ana−Maria", "Ana-Maria Ana-Maria Ana-Maria Ana-Maria Ana-Maria"),
        ("Jose\u0301", "José"),
        ("lantai ٣, pukul ０８.００", "lantai 3, pukul 08.00"),
        ("李小龍 محمد ज्योति", "李小龍 محمد ज्योति"),
        ("Bu\x00di", "Bu\x00di"),  # for whoever checks it to refuse
    ],
)
def test_text_becomes_plain(typed: str, right: str) -> None:
    assert plain(typed) == right


@pytest.mark.parametrize(
    "typed",
    [
        NIK,
        "3171 0141 0790 0779",
        "317101-410790-0779",
        "3171.0141.0790.0779",
        "'3171014107900779",
        "3171014107900779\n",
        "\ufeff3171014107900779\u00a0",
        "３１７１０１４１０７９００７７９",
        "٣١٧١٠١٤١٠٧٩٠٠٧٧٩",
    ],
)
def test_separators_between_and_around_digits_are_removed(typed: str) -> None:
    assert compact(typed) == NIK


@pytest.mark.parametrize("typed", ["3171O14107900779", "3171/0141/0790/0779", "NIK 3171014107900779"])
def test_other_characters_in_a_number_are_kept(typed: str) -> None:
    assert compact(typed) != NIK


KINDS = ("Cf", "Zl", "Zp", "Zs", "Pd", "Nd")
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=60)


@given(TEXTS)
def test_plain_text_is_unchanged(text: str) -> None:
    once = plain(text)
    assert plain(once) == once


@given(TEXTS)
def test_plain_text_has_no_invisible_characters(text: str) -> None:
    result = plain(text)
    by_kind = {kind: {one for one in result if unicodedata.category(one) == kind} for kind in KINDS}
    assert not by_kind["Cf"] | by_kind["Zl"] | by_kind["Zp"]
    assert by_kind["Zs"] <= {" "}
    assert by_kind["Pd"] <= {"-"}
    assert by_kind["Nd"] <= set("0123456789")
    assert result == result.strip()
    assert "  " not in result
    assert unicodedata.is_normalized("NFC", result)


@given(st.from_regex("[ -~]{0,40}", fullmatch=True))
def test_keyboard_characters_are_unchanged_except_blanks(text: str) -> None:
    assert plain(text) == " ".join(text.replace("`", "'").split())


def test_visible_letters_are_unchanged() -> None:
    letters = [
        chr(one) for one in range(sys.maxunicode + 1) if unicodedata.category(chr(one)) in {"Lu", "Ll", "Lt", "Lo"}
    ]
    changed = [one for one in letters if plain(one) != unicodedata.normalize("NFC", one)]
    assert {unicodedata.name(one) for one in changed} == {
        "HANGUL CHOSEONG FILLER",
        "HANGUL JUNGSEONG FILLER",
        "HANGUL FILLER",
        "HALFWIDTH HANGUL FILLER",
    }


@pytest.mark.parametrize(
    "text",
    [
        NIK,
        f"Pemohon dengan NIK {NIK}.",
        f"x{NIK}y",
        "317101-410790-0779",
        "3171-0141-0790.0779",
        "NIK: 3171 0141 0790 0779 salah",
        "3 1 7 1 0 1 4 1 0 7 9 0 0 7 7 9",
        plain("３１７１ ０１４１ ０７９０ ０７７９"),
        plain("3171\u200b0141\u00a00790–0779"),
    ],
)
def test_a_nik_is_found_in_text(text: str) -> None:
    assert has_nik(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "317101410790077",
        "Banjir di loket",
        "ditutup 2026-11-30 2026-12-01",
        "ruang ①, 3 m², kelas Ⅲ",
        "buka 08.00-12.00 dan 13.00-16.00",
        "hubungi 0812-3456-7890 atau 021-555-0123",
        "6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
    ],
)
def test_dates_and_telephone_numbers_are_not_niks(text: str) -> None:
    assert not has_nik(text)


SCRIPTS = {
    "full-width": "０１２３４５６７８９",
    "Arabic": "٠١٢٣٤٥٦٧٨٩",
    "Javanese": "꧐꧑꧒꧓꧔꧕꧖꧗꧘꧙",
    "mathematical": "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
    "superscript": "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "circled": "⓪①②③④⑤⑥⑦⑧⑨",
    "negative circled": "⓿❶❷❸❹❺❻❼❽❾",
    "with a full stop": "🄀⒈⒉⒊⒋⒌⒍⒎⒏⒐",
    "Han": "〇一二三四五六七八九",
}
SEPARATORS = [
    "",
    ".",
    "-",
    "_",
    " ",
    ":",
    "@@@@",
    " . - ",
    "。",
    "\u00a0",
    "\u200b",
    "\u0301\u0302\u0303\u0304",
    "\ufe0f\u20e3",
]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("digits", ["0123456789", *SCRIPTS.values()], ids=["plain", *SCRIPTS])
def test_no_digits_and_no_separators_hide_a_nik_from_the_checks(digits: str, separator: str) -> None:
    for every in (1, 4):
        groups = [NIK[n : n + every] for n in range(0, 16, every)]
        hidden = separator.join("".join(digits[int(one)] for one in group) for group in groups)
        for text in (hidden, f"x{hidden}y", f"NIK {hidden}.", hidden[:-1] + "\u200b" + hidden[-1]):
            with pytest.raises(AntrianError):
                check_reason(text)
            with pytest.raises(AntrianError):
                check_account(text)


def test_a_nik_in_the_form_of_a_uuid_is_found() -> None:
    assert has_nik("31710141-0790-0779-aaaa-aaaaaaaaaaaa")


@pytest.mark.parametrize("blank", [" ", "\u3000", "\u200b", "\n"])
@pytest.mark.parametrize("text", ["{}", "a{}", "{}a", "a{}b"])
def test_long_text_is_refused_before_it_is_normalised(text: str, blank: str) -> None:
    with pytest.raises(AntrianError):
        check_reason(text.format(200_001 * blank))
    assert plain(text.format(1_001 * blank)) == text.format(1_001 * blank)
