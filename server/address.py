"""The address of the client of a call."""

from collections.abc import Callable
from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import unquote

PEER: ContextVar[Callable[[], str]] = ContextVar("peer", default=lambda: "")
"""Returns the peer of the current call as gRPC writes it: "ipv4:192.0.2.7:53422". Empty outside of calls."""

_LOGGED = {4: 24, 6: 48}
_COUNTED = {4: 32, 6: 64}  # an IPv6 client usually has a /64 to itself


def client_network() -> str:
    """Returns what attempts of the current call's client are counted by: its IPv4 address, or its IPv6 /64."""
    return _network(PEER.get()(), _COUNTED)


def address_prefix() -> str:
    """Returns the part of the client's address that is logged: a /24 of IPv4, a /48 of IPv6."""
    return _network(PEER.get()(), _LOGGED)


def _network(peer: str, bits: dict[int, int]) -> str:
    family, _, rest = peer.partition(":")
    try:
        host = ip_address(unquote(rest.rpartition(":")[0]).strip("[]"))
    except ValueError:
        return family or "unknown"
    if isinstance(host, IPv6Address) and host.ipv4_mapped:
        host = host.ipv4_mapped
    return str(ip_network((host, bits[host.version]), strict=False))
