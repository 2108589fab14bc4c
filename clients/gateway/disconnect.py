"""Cancels work for clients that have disconnected."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from clients.gateway.errors import HttpError

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_WATCH_AFTER = 0.2  # seconds; watching every request from its start would cost half as much as responding


async def disconnected(receive: Receive) -> None:
    """Returns when the client disconnects. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancels the body of the `async with` when the client disconnects. Raises HttpError 499 then, for the metrics."""
    task, watcher, gone = asyncio.current_task(), None, False

    async def watch() -> None:
        nonlocal gone
        await disconnected(receive)
        gone = bool(task and task.cancel())

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, begin)
    try:
        yield
    except asyncio.CancelledError:
        if task and gone:
            task.uncancel()
            raise client_disconnected() from None
        raise
    finally:
        timer.cancel()
        if watcher:
            watcher.cancel()


def client_disconnected() -> HttpError:
    """Returns the error of a request whose client has disconnected."""
    return HttpError(499, {"status": "CANCELLED", "reason": "CANCELLED", "message": ""})
