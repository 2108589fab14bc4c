"""TCP ports on loopback for servers that start later."""

import socket

from antrian.local.child import EmbeddedError

_END_OF_PORTS = 32768  # the first ephemeral port, which any client may take


def reserve_port(wanted: int | None, first: int) -> tuple[int, socket.socket]:
    """Returns the wanted TCP port on loopback, or the next free one from `first`, and a socket that reserves it while open.

    The reservation holds among all programs that call this. Raises EmbeddedError if there is none.
    """
    for port in range(first, _END_OF_PORTS) if wanted is None else (wanted,):
        if claim := _claim(port):
            return port, claim
    raise EmbeddedError(f"port {wanted} is taken" if wanted else "no port is free")


def _claim(port: int) -> socket.socket | None:
    # Servers may share a port unasked (SO_REUSEPORT), and ours binds only later. So an abstract unix socket, which the
    # kernel drops with us, says whose it is; binding shows whether any other program listens there.
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0antrian.{port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # our own that just ended does not count
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return None
    return claim
