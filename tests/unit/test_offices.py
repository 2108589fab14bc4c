"""An office file is taken whole or not at all; the offices of where one is are offered, and it is said why."""

from importlib.resources import as_file, files
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antrian.booking import Office
from antrian.offices.catalog import OfficeFileError, doubts, load_offices, offices_elsewhere, offices_for
from antrian.offices.explain import explain_anywhere, explain_elsewhere, explain_location, explain_province
from antrian.offices.provinces import ProvinceMap, distance_km, load_provinces
from antrian.policy import load_policy

POLICY = load_policy()
PROVINCES = load_provinces()
OFFICES = load_offices()
MAP = ProvinceMap()
INVISIBLE = [f"Kota {char}Depok" for char in "\x1b\x7f\u00ad\u200b\u200f\u202e\u2028\u2066\ufeff\ue000\ufffd"]
FORMULAS = ["=cmd|' /C calc'!A0", "+62 21 555", "-", "@SUM(A1)", "\uff1dcmd"]
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


def test_columns_may_come_in_any_order_among_unknown_ones(tmp_path: Path) -> None:
    row = {"telephone": "021", **dict(reversed(GOOD.items()))}
    assert read(tmp_path, row, header=",".join(row)) == read(tmp_path, GOOD)


@pytest.mark.parametrize(("written", "percent"), [("", None), ("0", 0), ("75", 75), ("100", 100)])
def test_an_office_may_have_its_own_split(tmp_path: Path, written: str, percent: int | None) -> None:
    row = GOOD | {"morning_percent": written}
    assert read(tmp_path, row, header=",".join(row))[0].morning_percent == percent


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        *(
            ("office_id", bad)
            for bad in (
                *(
                    "",
                    "ab",
                    "a" * 41,
                    "nik-3171010101900001",
                    "nik-3171-0101-0190-0001",
                    "3171",
                    "Kanim-Depok",
                    "kanim depok",
                ),
                *("kanim_depok", "-----", "-kanim", "kanim-", "kanim--depok", "kanim-dépok", "kanim-depok\u200b"),
            )
        ),
        *(("name", bad) for bad in ("", "   ", "\u3000", '"Kantor\nImigrasi"', "Kantor\0", "----", "12", "x" * 201)),
        *((column, bad) for column in ("name", "class", "city", "address") for bad in (*INVISIBLE, *FORMULAS)),
        *(("province_code", bad) for bad in ("", "JB", "ID-XX", "id-jb", "Jawa Barat")),
        *(("timezone", bad) for bad in ("", "WIB", "Asia/Makassar", "Asia/Pontianak")),
        *(
            ("latitude", bad)
            for bad in ("", "north", "nan", "inf", "-11.2", "6.3", "106.8", "-6.175.110", "-0_6.4", "6.4 LS")
        ),
        *(
            ("longitude", bad)
            for bad in ("", "east", "nan", "-inf", "94.8", "141.2", '"1,068E+02"', "１０６.8", "106.8°")
        ),
        *(
            ("daily_quota", bad)
            for bad in ("", "-1", "10001", "1.5", "1e3", "many", "9" * 5000, "1000000000", "1.500", "1 50")
        ),
        *(("morning_percent", bad) for bad in ("-1", "101", "60%", "0.6")),
    ],
)
def test_each_mistake_is_named_by_line_and_column(tmp_path: Path, column: str, bad: str) -> None:
    good = GOOD | {"morning_percent": "60"}
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, good, good | {"office_id": "kanim-two", column: bad}, header=",".join(good))
    (problem,) = error.value.problems
    assert problem.startswith(f"line 3, column {column}: ")


def test_the_bounds_are_inclusive(tmp_path: Path) -> None:
    low = GOOD | {"office_id": "abc", "daily_quota": "0"}
    high = GOOD | {"office_id": "a" * 40, "daily_quota": "10000", "address": "x" * 200}
    assert [office.daily_quota for office in read(tmp_path, low, high)] == [0, 10_000]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, GOOD | {"name": "", "daily_quota": "x"}, GOOD, GOOD | {"latitude": "x"}, {"only": "one"})
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "line 2, column name",
        "line 2, column daily_quota",
        "line 3, column office_id",
        "line 4, column office_id",
        "line 4, column latitude",
        "line 5, column name",
    ]
    assert str(error.value) == "\n".join(error.value.problems)
    assert "kanim-depok is on line 2 already" in error.value.problems[2]
    assert error.value.problems[5].endswith(
        "is empty, and so is province_code, timezone, latitude, longitude, daily_quota"
    )


