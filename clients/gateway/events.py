"""A booking's news as server-sent events: full state each time, heartbeats between, and no end that surprises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from hashlib import blake2b

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING
from clients.gateway.errors import HttpError
from clients.gateway.transcode import write
from clients.gateway.upstream import Caller, Upstream

HEARTBEAT = 15.0
"""After so many seconds without news a comment says that the stream lives."""
_RETRY_MS = 2000  # after which a phone comes again
_AGAIN = 0.5


class Watch:
    """One phone's stream: first open() it, then tell its events()."""

    def __init__(self, upstream: Upstream, message: wire.WatchBookingRequest, caller: Caller) -> None:
        self._upstream, self._message, self._caller = upstream, message, caller
        self._news: asyncio.Queue[wire.WatchBookingResponse | HttpError] = asyncio.Queue()
        self._first = wire.WatchBookingResponse()
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> wire.WatchBookingResponse:
        """The state now. Raises HttpError when there is none."""
        first = await self._news.get()
        if isinstance(first, HttpError):
            raise first
        self._first = first
        return first

    async def close(self) -> None:
        """Leaves the service's stream."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def events(self, last_seen: str) -> AsyncIterator[bytes]:
        """The events, and heartbeats; one that was seen last time is not told again."""
        yield f"retry: {_RETRY_MS}\n\n".encode()
        news: wire.WatchBookingResponse | HttpError | None = self._first
        while not isinstance(news, HttpError):  # of which the phone hears when it comes again
            if news is None:
                yield b": hb\n\n"
            elif (name := name_of(news)) != last_seen:
                last_seen = name
                yield f"id: {name}\nevent: booking\ndata: ".encode() + write(news) + b"\n\n"
            if news and is_last(news):
                return
            news = await self._next()

    async def _next(self) -> wire.WatchBookingResponse | HttpError | None:
        """What comes next; None when that takes so long that it is time for a heartbeat."""
        try:
            async with asyncio.timeout(HEARTBEAT):
                return await self._news.get()
        except TimeoutError:
            return None

    async def _read(self) -> None:
        """Reads the service's stream; one that breaks is taken up again once."""
        broken = False
        while True:
            try:
                async with aclosing(self._upstream.watch(self._message, self._caller)) as stream:
                    async for news in stream:
                        self._news.put_nowait(news)
                        broken = False
                        if is_last(news):
                            return
            except HttpError as error:
                if broken or error.status not in {503, 504, 499}:
                    self._news.put_nowait(error)
                    return
            broken = True
            await asyncio.sleep(_AGAIN)


def is_last(news: wire.WatchBookingResponse) -> bool:
    """Whether nothing comes after it."""
    return news.booking.state != BOOKING_STATE_PENDING


def name_of(news: wire.WatchBookingResponse) -> str:
    """The event's id: the same for the same state, whenever it is told."""
    state = wire.WatchBookingResponse()
    state.CopyFrom(news)
    state.booking.ClearField("as_of")
    return blake2b(state.SerializeToString(deterministic=True), digest_size=9).hexdigest()
