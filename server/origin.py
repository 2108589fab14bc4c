"""Where a request comes from, as a gateway says it: the device and the address prefix that limits count."""

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network

from antrian.errors import invalid
from antrian.identity import Keys
from antrian.v1.booking_service_pb2 import Origin

_DEVICE_KEY = re.compile("[\x21-\x7e]{1,256}")
_PREFIX_BITS = {4: 24, 6: 48}


def read_origin(keys: Keys, origin: Origin) -> bytes:
    """Returns the askers besides the account, as limits.lua takes them: nothing for what is not given. Raises INVALID_FIELD."""
    asking = b""
    if origin.device_key:
        if not _DEVICE_KEY.fullmatch(origin.device_key):
            raise invalid(
                "origin.device_key",
                "harus 1 sampai 256 karakter ASCII tanpa spasi",
                "must be 1 to 256 visible ASCII characters",
            )
        asking += keys.asker("d", origin.device_key)
    if origin.address:
        asking += keys.asker("p", address_prefix(origin.address))
    return asking


@lru_cache(maxsize=4096)
def address_prefix(address: str) -> str:
    """Returns the network that shares a limit with an address: IPv4 /24, IPv6 /48. Raises INVALID_FIELD."""
    try:
        ip = ip_address(address)
    except ValueError:
        raise invalid("origin.address", "harus alamat IPv4 atau IPv6", "must be an IPv4 or IPv6 address") from None
    ip = getattr(ip, "ipv4_mapped", None) or ip  # ::ffff:203.0.113.7
    return str(ip_network((ip, _PREFIX_BITS[ip.version]), strict=False))
