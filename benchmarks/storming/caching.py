"""What the storm reads through: cachedeco, and the controls, each behind the same few methods."""

import asyncio
from collections.abc import Callable
from itertools import count
from random import Random
from time import sleep
from typing import Any, Protocol

from asgiref.sync import async_to_sync, sync_to_async

from benchmarks.storming import rows
from benchmarks.storming.plan import TIMEOUT_SECONDS, Plan

# Of the writes that invalidate a namespace, one in so many takes the one that holds all rows.
WHOLE_NAMESPACE = 16


class Computation:
    """What is cached: a row's version, read, held for a while, and returned."""

    def __init__(self, seconds: float) -> None:
        """Hold what was read for so long."""
        self.seconds = seconds
        self.hold: Callable[[], object] = lambda: sleep(seconds)
        self._serials = count()

    def __call__(self, row: int) -> int:
        """Compute."""
        next(self._serials)  # threads lose none of these
        found = rows.version(row)
        self.hold()
        return found

    async def awaited(self, row: int) -> int:
        """Compute, from async code."""
        next(self._serials)
        found = await sync_to_async(rows.version)(row)
        await asyncio.sleep(self.seconds)
        return found

    def made(self) -> int:
        """Return how often this process has computed. Call it once."""
        return next(self._serials)


class Contender(Protocol):
    """One way to cache."""

    computation: Computation

    @property
    def read(self) -> Callable[[int], int]:
        """Takes a row and returns its version, cached."""

    def invalidate(self, row: int, turn: int) -> None:
        """Invalidate a row; the ways to do so take turns."""


class Cachedeco:
    """Ours: a function, and async ones over the same rows, of one row and of many."""

    def __init__(self, plan: Plan, computation: Computation) -> None:
        """Decorate them."""
        from cachedeco import Namespace, cached_query, cached_query_many

        def read(row: int) -> int:
            return computation(row)

        async def aread(row: int) -> int:
            return await computation.awaited(row)

        async def amany(ids: list[int]) -> dict[int, int]:
            return {row: await computation.awaited(row) for row in ids}

        options: dict[str, Any] = {"namespace": "row:{row}", "timeout": TIMEOUT_SECONDS, "ignore": ("computation",)}
        hiding = {**options, "namespace": None}
        self.computation = computation
        self.read: Any = cached_query(name="storm.read", **options)(read)
        self.aread: Any = cached_query(name="storm.aread", **options)(aread)
        bulk = {**options, "namespace": "row:{each}", "over": "ids"}
        self.amany: Any = cached_query_many(name="storm.amany", **bulk)(amany)
        self._random = Random(plan.seed)
        # Of rows of which writes are hidden: nothing invalidates them.
        self.hiding: Any = cached_query(name="storm.hiding", **hiding)(read)
        self.ahiding: Any = cached_query(name="storm.ahiding", **hiding)(aread)
        self._namespace = Namespace

    def hits(self) -> int:
        """Return the hits of all of them in this process."""
        return sum(each.stats().hits for each in (self.read, self.aread, self.amany))

    async def gathered(self, row: int) -> int:
        """Read by a gather of calls for one and for many; return the older version."""
        from cachedeco import agather

        one, many = await agather(self.aread.call(row), self.amany.call([row]))
        return min(one, *many.values())

    async def cancelled(self, row: int) -> int:
        """Read in a task that is cancelled at times, somewhere on its way; then read again."""
        task = asyncio.ensure_future(self.aread(row))
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)
        if self._random.randrange(4) == 0:
            task.cancel()
        try:
            return int(await task)
        except asyncio.CancelledError:
            return int(await self.aread(row))

    def in_loop_of_its_own(self, row: int) -> int:
        """Read from sync code, on an event loop that ends with the call."""
        return int(async_to_sync(self.aread)(row))

    async def _ainvalidate(self, row: int) -> None:
        await self.read.ainvalidate(row)
        await self.aread.ainvalidate(row)
        await self.amany.ainvalidate([row])

    def invalidate(self, row: int, turn: int) -> None:
        """Invalidate the row's calls, in sync or async code, or its namespace, or the one above that."""
        if turn % 4 == 1:
            self.read.invalidate(row)
            self.aread.invalidate(row)
            self.amany.invalidate([row])
        elif turn % 2:
            async_to_sync(self._ainvalidate)(row)
        elif turn % (2 * WHOLE_NAMESPACE):
            self._namespace("row", row).invalidate()
        else:
            self._namespace("row").invalidate()


class GetOrSet:
    """What Django's documentation shows: `get_or_set`, and `delete` after the commit."""

    def __init__(self, _plan: Plan, computation: Computation) -> None:
        """Keep the computation."""
        self.computation = computation

    def read(self, row: int) -> int:
        """Return the row's version, cached."""
        from django.core.cache import cache

        found: Any = cache.get_or_set(f"get_or_set:{row}", lambda: self.computation(row), TIMEOUT_SECONDS)
        return int(found)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        from django.core.cache import cache

        cache.delete(f"get_or_set:{row}")


class CacheMemoize:
    """django-cache-memoize."""

    def __init__(self, _plan: Plan, computation: Computation) -> None:
        """Decorate the function."""
        from cache_memoize import cache_memoize  # type: ignore[import-untyped] # ships no types

        def read(row: int) -> int:
            return computation(row)

        self.computation = computation
        self.read: Any = cache_memoize(TIMEOUT_SECONDS)(read)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        self.read.invalidate(row)


class Dogpile:
    """dogpile.cache, whose mutex keeps the threads of a process from computing the same at once."""

    def __init__(self, plan: Plan, computation: Computation) -> None:
        """Decorate the function."""
        from dogpile.cache import make_region

        def read(row: int) -> int:
            return computation(row)

        self.computation = computation
        region = make_region().configure(expiration_time=TIMEOUT_SECONDS, **_region_settings(plan))
        self.read: Any = region.cache_on_arguments()(read)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        self.read.invalidate(row)


def _region_settings(plan: Plan) -> dict[str, Any]:
    if plan.backend == "memcached":
        eager = {"hashclient_retry_attempts": 0, "hashclient_dead_timeout": 0}
        return {"backend": "dogpile.cache.pymemcache", "arguments": {"url": [plan.cache_location], **eager}}
    patience = {"socket_timeout": plan.patience, "socket_connect_timeout": plan.patience}
    return {"backend": "dogpile.cache.redis", "arguments": {"url": plan.cache_location, **patience}}


CONTENDERS: dict[str, Callable[[Plan, Computation], Contender]] = {
    "cachedeco": Cachedeco,
    "get_or_set": GetOrSet,
    "django-cache-memoize": CacheMemoize,
    "dogpile.cache": Dogpile,
}


def contenders(plan: Plan) -> dict[str, Contender]:
    """Return those of the plan, ours first, each with a computation of its own."""
    return {name: CONTENDERS[name](plan, Computation(plan.computation)) for name in plan.contenders}
