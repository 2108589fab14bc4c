"""gRPC's server, made to bear calls whose path is no text.

grpcio 1.85 decodes the path of every call in its one serving loop. One byte in it that is not UTF-8, sent by anybody, ended that
loop, and the server took no call any more. Here each method has a loop of its own, which knows its path beforehand, and calls
of any other path are refused unread.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]


class Handlers(grpc.GenericRpcHandler):
    """Handlers by path."""

    def __init__(self, by_path: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        self.by_path = by_path

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a call that begins; gRPC asks in the task that will serve it."""
        return self.by_path.get(handler_call_details.method)


def make_server(handlers: Sequence[Handlers], most: int, options: Sequence[tuple[str, Any]]) -> grpc.aio.Server:
    """A server of these handlers. Calls beyond so many at once are refused by gRPC, with a plain RESOURCE_EXHAUSTED."""
    original, cygrpc.AioServer = cygrpc.AioServer, _Server  # grpc.aio.server can be given no other class
    try:
        server = grpc.aio.server(handlers=handlers, options=options, maximum_concurrent_rpcs=most)
    finally:
        cygrpc.AioServer = original
    for path in (path for some in handlers for path in some.by_path):
        service, rpc = path.removeprefix("/").split("/")
        # Registered without a handler: gRPC then hands over its calls apart from others, and asks `handlers` all the same.
        server.add_registered_method_handlers(service, {rpc: None})  # type: ignore[dict-item]
    return server


class _Server(cygrpc.AioServer):  # type: ignore[misc]
    """The part of a server that takes calls from gRPC's core."""

    def __init__(self, loop: Any, pool: Any, handlers: Any, interceptors: Any, options: Any, most: int | None) -> None:
        super().__init__(loop, pool, handlers, interceptors, options, None)
        self._resolver = cygrpc._MethodResolver(list(handlers), {})
        self._most = most or float("inf")
        self._calls: set[asyncio.Task[None]] = set()  # the loop has weak references only

    def _make_request_call_future(self, path: bytes | None) -> "asyncio.Task[None]":
        """What gRPC's loop awaits, which would be one call: all calls of a path, or of none that is known.

        It ends, with gRPC's error, when the server does.
        """
        return asyncio.create_task(self._serve(path))

    async def _serve(self, path: bytes | None) -> None:
        loop, name = asyncio.get_running_loop(), path.decode() if path else ""
        while True:
            call = await (self._request_registered_call(path) if path else self._request_call())
            full = len(self._calls) >= self._most
            serving = cygrpc._handle_rpc(name, self._resolver, (), call, loop, full)
            task = loop.create_task(cygrpc._schedule_rpc_coro(serving, call, loop, name))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