@pytest.mark.parametrize(("address", "fields"), [("Jl. Raya, Depok", 11), ("Jl. Raya, Depok, Jawa Barat", 12)])
def test_an_unquoted_comma_is_a_mistake(tmp_path: Path, address: str, fields: int) -> None:
    with pytest.raises(OfficeFileError, match=f"line 2, column address: has {fields} cells instead of 10"):
        read(tmp_path, GOOD | {"address": address})


def test_an_unclosed_quote_hides_no_office(tmp_path: Path) -> None:
    unclosed, after = GOOD | {"address": '"Jl. Raya'}, GOOD | {"office_id": "kanim-two"}
    with pytest.raises(OfficeFileError, match=r"^line 3: .*quotation mark: unexpected end of data$"):
        read(tmp_path, GOOD | {"office_id": "kanim-one"}, unclosed, after)


@pytest.mark.parametrize("column", GOOD)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    row = {name: value for name, value in GOOD.items() if name != column}
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, row, header=",".join(row))
    assert error.value.problems == [f"line 1, column {column}: is missing"]


def test_several_missing_columns_are_one_problem(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, {"office_id": "kanim-depok", "name": "Depok"}, header="office_id,name")
    assert error.value.problems == [
        "line 1, columns class, city, province_code, timezone, latitude, longitude, daily_quota, address are missing"
    ]


def test_a_duplicate_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(OfficeFileError, match="line 1, column daily_quota: is there twice"):
        read(tmp_path, GOOD | {"again": "7"}, header=",".join(GOOD) + ", DAILY_QUOTA")


def saved(separator: str = ",", start: str = "", *, quoted: bool = False, end: str = "\n", after: str = "") -> str:
    """A file with the GOOD office as a spreadsheet program saves it."""
    rows = [list(GOOD), list(GOOD.values())]
    lines = [separator.join(f'"{cell}"' if quoted else cell for cell in row) + after for row in rows]
    return start + end.join([*lines, ""])


@pytest.mark.parametrize(
    "content",
    [
        saved(";").encode(),
        saved("\t").encode(),
        saved("|").encode(),
        saved(";", "sep=;\n").encode(),
        saved("\t", "sep=\t\r\n", end="\r\n").encode("utf-8-sig"),
        saved(";", '"SEP=;"\r\n', end="\r\n").encode(),
        saved("\t", end="\r\n").encode("utf-16"),
        b"\xfe\xff" + saved("\t", end="\r\n").encode("utf-16-be"),
        saved(quoted=True).encode(),
        saved("; ", quoted=True).encode(),
        saved(after=",,,").encode(),
        saved(",", ",,,\n , ,\n").encode(),
        (saved() + ",,,,,,,,,\n\n , ,\n").encode(),
        saved(" ; ").encode(),
        saved().replace("office_id", " OFFICE ID ").replace("daily_quota", "Daily-Quota").encode(),
        saved(";").replace("-6.4;106.8", "-6,4;106,8").encode(),
        saved().replace("-6.4", '"-6,4"').encode(),
        saved().replace("-6.4", "\N{MINUS SIGN}6.4").replace("106.8", "+106.80").encode(),
        *(saved(";").replace(";100;", f";{places};").encode() for places in ("100,0", "100.00", " 100\u00a0")),
        saved().replace("Imigrasi Depok", "Imigrasi\u00a0\u202f Depok ").encode(),
        saved().replace("Imigrasi Depok", "Imigrasi\xa0Depok").encode("cp1252"),
    ],
    ids=repr,
)
def test_a_file_is_read_as_spreadsheet_programs_save_it(tmp_path: Path, content: bytes) -> None:
    assert read_bytes(tmp_path, content) == read(tmp_path, GOOD)


def test_omitted_cells_at_the_end_of_a_row_are_empty(tmp_path: Path) -> None:
    content = saved().replace(",Jl. Boulevard Raya", "").encode()
    assert read_bytes(tmp_path, content) == read(tmp_path, GOOD | {"address": ""})


