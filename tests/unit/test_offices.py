"""An office file is taken whole or not at all; the offices of where one is are offered, and it is said why."""

from pathlib import Path

import pytest

from antrian.booking import Office
from antrian.offices import OfficeFileError, load_offices, offices_elsewhere, offices_for
from antrian.policy import load_policy
from antrian.provinces import ProvinceMap, distance_km, load_provinces
from antrian.whereabouts import explain_anywhere, explain_elsewhere, explain_location, explain_province

POLICY = load_policy()
PROVINCES = load_provinces()
OFFICES = load_offices()
MAP = ProvinceMap()
WAHID_HASYIM = -6.1862, 106.8296
GOOD = {
    "office_id": "kanim-depok",
    "name": "Kantor Imigrasi Depok",
    "class": "Kelas II Non TPI",
    "city": "Depok",
    "province_code": "ID-JB",
    "timezone": "Asia/Jakarta",
    "latitude": "-6.4",
    "longitude": "106.8",
    "daily_quota": "100",
    "address": "Jl. Boulevard Raya",
}


def read(folder: Path, *rows: dict[str, str], header: str = ",".join(GOOD), end: str = "\n") -> list[Office]:
    return read_bytes(folder, end.join([header, *(",".join(row.values()) for row in rows), ""]).encode())


def read_bytes(folder: Path, content: bytes) -> list[Office]:
    file = folder / "offices.csv"
    file.write_bytes(content)
    return load_offices(file)


def named(office_id: str) -> Office:
    return next(office for office in OFFICES if office.office_id == office_id)


def test_the_shipped_file_has_185_offices_and_23269_places() -> None:
    assert len(OFFICES) == len({office.office_id for office in OFFICES}) == 185
    assert sum(office.daily_quota for office in OFFICES) == 23_269
    assert all(office.morning_percent is None for office in OFFICES)
    assert set(PROVINCES) - {office.province_code for office in OFFICES} == {"ID-PE"}


def test_a_row_becomes_an_office(tmp_path: Path) -> None:
    (office,) = read(tmp_path, GOOD)
    assert office == Office(
        office_id="kanim-depok",
        name="Kantor Imigrasi Depok",
        office_class="Kelas II Non TPI",
        city="Depok",
        province_code="ID-JB",
        time_zone=PROVINCES["ID-JB"].time_zone,
        latitude=-6.4,
        longitude=106.8,
        daily_quota=100,
        address="Jl. Boulevard Raya",
    )


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["no BOM", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_byte_order_mark_line_ends_and_blank_lines_do_not_matter(tmp_path: Path, start: bytes, end: bytes) -> None:
    lines = [",".join(GOOD).encode(), b"", ",".join(GOOD.values()).encode()]
    assert read_bytes(tmp_path, start + end.join(lines)) == read(tmp_path, GOOD)


def test_columns_come_in_any_order_with_unknown_ones_among_them(tmp_path: Path) -> None:
    row = {"telephone": "021", **dict(reversed(GOOD.items()))}
    assert read(tmp_path, row, header=",".join(row)) == read(tmp_path, GOOD)


def test_only_a_line_end_ends_a_line(tmp_path: Path) -> None:
    (office,) = read(tmp_path, GOOD | {"address": "Jl. Raya\u2028Depok"})
    assert office.address == "Jl. Raya\u2028Depok"


@pytest.mark.parametrize(("written", "percent"), [("", None), ("0", 0), ("75", 75), ("100", 100)])
def test_an_office_may_have_its_own_split(tmp_path: Path, written: str, percent: int | None) -> None:
    row = GOOD | {"morning_percent": written}
    assert read(tmp_path, row, header=",".join(row))[0].morning_percent == percent


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        *(
            ("office_id", bad)
            for bad in ("", "ab", "a" * 41, "nik-3171010101900001", "Kanim-Depok", "kanim depok", "kanim_depok")
        ),
        *(("name", bad) for bad in ("", "   ", '"Kantor\nImigrasi"', "Kantor\0")),
        *((column, "\x1b[31m") for column in ("class", "city", "address")),
        *(("province_code", bad) for bad in ("", "JB", "ID-XX", "id-jb", "Jawa Barat")),
        *(("timezone", bad) for bad in ("", "WIB", "Asia/Makassar", "Asia/Pontianak")),
        *(("latitude", bad) for bad in ("", "north", "nan", "inf", "-11.2", "6.3", "106.8")),
        *(("longitude", bad) for bad in ("", "east", "nan", "-inf", "94.8", "141.2", '"106,8"')),
        *(("daily_quota", bad) for bad in ("", "-1", "10001", "1.5", "1e3", "many", "9" * 5000)),
        *(("morning_percent", bad) for bad in ("-1", "101", "60%", "0.6")),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(tmp_path: Path, column: str, bad: str) -> None:
    good = GOOD | {"morning_percent": "60"}
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, good, good | {"office_id": "kanim-two", column: bad}, header=",".join(good))
    (problem,) = error.value.problems
    assert problem.startswith(f"line 3, column {column}: ")


