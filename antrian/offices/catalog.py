"""Reads offices from a file, reporting every mistake, and selects those for a location."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from antrian.booking import Office, Policy, Province
from antrian.errors import AntrianError
from antrian.offices.provinces import ProvinceMap, distance_km, load_provinces
from antrian.offices.spreadsheet import UnreadableTableError, read_table
from antrian.policy import load_policy

_COLUMNS = (
    "office_id", "name", "class", "city", "province_code", "timezone", "latitude", "longitude", "daily_quota", "address",
)  # fmt: skip
_OPTIONAL = ("morning_percent",)
_TEXTS = ("name", "class", "city", "address")
_MAY_BE_EMPTY = {"class", "city", "address"}
_LONGEST = 200
# Words of a-z and digits with one hyphen between them, a letter in it, and no NIK, with hyphens or without.
_ID = re.compile("(?=.*[a-z])(?!.*[0-9](-?[0-9]){15})(?=.{3,40}$)[a-z0-9]+(-[a-z0-9]+)*")
_DEGREES = re.compile(r"[+-]?[0-9]{1,3}([.,][0-9]{1,15})?")
# No three zeros: "1.000" is a thousand in Indonesian and one in English.
_WHOLE = re.compile(r"([0-9]{1,6})([.,]0{1,2})?")
_FORMULA = "=+-@"
# The country's outermost points: Rote and Miangas, Sabang and Merauke.
_LATITUDES, _LONGITUDES = (-11.1, 6.2), (94.9, 141.1)
_BORDER_M = 1000  # how far beyond its province's border on the map an office may be


Cell = str | int | float | None
"""The value of a column of the file."""


class OfficeFileError(ValueError):
    """The file is invalid. problems: one text each, with line number and column where known."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_offices(file: Path | None = None) -> list[Office]:
    """Returns the offices of a CSV file in the format of data/offices.csv, which is the default.

    spreadsheet.read_table documents encodings and separators. Numbers may have a decimal comma. The optional column
    morning_percent overrides the policy's split of the quota. Unknown columns are ignored. Raises OfficeFileError with all
    mistakes, or with one alone if the file is no CSV or lacks a column.
    """
    source = files("antrian.data").joinpath("offices.csv") if file is None else file
    try:
        (line, columns), *rows = read_table(source.read_bytes(), _COLUMNS + _OPTIONAL)
    except UnreadableTableError as error:
        raise OfficeFileError([str(error)]) from None
    _check_columns(line, columns)
    if not rows:
        raise OfficeFileError([f"line {line}: there are no offices after the header"])
    offices: list[Office] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    provinces = load_provinces()
    for line, cells in rows:
        if len(cells) > len(columns):
            problems.append(
                f"line {line}, column {columns[-1]}: has {len(cells)} cells instead of {len(columns)}; a separator within "
                "a text needs quotes around the text"
            )
            continue
        wrong: dict[str, str] = {}
        row = dict(zip(columns, cells, strict=True))
        office = _office(row, provinces, wrong, shipped=file is None)
        if office.office_id and seen.setdefault(office.office_id, line) != line:
            wrong.setdefault("office_id", f"{office.office_id} is on line {seen[office.office_id]} already")
        problems += [f"line {line}, column {column}: {wrong[column]}" for column in row if column in wrong]
        offices.append(office)
    if problems:
        raise OfficeFileError(problems)
    return offices


def differences(before: Office, after: Office) -> dict[str, tuple[Cell, Cell]]:
    """Returns the columns that an import changes, each with its old and new value."""
    columns = {column: (_cell(before, column), _cell(after, column)) for column in _COLUMNS + _OPTIONAL}
    return {column: cells for column, cells in columns.items() if cells[0] != cells[1]}


def _cell(office: Office, column: str) -> Cell:
    names = {"class": office.office_class, "timezone": office.time_zone.key}
    value: Cell = names[column] if column in names else getattr(office, column)
    return value


def doubts(offices: Sequence[Office], imported: Collection[str]) -> list[str]:
    """Returns warnings about imported offices (ids) that share a name or a place with any other office."""
    warnings: list[str] = []
    by_name: dict[str, str] = {}
    by_place: dict[tuple[float, float], str] = {}
    for office in offices:
        other = by_name.setdefault(office.name.casefold(), office.office_id)
        if other != office.office_id and {other, office.office_id} & set(imported):
            warnings.append(f"{other} and {office.office_id} have the same name, {office.name}")
        other = by_place.setdefault((office.latitude, office.longitude), office.office_id)
        if other != office.office_id and {other, office.office_id} & set(imported):
            warnings.append(
                f"{other} and {office.office_id} are at the same place, {office.latitude}, {office.longitude}"
            )
    return warnings


def _check_columns(line: int, columns: Sequence[str]) -> None:
    missing = [name for name in _COLUMNS if name not in columns]
    twice = [name for name in _COLUMNS + _OPTIONAL if columns.count(name) > 1]
    if len(missing) == len(_COLUMNS):
        header = ", ".join(columns)[:_LONGEST]
        raise OfficeFileError(
            [
                f"line {line}: is not the header, which has to name the columns {', '.join(_COLUMNS)}; it reads {header!r}"
            ]
        )
    for names, problem in ((missing, "missing"), (twice, "there twice")):
        if names:
            more = "s {} are" if len(names) > 1 else " {}: is"
            raise OfficeFileError([f"line {line}, column{more.format(', '.join(names))} {problem}"])


