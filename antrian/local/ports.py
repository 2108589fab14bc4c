"""Reserves TCP ports on loopback for the programs of a stack."""

import socket

from antrian.local.child import EmbeddedError

FIRST_GRPC_PORT, FIRST_HTTP_PORT = 7700, 7780
_END_OF_PORTS = 32768  # the first ephemeral port, which any client may take


def reserve_port(wanted: int | None, first: int = FIRST_GRPC_PORT) -> tuple[int, socket.socket]:
    """Returns the wanted port, or the next free one from `first`, with a socket that reserves it while open.

    Raises EmbeddedError if the port is taken.
    """
    for port in range(first, _END_OF_PORTS) if wanted is None else (wanted,):
        if claim := _claim(port):
            return port, claim
    raise EmbeddedError(f"port {wanted} is taken" if wanted else "no port is free")


def listens(address: str) -> bool:
    """Returns whether a program accepts TCP connections at HOST:PORT."""
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _claim(port: int) -> socket.socket | None:
    # Two servers can share a port by accident (SO_REUSEPORT), and ours binds it only later. So an abstract unix socket, which
    # the kernel removes when this process ends, reserves it among stacks. Binding shows whether another program listens.
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0antrian.{port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore a server of ours that has just ended
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return None
    return claim
