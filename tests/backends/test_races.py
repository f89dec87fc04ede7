"""The races of a reader and a writer on event loops with connections of their own: our two backends, undisturbed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import MISSING, agather, cached_query, cached_query_many
from tests.conftest import CacheConfig, UseCaches
from tests.support.hops import hops
from tests.support.sources import EVERY_WAY, AsyncReader, Reader, Source, slow_reader_meets_writer

BACKENDS = {
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "our redis": "cachedeco.backends.redis.RedisCache",
}


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request: pytest.FixtureRequest, use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Use one of our backends, of the class itself: that is read and written on the loop."""
    use_caches(default=cache_config(request.param) | {"BACKEND": BACKENDS[request.param]})


@pytest.fixture
def source() -> Source:
    """Give a truth that is "old"."""
    return Source()


@EVERY_WAY
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_slow_loop_cannot_bring_back_what_was_invalidated(
    source: Source, invalidate: Callable[[Reader], None], *, warm: bool
) -> None:
    """A loop that computes while another one's writer invalidates stores an entry that is dead at birth."""
    read: Any = AsyncReader(source)
    if warm:
        read(1)
        read.invalidate(1)

    assert ("old", "new") == slow_reader_meets_writer(source, read, invalidate)
    assert "new" == read.peek(1)


def test_tasks_of_one_loop_are_as_right_as_threads() -> None:
    """A gather that is under way at an invalidation stores nothing that is served; the next one is a hit."""
    rows = {"value": "old"}
    reached, opened = asyncio.Event(), asyncio.Event()

    @cached_query(ignore=("rows", "reached", "opened"), namespace="race:{number}")
    async def one(number: int) -> str:
        value = rows["value"]
        reached.set()
        await opened.wait()
        return f"{value} {number}"

    @cached_query_many(over="numbers", ignore=("rows", "opened"), namespace="race:{each}")
    async def many(numbers: list[int]) -> dict[int, str]:
        value = rows["value"]
        await opened.wait()
        return dict.fromkeys(numbers, value)

    async def gathered() -> tuple[object, ...]:
        return await agather(one.call(1), many.call([1, 2]))

    async def main() -> list[object]:
        slow = asyncio.create_task(gathered())
        await reached.wait()
        rows["value"] = "new"
        await one.ainvalidate_all()
        await many.ainvalidate_all()
        arrived = asyncio.create_task(gathered())
        opened.set()
        found = [await arrived, await gathered()]
        with hops() as counted:
            found.append(await gathered())
        await slow
        return [*found, await gathered(), len(counted)]

    new = ("new 1", {1: "new", 2: "new"})

    assert [new] * 4 + [0] == asyncio.run(main())


def test_task_cancelled_in_its_computation_leaves_no_trace() -> None:
    """A caller that goes away while it computes stores nothing and holds no lease: the next one computes at once."""
    rows = {"value": "old"}
    reached = asyncio.Event()

    @cached_query(ignore=("rows", "reached"))
    async def read(number: int) -> str:
        if rows["value"] == "old":
            reached.set()
            await asyncio.Event().wait()
        return f"{rows['value']} {number}"

    async def main() -> list[object]:
        slow = asyncio.create_task(read(1))
        await reached.wait()
        slow.cancel()
        await asyncio.wait([slow])
        peeked = await read.apeek(1)
        rows["value"] = "new"
        with hops() as counted:
            found = await read(1)
        return [slow.cancelled(), peeked, found, len(counted)]

    assert [True, MISSING, "new 1", 1] == asyncio.run(main())
