"""Tells addresses on this machine from others, which tokens and personal data must not reach in cleartext."""

from ipaddress import ip_address

CLEARTEXT = "ANTRIAN_BEHIND_TLS_PROXY=1 says that everything in between is protected otherwise"
"""What an error about cleartext says last."""


def is_loopback(address: str) -> bool:
    """Returns whether HOST:PORT, or a target of gRPC, can only be on this machine. A name other than localhost is not."""
    scheme, _, rest = address.rpartition("://")
    if scheme:
        address = rest.lstrip("/")
    for prefix in ("ipv4:", "ipv6:", "dns:"):
        address = address.removeprefix(prefix)
    if address.startswith(("unix:", "unix-abstract:")) or scheme == "unix":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
