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
    """One phone's stream. open() gives the first state; events() all, from that on."""

    def __init__(self, upstream: Upstream, message: wire.WatchBookingRequest, caller: Caller) -> None:
        self._upstream, self._message, self._caller = upstream, message, caller
        self._news: asyncio.Queue[wire.WatchBookingResponse | HttpError | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> wire.WatchBookingResponse:
        """The first state. Raises HttpError when there is none."""
        first = await self._news.get()
        if isinstance(first, wire.WatchBookingResponse):
            self._news.put_nowait(first)
            return first
        assert first
        raise first

    async def close(self) -> None:
        """Leaves the service's stream."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def events(self, last_seen: str) -> AsyncIterator[bytes]:
        """The events, and heartbeats; one that was seen last time is not told again."""
        yield f"retry: {_RETRY_MS}\n\n".encode()
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    news = await self._news.get()
            except TimeoutError:
                yield b": hb\n\n"
                continue
            if not isinstance(news, wire.WatchBookingResponse):
                return  # the phone comes again and hears what is the matter
            name = name_of(news)
            if name != last_seen:
                last_seen = name
                yield f"id: {name}\nevent: booking\ndata: ".encode() + write(news) + b"\n\n"
            if is_last(news):
                return

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