def test_the_bounds_themselves_are_good(tmp_path: Path) -> None:
    low = GOOD | {"office_id": "abc", "latitude": "-11.1", "longitude": "94.9", "daily_quota": "0"}
    high = GOOD | {"office_id": "a" * 40, "latitude": "6.2", "longitude": "141.1", "daily_quota": "10000"}
    assert [office.daily_quota for office in read(tmp_path, low, high)] == [0, 10_000]


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, GOOD | {"name": "", "daily_quota": "x"}, GOOD, GOOD | {"latitude": "x"}, {"only": "one"})
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "line 2, column name",
        "line 2, column daily_quota",
        "line 3, column office_id",
        "line 4, column latitude",
        "line 4, column office_id",
        "line 5, column name",
    ]
    assert str(error.value) == "\n".join(error.value.problems)
    assert "kanim-depok is on line 2 already" in error.value.problems[2]


@pytest.mark.parametrize(("address", "fields"), [("Jl. Raya, Depok", 11), ("Jl. Raya, Depok, Jawa Barat", 12)])
def test_a_comma_without_quotes_is_a_mistake(tmp_path: Path, address: str, fields: int) -> None:
    with pytest.raises(OfficeFileError, match=f"line 2, column address: has {fields} fields instead of 10"):
        read(tmp_path, GOOD | {"address": address})


def test_a_quote_that_nobody_closes_hides_no_office(tmp_path: Path) -> None:
    unclosed, after = GOOD | {"address": '"Jl. Raya'}, GOOD | {"office_id": "kanim-two"}
    with pytest.raises(OfficeFileError, match=r"^line 3: .*unexpected end of data$"):
        read(tmp_path, GOOD | {"office_id": "kanim-one"}, unclosed, after)


@pytest.mark.parametrize("column", GOOD)
def test_a_column_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    row = {name: value for name, value in GOOD.items() if name != column}
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, row, header=",".join(row))
    assert error.value.problems == [f"line 1, column {column}: is missing"]


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError, match="line 1, column daily_quota: is there twice"):
        read(tmp_path, GOOD | {"again": "7"}, header=",".join(GOOD) + ",daily_quota")


def test_a_file_without_offices_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError, match="line 2: there are no offices"):
        read(tmp_path)
    with pytest.raises(OfficeFileError) as error:
        read_bytes(tmp_path, b"")
    assert len(error.value.problems) == len(GOOD)


@pytest.mark.parametrize("content", ["Kantor é".encode("latin-1"), "office_id".encode("utf-16")])
def test_a_file_in_another_encoding_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OfficeFileError, match="not UTF-8"):
        read_bytes(tmp_path, content)


