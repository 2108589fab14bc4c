"""Middleware of every call: authentication, load shedding, parsing, metrics, and exceptions to statuses."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar

import grpc
import psycopg
import psycopg_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from redis.exceptions import RedisError

from antrian import words
from antrian.batching import MESSAGE_LIMIT
from antrian.errors import AntrianError, Reason
from antrian.lane.producer import is_full
from antrian.logs import REQUEST_ID
from antrian.text import has_nik
from server.auth import Callers, check_access
from server.caller import CALLER
from server.grpc_server import Handlers
from server.limits import ConcurrencyLimiter, RateLimiter
from server.metrics import Calls, count_refusal, count_requests
from server.security_log import log_denial
from server.status import code_of, to_status

FULL_RETRY = timedelta(seconds=30)
"""The retry delay of STORE_FULL."""

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Iterable[tuple[str, str | bytes]]
M = TypeVar("M", bound=Message)
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_FULL = (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory)
_STORES = (RedisError, psycopg.OperationalError, psycopg_pool.PoolTimeout, OSError)
_log = logging.getLogger(__name__)


class Middleware:
    """Makes gRPC handlers from a service's methods.

    A call is authenticated and takes a place of the concurrency limiter when its headers arrive, so a refused call holds
    nothing, even if its message never comes. The place is held until the response has been sent.
    """

    def __init__(self, callers: Callers, concurrency: ConcurrencyLimiter) -> None:
        self._callers, self._concurrency = callers, concurrency
        self._rate = RateLimiter()

    def handlers(self, service: ServiceDescriptor, servicer: object, *, without: Collection[str] = ()) -> Handlers:
        """Returns the handlers of the rpcs of the service. The servicer has a method of the same name for each.

        A method returns a message or, if it has that already, its serialized bytes. without: names of rpcs that this server
        does not implement.
        """
        handlers, counts = dict[str, _Handler](), dict[str, Calls]()
        for method in service.methods:
            if method.name in without:
                continue
            path = f"/{service.full_name}/{method.name}"
            request_type: type[Message] = GetMessageClass(method.input_type)
            behaviour, calls = getattr(servicer, method.name), Calls(path)
            handler: _Handler
            # Without a request_deserializer, the bytes arrive here, and invalid ones can be refused with a clear error.
            if method.server_streaming:
                handler = grpc.unary_stream_rpc_method_handler(
                    self._stream(path, request_type, behaviour, calls), None, serialize
                )
            else:
                handler = grpc.unary_unary_rpc_method_handler(
                    self._unary(path, request_type, behaviour, calls), None, serialize
                )
            handlers[path], counts[path] = handler, calls
        return _GuardedHandlers(handlers, counts, self._enter)

    def _enter(self, path: str, metadata: Metadata) -> None:
        """Authenticates the call of this task, sets CALLER and takes a place until the task ends. Raises AntrianError."""
        caller = self._callers.identify(metadata)
        CALLER.set(caller)
        check_access(caller, path)
        task = asyncio.current_task()
        assert task
        self._concurrency.enter(caller.name)
        task.add_done_callback(partial(self._leave, caller.name))

    def _leave(self, caller: str, _: asyncio.Task[Any]) -> None:
        self._concurrency.leave(caller)

    def _unary(
        self,
        path: str,
        request_type: type[M],
        behaviour: Callable[[M, Context], Awaitable[Message | bytes]],
        calls: Calls,
    ) -> Callable[[bytes, Context], Awaitable[Message | bytes]]:
        async def serve(data: bytes, context: Context) -> Message | bytes:
            began, code = calls.begin(), grpc.StatusCode.CANCELLED
            REQUEST_ID.set(_request_id(context.invocation_metadata() or ()))
            try:
                response = await behaviour(self._admit(request_type, data), context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                refusal, status = explain(error, path, english=wants_english(context))
                code = code_of(refusal.reason)
                return await refuse(refusal, status, context)
            else:
                code = grpc.StatusCode.OK
                return response
            finally:
                calls.end(began, code)

        return serve

    def _stream(
        self, path: str, request_type: type[M], behaviour: Callable[[M, Context], AsyncIterator[Message]], calls: Calls
    ) -> Callable[[bytes, Context], AsyncIterator[Message]]:
        async def serve(data: bytes, context: Context) -> AsyncIterator[Message]:
            began, code = calls.begin(), grpc.StatusCode.CANCELLED
            REQUEST_ID.set(_request_id(context.invocation_metadata() or ()))
            try:
                async for message in behaviour(self._admit(request_type, data), context):
                    yield message
                code = grpc.StatusCode.OK
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                refusal, status = explain(error, path, english=wants_english(context))
                code = code_of(refusal.reason)
                await refuse(refusal, status, context)
            finally:
                calls.end(began, code)

        return serve

    def _admit(self, request_type: type[M], data: bytes) -> M:
        if len(data) > MESSAGE_LIMIT:
            raise AntrianError(Reason.TOO_LARGE, limit=f"{MESSAGE_LIMIT // 1024} KiB")
        try:
            message = request_type.FromString(data)
        except DecodeError:
            raise AntrianError(Reason.INVALID_MESSAGE) from None
        caller, requests = CALLER.get(), max(1, len(getattr(message, "requests", ())))  # each request of a batch counts
        self._rate.take(caller, requests)
        count_requests(caller.name, requests)
        caller.take_account(message)  # that of a batch's items is taken with each, which has an error of its own
        return message


class _GuardedHandlers(Handlers):
    """Handlers by path for calls that may enter. Other calls get one that refuses without awaiting a message."""

    def __init__(
        self, by_path: Mapping[str, _Handler], counts: Mapping[str, Calls], enter: Callable[[str, Metadata], None]
    ) -> None:
        super().__init__(by_path)
        self._counts, self._enter = counts, enter

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Handler | None":
        """Returns the handler of a new call after it has entered, or one that refuses it."""
        path = handler_call_details.method
        if path in self.by_path:
            try:
                self._enter(path, handler_call_details.invocation_metadata)
            except AntrianError as error:
                return _refusing_handler(error, path, self._counts[path])
        return self.by_path.get(path)


def _refusing_handler(error: AntrianError, path: str, calls: Calls) -> _Handler:
    async def serve(_: AsyncIterator[bytes], context: Context) -> None:
        began, code = calls.begin(), code_of(error.reason)
        REQUEST_ID.set(_request_id(context.invocation_metadata() or ()))
        try:
            await refuse(*explain(error, path, english=wants_english(context)), context)
        finally:
            calls.end(began, code)

    return grpc.stream_stream_rpc_method_handler(serve, None, serialize)


def explain(error: Exception, path: str, *, english: bool) -> tuple[AntrianError, Status]:
    """Returns the refusal and the status that an exception becomes. Counts it, and logs internal errors under an id."""
    if isinstance(error, AntrianError):
        refusal = error
    elif isinstance(error, _FULL) or is_full(error):
        _log.error("%s: a store is full: %s", path, error)
        refusal = AntrianError(Reason.STORE_FULL, retry_after=FULL_RETRY)
    elif isinstance(error, _STORES):
        _log.warning("%s: a store failed: %s", path, error)
        refusal = AntrianError(Reason.STORE_UNAVAILABLE, retry_after=timedelta(seconds=1))
    else:
        error_id = secrets.token_hex(6)
        _log.error("%s: fault %s", path, error_id, exc_info=error)
        refusal = AntrianError(Reason.INTERNAL, error_id=error_id)
    count_refusal(path, refusal.reason)
    log_denial(refusal, path)
    status = to_status(refusal, english=english)
    status.details.add().Pack(RequestInfo(request_id=REQUEST_ID.get()))
    return refusal, status


def wants_english(context: Context) -> bool:
    """Returns whether the call's accept-language prefers English to Indonesian."""
    values = [str(value) for name, value in context.invocation_metadata() or () if name == "accept-language"]
    return words.wants_english(", ".join(values))


def _request_id(metadata: Metadata) -> str:
    """Returns the caller's x-request-id if it is valid, otherwise a new one."""
    for name, value in metadata:
        if name == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value) and not has_nik(value):
            return value
    return secrets.token_hex(6)  # too short to contain 16 digits, which would read like a NIK


def serialize(response: Message | bytes) -> bytes:
    """Returns the bytes of a response, which may already be serialized."""
    return response if isinstance(response, bytes) else response.SerializeToString()


async def refuse(refusal: AntrianError, status: Status, context: Context) -> Message:
    """Ends the call with the status."""
    response = rpc_status.to_status(status)
    trailers = response.trailing_metadata
    if response.code is grpc.StatusCode.UNAVAILABLE and refusal.retry_after:
        # gRPC clients with a retry policy obey it.
        trailers = (*trailers, ("grpc-retry-pushback-ms", str(refusal.retry_after // timedelta(milliseconds=1))))
    await context.abort(response.code, response.details, trailers)
    raise AssertionError  # abort does not return
