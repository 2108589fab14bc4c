"""ListOffices: the offices that a person may use, and why."""

import re
from collections.abc import Sequence

from antrian.booking import Office
from antrian.errors import Text
from antrian.offices.catalog import offices_elsewhere, offices_for
from antrian.offices.explain import explain_anywhere, explain_elsewhere, explain_location, explain_province
from antrian.offices.provinces import distance_km
from antrian.v1.booking_service_pb2 import ListOfficesRequest, ListOfficesResponse, OfficeElsewhere
from server import convert
from server.office_cache import Catalog
from server.paging import not_a_token, page_size, read_token, write_token
from server.validation import check_province, locate, location_missing

_PAGE = 50
_LARGEST_PAGE = 200


def list_offices(request: ListOfficesRequest, catalog: Catalog) -> ListOfficesResponse:
    """Returns one page of the offices. Raises INVALID_FIELD, OUTSIDE_INDONESIA, LOCATION_TOO_COARSE."""
    size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
    start = _read_token(request.page_token)
    which = request.WhichOneof("whereabouts")
    if which is None:
        raise location_missing()
    if which == "location":
        at = request.location.latitude, request.location.longitude
        codes = locate(catalog, request.location)
    else:
        at = None
        codes = (check_province(catalog, request.province_code),)

    offered = offices_for(catalog.in_use, codes if catalog.policy.device_location else set(catalog.provinces))
    listed = sorted(offered, key=lambda office: _distance(at, office)) if at else sorted(offered, key=lambda o: o.name)
    page = listed[start : start + size]
    reason = _explain(request, codes, catalog, offered)
    response = ListOfficesResponse(
        offices=[convert.office(office, _distance(at, office) if at else None) for office in page],
        provinces=[convert.province(catalog.provinces[code]) for code in codes],
        reason_id=reason.indonesian,
        reason_en=reason.english,
        read_time=convert.timestamp(catalog.as_of),
    )
    if start + len(page) < len(listed):
        response.next_page_token = write_token("from", str(start + len(page)))
    if at and start == 0 and catalog.policy.device_location:
        here = catalog.provinces[codes[0]]
        for office, distance in offices_elsewhere(catalog.in_use, codes, *at, catalog.policy.nearby_km):
            why = explain_elsewhere(office, catalog.provinces[office.province_code], distance, here)
            response.elsewhere.append(
                OfficeElsewhere(
                    office=convert.office(office, distance), reason_id=why.indonesian, reason_en=why.english
                )
            )
    return response


def _explain(request: ListOfficesRequest, codes: Sequence[str], catalog: Catalog, offered: Sequence[Office]) -> Text:
    if not catalog.policy.device_location:
        return explain_anywhere()
    nearest = None
    if not offered and catalog.in_use:
        # The nearest office is named only if the province has none.
        at = (
            (request.location.latitude, request.location.longitude)
            if request.HasField("location")
            else catalog.map.centre(codes[0])
        )
        office = min(catalog.in_use, key=lambda office: _distance(at, office))
        nearest = office, catalog.provinces[office.province_code]
    if request.HasField("location"):
        radius = max(request.location.accuracy_m, catalog.policy.border_tolerance_m)
        return explain_location([catalog.provinces[code] for code in codes], radius, nearest)
    return explain_province(catalog.provinces[codes[0]], nearest)


def _distance(at: tuple[float, float], office: Office) -> float:
    return distance_km(*at, office.latitude, office.longitude)


def _read_token(token: str) -> int:
    parts = read_token(token, 2)
    if parts is None:
        return 0
    if parts[0] != "from" or not re.fullmatch("[0-9]{1,9}", parts[1]):
        raise not_a_token()
    return int(parts[1])