class _Row:
    """The cells of a row. Problems are added to `wrong` by column."""

    def __init__(self, row: Mapping[str, str], wrong: dict[str, str]) -> None:
        self._row, self._wrong = row, wrong

    def text(self, column: str) -> str:
        return re.sub(r"\s+", " ", unicodedata.normalize("NFC", self._row.get(column, "")).strip())

    def degrees(self, column: str, least: float, most: float) -> float | None:
        written = self.text(column).replace("\N{MINUS SIGN}", "-")
        value = float(written.replace(",", ".")) if _DEGREES.fullmatch(written) else None
        if value is None or not least <= value <= most:
            must = f"must be degrees from {least:g} to {most:g}, with one point or comma"
            self._wrong.setdefault(column, f"{must}, is {_shown(self.text(column))}")
            return None
        return value

    def whole(self, column: str, most: int) -> int:
        number = _WHOLE.fullmatch(self.text(column))
        if not number or int(number[1]) > most:
            must = f"must be a whole number from 0 to {most}, without separators"
            self._wrong.setdefault(column, f"{must}, is {_shown(self.text(column))}")
            return 0
        return int(number[1])


def _office(
    row: Mapping[str, str], provinces: Mapping[str, Province], wrong: dict[str, str], *, shipped: bool
) -> Office:
    """Returns the office of a row. Adds problems to `wrong` by column, in which case the office must not be used."""
    cells = _Row(row, wrong)
    text, degrees, whole = cells.text, cells.degrees, cells.whole
    for column in _COLUMNS + _OPTIONAL:
        if problem := _unseen(row.get(column, "").strip()) or (column in _TEXTS and _no_text(text(column))):
            wrong[column] = problem
    empty = [column for column in _COLUMNS if column not in _MAY_BE_EMPTY and not text(column)]
    if not _ID.fullmatch(text("office_id")):
        must = (
            "must be 3 to 40 of a-z 0-9 with single hyphens between them, a letter among them and no 16 digits in a row"
        )
        wrong.setdefault("office_id", f"{must}, such as kanim-bogor, is {_shown(text('office_id'))}")
    province = provinces.get(text("province_code"))
    if province is None:
        wrong.setdefault("province_code", f"must be ISO 3166-2 such as ID-JK, is {_shown(text('province_code'))}")
    elif text("timezone") != province.time_zone.key:
        must = f"must be {province.time_zone.key} in {province.name_id}"
        wrong.setdefault("timezone", f"{must}, is {_shown(text('timezone'))}")
    latitude, longitude = degrees("latitude", *_LATITUDES), degrees("longitude", *_LONGITUDES)
    quota = whole("daily_quota", 10_000)
    percent = whole("morning_percent", 100) if text("morning_percent") else None
    if (
        province
        and latitude is not None
        and longitude is not None
        and not shipped
        and (problem := _elsewhere(latitude, longitude, province, provinces))
    ):
        wrong.setdefault("latitude", problem)
    if empty:  # one problem for all empty cells
        for column in empty:
            wrong.pop(column, None)
        wrong[empty[0]] = "is empty" + (f", and so is {', '.join(empty[1:])}" if empty[1:] else "")
    province = province or next(iter(provinces.values()))
    return Office(
        office_id=text("office_id"),
        name=text("name"),
        office_class=text("class"),
        city=text("city"),
        province_code=province.code,
        time_zone=province.time_zone,
        latitude=latitude or 0.0,
        longitude=longitude or 0.0,
        daily_quota=quota,
        address=text("address"),
        morning_percent=percent,
    )


def _unseen(text: str) -> str:
    """Returns the problem of a cell with invisible or formatting characters, else ""."""
    for char in text:
        if (
            unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
            or char == "\N{REPLACEMENT CHARACTER}"
        ):
            return f"must be one line without invisible characters, has U+{ord(char):04X}: {text[:60]!a}"
    return ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _no_text(text: str) -> str:
    if unicodedata.normalize("NFKC", text)[:1] in tuple(_FORMULA):
        return (
            f"must not begin with any of {' '.join(_FORMULA)}, which spreadsheets take for a formula, is {_shown(text)}"
        )
    if text and not any(char.isalpha() for char in text):
        return f"must have letters, is {_shown(text)}"
    if len(text) > _LONGEST:
        return f"must have at most {_LONGEST} characters, has {len(text)}"
    return ""


def _elsewhere(latitude: float, longitude: float, province: Province, provinces: Mapping[str, Province]) -> str:
    """Returns the problem of coordinates outside the office's province on the map, else ""."""
    borders, policy = _map()
    try:
        codes = borders.whereabouts(latitude, longitude, _BORDER_M, policy)
    except AntrianError:
        return f"{latitude}, {longitude} is in no province of Indonesia"
    if province.code in codes:
        return ""
    there = provinces[codes[0]]
    return f"{latitude}, {longitude} is in {there.name_id} ({there.code}), not in {province.name_id} ({province.code})"


@cache
def _map() -> tuple[ProvinceMap, Policy]:
    return ProvinceMap(), load_policy()


def offices_for(offices: Iterable[Office], provinces: Collection[str]) -> list[Office]:
    """Returns the offices that may be used from these provinces (ISO 3166-2 codes)."""
    return [office for office in offices if office.province_code in provinces]


def offices_elsewhere(
    offices: Iterable[Office],
    provinces: Collection[str],
    latitude: float,
    longitude: float,
    within_km: float,
    most: int = 25,
) -> list[tuple[Office, float]]:
    """Returns the nearest offices of other provinces, with their distance in kilometres."""
    away = [
        (office, distance_km(latitude, longitude, office.latitude, office.longitude))
        for office in offices
        if office.province_code not in provinces
    ]
    away.sort(key=lambda pair: pair[1])
    return [pair for pair in away[:most] if pair[1] <= within_km]
