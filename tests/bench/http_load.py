"""A load of requests that are bytes already, over kept connections: HTTP/1.1, or unary gRPC on HTTP/2.

A gRPC channel or an HTTP library would cost more a request than what is measured, and take the cores from it.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import cast

import uvloop

Answered = Callable[[int], None]
"""Called with how many bookings the answer has."""
WARM = 0.3
"""Seconds at the start of which nothing is told."""
_FASTEST = 4000  # bookings a second for which requests are made beforehand
_TICK = 0.001
_PATIENCE = 200  # hundredths of a second after the end for which answers are waited for
_WINDOW = 2**31 - 1
_FRAME = 16384
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self._data = cast(asyncio.WriteTransport, transport), b""  # uvloop's is none by inheritance


class Http(_Connection):
    """HTTP/1.1: one request at a time (most). An answer has a booking when its status is 200."""

    most = 1

    def send(self, request: bytes, answered: Answered) -> None:
        """Sends it."""
        self._answered = answered
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Tells of the answer once all of it is there."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._data = b""
            self._answered(head.startswith(b"HTTP/1.1 200"))


class Grpc(_Connection):
    """Calls of one unary rpc with limited concurrency. read: returns the number of bookings in a response.

    tokens: the bearer token of each call, endless; none by default.
    """

    def __init__(self, path: str, read: Callable[[bytes], int], most: int, tokens: Iterator[str] | None = None) -> None:
        self.most, self._read = most, read
        self._tokens = tokens
        headers = (b":path", path.encode()), (b":authority", b"antrian"), (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"grpc-timeout", b"10S")  # fmt: skip
        # HPACK: ":method: POST" and ":scheme: http" have numbers.
        self._head = b"\x83\x86" + b"".join(_literal(name, value) for name, value in headers)
        self._stream, self._window = -1, 65535
        self._calls: dict[int, tuple[Answered, bytearray]] = {}
        self._waiting: deque[tuple[bytes, Answered]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins, with windows that never end."""
        super().connection_made(transport)
        settings = _frame(_SETTINGS, 0, 0, b"\x00\x04" + _WINDOW.to_bytes(4))
        window = _frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65535).to_bytes(4))
        self.transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window)

    def send(self, request: bytes, answered: Answered) -> None:
        """Calls, once the server's window has room."""
        self._waiting.append((b"\x00" + len(request).to_bytes(4) + request, answered))
        self._flush()

    def _flush(self) -> None:
        while self._waiting and self._window >= len(self._waiting[0][0]):
            message, answered = self._waiting.popleft()
            self._stream, self._window = self._stream + 2, self._window - len(message)
            self._calls[self._stream] = answered, bytearray()
            head = self._head
            if self._tokens:
                head += _literal(b"authorization", b"Bearer " + next(self._tokens).encode())
            frames = [_frame(_HEADERS, _END_HEADERS, self._stream, head)]
            for start in range(0, len(message), _FRAME):
                flags = _END_STREAM if start + _FRAME >= len(message) else 0
                frames.append(_frame(_DATA, flags, self._stream, message[start : start + _FRAME]))
            self.transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        """Reads the frames that are whole."""
        data, start = self._data + data, 0
        while len(data) - start >= 9 and len(data) >= (end := start + 9 + int.from_bytes(data[start : start + 3])):
            stream = int.from_bytes(data[start + 5 : start + 9])
            self._frame_received(data[start + 3], data[start + 4], stream, data[start + 9 : end])
            start = end
        self._data = data[start:]

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._calls[stream][1].extend(payload)
        elif kind == _HEADERS and flags & _END_STREAM:
            answered, message = self._calls.pop(stream)
            answered(self._read(bytes(message[5:])) if message else 0)
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
            self._flush()
        elif kind in {_SETTINGS, _PING} and not flags & _ACK:
            self.transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))


