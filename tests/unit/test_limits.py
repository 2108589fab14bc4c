"""How much a server takes on, and how fast callers may ask."""

import asyncio

import pytest

from antrian.callers_file import Role
from antrian.errors import AntrianError, Reason
from server.caller import LOCAL, Caller
from server.limits import BatchQueue, ConcurrencyLimiter, RateLimiter

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


class Batches:
    """Batches of callers that are in progress until they are ended, in the order in which they began."""

    def __init__(self, limit: int) -> None:
        self.began: list[str] = []
        self._queue = BatchQueue(limit)
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def send(self, name: str, requests: int = 200) -> None:
        """Sends a batch of the caller that its name begins with."""
        self._ends[name] = asyncio.Event()

        async def serve() -> None:
            async with self._queue.turn(name.split(maxsplit=1)[0], requests):
                self.began.append(name)
                await self._ends[name].wait()

        self._tasks[name] = asyncio.create_task(serve())
        await self._settle()

    async def end(self, name: str) -> None:
        """Ends a batch in progress."""
        self._ends[name].set()
        await self._tasks.pop(name)
        await self._settle()

    async def cancel(self, *names: str) -> None:
        """Cancels batches, at the same moment."""
        for name in names:
            self._tasks[name].cancel()
        for name in names:
            with pytest.raises(asyncio.CancelledError):
                await self._tasks.pop(name)
        await self._settle()

    async def end_all(self) -> None:
        """Ends everything, and checks that nothing is held or remembered."""
        while self._tasks:
            await self.end(next(name for name in self.began if name in self._tasks))
        assert not self._queue._held
        assert not self._queue._waiting

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_many_batches_of_one_caller_do_not_go_before_those_of_another() -> None:
    batches = Batches(400)
    for n in range(16):
        await batches.send(f"greedy {n}")
    assert batches.began == ["greedy 0", "greedy 1"]
    await batches.send("other 0")
    assert batches.began == ["greedy 0", "greedy 1", "other 0"]
    await batches.end("greedy 1")
    await batches.send("other 1")
    assert batches.began == ["greedy 0", "greedy 1", "other 0", "greedy 2", "other 1"]
    await batches.end_all()
    assert [name for name in batches.began if "greedy" in name] == [f"greedy {n}" for n in range(16)]


async def test_small_batches_share_the_room_and_a_large_one_has_it_alone() -> None:
    batches = Batches(400)
    for n in range(40):
        await batches.send(f"a {n}", 10)
    await batches.send("a large", 1000)
    await batches.send("a last", 10)
    assert batches.began == [f"a {n}" for n in range(40)]
    for n in range(40):
        await batches.end(f"a {n}")
    assert batches.began[40:] == ["a large"]
    await batches.end("a large")
    assert batches.began[41:] == ["a last"]
    await batches.end_all()


async def test_batches_whose_caller_has_left_leave_no_gap() -> None:
    batches = Batches(400)
    for n in range(8):
        await batches.send(f"a {n}")
    await batches.cancel("a 2", "a 4")
    await batches.cancel("a 0")
    assert batches.began == ["a 0", "a 1", "a 3"]
    await batches.cancel("a 1", "a 5")  # a 5 is admitted at the moment at which it is cancelled
    assert [name for name in batches.began if name != "a 5"] == ["a 0", "a 1", "a 3", "a 6"]
    await batches.end_all()
    assert batches.began[-1] == "a 7"
