"""Connections of event loops: pipelined, with answers in the order of the commands, and closed with their loop."""

import asyncio
import uuid

from cachedeco.backends.memcached import RawClient
from tests.backends.caches import cache_on
from tests.support.servers import Memcached


def raw_on(*servers: Memcached) -> RawClient:
    """Return direct access to a cache on some servers."""
    raw = cache_on(*servers).raw_client()
    assert raw is not None
    return raw


def names(number: int) -> list[str]:
    """Return keys that no other test uses."""
    return [f"{uuid.uuid4().hex}{each}" for each in range(number)]


def test_async_read_gives_what_the_sync_one_does(memcached_server: Memcached) -> None:
    """Missing keys, empty values, and values that look like a reply; in the order of the keys."""
    raw, keys = raw_on(memcached_server), names(4)
    raw.set_each([(keys[0], b"END\r\nVALUE", None), (keys[1], b"", None), (keys[3], b"x" * 300_000, None)])

    found = asyncio.run(raw.aread(keys))

    assert raw.read(keys) == found == [b"END\r\nVALUE", b"", None, b"x" * 300_000]


def test_answers_keep_their_order_when_tasks_are_cancelled(memcached_server: Memcached) -> None:
    """An answer to a cancelled task is read and dropped, also when a part of it has come: the next is no other's."""
    raw, [large, small] = raw_on(memcached_server), names(2)
    raw.set_each([(large, b"x" * 20_000, None), (small, b"abc", None)])
    expected = {large: b"x" * 20_000, small: b"abc"}

    async def read_many() -> tuple[int, int]:
        keys = [large if number % 2 else small for number in range(3000)]
        tasks = [asyncio.ensure_future(raw.aread([key])) for key in keys]
        for number, task in enumerate(tasks):
            if number % 5 == 0:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [isinstance(result, asyncio.CancelledError) for result in results]
        right = [result == [expected[key]] for key, result in zip(keys, results, strict=True)]
        return cancelled.count(True), right.count(True)

    cancelled, right = asyncio.run(read_many())

    assert cancelled
    assert 3000 == cancelled + right
