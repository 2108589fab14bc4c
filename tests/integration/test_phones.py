"""Phones over HTTP at a gateway that does not do what it should."""

import asyncio
from datetime import timedelta

from aiohttp import web
from aiohttp.test_utils import TestServer

from clients.rush.load.phones import HttpPhones


async def test_a_stream_that_ends_at_once_is_reopened_with_backoff() -> None:
    asked = 0

    async def watch(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(content_type="text/event-stream")

    app = web.Application()
    app.router.add_get("/v1/bookings/{name}", watch)
    async with (
        TestServer(app) as server,
        HttpPhones(f"127.0.0.1:{server.port}", token="", deadline=timedelta(seconds=5)) as phones,
    ):
        try:
            async with asyncio.timeout(0.5):
                async for _ in phones.watch("b", "ani"):
                    raise AssertionError
        except TimeoutError:
            pass
    assert 2 <= asked <= 10
