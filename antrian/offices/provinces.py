"""Finds the province of a location, and distances. Data and method: data/PROVINCE_LOOKUP.md."""

import csv
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import shapely

from antrian.booking import Policy, Province
from antrian.errors import AntrianError, Reason, invalid

_DATA = files("antrian.data")
# A degree at the equator, WGS 84; with the cosine of the latitude for east, within 0.05 % all over Indonesia.
_METRES_NORTH, _METRES_EAST = 110_574.0, 111_320.0
_CELL = 0.01  # degrees: about a kilometre
_ACROSS_M, _MARGIN_M, _CUT_M = 1600.0, 2000.0, 6000.0  # from corner to corner of a cell; around it
_EARTH_KM = 6371.0088  # mean radius, IUGG


def load_provinces() -> dict[str, Province]:
    """Returns the provinces by ISO 3166-2 code."""
    rows = csv.DictReader(_DATA.joinpath("provinces.csv").read_text("utf-8").splitlines())
    return {
        row["code"]: Province(
            row["code"], row["name_id"], row["name_en"], row["kemendagri_code"], ZoneInfo(row["timezones"])
        )
        for row in rows
    }


class ProvinceMap:
    """The borders of the provinces, in one tree of polygons."""

    def __init__(self) -> None:
        text = _DATA.joinpath("provinces.geojson").read_text("utf-8")
        codes = [feature["properties"]["code"] for feature in json.loads(text)["features"]]
        # GEOS parses the coordinates in a quarter of the time that shape() takes for parsed JSON.
        self._parts, of = shapely.get_parts(shapely.get_parts(shapely.from_geojson(text)), return_index=True)
        self._codes = [codes[index] for index in of]
        self._tree = shapely.STRtree(self._parts)
        # Most people are far from other provinces: one lookup serves their square kilometre.
        self._only = lru_cache(maxsize=65_536)(self._find_only)
        self._around = lru_cache(maxsize=8_192)(self._cut_around)

    def whereabouts(
        self, latitude: float, longitude: float, accuracy_m: float | None, policy: Policy
    ) -> tuple[str, ...]:
        """Returns the provinces (ISO 3166-2 codes) in which a device may be: its own, then all within its accuracy.

        Takes degrees north and east, and metres; the policy's border tolerance is the default and the minimum. Raises
        INVALID_FIELD for numbers out of range, LOCATION_TOO_COARSE, and OUTSIDE_INDONESIA when the nearest province is
        farther than the policy's coast_km.
        """
        _check(latitude, longitude, accuracy_m)
        radius_m = max(accuracy_m or 0.0, policy.border_tolerance_m)
        if radius_m > policy.coarsest_accuracy_m:
            limit = f"{policy.coarsest_accuracy_m:g}"
            raise AntrianError(Reason.LOCATION_TOO_COARSE, field="location.accuracy_m", limit=limit)
        cell = math.floor(latitude / _CELL), math.floor(longitude / _CELL)
        coast_m = policy.coast_km * 1000  # for a pier, or an islet too small for the map
        if radius_m <= _MARGIN_M and coast_m >= _ACROSS_M and (only := self._only(*cell)):
            return (only,)
        farthest_m = max(radius_m, coast_m)
        near = self._around(*cell) if farthest_m <= _CUT_M else self._found(latitude, longitude, farthest_m)
        metres = self._measure(latitude, longitude, farthest_m, *near)
        codes = sorted(metres, key=metres.__getitem__)
        if not codes or metres[codes[0]] > coast_m:
            raise AntrianError(Reason.OUTSIDE_INDONESIA, field="location")
        return codes[0], *(code for code in codes[1:] if metres[code] <= radius_m)

    def centre(self, code: str) -> tuple[float, float]:
        """Returns latitude and longitude of the centroid of a province's largest part."""
        largest = max(
            (p for p, c in zip(self._parts, self._codes, strict=True) if c == code), key=lambda part: part.area
        )
        return largest.centroid.y, largest.centroid.x

    def _find_only(self, south: int, west: int) -> str | None:
        """Returns the province that the cell touches, if no other is within _MARGIN_M of the cell, else None."""
        near = self._tree.query(_box(south, west, _MARGIN_M), "intersects")
        codes = {self._codes[index] for index in near}
        touches = shapely.intersects(self._parts[near], _box(south, west, 0)).any()
        return codes.pop() if len(codes) == 1 and touches else None

    def _cut_around(self, south: int, west: int) -> tuple[list[str], Any]:
        """Returns the codes and the polygons of the parts of provinces within _CUT_M of a cell, in the map's order.

        Distances up to _CUT_M from the cell are the same as to the complete provinces, and faster to measure.
        """
        around = _box(south, west, _CUT_M)
        near = np.sort(self._tree.query(around, "intersects"))
        return [self._codes[index] for index in near], shapely.intersection(self._parts[near], around)

    def _found(self, latitude: float, longitude: float, radius_m: float) -> tuple[list[str], Any]:
        """Returns the codes and polygons of provinces that may be within a radius of a point, in the map's order."""
        # The tree measures in degrees: converting by the shorter kind of degree never makes the radius too small.
        degrees = radius_m / _METRES_NORTH * _stretch(latitude)
        found = np.sort(self._tree.query(shapely.Point(longitude, latitude), "dwithin", degrees))
        return [self._codes[index] for index in found], self._parts[found]

    def _measure(
        self, latitude: float, longitude: float, radius_m: float, codes: Sequence[str], parts: Any
    ) -> dict[str, float]:
        """Returns the distances in metres of polygons within the radius, by code, on a plane around the point."""
        stretch, nearest = _stretch(latitude), dict[str, float]()
        ends = shapely.get_coordinates(shapely.shortest_line(shapely.Point(longitude, latitude), parts)).tolist()
        for code, (x1, y1), (x2, y2) in zip(codes, ends[::2], ends[1::2], strict=True):
            metres = math.hypot((x2 - x1) / stretch * _METRES_EAST, (y2 - y1) * _METRES_NORTH)
            if metres <= radius_m:
                nearest[code] = min(metres, nearest.get(code, math.inf))
        return nearest


