"""A gRPC server that survives calls whose path is not UTF-8.

grpcio 1.85 decodes the path of every call in its only serving loop. A single byte that is not UTF-8, which any client can send,
ends that loop, and the server accepts no more calls. Here each method has its own loop, which knows its path in advance, and
calls to any other path are refused without decoding it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from server.address import PEER


class Handlers(grpc.GenericRpcHandler):
    """Handlers by path."""

    def __init__(self, by_path: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        self.by_path = by_path

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler of a new call. gRPC calls this in the task that will serve the call."""
        return self.by_path.get(handler_call_details.method)


def make_server(handlers: Sequence[Handlers], limit: int, options: Sequence[tuple[str, Any]]) -> grpc.aio.Server:
    """Returns a server with these handlers. gRPC refuses calls in flight beyond the limit with a plain RESOURCE_EXHAUSTED."""
    original, cygrpc.AioServer = cygrpc.AioServer, _Server  # grpc.aio.server has no parameter for the class
    try:
        server = grpc.aio.server(handlers=handlers, options=options, maximum_concurrent_rpcs=limit)
    finally:
        cygrpc.AioServer = original
    for path in (path for some in handlers for path in some.by_path):
        service, rpc = path.removeprefix("/").split("/")
        # Registered without a handler: gRPC then delivers the path's calls separately, and still gets their handler from `handlers`.
        server.add_registered_method_handlers(service, {rpc: None})  # type: ignore[dict-item]
    return server


class _Server(cygrpc.AioServer):  # type: ignore[misc]
    """Accepts calls from gRPC's core."""

    def __init__(self, loop: Any, pool: Any, handlers: Any, interceptors: Any, options: Any, limit: int | None) -> None:
        super().__init__(loop, pool, handlers, interceptors, options, None)
        self._resolver = cygrpc._MethodResolver(list(handlers), {})
        self._limit = limit or float("inf")
        self._calls: set[asyncio.Task[None]] = set()  # the event loop has only weak references

    def _make_request_call_future(self, path: bytes | None) -> "asyncio.Task[None]":
        """Overrides what gRPC's loop awaits to accept one call: serves all calls of a path, or of all unknown paths.

        Ends with gRPC's error when the server ends.
        """
        return asyncio.create_task(self._serve(path))

    async def _serve(self, path: bytes | None) -> None:
        loop, name = asyncio.get_running_loop(), path.decode() if path else ""
        while True:
            call = await (self._request_registered_call(path) if path else self._request_call())
            full = len(self._calls) >= self._limit
            PEER.set(partial(_peer, call, loop))  # for the task, which copies it
            serving = cygrpc._handle_rpc(name, self._resolver, (), call, loop, full)
            task = loop.create_task(cygrpc._schedule_rpc_coro(serving, call, loop, name))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)


def _peer(call: Any, loop: asyncio.AbstractEventLoop) -> str:
    """Returns the peer of a call. gRPC offers it only to handlers, and tokens are checked before there is one."""
    peer: str = cygrpc._ServicerContext(call, None, None, loop).peer()
    return peer
