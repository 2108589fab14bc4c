"""A client of HTTP/2 that begins calls, sends as much of their messages as the server takes, and ends none."""

import asyncio
import struct
from collections import Counter

from tests.support.http2 import DATA, END_HEADERS, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, headers

_PING, _WINDOW_UPDATE = 6, 8
_ACK, _END_STREAM = 1, 1
_INITIAL_WINDOW_SIZE = 4
_FRAME = 16_000


class Flood:
    """Calls on one connection, each with a message of `size` bytes of which the last never comes."""

    def __init__(self, path: str, calls: int, size: int) -> None:
        self._path, self._size = path, size
        self._open = {2 * n + 1 for n in range(calls)}
        self._sent, self._granted = Counter[int](), Counter[int]()
        self._initial = self._connection = 65_535
        self.ended = 0

    async def run(self, address: str, local: str, seconds: float) -> None:
        """Floods the server for some seconds, or until it has ended all calls."""
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(local, 0))
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
        for stream in sorted(self._open):
            writer.write(frame(HEADERS, END_HEADERS, stream, headers(self._path)))
        listening = asyncio.create_task(self._listen(reader, writer))
        ends = asyncio.get_running_loop().time() + seconds
        try:
            while self._open and not listening.done() and asyncio.get_running_loop().time() < ends:
                moved = [self._send(stream, writer) for stream in sorted(self._open)]
                await writer.drain()
                await asyncio.sleep(0 if any(moved) else 0.01)
        except ConnectionError:
            pass
        finally:
            listening.cancel()
            writer.close()

    def _send(self, stream: int, writer: asyncio.StreamWriter) -> bool:
        whole = self._size + 5
        window = self._initial + self._granted[stream] - self._sent[stream]
        size = min(window, self._connection, _FRAME, whole - 1 - self._sent[stream])
        if size < 5:
            return False
        begun = b"" if self._sent[stream] else b"\0" + struct.pack(">I", self._size)
        writer.write(frame(DATA, 0, stream, begun + bytes(size - len(begun))))
        self._sent[stream] += size
        self._connection -= size
        return True

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == _WINDOW_UPDATE and stream:
                self._granted[stream] += int.from_bytes(payload, "big")
            elif kind == _WINDOW_UPDATE:
                self._connection += int.from_bytes(payload, "big")
            elif kind == SETTINGS and not flags & _ACK:
                pairs = dict(struct.iter_unpack(">HI", payload))
                self._initial = pairs.get(_INITIAL_WINDOW_SIZE, self._initial)
                writer.write(frame(SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                writer.write(frame(_PING, _ACK, 0, payload))
            elif (kind == RST_STREAM or flags & _END_STREAM) and stream in self._open:
                self._open.remove(stream)
                self.ended += 1
