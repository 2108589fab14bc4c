"""The HTTP client of the load generator: phones that call a gateway, one request each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Any, Self

import aiohttp
import grpc
from google.protobuf.json_format import MessageToJson, ParseDict

from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.messages_pb2 import BOOKING_STATE_PENDING, Booking
from clients.sdk.booking_client import RefusedError
from clients.sdk.calls import pauses

_LONGEST_WAIT = 20.0


class HttpPhones:
    """Makes the calls of CrowdClient over HTTP, at a gateway ("127.0.0.1:7780"), without retries. Raises RefusedError."""

    def __init__(self, address: str, *, token: str, deadline: timedelta) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # No limit of connections, since phones do not wait for each other.
        self._session = aiohttp.ClientSession(
            f"http://{address}",
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=deadline.total_seconds()),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, message: wire.RequestBookingRequest) -> Booking:
        """Requests a booking, with the request_id as Idempotency-Key."""
        body = MessageToJson(message, indent=None).encode()
        origin = {"X-Device-Key": message.origin.device_key, "X-Forwarded-For": message.origin.address}
        return _booking(await self._call("POST", "/v1/bookings", body, key=message.request_id, origin=origin))

    async def send_and_hang_up(self, message: wire.RequestBookingRequest, seconds: float) -> None:
        """Sends a request, and stops waiting for the response after that many seconds."""
        with suppress(TimeoutError, RefusedError):
            async with asyncio.timeout(seconds):
                await self.send(message)

    async def get_quota(self, office_id: str) -> object:
        """Reads the remaining places of the office."""
        return await self._call("GET", f"/v1/offices/{office_id}/quota")

    async def outcome(self, booking_id: str, account: str, *, within: timedelta) -> Booking:
        """Waits until the booking is decided. Raises TimeoutError if it is still PENDING after `within`."""
        ends = time.monotonic() + within.total_seconds()
        while (remaining := ends - time.monotonic()) > 0:
            wait = min(remaining, _LONGEST_WAIT)
            params = {"account": account, "wait": f"{wait:.3f}s"}
            booking = _booking(await self._call("GET", f"/v1/bookings/{booking_id}", params=params, extra=wait))
            if booking.state != BOOKING_STATE_PENDING:
                return booking
        raise TimeoutError(f"booking {booking_id} is still pending")

    async def watch(self, booking_id: str, account: str) -> AsyncIterator[Booking]:
        """Yields the booking now and after each change, until it is decided. Reopens a stream that ends before."""
        last_seen, waits = "", pauses()
        while True:
            try:
                async with self._session.get(
                    f"/v1/bookings/{booking_id}:watch",
                    params={"account": account},
                    headers={"Last-Event-ID": last_seen},
                    timeout=aiohttp.ClientTimeout(sock_read=60),
                ) as response:
                    if response.status != 200:
                        raise _refusal(response.status, await response.read())
                    async for line in response.content:
                        if line.startswith(b"id: "):
                            last_seen = line[4:].strip().decode()
                        elif line.startswith(b"data: "):
                            booking = _booking(json.loads(line[6:]))
                            yield booking
                            if booking.state != BOOKING_STATE_PENDING:
                                return
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(error) from None
            await asyncio.sleep(next(waits))

    async def cancel_booking(self, booking_id: str, account: str) -> Booking:
        """Cancels the booking."""
        return _booking(
            await self._call("POST", f"/v1/bookings/{booking_id}:cancel", json.dumps({"account": account}).encode())
        )

    async def send_encoded(self, items: Sequence[bytes]) -> Sequence[wire.BatchRequestBookingsResult]:
        """Not supported: phones send one request each."""
        raise NotImplementedError

    async def get_bookings(self, names: Sequence[tuple[str, str]]) -> list[Booking | RefusedError]:
        """Not supported: phones read one booking each."""
        raise NotImplementedError

    async def _call(
        self,
        verb: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str = "",
        extra: float = 0,
        params: Any = None,
        origin: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        headers = {name: value for name, value in origin.items() if value}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        total = (self._session.timeout.total or 0) + extra
        try:
            async with self._session.request(
                verb, path, data=body, headers=headers, params=params, timeout=aiohttp.ClientTimeout(total=total)
            ) as response:
                content = await response.read()
        except TimeoutError:
            code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise RefusedError(code.name, "no response within the deadline", {}, code, None) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error) from None
        if response.status != 200:
            raise _refusal(response.status, content)
        return json.loads(content)


def _booking(response: Any) -> Booking:
    return ParseDict(response["booking"], Booking())


def _lost(error: Exception) -> RefusedError:
    code = grpc.StatusCode.UNAVAILABLE
    return RefusedError(code.name, str(error) or type(error).__name__, {}, code, None)


def _refusal(status: int, content: bytes) -> RefusedError:
    try:
        error = json.loads(content)["error"]
        code = grpc.StatusCode[error["status"]]
    except (ValueError, KeyError, TypeError):
        code = grpc.StatusCode.UNKNOWN
        return RefusedError(f"HTTP_{status}", "the response does not come from the gateway", {}, code, None)
    retry = error.get("retryAfter")
    return RefusedError(
        error["reason"], error["message"], error.get("metadata", {}), code,
        None if retry is None else timedelta(seconds=retry),
    )  # fmt: skip
