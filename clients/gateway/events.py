"""Streams a booking as server-sent events: the complete state at each change, with heartbeats in between."""

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

_RETRY_MS = 2000  # after which a client reconnects
_PATIENCE = 8.0  # seconds of retries while the service does not respond
_RETRIED = {429, 499, 503, 504}


class Watch:
    """One client's stream: call open() first, then iterate over events().

    The service's own streams last for seconds (Upstream.watch) and are reopened. Each begins with the current state, so a
    heartbeat proves that the service has just confirmed that nothing changed.
    """

    def __init__(self, upstream: Upstream, message: wire.WatchBookingRequest, caller: Caller) -> None:
        self._upstream, self._message, self._caller = upstream, message, caller
        self._news: asyncio.Queue[wire.WatchBookingResponse | Exception] = asyncio.Queue()
        self._first = wire.WatchBookingResponse()
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> wire.WatchBookingResponse:
        """Returns the current state. Raises HttpError if the service refuses or does not respond."""
        first = await self._news.get()
        if isinstance(first, Exception):
            raise first
        self._first = first
        return first

    async def close(self) -> None:
        """Closes the stream of the service."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def events(self, last_seen: str) -> AsyncIterator[bytes]:
        """Yields events and heartbeats. A state with the id last_seen is not repeated.

        Ends after the outcome, or when the service does not respond: the client then reconnects and gets the error.
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
        """Queues states until the outcome, or until the error that ends the stream."""
        try:
            await self._follow()
        except asyncio.CancelledError:  # by close(), or because the channel was closed
            self._news.put_nowait(unanswered(grpc.StatusCode.CANCELLED, english=self._caller.english))
            raise
        except Exception as error:  # the reader of the queue raises it
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
                if error.status not in _RETRIED or time.monotonic() > ends:
                    raise
            await asyncio.sleep(next(waits))


def is_last(news: wire.WatchBookingResponse) -> bool:
    """Returns whether it is the last state of a stream."""
    return news.booking.state != BOOKING_STATE_PENDING


def name_of(news: wire.WatchBookingResponse) -> str:
    """Returns the event id of a state. It does not depend on when the state was read."""
    state = wire.WatchBookingResponse()
    state.CopyFrom(news)
    state.booking.ClearField("read_time")
    return blake2b(state.SerializeToString(deterministic=True), digest_size=9).hexdigest()
