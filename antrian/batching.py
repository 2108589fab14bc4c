"""Batches the queries of concurrent callers into one call to a store."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

Query = TypeVar("Query")
Response = TypeVar("Response")

MESSAGE_LIMIT = 256 * 1024
"""The largest message that a server accepts, in bytes."""

_MAX_BATCH = 256


class Batcher(Generic[Query, Response]):
    """Sends at most one batch per window of time; `await batcher(query)` returns the query's response.

    After an idle window the first query is sent at once, together with all others of that iteration of the event loop.

    most: the largest number of queries in a batch. most_bytes: its largest size, where `size` returns the bytes of a query.
    A query larger than that is sent in a batch of its own, so that no query is refused because of others.

    `send` returns one response per query, in their order. An exception that it raises is raised to every caller of the batch.
    Batches may overlap. Queries of callers that were cancelled or ran out of time before the flush are dropped. Cancelling a
    caller after the flush does not undo its query.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Query]], Awaitable[Sequence[Response]]],
        window: timedelta,
        most: int = _MAX_BATCH,
        *,
        size: Callable[[Query], int] = lambda _: 0,
        most_bytes: int = MESSAGE_LIMIT,
    ) -> None:
        self._send = send
        self._window = window.total_seconds()
        self._most = most
        self._size, self._most_bytes, self._bytes = size, most_bytes, 0
        self._waiting: list[tuple[Query, asyncio.Future[Response], float]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0.0
        self._sends: set[asyncio.Task[None]] = set()

    def __call__(self, query: Query, ends: float = float("inf")) -> "asyncio.Future[Response]":
        """Adds the query to the next batch. ends: the caller's deadline, in the event loop's time."""
        loop = asyncio.get_running_loop()
        response: asyncio.Future[Response] = loop.create_future()
        size = self._size(query)
        if self._waiting and self._bytes + size > self._most_bytes:
            self._flush()
        self._waiting.append((query, response, ends))
        self._bytes += size
        if len(self._waiting) >= self._most or self._bytes >= self._most_bytes:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_at(max(loop.time(), self._sent + self._window), self._flush)
        return response

    async def close(self) -> None:
        """Sends the queries that wait, and returns once every batch has its responses."""
        self._flush()
        await asyncio.gather(*self._sends)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now, batch = asyncio.get_running_loop().time(), []
        self._sent = now
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for query, response, ends in waiting:
            if now < ends and not response.done():
                batch.append((query, response))
            else:
                response.cancel()
        if batch:
            task = asyncio.create_task(self._send_batch(batch))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _send_batch(self, batch: Sequence[tuple[Query, asyncio.Future[Response]]]) -> None:
        try:
            responses = await self._send([query for query, _ in batch])
        except Exception as error:  # raised to every caller of the batch
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), response in zip(batch, responses, strict=True):
            if not future.done():
                future.set_result(response)
