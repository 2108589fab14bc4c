"""A booking's news as server-sent events: full state each time, heartbeats between, and no end that surprises."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from hashlib import blake2b

import grpc

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING
from clients.gateway.errors import HttpError, unanswered
from clients.gateway.transcode import write
from clients.gateway.upstream import Caller, Upstream
from clients.sdk.calls import pauses

_RETRY_MS = 2000  # after which a phone comes again
_PATIENCE = 8.0  # for so many seconds a service that does not answer is asked again
_FOR_NOW = {429, 499, 503, 504}


class Watch:
    """One phone's stream: first open() it, then tell its events().

    The service's own streams last for seconds (Upstream.watch) and are taken up again. Each begins with the state as it is
    then: so a heartbeat is sent when the service has just said that nothing is new, and never when it has not.
    """

    def __init__(self, upstream: Upstream, message: wire.WatchBookingRequest, caller: Caller) -> None:
        self._upstream, self._message, self._caller = upstream, message, caller
        self._news: asyncio.Queue[wire.WatchBookingResponse | Exception] = asyncio.Queue()
        self._first = wire.WatchBookingResponse()
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> wire.WatchBookingResponse:
        """The state now. Raises HttpError when there is none."""
        first = await self._news.get()
        if isinstance(first, Exception):
            raise first
        self._first = first
        return first

    async def close(self) -> None:
        """Leaves the service's stream."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def events(self, last_seen: str) -> AsyncIterator[bytes]:
        """The events, and heartbeats; one that was seen last time is not told again.

        They end after the outcome, or when the service is lost: the phone comes again then, and hears why.
        """
        yield f"retry: {_RETRY_MS}\n\n".encode()
        news: wire.WatchBookingResponse | Exception = self._first
        while not isinstance(news, HttpError):
            if isinstance(news, Exception):
                raise news
            if (name := name_of(news)) == last_seen:
                yield b": hb\n\n"
            else:
                last_seen = name
                yield f"id: {name}\nevent: booking\ndata: ".encode() + write(news) + b"\n\n"
            if is_last(news):
                return
            news = await self._news.get()

    async def _read(self) -> None:
        """Reads until the outcome; whatever ends it before is the last of the news."""
        try:
            await self._follow()
        except asyncio.CancelledError:  # by us, or since the channel was closed
            self._news.put_nowait(unanswered(grpc.StatusCode.CANCELLED, english=self._caller.english))
            raise
        except Exception as error:  # who waits must hear of it, whatever it is
            self._news.put_nowait(error)

    async def _follow(self) -> None:
        waits, ends = pauses(), time.monotonic() + _PATIENCE
        while True:
            try:
                async with aclosing(self._upstream.watch(self._message, self._caller)) as stream:
                    async for news in stream:
                        self._news.put_nowait(news)
                        if is_last(news):
                            return
                        waits, ends = pauses(), time.monotonic() + _PATIENCE
            except HttpError as error:
                if error.status not in _FOR_NOW or time.monotonic() > ends:
                    raise
            await asyncio.sleep(next(waits))


def is_last(news: wire.WatchBookingResponse) -> bool:
    """Whether nothing comes after it."""
    return news.booking.state != BOOKING_STATE_PENDING


def name_of(news: wire.WatchBookingResponse) -> str:
    """The event's id: the same for the same state, whenever it is told."""
    state = wire.WatchBookingResponse()
    state.CopyFrom(news)
    state.booking.ClearField("read_time")
    return blake2b(state.SerializeToString(deterministic=True), digest_size=9).hexdigest()
