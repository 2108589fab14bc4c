"""Rooms for what clients may hold: bodies that arrive slowly, and event streams. Each has a share for one address."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from antrian.errors import Text
from clients.gateway.errors import HttpError, own_error

Network = IPv4Network | IPv6Network

_FREE = 0.25  # seconds; a body that arrives as a whole needs no place
_HOUSEHOLD = 64  # bits of an IPv6 address; the others are up to one customer of a provider


class Room:
    """Bounds what clients hold at once, first per address, then in total."""

    def __init__(self, places: int, per_address: int) -> None:
        self._places, self._per_address = places, per_address
        self._total = 0
        self._held: Counter[str] = Counter()  # addresses that hold no place are removed, so that it stays small

    @contextmanager
    def place(self, address: str, *, english: bool) -> Iterator[None]:
        """Holds a place. Raises HttpError 503: ADDRESS_BUSY if the address holds its share, SERVER_BUSY if none is free."""
        if self._held[address] >= self._per_address:
            raise busy("ADDRESS_BUSY", english=english)
        if self._total >= self._places:
            raise busy("SERVER_BUSY", english=english)
        self._total += 1
        self._held[address] += 1
        try:
            yield
        finally:
            self._total -= 1
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]


def busy(reason: str, *, english: bool) -> HttpError:
    """Returns the error of a request for which there is no room."""
    words = Text(
        "Terlalu banyak permintaan saat ini. Coba lagi sebentar.", "Too many requests at the moment. Try again shortly."
    )
    if reason == "ADDRESS_BUSY":
        words = Text(
            "Terlalu banyak permintaan sekaligus dari alamat internet ini. Coba lagi sebentar.",
            "Too many requests at once come from this internet address. Try again shortly.",
        )
    return own_error(503, "UNAVAILABLE", reason, words, english=english, headers={"retry-after": "2"})


@asynccontextmanager
async def bounded_when_slow(
    room: Room, address: Callable[[], str], check_token: Callable[[], Awaitable[None]], *, english: bool
) -> AsyncIterator[None]:
    """Lets the body of the `async with` run for a quarter of a second, and then only with a place and the right token.

    Raises HttpError if there is no place, or what check_token raises.
    """
    task, guard, refusal = asyncio.current_task(), None, None

    async def hold() -> None:
        nonlocal refusal
        try:
            with room.place(address(), english=english):
                await check_token()
                await asyncio.Event().wait()  # until the body of the `async with` has ended
        except HttpError as error:
            refusal = error
            if task:
                task.cancel()

    def begin() -> None:
        nonlocal guard
        guard = asyncio.create_task(hold())

    timer = asyncio.get_running_loop().call_later(_FREE, begin)
    try:
        yield
    except asyncio.CancelledError:
        if task and refusal:
            task.uncancel()
            raise refusal from None
        raise
    finally:
        timer.cancel()
        if guard:
            guard.cancel()


def client_of(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Returns the address of a client: of the peer, or, if that is a trusted proxy, of the one for which it forwards.

    forwarded_for: the header X-Forwarded-For, to which each proxy has added its peer.
    """
    client = peer
    for hop in reversed(forwarded_for.split(",")):
        if not (hop.strip() and _is_in(client, proxies)):
            break
        client = hop.strip()
    return client


@lru_cache(maxsize=10_000)
def address_of(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Returns the address for which a client has places: that of client_of, of IPv6 the first 64 bits."""
    client = client_of(peer, forwarded_for, proxies)
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ip_network((address, _HOUSEHOLD), strict=False))


def _is_in(client: str, networks: tuple[Network, ...]) -> bool:
    try:
        return any(ip_address(client) in network for network in networks)
    except ValueError:
        return False
