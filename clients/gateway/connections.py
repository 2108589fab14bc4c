"""The connections that phones have with us: how many there may be, and an end to those on which nothing happens.

Granian ends HTTP/1.1 connections that are idle, or slow with a head. It has no limit for those that have sent less than shows
their protocol, nor for idle HTTP/2 ones, and it asks for the next connection without a pause when it has no descriptor left
for one. So it is given fewer connections than there are descriptors, and the kernel is asked how long each has been quiet.
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
_SILENT = 10.0  # seconds in which a request must have begun
_QUIET = 90.0  # longer than any answer takes; event streams have heartbeats
_DEAF = 45.0  # seconds after which a peer that acknowledges nothing is gone

_SHORTEST = 18  # bytes: GET / HTTP/1.0 and two line ends
_AT_ONCE = 200
_LISTENS = 10  # linux/tcp_states.h
# linux/tcp.h, tcp_info: state, unacked, milliseconds since data was sent, since it came, and since an acknowledgement came,
# bytes received
_INFO = struct.Struct("=B23xI16xI4xII68xQ")
_log = logging.getLogger(__name__)


def most_connections(most_requests: int) -> int:
    """How many connections may be open at once: two for each request, or as many as descriptors allow.

    Raises SettingsError when there is hardly any.
    """
    most = min(2 * most_requests, raise_descriptor_limit("ANTRIAN_GATEWAY_MOST_REQUESTS", most_requests))
    if most < _FEWEST:
        needed = SPARE_DESCRIPTORS + _FEWEST
        raise SettingsError(f"{needed} files have to be open at once, and may not be: raise the limit (ulimit -n)")
    return most


async def tend_connections(port: int, most: int) -> None:
    """Ends connections of that port on which nothing happens, and counts the others, for ever."""
    while True:
        await asyncio.sleep(_EVERY)
        count = 0
        for n, descriptor in enumerate(_descriptors()):
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)  # others' turn
            count += _tend(descriptor, port)
        metrics.connections.set(count)
        if count >= most:
            _log.warning("all of %d connections are taken, others wait", most)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - thousands: a tenth of a Path's time


def _tend(descriptor: int, port: int) -> bool:
    """Whether it is a connection of that port that stays."""
    try:
        # A descriptor of our own: the other may be closed, and used for another file, at any moment.
        own = os.dup(descriptor)
    except OSError:
        return False
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=own)
        try:
            return _stays(connection, port)
        finally:
            connection.detach()
    except OSError:  # it is no such socket, or has just lost its peer
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
