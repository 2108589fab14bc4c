"""Offices: read from a file that names every mistake, and chosen for where a person is."""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path

from antrian.booking import Office, Province
from antrian.provinces import distance_km, load_provinces

_COLUMNS = (
    "office_id", "name", "class", "city", "province_code", "timezone", "latitude", "longitude", "daily_quota", "address",
)  # fmt: skip
_OPTIONAL = ("morning_percent",)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile("(?!.*[0-9]{16})[a-z0-9-]{3,40}")


class OfficeFileError(ValueError):
    """The file is wrong; problems has one text each, with line number and column where there is one."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_offices(file: Path | None = None) -> list[Office]:
    """The offices of a CSV file like data/offices.csv (None: that one), UTF-8 with or without BOM.

    An optional column morning_percent says how much of the quota is the morning's, where the policy's split does not
    hold. Columns that are not known are passed over. Raises OfficeFileError with all mistakes; a file that is no CSV
    at all, or lacks a column, has only those.
    """
    source = files("antrian.data").joinpath("offices.csv") if file is None else file
    try:
        rows = list(_rows(source.read_text("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise OfficeFileError([f"the file is not UTF-8: {error.reason} at byte {error.start}"]) from None
    columns = rows[0][1] if rows else []
    _check_columns(columns)
    offices: list[Office] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    provinces = load_provinces()
    for line, fields in rows[1:]:
        if len(fields) != len(columns):
            problems.append(
                f"line {line}, column {columns[min(len(fields), len(columns) - 1)]}: has {len(fields)} fields instead of "
                f"{len(columns)}; a comma within a text needs quotes around the text"
            )
            continue
        wrong: list[str] = []
        office = _office(dict(zip(columns, fields, strict=True)), provinces, wrong)
        if office.office_id and seen.setdefault(office.office_id, line) != line:
            wrong.append(f"office_id: {office.office_id} is on line {seen[office.office_id]} already")
        problems += [f"line {line}, column {problem}" for problem in wrong]
        offices.append(office)
    if len(rows) == 1:
        problems.append("line 2: there are no offices")
    if problems:
        raise OfficeFileError(problems)
    return offices


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that has any, with the line on which it begins."""
    # Not strict, a quote that nobody closes would swallow the offices after it without a word.
    reader = csv.reader(StringIO(text), strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise OfficeFileError([f"line {line}: the row that begins here cannot be read: {error}"]) from None


def _check_columns(columns: Sequence[str]) -> None:
    problems = [f"line 1, column {name}: is missing" for name in _COLUMNS if name not in columns]
    problems += [f"line 1, column {name}: is there twice" for name in _COLUMNS + _OPTIONAL if columns.count(name) > 1]
    if problems:
        raise OfficeFileError(problems)


def _office(row: Mapping[str, str], provinces: Mapping[str, Province], wrong: list[str]) -> Office:
    """The office of a row; what is wrong with the row is appended, and the office is then not to be used."""

    def text(column: str) -> str:
        return row.get(column, "").strip()

    def number(column: str, least: float, most: float) -> float:
        try:
            value = float(text(column))
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            wrong.append(f"{column}: must be a number from {least:g} to {most:g}, is {text(column)!r}")
            return least
        return value

    def whole(column: str, most: int) -> int:
        if not re.fullmatch("[0-9]{1,6}", text(column)) or int(text(column)) > most:
            wrong.append(f"{column}: must be a whole number from 0 to {most}, is {text(column)!r}")
            return 0
        return int(text(column))

    wrong += [
        f"{column}: must be one line without control characters, is {text(column)!r}"
        for column in ("name", "class", "city", "address")
        if _CONTROL.search(text(column))
    ]
    if not _ID.fullmatch(text("office_id")):
        wrong.append(f"office_id: must be 3 to 40 of a-z 0-9 - without 16 digits in a row, is {text('office_id')!r}")
    if not text("name"):
        wrong.append("name: is empty")
    province = provinces.get(text("province_code"))
    if province is None:
        wrong.append(f"province_code: must be ISO 3166-2 such as ID-JK, is {text('province_code')!r}")
        province = next(iter(provinces.values()))
    elif text("timezone") != province.time_zone.key:
        wrong.append(f"timezone: must be {province.time_zone.key} in {province.name_id}, is {text('timezone')!r}")
    return Office(
        office_id=text("office_id"),
        name=text("name"),
        office_class=text("class"),
        city=text("city"),
        province_code=province.code,
        time_zone=province.time_zone,
        # The country's outermost points: Rote and Miangas, Sabang and Merauke.
        latitude=number("latitude", -11.1, 6.2),
        longitude=number("longitude", 94.9, 141.1),
        daily_quota=whole("daily_quota", 10_000),
        address=text("address"),
        morning_percent=whole("morning_percent", 100) if text("morning_percent") else None,
    )


def offices_for(offices: Iterable[Office], provinces: Collection[str]) -> list[Office]:
    """The offices that may be used from these provinces (ISO 3166-2 codes)."""
    return [office for office in offices if office.province_code in provinces]


def offices_elsewhere(
    offices: Iterable[Office],
    provinces: Collection[str],
    latitude: float,
    longitude: float,
    within_km: float,
    most: int = 25,
) -> list[tuple[Office, float]]:
    """The nearest offices of other provinces, with their distance in kilometres."""
    away = [
        (office, distance_km(latitude, longitude, office.latitude, office.longitude))
        for office in offices
        if office.province_code not in provinces
    ]
    away.sort(key=lambda pair: pair[1])
    return [pair for pair in away[:most] if pair[1] <= within_km]
