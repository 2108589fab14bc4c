"""Health and reflection, which need no token. Each address may have a limited number of calls in flight."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from antrian.errors import AntrianError, Reason
from server.grpc_server import Handlers
from server.limits import ConcurrencyLimiter
from server.middleware import Context, explain, refuse, serialize, wants_english

# grpcio-reflection has only v1alpha. v1 has the same messages, and newer tools support nothing else.
_REFLECTION = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
_PLACES, _PER_ADDRESS = 500, 20
"""Concurrent calls of each rpc, in total and of one address. An unfinished message may take the memory of a whole one."""
_FIRST_MESSAGE_TIMEOUT = 10.0
_Behaviour = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
_M = TypeVar("_M", bound=Message)


class PublicServices:
    """Makes gRPC handlers that limit the calls of each rpc, first per address, then in total.

    So clients without a token cannot exhaust the server, and those that watch its health cannot keep others from checking it.
    """

    def health(self, servicer: health.aio.HealthServicer) -> Handlers:
        """Returns the handlers of the health service."""

        async def check(messages: AsyncIterator[bytes], context: Context) -> None:
            await context.write(await servicer.Check(await _first_message(messages, HealthCheckRequest), context))

        async def watch(messages: AsyncIterator[bytes], context: Context) -> None:
            await servicer.Watch(await _first_message(messages, HealthCheckRequest), context)

        return self._handlers(health.SERVICE_NAME, Check=check, Watch=watch)

    def reflection(self, *names: str) -> list[Handlers]:
        """Returns the handlers of the reflection service, under both of its names, for the named services."""
        servicer = reflection.aio.ReflectionServicer([*names, reflection.SERVICE_NAME])

        async def reflect(messages: AsyncIterator[bytes], context: Context) -> None:
            requests = (_parse(data, ServerReflectionRequest) async for data in messages)
            async for response in servicer.ServerReflectionInfo(requests, context):
                await context.write(response)

        return [self._handlers(name, ServerReflectionInfo=reflect) for name in _REFLECTION]

    def _handlers(self, service: str, **behaviours: _Behaviour) -> Handlers:
        paths = {f"/{service}/{rpc}": behaviour for rpc, behaviour in behaviours.items()}
        return Handlers({path: self._bounded(path, behaviour) for path, behaviour in paths.items()})

    def _bounded(self, path: str, behaviour: _Behaviour) -> "grpc.RpcMethodHandler[Any, Any]":
        concurrency = ConcurrencyLimiter(_PLACES, _PER_ADDRESS)

        async def serve(messages: AsyncIterator[bytes], context: Context) -> None:
            try:
                with concurrency.place(context.peer().rpartition(":")[0]):
                    await behaviour(messages, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                await refuse(*explain(error, path, english=wants_english(context)), context)

        # Every rpc is handled as a stream of requests: otherwise gRPC would await the message before the call can be counted.
        return grpc.stream_stream_rpc_method_handler(serve, None, serialize)


async def _first_message(messages: AsyncIterator[bytes], kind: type[_M]) -> _M:
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_TIMEOUT):
            return _parse(await anext(messages), kind)
    except (StopAsyncIteration, TimeoutError):
        raise AntrianError(Reason.INVALID_MESSAGE) from None


def _parse(data: bytes, kind: type[_M]) -> _M:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise AntrianError(Reason.INVALID_MESSAGE) from None
