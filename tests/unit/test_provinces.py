"""A location gives the province that people there would name, and near a border those on both sides."""

import math
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrian.errors import AntrianError, Reason
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import ProvinceMap, distance_km, load_provinces
from antrian.policy import load_policy

POLICY = load_policy()
MAP = ProvinceMap()

PLACES = """
Depok                  -6.4025 106.7942 ID-JB
Bekasi                 -6.2383 106.9756 ID-JB
Cikarang               -6.2611 107.1528 ID-JB
Bogor                  -6.5950 106.8167 ID-JB
Tangerang              -6.1783 106.6319 ID-BT
Ciledug                -6.2369 106.7050 ID-BT
Serpong                -6.3190 106.6650 ID-BT
Soekarno-Hatta         -6.1256 106.6559 ID-BT
Jl. Wahid Hasyim       -6.1862 106.8296 ID-JK
Lenteng Agung          -6.3300 106.8350 ID-JK
Cakung                 -6.1830 106.9480 ID-JK
Kalideres              -6.1400 106.7050 ID-JK
Pulau Pramuka          -5.7450 106.6130 ID-JK
Merak                  -5.9310 106.0000 ID-BT
Bakauheni              -5.8650 105.7550 ID-LA
Losari                 -6.8440 108.8250 ID-JT
Cirebon                -6.7320 108.5523 ID-JB
Brebes                 -6.8700 109.0400 ID-JT
Yogyakarta             -7.7956 110.3695 ID-YO
Klaten                 -7.7050 110.6060 ID-JT
Wates, Kulon Progo     -7.8600 110.1580 ID-YO
Purworejo              -7.7130 110.0080 ID-JT
Cepu                   -7.1480 111.5900 ID-JT
Padangan               -7.1560 111.6200 ID-JI
Ketapang               -8.1430 114.3990 ID-JI
Gilimanuk              -8.1750 114.4420 ID-BA
Batam                   1.1301 104.0529 ID-KR
Belakang Padang         1.1560 103.8900 ID-KR
Ranai                   3.9400 108.3900 ID-KR
Sofifi                  0.7370 127.5600 ID-MU
Ternate                 0.7900 127.3840 ID-MU
Sorong                 -0.8760 131.2550 ID-PD
Manokwari              -0.8615 134.0620 ID-PB
Timika                 -4.5500 136.8890 ID-PT
Nabire                 -3.3670 135.4960 ID-PT
Wamena                 -4.0970 138.9510 ID-PE
Merauke                -8.4990 140.4010 ID-PS
Jayapura               -2.5337 140.7181 ID-PA
Biak                   -1.1760 136.0820 ID-PA
Sabang                  5.8930  95.3210 ID-AC
Medan                   3.5952  98.6722 ID-SU
Padang                 -0.9471 100.4172 ID-SB
Pekanbaru               0.5071 101.4478 ID-RI
Jambi                  -1.6101 103.6131 ID-JA
Palembang              -2.9761 104.7754 ID-SS
Bengkulu               -3.7928 102.2608 ID-BE
Pangkalpinang          -2.1291 106.1138 ID-BB
Surabaya               -7.2575 112.7521 ID-JI
Mataram                -8.5833 116.1167 ID-NB
Atambua                -9.1061 124.8925 ID-NT
Pontianak              -0.0263 109.3425 ID-KB
Palangka Raya          -2.2136 113.9108 ID-KT
Banjarmasin            -3.3186 114.5944 ID-KS
Nusantara              -0.9730 116.7080 ID-KI
Nunukan                 4.1350 117.6660 ID-KU
Manado                  1.4748 124.8421 ID-SA
Gorontalo               0.5435 123.0568 ID-GO
Palu                   -0.8917 119.8707 ID-ST
Mamuju                 -2.6748 118.8885 ID-SR
Makassar               -5.1477 119.4327 ID-SN
Kendari                -3.9985 122.5130 ID-SG
Ambon                  -3.6554 128.1908 ID-MA
"""
ABROAD = """
Singapore               1.2900 103.8500
Changi                  1.3644 103.9915
Johor Bahru             1.4927 103.7414
Kuching                 1.5533 110.3592
Tawau                   4.2498 117.8871
Dili                   -8.5569 125.5603
Vanimo                 -2.6819 141.3025
the Java Sea           -5.0000 110.5000
the Gulf of Guinea      0.0000   0.0000
the North Pole         90.0000   0.0000
the date line         -90.0000 180.0000
"""


def refused(latitude: float, longitude: float, accuracy_m: float | None = None) -> AntrianError:
    with pytest.raises(AntrianError) as refusal:
        MAP.whereabouts(latitude, longitude, accuracy_m, POLICY)
    return refusal.value


@pytest.mark.parametrize("place", PLACES.strip().splitlines(), ids=lambda place: place[:20].strip())
def test_a_location_is_in_its_province(place: str) -> None:
    *_, latitude, longitude, code = place.split()
    assert MAP.whereabouts(float(latitude), float(longitude), None, POLICY) == (code,)


def test_the_sample_locations_cover_all_38_provinces() -> None:
    assert {place.split()[-1] for place in PLACES.strip().splitlines()} == set(load_provinces())
    assert len(load_provinces()) == 38


def test_every_office_is_in_its_province() -> None:
    for office in load_offices():
        assert MAP.whereabouts(office.latitude, office.longitude, None, POLICY)[0] == office.province_code, office


@pytest.mark.parametrize("place", ABROAD.strip().splitlines(), ids=lambda place: place[:20].strip())
@pytest.mark.parametrize("accuracy_m", [None, 2000.0])
def test_abroad_and_the_open_sea_are_outside(place: str, accuracy_m: float | None) -> None:
    latitude, longitude = place.split()[-2:]
    refusal = refused(float(latitude), float(longitude), accuracy_m)
    assert (refusal.reason, refusal.field) == (Reason.OUTSIDE_INDONESIA, "location")