def test_letters_with_accents_are_read_in_windows_1252_and_kept_composed(tmp_path: Path) -> None:
    for content in ("Réunion’s".encode("cp1252"), "Re\u0301union’s".encode()):
        raw = saved().encode().replace(b"Kantor Imigrasi Depok", content)
        assert read_bytes(tmp_path, raw)[0].name == "Réunion’s"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n,,,\n", "the file is empty"),
        (f"{','.join(GOOD)}\n,,\n".encode(), "line 1: there are no offices after the header"),
        (f"sep=;\n{';'.join(GOOD)}\n".encode(), "line 2: there are no offices after the header"),
        (b"PK\x03\x04...", "the file is an Excel workbook"),
        (b"\xd0\xcf\x11\xe0...", "the file is an old Excel workbook"),
        (saved().encode("utf-16-le"), "the file is UTF-16 without a byte order mark"),
        (saved().encode("utf-16-be"), "the file is UTF-16 without a byte order mark"),
        (saved().encode("utf-16")[:-1], "is not UTF-16"),
        (saved(after="é").encode() + b"\xe9", "line 3: is not UTF-8"),
        (saved().encode() + b"\x81", "line 3: is neither UTF-8 nor Windows-1252"),
        (b"name of office;town\n", "line 1: is not the header"),
        (saved().replace(",", " ").encode(), "line 1: is not the header"),
        (saved(";", "sep=,\n").encode(), "line 2: is not the header"),
        (saved(";").replace(";", ",", 4).encode(), "line 1, columns "),
        (saved(end="\n\n").replace("Kantor", '"Kantor', 1).encode(), "line 3: the row that begins here cannot be read"),
    ],
    ids=repr,
)
def test_an_unreadable_file_is_one_problem(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(OfficeFileError) as error:
        read_bytes(tmp_path, content)
    [said] = error.value.problems
    assert problem in said
    assert "\n" not in said


@settings(deadline=None)  # the first one loads the map
@given(
    before=st.sampled_from([saved().encode(), saved(";").encode("utf-8-sig"), saved("\t").encode("utf-16")]),
    cut=st.integers(0, 300),
    junk=st.binary(max_size=20)
    | st.text(max_size=10).map(str.encode)
    | st.text(max_size=5).map(lambda t: t.encode("utf-16-le")),
)
@example(before=b"", cut=0, junk=b"\xff\xfe\xff")
@example(before=b"", cut=0, junk=b"\xff\xfe\x00\xd8")
@example(before=b"", cut=0, junk=b'sep="\n"')
@example(before=b"", cut=0, junk=b'sep= \na b"c')
def test_any_file_is_either_read_or_refused_with_its_problems(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, cut: int, junk: bytes
) -> None:
    problems = ["line 1"]
    try:
        assert read_bytes(tmp_path_factory.getbasetemp(), before[:cut] + junk + before[cut:])
    except OfficeFileError as error:
        problems = error.problems
    assert problems
    assert all("\n" not in problem and problem.startswith(("line ", "the file ")) for problem in problems)


@pytest.mark.parametrize(
    ("latitude", "longitude", "where"),
    [
        ("-8.65", "115.2167", "is in Bali (ID-BA), not in Jawa Barat (ID-JB)"),
        ("-6.1862", "106.8296", "is in DKI Jakarta (ID-JK), not in Jawa Barat (ID-JB)"),
        ("1.29", "103.85", "is in no province of Indonesia"),
        ("0", "95", "is in no province of Indonesia"),
    ],
)
def test_an_office_is_in_its_province_by_the_map(tmp_path: Path, latitude: str, longitude: str, where: str) -> None:
    with pytest.raises(OfficeFileError) as error:
        read(tmp_path, GOOD | {"latitude": latitude, "longitude": longitude})
    [problem] = error.value.problems
    assert problem.startswith("line 2, column latitude: ")
    assert where in problem


def test_coasts_and_borders_are_not_drawn_to_the_metre(tmp_path: Path) -> None:
    at_sea = {"latitude": "-6.70", "longitude": "108.60"}  # two kilometres off Cirebon
    at_the_border = {"latitude": "-6.3530", "longitude": "106.8350"}
    assert len(read(tmp_path, GOOD | at_sea, GOOD | at_the_border | {"office_id": "kanim-two"})) == 2


def test_the_shipped_offices_are_in_their_provinces() -> None:
    with as_file(files("antrian.data").joinpath("offices.csv")) as file:
        assert load_offices(file) == OFFICES


def test_two_offices_with_one_name_or_location_are_doubtful(tmp_path: Path) -> None:
    there = GOOD | {"latitude": "-6.41"}
    rows = [
        GOOD,
        there | {"office_id": "kanim-two", "name": "KANTOR Imigrasi Depok"},
        there | {"office_id": "kanim-three", "name": "Another"},
    ]
    found = read(tmp_path, *rows)
    said = doubts(found, {"kanim-two"})
    assert said == [
        "kanim-depok and kanim-two have the same name, KANTOR Imigrasi Depok",
        "kanim-two and kanim-three are at the same place, -6.41, 106.8",
    ]
    assert doubts(found, {"kanim-depok"}) == said[:1]
    assert doubts(found, {"kanim-four"}) == []


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


def test_a_requested_province_is_explained() -> None:
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
