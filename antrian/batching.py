"""Many callers' questions in one call to a store."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

Query = TypeVar("Query")
Response = TypeVar("Response")

MESSAGE_LIMIT = 256 * 1024
"""The largest message that a server takes, in bytes."""

_MOST = 256


class Batcher(Generic[Query, Response]):
    """Sends questions together, once in a window of time; `await gather(question)` gives its answer.

    Who asks after a while of silence is sent for at once, with all who ask in that turn of the loop.

    Where size says how many bytes a question has, those that are sent together have at most most_bytes. What does not fit
    beside others goes alone, however large it is: nobody's question is refused for a neighbour's.

    send answers as many as it was given, in their order; what it raises is raised to all of them. Several sends may be
    under way. A question is not sent for who has left: a caller that was cancelled, or whose time was over, before.
    What is sent stays sent, whatever becomes of the caller.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Query]], Awaitable[Sequence[Response]]],
        window: timedelta,
        most: int = _MOST,
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
        """The answer, to be awaited. At ends, a time of the event loop, the caller will have left."""
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
        """Sends what waits and returns when all is answered."""
        self._flush()
        await asyncio.gather(*self._sends)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now, still = asyncio.get_running_loop().time(), []
        self._sent = now
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for query, response, ends in waiting:
            if now < ends and not response.done():
                still.append((query, response))
            else:
                response.cancel()
        if still:
            task = asyncio.create_task(self._ask(still))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _ask(self, waiting: Sequence[tuple[Query, asyncio.Future[Response]]]) -> None:
        try:
            responses = await self._send([query for query, _ in waiting])
        except Exception as error:  # every caller must hear of it, whatever it is
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), response in zip(waiting, responses, strict=True):
            if not future.done():
                future.set_result(response)