def _stretch(latitude: float) -> float:
    """Returns how many degrees of longitude are as long as one of latitude."""
    return 1 / max(math.cos(math.radians(latitude)), 0.01)


def _box(south: int, west: int, margin_m: float) -> shapely.Polygon:
    """Returns a cell with a margin in metres around it."""
    margin = margin_m / _METRES_NORTH * _stretch((south + (south < 0)) * _CELL)
    return shapely.box(
        west * _CELL - margin, south * _CELL - margin, (west + 1) * _CELL + margin, (south + 1) * _CELL + margin
    )


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Returns the great-circle distance in kilometres between two points in degrees.

    Haversine (R. W. Sinnott, Sky and Telescope 68, 1984) on a sphere of the earth's mean radius; within 0.6 %.
    """
    phi, other_phi = math.radians(latitude), math.radians(other_latitude)
    across = math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    half = math.sin((other_phi - phi) / 2) ** 2 + math.cos(phi) * math.cos(other_phi) * across
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(1.0, half)))


def _check(latitude: float, longitude: float, accuracy_m: float | None) -> None:
    if not -90 <= latitude <= 90:
        raise invalid("location.latitude", "harus -90 sampai 90 derajat", "must be -90 to 90 degrees")
    if not -180 <= longitude <= 180:
        raise invalid("location.longitude", "harus -180 sampai 180 derajat", "must be -180 to 180 degrees")
    if accuracy_m is not None and not 0 <= accuracy_m < math.inf:
        raise invalid("location.accuracy_m", "harus 0 meter atau lebih", "must be 0 metres or more")
