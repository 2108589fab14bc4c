"""Limits the number of client connections, and closes idle ones.

Granian closes HTTP/1.1 connections that are idle or send their head slowly. It has no limit for connections that have not
sent enough to show their protocol, nor for idle HTTP/2 connections, and without free descriptors it accepts in a busy loop.
So it gets fewer connections than there are descriptors, and the kernel reports how long each has been idle.
"""

import asyncio
import logging
import os
import socket
import struct

from antrian.process import SPARE_DESCRIPTORS, raise_descriptor_limit
from antrian.settings import SettingsError
from clients.gateway import metrics

_FEWEST = 10

_EVERY = 5.0
_SILENT = 10.0  # seconds within which a request must begin
_QUIET = 90.0  # seconds, longer than any response takes; event streams have heartbeats
_DEAF = 45.0  # seconds without acknowledgements after which a peer is considered gone

_SHORTEST = 18  # bytes of the shortest request: GET / HTTP/1.0 and two line ends
_AT_ONCE = 200
_LISTENS = 10  # linux/tcp_states.h
# tcp_info of linux/tcp.h: state, unacked, milliseconds since data was sent, data was received and an acknowledgement was
# received, and the number of received bytes
_INFO = struct.Struct("=B23xI16xI4xII68xQ")
_log = logging.getLogger(__name__)


def most_connections(most_requests: int) -> int:
    """Returns how many connections may be open at once: two per request, or as many as descriptors allow.

    Raises SettingsError if there are fewer than ten.
    """
    most = min(2 * most_requests, raise_descriptor_limit("ANTRIAN_GATEWAY_MOST_REQUESTS", most_requests))
    if most < _FEWEST:
        needed = SPARE_DESCRIPTORS + _FEWEST
        raise SettingsError(f"at least {needed} open files are needed: raise the limit (ulimit -n)")
    return most


async def tend_connections(port: int, most: int) -> None:
    """Closes idle connections of the port and counts the others, every five seconds. Never returns."""
    while True:
        await asyncio.sleep(_EVERY)
        count = 0
        for n, descriptor in enumerate(_descriptors()):
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)  # lets other tasks run
            count += _tend(descriptor, port)
        metrics.connections.set(count)
        if count >= most:
            _log.warning("all %d connections are in use; new ones wait", most)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - ten times as fast as Path, for thousands of files


def _tend(descriptor: int, port: int) -> bool:
    """Returns whether the descriptor is a connection of the port. Closes the connection if it is idle."""
    try:
        # A duplicate, because the original may be closed and reused for another file at any moment.
        own = os.dup(descriptor)
    except OSError:
        return False
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=own)
        try:
            return _stays(connection, port)
        finally:
            connection.detach()
    except OSError:  # not such a socket, or its peer has just disconnected
        return False
    finally:
        os.close(own)


def _stays(connection: socket.socket, port: int) -> bool:
    state, unacked, sent, came, heard, received = _INFO.unpack(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    )
    if state == _LISTENS or connection.getsockname()[1] != port:
        return False
    quiet = min(sent, came) / 1000
    idle = quiet > (_QUIET if received >= _SHORTEST else _SILENT)
    if idle or (unacked and heard / 1000 > _DEAF):
        connection.shutdown(socket.SHUT_RDWR)
        return False
    return True
