"""Normalises text from people, phones and scanners before it is checked, compared or stored.

All text from outside passes through plain() or compact(), and their results are what is checked and stored.
"""

import re
import unicodedata

from antrian.errors import invalid

_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_COMPACT = re.compile(r"[0-9A-Za-z]*")
_LONGEST = 1000  # longer text is returned unchanged, since every check refuses it
_ACCOUNT = re.compile("[A-Za-z0-9._:@-]{1,64}")
_BLANKS = re.compile(" {2,}")

# Invisible letters and marks: Unicode's Default_Ignorable_Code_Point beyond the format characters (category Cf).
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}
_INVISIBLE |= {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
_APOSTROPHES = "'`´‘’‚‛′‵ʹʻʼʽˈˊˋ՚׳＇｀"
_QUOTES = "“”„‟″‶«»״＂"
_MINUS = "−"
_BRAILLE_BLANK = "\u2800"

_GAP = "[^0-9A-Za-z]{0,16}"
_DAY = f"(?:0{_GAP}[1-9]|[1256]{_GAP}[0-9]|3{_GAP}[01]|4{_GAP}[1-9]|7{_GAP}[01])"
_MONTH = f"(?:0{_GAP}[1-9]|1{_GAP}[0-2])"
NIK_IN_TEXT = "[0-9]{16}|(?<![0-9])" + _GAP.join(["[1-9]", *["[0-9]"] * 5, _DAY, _MONTH, *["[0-9]"] * 6]) + "(?![0-9])"
"""A regular expression that finds a NIK in text, for Python and Postgres: 16 digits in a row, or in groups if they contain
a day and month of birth, so that adjacent dates, times and telephone numbers do not match."""
_NIK_IN_TEXT = re.compile(NIK_IN_TEXT)
# Of RFC 9562: text that only looks like a UUID may have a NIK as its first 16 digits.
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def plain(text: str) -> str:
    """Returns the text as typed on a plain keyboard.

    Converts it to NFC, all apostrophes, quotes and dashes to ' " and -, the digits of all scripts to 0 to 9, and runs of
    blanks to one. Removes surrounding blanks and invisible characters.
    """
    if (_PLAIN.fullmatch(text) and "`" not in text) or len(text) > _LONGEST:  # the fast path of nearly all texts
        return text
    characters = (_plain_character(one) for one in unicodedata.normalize("NFC", text))
    return unicodedata.normalize("NFC", _BLANKS.sub(" ", "".join(characters)).strip(" "))


def compact(text: str) -> str:
    """Returns a number or code without blanks, dashes, dots and quotes.

    Converts full-width letters and the digits of all scripts to plain ones.
    """
    if _COMPACT.fullmatch(text) or len(text) > _LONGEST:  # the fast path of nearly all texts
        return text
    return re.sub("[ .'\"-]", "", plain(unicodedata.normalize("NFKC", text)))


def has_nik(text: str) -> bool:
    """Returns whether text that plain() returned contains a NIK, in a row or in groups. A UUID never does.

    Superscripts, circled digits and the numerals of other scripts count as digits.
    """
    if not text.isascii():
        text = "".join(_as_digit(one) for one in unicodedata.normalize("NFKC", text))
    return _NIK_IN_TEXT.search(text) is not None and not _UUID.fullmatch(text)


def check_account(text: str, field: str = "account") -> str:
    """Returns the normalised name of an account or staff member. Raises INVALID_FIELD if malformed or a NIK."""
    account = plain(text)
    if not _ACCOUNT.fullmatch(account) or has_nik(account):
        raise invalid(
            field,
            "harus 1 sampai 64 huruf, angka atau . _ : @ - dan tidak memuat NIK",
            "must be 1 to 64 of A-Z a-z 0-9 . _ : @ - and hold no NIK",
        )
    return account


def check_reason(text: str) -> str:
    """Returns the normalised reason of a staff action. Raises INVALID_FIELD unless 1 to 200 printable characters without a NIK."""
    reason = plain(text)
    if not 1 <= len(reason) <= 200 or not reason.isprintable() or has_nik(reason):
        raise invalid(
            "reason",
            "sebutkan alasannya, 1 sampai 200 karakter, tanpa NIK",
            "say why: 1 to 200 printable characters, without a NIK",
        )
    return reason


def _as_digit(one: str) -> str:
    value = unicodedata.numeric(one, -1)
    return str(int(value)) if value in range(10) else one


def _plain_character(one: str) -> str:
    kind = unicodedata.category(one)
    if kind == "Cf" or ord(one) in _INVISIBLE:
        return ""
    if kind[0] == "Z" or one == _BRAILLE_BLANK or (kind == "Cc" and one.isspace()):
        return " "
    if one in _APOSTROPHES:
        return "'"
    if one in _QUOTES:
        return '"'
    if kind == "Pd" or one == _MINUS:
        return "-"
    return str(unicodedata.decimal(one)) if kind == "Nd" else one
