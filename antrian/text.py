"""Text as people, phones and scanners give it, made one before it is checked, compared or stored.

All text from outside passes plain or compact here, and what they return is what is checked and kept.
"""

import re
import unicodedata

from antrian.errors import invalid

_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_COMPACT = re.compile(r"[0-9A-Za-z]*")
_LONGEST = 1000  # whatever is longer is refused by whoever checks it, and need not be looked at letter by letter
_ACCOUNT = re.compile("[A-Za-z0-9._:@-]{1,64}")
_BLANKS = re.compile(" {2,}")

# Letters and marks that show nothing: Unicode's Default_Ignorable_Code_Point beyond the format characters (category Cf).
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}
_INVISIBLE |= {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
_APOSTROPHES = "'`´‘’‚‛′‵ʹʻʼʽˈˊˋ՚׳＇｀"
_QUOTES = "“”„‟″‶«»״＂"
_MINUS = "−"
_BRAILLE_BLANK = "\u2800"

_GAP = "[^0-9A-Za-z]{0,3}"
_DAY = f"(?:0{_GAP}[1-9]|[1256]{_GAP}[0-9]|3{_GAP}[01]|4{_GAP}[1-9]|7{_GAP}[01])"
_MONTH = f"(?:0{_GAP}[1-9]|1{_GAP}[0-2])"
NIK_IN_TEXT = (
    "[0-9]{16}|(?<![0-9A-Za-z])"
    + _GAP.join(["[1-9]", *["[0-9]"] * 5, _DAY, _MONTH, *["[0-9]"] * 6])
    + "(?![0-9A-Za-z])"
)
"""Finds a NIK in text, for Python and for Postgres: 16 digits in a row; or in groups, where they have a day and a month
like a NIK's, so that dates, hours and telephone numbers side by side are none."""
_NIK_IN_TEXT = re.compile(NIK_IN_TEXT)
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def plain(text: str) -> str:
    """The text as one would type it on a plain keyboard.

    It is in NFC, with ' and " and - for all their kinds, 0 to 9 for the digits of all scripts, single blanks within and
    none around; characters that show nothing are gone.
    """
    if (_PLAIN.fullmatch(text) and "`" not in text) or len(text) > _LONGEST:  # nearly all
        return text
    characters = (_plain_character(one) for one in unicodedata.normalize("NFC", text))
    return unicodedata.normalize("NFC", _BLANKS.sub(" ", "".join(characters)).strip(" "))


def compact(text: str) -> str:
    """A number or a code alone: without the blanks, dashes, dots and quotes that stand around and between its characters.

    Full-width letters and the digits of all scripts become plain ones.
    """
    if _COMPACT.fullmatch(text) or len(text) > _LONGEST:  # nearly all
        return text
    return re.sub("[ .'\"-]", "", plain(unicodedata.normalize("NFKC", text)))


def has_nik(text: str) -> bool:
    """Whether a NIK stands in text that plain has returned, in a row or in groups; a UUID, whose groups may look so, has none."""
    return _NIK_IN_TEXT.search(text) is not None and not _UUID.fullmatch(text)


def check_account(text: str, field: str = "account") -> str:
    """The account, or person of the staff, that it names; INVALID_FIELD unless it can name one. A NIK may not."""
    account = plain(text)
    if not _ACCOUNT.fullmatch(account) or has_nik(account):
        raise invalid(
            field,
            "harus 1 sampai 64 huruf, angka atau . _ : @ - dan tidak memuat NIK",
            "must be 1 to 64 of A-Z a-z 0-9 . _ : @ - and hold no NIK",
        )
    return account


def check_reason(text: str) -> str:
    """Why staff do something, in their own words; INVALID_FIELD unless there are 1 to 200 characters, without a NIK."""
    reason = plain(text)
    if not 1 <= len(reason) <= 200 or not reason.isprintable() or has_nik(reason):
        raise invalid(
            "reason",
            "sebutkan alasannya, 1 sampai 200 karakter, tanpa NIK",
            "say why: 1 to 200 printable characters, without a NIK",
        )
    return reason


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
