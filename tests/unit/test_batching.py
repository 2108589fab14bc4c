"""Questions that are sent together: how many, how large, and what goes alone."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from antrian.batching import Batcher


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (["a", "b", "c"], [["a", "b", "c"]]),
        (["a", "b", "c", "d", "e"], [["a", "b", "c", "d"], ["e"]]),
        (["aaaa", "bbbb", "cccc"], [["aaaa", "bbbb"], ["cccc"]]),
        (["aaaa", "b" * 9, "c"], [["aaaa"], ["b" * 9, "c"]]),
        (["a", "b" * 50, "c"], [["a"], ["b" * 50], ["c"]]),
        (["b" * 50], [["b" * 50]]),
    ],
)
async def test_batches_stay_within_their_bounds_and_an_oversized_item_is_sent_alone(
    asked: list[str], sent: list[list[str]]
) -> None:
    messages: list[list[str]] = []

    async def send(queries: Sequence[str]) -> list[str]:
        messages.append(list(queries))
        return [query.upper() for query in queries]

    batcher = Batcher(send, timedelta(milliseconds=1), most=4, size=len, most_bytes=10)
    responses = await asyncio.gather(*map(batcher, asked))
    assert responses == [query.upper() for query in asked]
    assert messages == sent
