"""A network that can be broken: a TCP proxy before a store or a server, with a switch for each way a link fails."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER for 0 s: closing sends RST

Target = Path | int | Callable[[], socket.socket]


class _Connection:
    """One connection through a proxy, both ways."""

    def __init__(self, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.writers = writers  # to who called, to whom it calls
        self.swallows: set[bool] = set()  # of replies (True), of questions (False)

    def reset(self) -> None:
        for writer in self.writers:
            if (at := writer.get_extra_info("socket")) and at.family == socket.AF_INET:
                at.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """A link on a port of its own that passes on to `target`: a unix socket, a port of this machine, or what connects there.

    `delay` (seconds, each way) and `slice_bytes` (0: whole) may be set at any time. heal() ends whatever else was
    begun; connections that were black holes or reset stay lost, as on a real network.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.slice_bytes = 0
        self.swallowed = 0
        """How many bytes black holes have swallowed."""
        self._swallows: set[bool] = set()
        self._refuses = False
        self._flowing, self._healed = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens; `port` says where."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends all connections."""
        if self._server:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def black_hole(self, *, queries: bool = True, replies: bool = True) -> None:
        """Swallows all that is sent, on the connections of now for good, on new ones until healed; none is closed."""
        self._healed.clear()
        self._swallows = {way for way, swallowed in ((False, queries), (True, replies)) if swallowed}
        for connection in self._connections:
            connection.swallows |= self._swallows

    def freeze(self) -> None:
        """Holds all bytes back; healed, it delivers them."""
        self._flowing.clear()

    def reset(self) -> None:
        """Ends the connections of now by RST."""
        for connection in list(self._connections):
            connection.reset()

    def refuse(self) -> None:
        """The same, and also new ones until healed."""
        self._refuses = True
        self.reset()

    def heal(self) -> None:
        """Passes on again, at once and whole."""
        self.delay, self.slice_bytes, self._swallows, self._refuses = 0.0, 0, set(), False
        self._flowing.set()
        self._healed.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):  # who is cancelled here is told to end; asyncio would log it
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _Connection((writer, writer)).reset()
            return
        try:
            there, back = await self._connect()
        except OSError:
            if self._swallows:
                await self._healed.wait()  # a machine that is gone does not refuse either
            _Connection((writer, writer)).reset()
            return
        connection = _Connection((writer, back))
        connection.swallows |= self._swallows
        self._connections.add(connection)
        pumps = [
            asyncio.create_task(self._pump(connection, reader, back, is_reply=False)),
            asyncio.create_task(self._pump(connection, there, writer, is_reply=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connections.discard(connection)
            back.close()
            writer.close()  # what is written already is still sent
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        if isinstance(self.target, int):
            return await asyncio.open_connection("127.0.0.1", self.target)
        return await asyncio.open_connection(sock=await asyncio.to_thread(self.target))

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if is_reply in connection.swallows:
                self.swallowed += len(data)
                continue
            size = self.slice_bytes or len(data)
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                if self.slice_bytes:
                    await asyncio.sleep(0)
        if is_reply in connection.swallows & self._swallows:
            await self._healed.wait()  # until then nobody hears either that this side has closed