def test_from_jakarta_its_offices_are_offered_and_bogors_are_elsewhere() -> None:
    here = MAP.whereabouts(*WAHID_HASYIM, None, POLICY)
    assert here == ("ID-JK",)
    offered = offices_for(OFFICES, here)
    assert offered == [office for office in OFFICES if office.province_code == "ID-JK"]
    assert "kanim-jakarta-pusat" in {office.office_id for office in offered}
    elsewhere = offices_elsewhere(OFFICES, here, *WAHID_HASYIM, within_km=POLICY.nearby_km)
    assert "kanim-bogor" in {office.office_id for office, _ in elsewhere}
    assert not {office.province_code for office, _ in elsewhere} & set(here)
    assert all(
        distance == distance_km(*WAHID_HASYIM, office.latitude, office.longitude) <= POLICY.nearby_km
        for office, distance in elsewhere
    )
    assert elsewhere == sorted(elsewhere, key=lambda pair: pair[1])
    assert offices_elsewhere(OFFICES, here, *WAHID_HASYIM, within_km=POLICY.nearby_km, most=3) == elsewhere[:3]
    assert offices_elsewhere(OFFICES, here, *WAHID_HASYIM, within_km=0) == []


def test_from_bogor_its_office_is_offered() -> None:
    here = MAP.whereabouts(-6.5950, 106.8167, None, POLICY)
    assert here == ("ID-JB",)
    assert named("kanim-bogor") in offices_for(OFFICES, here)


def test_near_a_border_the_offices_of_both_provinces_are_offered() -> None:
    offered = offices_for(OFFICES, ("ID-JB", "ID-JK"))
    assert {office.province_code for office in offered} == {"ID-JB", "ID-JK"}


def test_wamena_has_no_office() -> None:
    assert offices_for(OFFICES, MAP.whereabouts(-4.0970, 138.9510, None, POLICY)) == []


def test_the_province_of_a_location_is_explained() -> None:
    text = explain_location([PROVINCES["ID-JK"]], 300, None)
    assert "Lokasi perangkat Anda di DKI Jakarta" in text.indonesian
    assert "provinsi lain" in text.indonesian
    assert "Your device is in Jakarta" in text.english


def test_the_border_is_explained() -> None:
    text = explain_location([PROVINCES["ID-JK"], PROVINCES["ID-JB"]], 345.678, None)
    assert "346 m dari batas DKI Jakarta dan Jawa Barat" in text.indonesian
    assert "346 m of the border of Jakarta and West Java" in text.english
    three = explain_location([PROVINCES["ID-PT"], PROVINCES["ID-PE"], PROVINCES["ID-PS"]], 300, None)
    assert "Papua Tengah, Papua Pegunungan dan Papua Selatan" in three.indonesian


def test_a_province_without_an_office_names_the_nearest_one_and_its_province() -> None:
    nearest = named("kanim-jayapura"), PROVINCES["ID-PA"]
    for text in (
        explain_location([PROVINCES["ID-PE"]], 300, nearest),
        explain_province(PROVINCES["ID-PE"], nearest),
    ):
        assert "Papua Pegunungan belum mempunyai kantor imigrasi" in text.indonesian
        assert f"{nearest[0].name} di Papua;" in text.indonesian
        assert "Highland Papua has no immigration office" in text.english


def test_a_province_that_was_asked_for_is_explained() -> None:
    text = explain_province(PROVINCES["ID-JB"], None)
    assert "Anda menyebut Jawa Barat" in text.indonesian
    assert "You named West Java" in text.english


def test_an_office_elsewhere_is_explained() -> None:
    text = explain_elsewhere(named("kanim-bogor"), PROVINCES["ID-JB"], 45.6, PROVINCES["ID-JK"])
    assert "(46 km) berada di Jawa Barat, sedangkan lokasi Anda di DKI Jakarta" in text.indonesian
    assert "bila Anda berada di Jawa Barat" in text.indonesian
    assert "It is listed when you are in West Java" in text.english


def test_the_rule_any_is_explained() -> None:
    text = explain_anywhere()
    assert "Semua kantor" in text.indonesian
    assert "Every office" in text.english
