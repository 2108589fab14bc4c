"""How much a server takes on, and how fast callers may ask."""

import pytest

from antrian.callers_file import Role
from antrian.errors import AntrianError, Reason
from server.caller import LOCAL, Caller
from server.limits import ConcurrencyLimiter, RateLimiter

SLOW = Caller("slow", frozenset({Role.GATEWAY}), per_second=10)


def test_calls_above_the_concurrency_limit_are_refused_until_one_ends() -> None:
    hall = ConcurrencyLimiter(1)
    with hall.place("somebody"):
        with pytest.raises(AntrianError) as caught, hall.place("another"):
            pass
        assert caught.value.reason is Reason.SERVER_BUSY
        assert caught.value.retry_after is not None
    with hall.place("another"):
        pass


def test_one_caller_cannot_use_up_the_concurrency_of_others() -> None:
    hall = ConcurrencyLimiter(4, 2)
    for _ in range(2):
        hall.enter("greedy")
    with pytest.raises(AntrianError) as caught:
        hall.enter("greedy")
    assert (caught.value.reason, caught.value.metadata) == (Reason.CALLER_BUSY, {"limit": "2"})
    assert caught.value.retry_after is not None
    for _ in range(2):
        hall.enter("another")
    hall.leave("greedy")
    hall.enter("greedy")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a Pace sees, to be moved."""
    now = [100.0]
    monkeypatch.setattr("server.limits.time.monotonic", lambda: now[0])
    return now


def test_a_caller_is_limited_to_its_rate(clock: list[float]) -> None:
    pace = RateLimiter()
    for _ in range(20):  # two seconds' worth at once
        pace.take(SLOW, 1)
    with pytest.raises(AntrianError) as caught:
        pace.take(SLOW, 1)
    assert (caught.value.reason, caught.value.metadata) == (Reason.RATE_LIMITED, {"limit": "10"})
    assert caught.value.retry_after is not None
    clock[0] += caught.value.retry_after.total_seconds()
    pace.take(SLOW, 1)


def test_a_batch_costs_its_size_and_may_overdraw_once(clock: list[float]) -> None:
    pace = RateLimiter()
    pace.take(SLOW, 120)
    clock[0] += 9.9
    with pytest.raises(AntrianError):
        pace.take(SLOW, 1)
    clock[0] += 0.2
    pace.take(SLOW, 1)


def test_callers_without_a_limit_and_other_callers_are_not_limited(clock: list[float]) -> None:
    pace = RateLimiter()
    pace.take(SLOW, 1000)
    for _ in range(1000):
        pace.take(LOCAL, 1)
    pace.take(Caller("other", frozenset(), per_second=1), 1)
