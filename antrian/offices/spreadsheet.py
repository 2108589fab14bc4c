"""Reads CSV files as spreadsheet programs save them, detecting encoding and separator."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO

_SEPARATORS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,\t|]*', re.IGNORECASE)
_SAVE_AS = "save it as CSV UTF-8 (Excel: File, Save As)"
_KINDS = {
    b"PK\x03\x04": f"the file is an Excel workbook (.xlsx) or another zip file, not a CSV file; {_SAVE_AS}",
    b"\xd0\xcf\x11\xe0": f"the file is an old Excel workbook (.xls), not a CSV file; {_SAVE_AS}",
}
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class UnreadableTableError(ValueError):
    """The file is not a readable table. The message says why, and where in the file, in one line."""


def read_table(content: bytes, columns: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Returns the non-empty rows, the header first, each with the line on which it begins.

    Accepts UTF-8, UTF-16 with a byte order mark and Windows-1252, and comma, semicolon, tab and bar as separators: the one of
    a first line "sep=;", else the one with which the header has most of `columns`. Header names are in lower case with "_" for
    blanks. Drops empty cells beyond the header and pads short rows with empty ones. Raises UnreadableTableError.
    """
    text = _decoded(content)
    first, _, rest = text.partition("\n")
    if sep := _SEP_LINE.fullmatch(first):
        rows = list(_rows(rest, sep[1], line=2))
    else:
        headers = {sep: next(_rows(text, sep, strict=False), (0, [])) for sep in _SEPARATORS}
        known = {sep: sum(_column(name) in columns for name in header) for sep, (_, header) in headers.items()}
        rows = list(_rows(text, max(_SEPARATORS, key=known.__getitem__)))
    if not rows:
        raise UnreadableTableError("the file is empty")
    line, names = rows[0]
    header = [_column(name) for name in names]
    return [(line, header), *[(line, _fitted(cells, len(header))) for line, cells in rows[1:]]]


def _decoded(content: bytes) -> str:
    """Returns the text with Unix line ends. Raises UnreadableTableError."""
    if problem := next((problem for start, problem in _KINDS.items() if content.startswith(start)), None):
        raise UnreadableTableError(problem)
    if b"\0" in content[:2]:
        raise UnreadableTableError(f"the file is UTF-16 without a byte order mark, or no text at all; {_SAVE_AS}")
    encoding = "utf-16" if content.startswith(_UTF16_BOMS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        # A file with a valid multi-byte character is damaged UTF-8 rather than Windows-1252.
        if encoding == "utf-16" or not content.decode("utf-8", "ignore").isascii():
            line = content[: error.start].count(b"\n") + 1
            raise UnreadableTableError(
                f"line {line}: is not {encoding[:6].rstrip('-').upper()}: {error.reason}"
            ) from None
        text = _windows_1252(content)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _windows_1252(content: bytes) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UnreadableTableError(f"line {line}: is neither UTF-8 nor Windows-1252; {_SAVE_AS}") from None


def _rows(text: str, separator: str, *, line: int = 1, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yields the cells of each non-empty row, without trailing empty cells, and the line on which it begins."""
    # Without strict, an unclosed quote would silently swallow the rows after it.
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=strict)
    before = line - 1
    try:
        for cells in reader:
            while cells and not cells[-1].strip():
                cells.pop()
            if cells:
                yield line, cells
            line = before + reader.line_num + 1
    except csv.Error as error:
        raise UnreadableTableError(
            f"line {line}: the row that begins here cannot be read, perhaps for a quotation mark: {error}"
        ) from None


def _column(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _fitted(cells: list[str], length: int) -> list[str]:
    return cells + [""] * (length - len(cells))