Line = Http | Grpc


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header for HPACK that is neither indexed nor packed. Its name is shorter than 127 bytes."""
    length, beyond = bytes([min(len(value), 127)]), len(value) - 127
    if beyond >= 0:
        length += bytes([beyond]) if beyond < 128 else bytes([beyond % 128 + 128, beyond // 128])
    return b"\x00%c%b%b%b" % (len(name), name, length, value)


@dataclass(frozen=True)
class Load:
    """What came of a load after it was warm.

    rate: bookings a second; latencies: seconds from due to answered of each request, least first, infinite where not all of
    it was booked; spent: what look() said at the end less what it said at the start, a second.
    """

    rate: float
    latencies: Sequence[float]
    spent: Sequence[float]

    @property
    def p99(self) -> float:
        """The 99th percentile of the latencies, in seconds."""
        return self.latencies[len(self.latencies) * 99 // 100]


class _Player:
    """Sends requests: one every `step` seconds, or, without a step, whenever a connection is free."""

    def __init__(self, lines: Sequence[Line], requests: Iterator[bytes], size: int, step: float) -> None:
        self.latencies: list[tuple[float, float]] = []
        self.bookings = self._sent = 0
        self.ends, self.due = float("inf"), time.perf_counter()
        self._free = deque(line for line in lines for _ in range(line.most))
        self._requests, self._size, self._step = requests, size, step

    def play(self) -> None:
        """Sends what is due, now and later on."""
        self._send()
        if self._step and self.due <= self.ends:
            asyncio.get_running_loop().call_later(_TICK, self.play)

    @property
    def left(self) -> int:
        """How many that were due before the end have no answer."""
        unsent = max(0.0, (self.ends - self.due) // self._step + 1) if self._step else 0
        return self._sent - len(self.latencies) + int(unsent)

    def _send(self) -> None:
        now = time.perf_counter()
        while self._free:
            due = self.due if self._step else now
            if due > min(now, self.ends):
                return
            self.due = due + self._step
            self._sent += 1
            line = self._free.popleft()
            line.send(next(self._requests), partial(self._answered, line, due))

    def _answered(self, line: Line, due: float, bookings: int) -> None:
        self.latencies.append((due, time.perf_counter() - due if bookings == self._size else float("inf")))
        self.bookings += bookings
        self._free.append(line)
        self._send()


def load(
    address: str,
    line: Callable[[], Line],
    lines: int,
    requests: Iterator[bytes],
    *,
    size: int = 1,
    rate: float = 0,
    seconds: float = 1,
    look: Callable[[], Sequence[float]],
) -> Load:
    """Sends requests of several bookings each over several connections, at a rate of bookings per second (0: unlimited).

    The requests that it will take are made before it begins.
    """

    async def run() -> Load:
        host, _, port = address.partition(":")
        made = list(islice(requests, round((rate or _FASTEST) * (seconds + WARM) / size)))
        loop = asyncio.get_running_loop()
        opened = [await loop.create_connection(line, host, int(port)) for _ in range(lines)]
        await asyncio.sleep(0.1)
        gc.disable()
        try:
            sent = chain(made, requests)
            return await _play([one for _, one in opened], sent, size=size, rate=rate, seconds=seconds, look=look)
        finally:
            gc.enable()
            for transport, _ in opened:
                transport.close()

    return uvloop.run(run())


async def _play(
    lines: Sequence[Line],
    requests: Iterator[bytes],
    *,
    size: int,
    rate: float,
    seconds: float,
    look: Callable[[], Sequence[float]],
) -> Load:
    player = _Player(lines, requests, size, size / rate if rate else 0.0)
    player.play()
    await asyncio.sleep(WARM)
    begins, before, bookings = time.perf_counter(), look(), player.bookings
    await asyncio.sleep(seconds)
    player.ends, after = time.perf_counter(), look()
    took, bookings = player.ends - begins, player.bookings - bookings
    for _ in range(_PATIENCE):
        if player.left:
            await asyncio.sleep(0.01)
    latencies = sorted(latency for due, latency in player.latencies if due >= begins) + [float("inf")] * player.left
    spent = [(then - now) / took for now, then in zip(before, after, strict=True)]
    return Load(bookings / took, latencies, spent)
