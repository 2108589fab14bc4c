"""Origins: which addresses share a limit, and what is refused."""

from ipaddress import ip_network

import pytest

from antrian.errors import AntrianError, Reason
from antrian.identity import Keys
from antrian.v1.booking_service_pb2 import BatchRequestBookingsRequest, Origin, RequestBookingRequest
from clients.gateway import requests
from clients.gateway.rooms import client_of
from server.origin import address_prefix, read_origin

KEYS = Keys(b"h" * 32, b"s" * 32)


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.255", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:17:42::1", "2001:db8:17::/48"),
        ("2001:db8:17:ffff:ffff::9", "2001:db8:17::/48"),
    ],
)
def test_an_address_counts_by_its_prefix(address: str, prefix: str) -> None:
    assert address_prefix(address) == prefix


def test_devices_and_addresses_are_known_by_keyed_hashes_only() -> None:
    origin = read_origin(KEYS, Origin(device_key="a phone".replace(" ", "-"), address="203.0.113.7"))
    assert (origin[:1], origin[9:10], len(origin)) == (b"d", b"p", 18)
    assert read_origin(KEYS, Origin(address="203.0.113.9")) == origin[9:]
    assert read_origin(Keys(b"i" * 32, b"s" * 32), Origin(address="203.0.113.7")) != origin[9:]
    assert KEYS.asker("d", "203.0.113.0/24")[1:] != KEYS.asker("p", "203.0.113.0/24")[1:]
    assert read_origin(KEYS, Origin()) == b""


@pytest.mark.parametrize(
    ("origin", "field"),
    [
        (Origin(device_key="two words"), "origin.device_key"),
        (Origin(device_key="k" * 257), "origin.device_key"),
        (Origin(device_key="kunci-é"), "origin.device_key"),
        (Origin(address="203.0.113"), "origin.address"),
        (Origin(address="203.0.113.7:443"), "origin.address"),
        (Origin(address="unknown"), "origin.address"),
    ],
    ids=str,
)
def test_an_invalid_origin_is_refused(origin: Origin, field: str) -> None:
    with pytest.raises(AntrianError) as refused:
        read_origin(KEYS, origin)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_FIELD, field)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.8.7.6", "5.6.7.8", "9.8.7.6"),
        ("10.0.0.1", "5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "6.6.6.6, 5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "6.6.6.6, 5.6.7.8,10.0.0.77", "5.6.7.8"),
        ("10.0.0.1", "", ""),
        ("10.0.0.1", "nobody", ""),
        ("10.0.0.1", "10.0.0.77", ""),
        ("127.0.0.1", "5.6.7.8", ""),
        ("10.0.0.1", "2001:4860:17::8", "2001:4860:17::8"),
    ],
)
def test_the_gateway_takes_the_address_that_its_own_proxies_saw(peer: str, forwarded: str, address: str) -> None:
    client = client_of(peer, forwarded, (ip_network("10.0.0.0/8"),))
    assert requests.read_origin(client, {}) == Origin(address=address)


def test_the_gateway_replaces_what_a_client_says_of_its_origin() -> None:
    forged = RequestBookingRequest(origin=Origin(device_key="forged", address="6.6.6.6"))
    batch = BatchRequestBookingsRequest(requests=[forged, forged])
    origin = requests.read_origin("9.8.7.6", {"x-device-key": "phone-17"})
    requests.set_origin(forged, origin)
    requests.set_origin(batch, origin)
    assert [one.origin for one in (forged, *batch.requests)] == [Origin(device_key="phone-17", address="9.8.7.6")] * 3
    assert requests.read_origin("9.8.7.6", {"x-device-key": "k" * 257}).device_key == ""