# Between Lenteng Agung (Jakarta) and Depok (West Java) the border runs through -6.3557, 106.8332.
@pytest.mark.parametrize(
    ("latitude", "accuracy_m", "codes"),
    [
        (-6.3517, None, ("ID-JK",)),
        (-6.3517, 450.0, ("ID-JK", "ID-JB")),
        (-6.3537, None, ("ID-JK", "ID-JB")),
        (-6.3537, 10.0, ("ID-JK", "ID-JB")),
        (-6.3577, None, ("ID-JB", "ID-JK")),
        (-6.3587, None, ("ID-JB",)),
        (-6.3587, 0.0, ("ID-JB",)),
        (-6.3587, 330.0, ("ID-JB", "ID-JK")),
    ],
)
def test_near_a_border_both_provinces_count_with_the_own_one_first(
    latitude: float, accuracy_m: float | None, codes: tuple[str, ...]
) -> None:
    assert MAP.whereabouts(latitude, 106.8332, accuracy_m, POLICY) == codes


def test_on_the_border_itself_both_provinces_count() -> None:
    assert set(MAP.whereabouts(-6.355732620622838, 106.83315321633218, None, POLICY)) == {"ID-JK", "ID-JB"}


@pytest.mark.parametrize("longitude", [115.155, 115.135, 115.115])  # 1.3, 3.3 and 4.9 km off Kuta
def test_a_pier_belongs_to_the_province_of_its_coast(longitude: float) -> None:
    assert MAP.whereabouts(-8.72, longitude, None, POLICY) == ("ID-BA",)


def test_the_policy_sets_how_far_the_coast_reaches() -> None:
    assert refused(-8.72, 115.100).reason is Reason.OUTSIDE_INDONESIA  # 6.5 km off Kuta
    assert MAP.whereabouts(-8.72, 115.100, None, replace(POLICY, coast_km=7.0)) == ("ID-BA",)
    with pytest.raises(AntrianError, match="OUTSIDE_INDONESIA"):
        MAP.whereabouts(-8.72, 115.155, 2000.0, replace(POLICY, coast_km=1.0))


def test_a_location_less_accurate_than_2_km_is_too_coarse() -> None:
    assert MAP.whereabouts(-6.1862, 106.8296, 2000.0, POLICY) == ("ID-JK",)
    for accuracy_m in (2000.1, 1e300):
        refusal = refused(-6.1862, 106.8296, accuracy_m)
        assert (refusal.reason, refusal.field) == (Reason.LOCATION_TOO_COARSE, "location.accuracy_m")
        assert refusal.metadata == {"limit": "2000"}


@pytest.mark.parametrize(
    ("field", "latitude", "longitude", "accuracy_m"),
    [
        *(("location.latitude", value, 106.8, None) for value in (math.nan, math.inf, -math.inf, 90.1, -90.1)),
        *(("location.longitude", -6.2, value, None) for value in (math.nan, math.inf, -math.inf, 180.1, -180.1)),
        *(("location.accuracy_m", -6.2, 106.8, value) for value in (math.nan, math.inf, -math.inf, -0.1)),
    ],
)
def test_an_invalid_location_is_refused_with_its_field(
    field: str, latitude: float, longitude: float, accuracy_m: float | None
) -> None:
    refusal = refused(latitude, longitude, accuracy_m)
    assert (refusal.reason, refusal.field) == (Reason.INVALID_FIELD, field)
    assert refusal.problem is not None
    assert all(refusal.problem)


@given(st.floats(), st.floats(), st.none() | st.floats())
def test_any_coordinates_give_provinces_or_a_refusal(
    latitude: float, longitude: float, accuracy_m: float | None
) -> None:
    with suppress(AntrianError):
        assert MAP.whereabouts(latitude, longitude, accuracy_m, POLICY)


@given(st.floats(-11, 6), st.floats(95, 141), st.floats(0, 2000))
def test_a_wider_circle_only_adds_provinces(latitude: float, longitude: float, accuracy_m: float) -> None:
    with suppress(AntrianError):
        codes = MAP.whereabouts(latitude, longitude, accuracy_m, POLICY)
        assert len(set(codes)) == len(codes)
        assert MAP.whereabouts(latitude, longitude, 2000.0, POLICY)[: len(codes)] == codes


def test_the_middle_of_a_province_is_in_it() -> None:
    for code in ("ID-JB", "ID-PE", "ID-JK", "ID-YO"):
        assert MAP.whereabouts(*MAP.centre(code), None, POLICY)[0] == code


def test_a_province_has_its_names_its_nik_code_and_its_zone() -> None:
    jakarta = load_provinces()["ID-JK"]
    assert (jakarta.name_id, jakarta.name_en, jakarta.nik_code) == ("DKI Jakarta", "Jakarta", "31")
    assert {province.time_zone.key for province in load_provinces().values()} == {
        "Asia/Jakarta", "Asia/Pontianak", "Asia/Makassar", "Asia/Jayapura",
    }  # fmt: skip


def test_distances_are_measured_on_the_globe() -> None:
    assert distance_km(-6.2, 106.8, -6.2, 106.8) == 0
    assert distance_km(0, 0, 0, 180) == pytest.approx(math.pi * 6371.0088)
    assert distance_km(-10, 100, -10, 101) == pytest.approx(math.radians(1) * 6371.0088 * math.cos(math.radians(10)))
    # Sabang to Merauke is some 5,250 km.
    assert distance_km(5.8930, 95.3210, -8.4990, 140.4010) == pytest.approx(5250, rel=0.02)
