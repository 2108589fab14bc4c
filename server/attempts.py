"""Counts failed authentications by address, and makes an address with many of them wait."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from antrian.errors import Reason
from server.denied import DeniedError

_FREE = 20  # failures in a row before an address has to wait
_LONGEST = 60.0  # seconds of the longest wait
_SHARED = 60.0  # seconds after a success in which an address does not have to wait
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0
    succeeded: float = float("-inf")


class Attempts:
    """Failed authentications by address. Only addresses with failures are kept, and the most recent ones of them.

    An address from which calls also succeed is shared, such as that of a gateway. It never waits within a minute of a success,
    so that one bad phone does not lock out the others.
    """

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises TOO_MANY_ATTEMPTS, with the remaining time, if the address has to wait."""
        failures, now = self._by_address.get(address), time.monotonic()
        if failures and now < failures.until and now - failures.succeeded > _SHARED:
            wait = timedelta(seconds=failures.until - now)
            raise DeniedError(Reason.TOO_MANY_ATTEMPTS, "many failures from its address", retry_after=wait)

    def fail(self, address: str) -> None:
        """Counts a failure. Beyond the free ones, each doubles the time to wait, up to a minute."""
        failures = self._by_address.setdefault(address, _Failures())
        self._by_address.move_to_end(address)
        failures.count += 1
        if (beyond := failures.count - _FREE) >= 0:
            failures.until = time.monotonic() + min(2.0 ** min(beyond, 10), _LONGEST)
        if len(self._by_address) > _MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    def succeed(self, address: str) -> None:
        """Forgives the failures of the address."""
        if failures := self._by_address.get(address):
            failures.count, failures.until, failures.succeeded = 0, 0.0, time.monotonic()

    def __bool__(self) -> bool:
        """Whether any address has failures."""
        return bool(self._by_address)
