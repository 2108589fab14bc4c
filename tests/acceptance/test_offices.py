"""ListOffices: the offices of the province where the device is, and why."""

import pytest

from antrian.v1.booking_service_pb2 import ListOfficesRequest
from antrian.v1.messages_pb2 import Location
from clients.sdk.booking_client import BookingClient
from tests.acceptance.person import BOGOR, JAKARTA

DEPOK_BORDER = Location(latitude=-6.3530, longitude=106.8350, accuracy_m=1500)
"""Between Lenteng Agung (Jakarta) and Depok (West Java)."""


async def test_from_jakarta_its_offices_are_listed_and_those_of_bogor_explained(client: BookingClient) -> None:
    response = await client.list_offices(JAKARTA)
    assert [p.province_code for p in response.provinces] == ["ID-JK"]
    assert {o.province_code for o in response.offices} == {"ID-JK"}
    assert response.offices[0].office_id == "kanim-jakarta-pusat"
    distances = [o.distance_km for o in response.offices]
    assert distances == sorted(distances)
    assert "DKI Jakarta" in response.reason_id
    assert "province" in response.reason_en
    bogor = next(e for e in response.elsewhere if e.office.city == "Bogor")
    assert "Jawa Barat" in bogor.reason_id
    assert "West Java" in bogor.reason_en


async def test_from_bogor_kanim_bogor_is_listed(client: BookingClient) -> None:
    response = await client.list_offices(BOGOR)
    assert response.offices[0].city == "Bogor"
    assert "kanim-bogor" in {o.office_id for o in response.offices}


async def test_near_a_border_offices_of_both_provinces_are_listed(client: BookingClient) -> None:
    response = await client.list_offices(DEPOK_BORDER)
    assert {p.province_code for p in response.provinces} == {"ID-JK", "ID-JB"}
    assert {o.province_code for o in response.offices} == {"ID-JK", "ID-JB"}
    assert "1500 m" in response.reason_id


async def test_a_province_without_an_office_refers_to_others(client: BookingClient) -> None:
    for whereabouts in ("ID-PE", Location(latitude=-4.097, longitude=138.951)):
        response = await client.list_offices(whereabouts)
        assert not response.offices
        assert "belum mempunyai kantor" in response.reason_id
        assert "nearest" in response.reason_en


async def test_offices_may_be_listed_by_province_code(client: BookingClient) -> None:
    response = await client.list_offices("ID-YO")
    assert {o.province_code for o in response.offices} == {"ID-YO"}
    assert [o.name for o in response.offices] == sorted(o.name for o in response.offices)
    assert not response.offices[0].HasField("distance_km")


@pytest.mark.parametrize("size", [1, 7, 200])
async def test_the_pages_together_list_every_office_once(client: BookingClient, size: int) -> None:
    whole = [o.office_id for o in (await client.list_offices("ID-JB")).offices]
    request, seen = ListOfficesRequest(province_code="ID-JB", page_size=size), list[str]()
    while True:
        page = await client.stub.ListOffices(request)
        assert len(page.offices) <= size
        seen += [o.office_id for o in page.offices]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == whole
